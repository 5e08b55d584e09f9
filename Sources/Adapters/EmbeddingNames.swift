// Made by Tests/Golden/embedding_names.py from transformers 5.23.0; do not edit.

/// What modules with a two-dimensional weight are, by their names in the model classes of transformers.
enum EmbeddingNames {
    /// Last parts of names that are always embeddings.
    static let embeddings = words(
        """
        HashBucketCodepointEmbedder_0 HashBucketCodepointEmbedder_1 HashBucketCodepointEmbedder_2
        HashBucketCodepointEmbedder_3 HashBucketCodepointEmbedder_4 HashBucketCodepointEmbedder_5
        HashBucketCodepointEmbedder_6 HashBucketCodepointEmbedder_7 audio_bos_eos_token bias_values
        box_position_embeddings char_position_embeddings cls_embed codebook codec_embed col_position_embeddings
        column_embedder column_embeddings denoising_class_embed distance_embedding embed embed_audio_tokens
        embed_char embed_global embed_in embed_positions embed_text_tokens embed_timestep embed_tokens
        embed_tokens_per_layer embedding embeddings encoder_hash_tok_embedding entity_embeddings freq_emb
        generation_embeddings h_position_embeddings hq_token input_embeds_layer input_embeds_layers iou_token
        label_embed label_embeddings language_embedding level_embed mask_tokens ngram_embeddings no_mask_embed
        not_a_point_embed num_speakers_embed obj_score_token pe_k point_embed pos_emb pos_embed pos_enc
        position_embedding position_embedding_table position_embeddings position_embeds_layer positional_embedding
        positions_embed presence_token pronunciation_embed queries_embedder queries_features query_embed query_feat
        query_position_embeddings reference_point_embed reference_points refpoint_embed rel_attn_embed
        rel_embeddings rel_pos_emb relative_attention_bias row_embedder row_embeddings row_position_embeddings
        segment_emb segment_embedding shape_embed shared speaker_embedding text_position_embedding
        text_token_embedding tile_embedding tok_embeddings token_embedding token_type_embeddings
        token_type_embeddings_0 token_type_embeddings_1 token_type_embeddings_2 token_type_embeddings_3
        token_type_embeddings_4 token_type_embeddings_5 token_type_embeddings_6 tokens_embed unit_embedding
        value_embeddings visual_embeddings_table visual_position_embeddings visual_token_type_embeddings w
        w_position_embeddings word_embedding word_embeddings wpe wte x_position_embeddings xpath_subs_sub_embeddings
        xpath_tag_sub_embeddings y_position_embeddings
        """)

    /// Last two parts, without numbers, of other names that are embeddings.
    static let embeddingEndings = words(
        """
        audio.encoder audio_tower.encoder cpmant.input_embedding input_embedding gemma_expert.lm_head
        """)

    /// Last parts of names that are always neither embeddings nor linear layers.
    static let others = words(
        """
        objective
        """)

    /// Last two parts of other names that are neither, in some model at least.
    static let otherEndings = words(
        """
        block_sparse_moe.gate ffn.gate layers.gate mixer.gate mlp.gate router.gate text_moe.gate vision_moe.gate
        router.layer block_sparse_moe.router feed_forward.router mlp.router
        """)

    private static func words(_ text: String) -> Set<String> {
        Set(text.split(whereSeparator: \.isWhitespace).map(String.init))
    }
}
