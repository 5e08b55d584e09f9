// Made by Tests/Golden/gguf_files.py; not to be edited by hand.

extension GGUFNames {
    /// Each tensor's name, ending with `=`, and the names of its module in models of all kinds; `#` is the block.
    static let tensorText = """
        token_embd= gpt_neox.embed_in transformer.wte transformer.word_embeddings word_embeddings model.embed_tokens
        embed_tokens tok_embeddings embeddings.word_embeddings embeddings.tok_embeddings wte transformer.embd.wte
        model.tok_embeddings model.embedding backbone.embedding backbone.embeddings transformer.in_out_embed
        embedding.word_embeddings transformer.token_embeddings shared rwkv.embeddings model.embeddings
        model.word_embeddings encoder model.transformer.wte
        token_types= embeddings.token_type_embeddings
        token_embd_norm= word_embeddings_layernorm embeddings.LayerNorm embeddings.norm emb_ln transformer.norm
        rwkv.blocks.0.pre_ln model.pre_ln model.layers.0.pre_norm backbone.norm model.embedding_norm
        position_embd= transformer.wpe embeddings.position_embeddings wpe model.embed_positions
        output= embed_out lm_head output word_embeddings_for_head lm_head.linear output_layer head head.out
        model.transformer.ff_out head.decoder
        output_norm= gpt_neox.final_layer_norm transformer.ln_f model.norm norm transformer.norm_f ln_f
        model.final_layernorm lm_head.ln model.norm_f backbone.norm_f transformer.rms_norm encoder.final_layernorm
        transformer.norm rwkv.ln_out model.ln_out backbone.final_layer_norm model.transformer.ln_f final_norm
        rope_freqs= rope.freqs rotary_pos_emb.inv_freq
        rope_factors_long=
        rope_factors_short=
        blk.#.attn_norm= gpt_neox.layers.#.input_layernorm transformer.h.#.ln_1 transformer.blocks.#.norm_1
        transformer.h.#.input_layernorm h.#.input_layernorm transformer.h.#.ln_mlp model.layers.#.input_layernorm
        layers.#.attention_norm model.layers.#.ln1 h.#.ln_1 transformer.h.#.ln model.layers.layers.#.norm
        model.layers.layers.#.pre_mixer_norm model.layers.#.attention_norm model.layers.#.norm backbone.layers.#.norm
        transformer.decoder_layer.#.rms_norm model.layers.#.pre_attn_norm transformer.blocks.#.norm_attn_norm.norm_1
        encoder.layers.#.input_layernorm transformer.layers.#.attn_norm rwkv.blocks.#.ln1 layers.#.input_layernorm
        transformer_encoder.#.attention_norm layers.#.attn_norm model.layers.#.operator_norm
        model.transformer.blocks.#.attn_norm model.layers.#.attention_layernorm model.layers.#.pre_attention_layernorm
        blk.#.attn_norm_2= transformer.h.#.ln_attn encoder.layer.#.layer_norm_1 rwkv.blocks.#.ln2 model.layers.#.ln2
        model.layers.#.post_attention_layernorm
        blk.#.attn_qkv= gpt_neox.layers.#.attention.query_key_value transformer.h.#.attn.c_attn
        transformer.blocks.#.attn.Wqkv transformer.blocks.#.norm_attn_norm.attn.Wqkv
        transformer.h.#.self_attention.query_key_value h.#.self_attention.query_key_value
        model.layers.#.self_attn.query_key_value model.layers.#.attention.query_key_value h.#.attn.c_attn
        transformer.h.#.mixer.Wqkv encoder.layers.#.attn.Wqkv encoder.layers.#.mixer.Wqkv
        model.layers.#.self_attn.qkv_proj model.layers.layers.#.mixer.qkv_proj
        encoder.layers.#.self_attention.query_key_value transformer.layers.#.attn.qkv_proj transformer_encoder.#.qkv
        layers.#.attn.Wqkv model.layers.#.self_attn.language_expert_query_key_value
        model.layers.#.linear_attn.in_proj_qkv
        blk.#.attn_q= model.layers.#.self_attn.q_proj layers.#.self_attn.q_proj
        model.layers.#.self_attn.q_proj_no_perm layers.#.attention.wq encoder.layer.#.attention.self.query
        transformer.layer.#.attention.q_lin transformer.h.#.attn.q_proj model.layers.layers.#.self_attn.q_proj
        model.layers.#.attention.wq transformer.decoder_layer.#.multi_head_attention.query
        transformer.h.#.attn.attention.q_proj model.transformer.blocks.#.q_proj backbone.layers.#.mixer.q_proj
        blk.#.attn_k= model.layers.#.self_attn.k_proj layers.#.self_attn.k_proj
        model.layers.#.self_attn.k_proj_no_perm layers.#.attention.wk encoder.layer.#.attention.self.key
        transformer.layer.#.attention.k_lin transformer.h.#.attn.k_proj transformer.h.#.attn.k
        model.layers.layers.#.self_attn.k_proj model.layers.#.attention.wk
        transformer.decoder_layer.#.multi_head_attention.key transformer.h.#.attn.attention.k_proj
        model.transformer.blocks.#.k_proj backbone.layers.#.mixer.k_proj
        blk.#.attn_v= model.layers.#.self_attn.v_proj layers.#.self_attn.v_proj layers.#.attention.wv
        encoder.layer.#.attention.self.value transformer.layer.#.attention.v_lin transformer.h.#.attn.v_proj
        transformer.h.#.attn.v model.layers.layers.#.self_attn.v_proj model.layers.#.attention.wv
        transformer.decoder_layer.#.multi_head_attention.value transformer.h.#.attn.attention.v_proj
        model.transformer.blocks.#.v_proj backbone.layers.#.mixer.v_proj
        blk.#.attn_output= gpt_neox.layers.#.attention.dense transformer.h.#.attn.c_proj
        transformer.blocks.#.attn.out_proj transformer.h.#.self_attention.dense h.#.self_attention.dense
        model.layers.#.self_attn.o_proj layers.#.self_attn.o_proj model.layers.#.self_attn.out_proj
        model.layers.#.self_attn.linear_attn layers.#.attention.wo encoder.layer.#.attention.output.dense
        layers.#.attn.Wo transformer.layer.#.attention.out_lin transformer.h.#.attn.out_proj
        model.layers.#.self_attn.dense model.layers.#.attention.dense h.#.attn.c_proj transformer.h.#.mixer.out_proj
        model.layers.layers.#.self_attn.o_proj model.layers.layers.#.mixer.o_proj model.layers.#.attention.wo
        encoder.layers.#.attn.out_proj encoder.layers.#.mixer.out_proj
        transformer.decoder_layer.#.multi_head_attention.linear transformer.blocks.#.norm_attn_norm.attn.out_proj
        encoder.layers.#.self_attention.dense transformer.layers.#.attn.out_proj
        transformer.h.#.attn.attention.out_proj transformer_encoder.#.wo model.transformer.blocks.#.attn_out
        backbone.layers.#.mixer.o_proj model.layers.#.self_attn.language_expert_dense
        blk.#.attn_output_norm= encoder.layer.#.attention.output.LayerNorm transformer.layer.#.sa_layer_norm
        encoder.layers.#.norm1 transformer.decoder_layer.#.rms_norm_1 model.layers.#.post_attn_norm
        transformer.blocks.#.norm_attn_norm.norm_2
        blk.#.post_attention_norm= model.layers.#.post_attention_layernorm layers.#.post_attention_layernorm
        model.layers.#.post_self_attn_layernorm model.layers.layers.#.post_mixer_norm.weight
        blk.#.attn_rot_embd= model.layers.#.self_attn.rotary_emb.inv_freq
        layers.#.attention.inner_attention.rope.freqs model.layers.layers.#.self_attn.rotary_emb.inv_freq
        transformer.h.#.attn.rotary_emb.inv_freq
        blk.#.ffn_norm= gpt_neox.layers.#.post_attention_layernorm transformer.h.#.ln_2 h.#.post_attention_layernorm
        transformer.blocks.#.norm_2 model.layers.#.post_attention_layernorm layers.#.ffn_norm model.layers.#.ln2
        h.#.ln_2 model.layers.#.ffn_norm transformer.decoder_layer.#.rms_norm_2 model.layers.#.pre_moe_norm
        encoder.layers.#.post_attention_layernorm transformer.layers.#.ffn_norm model.layers.#.pre_ff_layernorm
        model.layers.#.pre_moe_layernorm transformer_encoder.#.ffn_norm model.layers.layers.#.pre_mlp_norm
        model.transformer.blocks.#.ff_norm layers.#.post_attention_layernorm model.layers.#.feedforward_layernorm
        model.layers.#.pre_mlp_layernorm layers.#.mlp_norm
        blk.#.ffn_norm= model.layers.#.pre_feedforward_layernorm layers.#.pre_feedforward_layernorm
        model.layers.#.pre_ff_layernorm.weight model.layers.#.pre_mlp_layernorm
        blk.#.post_ffw_norm= model.layers.#.post_feedforward_layernorm layers.#.post_feedforward_layernorm
        model.layers.#.post_mlp_layernorm model.layers.layers.#.post_mlp_norm.weight
        model.layers.#.feed_forward.up_proj model.layers.#.post_moe_norm
        blk.#.ffn_gate_inp= layers.#.feed_forward.gate model.layers.#.block_sparse_moe.gate model.layers.#.mlp.gate
        transformer.decoder_layer.#.router transformer.blocks.#.ffn.router.layer
        model.layers.#.block_sparse_moe.router.layer model.layers.#.feed_forward.router
        encoder.layers.#.mlp.router.layer model.layers.#.mlp.router model.layers.#.mlp.gate.wg
        model.layers.#.block_sparse_moe.primary_router model.layers.#.feed_forward.gate model.layers.#.mlp.router.gate
        layers.#.gate backbone.layers.#.mixer.gate model.layers.#.moe.gate model.layers.#.router.proj
        blk.#.ffn_gate_inp_shexp= model.layers.#.mlp.shared_expert_gate
        blk.#.ffn_up= gpt_neox.layers.#.mlp.dense_h_to_4h transformer.h.#.mlp.c_fc transformer.blocks.#.ffn.up_proj
        transformer.h.#.mlp.dense_h_to_4h h.#.mlp.dense_h_to_4h model.layers.#.mlp.up_proj layers.#.mlp.up_proj
        layers.#.feed_forward.w3 encoder.layer.#.intermediate.dense layers.#.mlp.Wi transformer.layer.#.ffn.lin1
        transformer.h.#.mlp.fc_in transformer.h.#.mlp.linear_3 model.layers.#.mlp.dense_h_to_4h transformer.h.#.mlp.w1
        h.#.mlp.c_fc transformer.h.#.mlp.fc1 model.layers.#.mlp.fc1 model.layers.#.mlp.gate_up_proj
        model.layers.layers.#.mlp.up_proj model.layers.layers.#.mlp.gate_up_proj model.layers.#.feed_forward.w3
        encoder.layers.#.mlp.fc11 encoder.layers.#.mlp.fc1 model.layers.#.mlp.c_fc encoder.layer.#.mlp.gated_layers_v
        encoder.layer.#.mlp.gated_layers encoder.layer.#.mlp.up_gated_layer model.layers.#.residual_mlp.w3
        encoder.layers.#.mlp.dense_h_to_4h transformer.h.#.mlp.c_fc_1 model.layers.#.feed_forward.up_proj
        transformer_encoder.#.ffn.w12 model.layers.#.block_sparse_moe.up model.transformer.blocks.#.up_proj
        backbone.layers.#.mixer.up_proj model.layers.#.mlp.language_mlp.up_proj
        blk.#.ffn_up_exps= layers.#.feed_forward.experts.w3 transformer.decoder_layer.#.moe.linear_v
        transformer.blocks.#.ffn.experts.mlp.v1 model.layers.#.mlp.experts.up_proj
        model.layers.#.block_sparse_moe.experts.w3 model.layers.#.feed_forward.experts.up_proj
        encoder.layers.#.mlp.experts.mlp.w1 model.layers.#.block_sparse_moe.experts.up model.layers.#.moe.up_proj
        blk.#.ffn_up_shexp= model.layers.#.mlp.shared_expert.up_proj model.layers.#.mlp.shared_experts.up_proj
        model.layers.#.feed_forward.shared_expert.up_proj model.layers.#.feed_forward.down_proj
        model.layers.#.mlp.shared_mlp.up_proj layers.#.shared_experts.w3
        backbone.layers.#.mixer.shared_experts.up_proj model.layers.#.block_sparse_moe.shared_experts.up_proj
        model.layers.#.share_expert.up_proj
        blk.#.ffn_gate= model.layers.#.mlp.gate_proj layers.#.mlp.gate_proj layers.#.feed_forward.w1
        transformer.h.#.mlp.w2 transformer.h.#.mlp.c_fc2 model.layers.layers.#.mlp.gate_proj
        model.layers.#.feed_forward.w1 encoder.layers.#.mlp.fc12 encoder.layer.#.mlp.gated_layers_w
        transformer.h.#.mlp.linear_1 model.layers.#.residual_mlp.w1 transformer.h.#.mlp.c_fc_0
        model.layers.#.feed_forward.gate_proj model.transformer.blocks.#.ff_proj
        model.layers.#.mlp.language_mlp.gate_proj
        blk.#.ffn_gate_exps= layers.#.feed_forward.experts.w1 transformer.decoder_layer.#.moe.linear
        transformer.blocks.#.ffn.experts.mlp.w1 model.layers.#.mlp.experts.gate_proj
        model.layers.#.block_sparse_moe.experts.w1 model.layers.#.feed_forward.experts.gate_proj
        model.layers.#.block_sparse_moe.experts.gate model.layers.#.moe.gate_proj
        blk.#.ffn_gate_shexp= model.layers.#.mlp.shared_expert.gate_proj model.layers.#.mlp.shared_experts.gate_proj
        model.layers.#.feed_forward.shared_expert.gate_proj model.layers.#.mlp.shared_mlp.gate_proj
        layers.#.shared_experts.w1 model.layers.#.block_sparse_moe.shared_experts.gate_proj
        model.layers.#.share_expert.gate_proj
        blk.#.ffn_down= gpt_neox.layers.#.mlp.dense_4h_to_h transformer.h.#.mlp.c_proj
        transformer.blocks.#.ffn.down_proj transformer.h.#.mlp.dense_4h_to_h h.#.mlp.dense_4h_to_h
        model.layers.#.mlp.down_proj layers.#.mlp.down_proj layers.#.feed_forward.w2 encoder.layer.#.output.dense
        layers.#.mlp.Wo transformer.layer.#.ffn.lin2 transformer.h.#.mlp.fc_out model.layers.#.mlp.dense_4h_to_h
        h.#.mlp.c_proj transformer.h.#.mlp.fc2 model.layers.#.mlp.fc2 model.layers.layers.#.mlp.down_proj
        model.layers.#.feed_forward.w2 encoder.layers.#.mlp.fc2 model.layers.#.mlp.c_proj encoder.layer.#.mlp.wo
        transformer.layers.#.ffn.proj_2 model.layers.#.residual_mlp.w2 encoder.layer.#.mlp.down_layer
        encoder.layers.#.mlp.dense_4h_to_h model.layers.h.#.mlp.c_proj model.layers.#.feed_forward.down_proj
        transformer_encoder.#.ffn.w3 model.layers.#.block_sparse_moe.down model.transformer.blocks.#.ff_out
        backbone.layers.#.mixer.down_proj model.layers.#.mlp.language_mlp.down_proj
        blk.#.ffn_down_exps= layers.#.feed_forward.experts.w2 transformer.decoder_layer.#.moe.linear_1
        transformer.blocks.#.ffn.experts.mlp.w2 model.layers.#.mlp.experts.down_proj
        model.layers.#.block_sparse_moe.output_linear model.layers.#.block_sparse_moe.experts.w2
        model.layers.#.feed_forward.experts.down_proj encoder.layers.#.mlp.experts.mlp.w2
        model.layers.#.block_sparse_moe.experts.down model.layers.#.moe.down_proj model.layers.#.experts.down_proj
        blk.#.ffn_down_shexp= model.layers.#.mlp.shared_expert.down_proj model.layers.#.mlp.shared_experts.down_proj
        model.layers.#.feed_forward.shared_expert.down_proj model.layers.#.shared_mlp.output_linear
        model.layers.#.mlp.shared_mlp.down_proj layers.#.shared_experts.w2
        backbone.layers.#.mixer.shared_experts.down_proj model.layers.#.block_sparse_moe.shared_experts.down_proj
        model.layers.#.share_expert.down_proj
        blk.#.attn_q_norm= encoder.layers.#.self_attention.q_layernorm model.layers.#.self_attn.q_layernorm
        model.layers.#.self_attn.query_layernorm model.layers.#.attention.query_layernorm
        model.layers.#.self_attn.q_norm layers.#.self_attn.q_norm transformer.blocks.#.attn.q_ln
        encoder.layer.#.attention.self.layer_norm_q transformer.layers.#.attn.q_norm model.layers.layers.#.mixer.q
        model.layers.layers.#.mixer.q_norm
        blk.#.attn_k_norm= encoder.layers.#.self_attention.k_layernorm model.layers.#.self_attn.k_layernorm
        model.layers.#.self_attn.key_layernorm model.layers.#.attention.key_layernorm model.layers.#.self_attn.k_norm
        layers.#.self_attn.k_norm transformer.blocks.#.attn.k_ln encoder.layer.#.attention.self.layer_norm_k
        transformer.layers.#.attn.k_norm model.layers.layers.#.mixer.k model.layers.layers.#.mixer.k_norm
        rope_freqs= encoder.layers.#.self_attention.rotary_emb.inv_freq
        blk.#.layer_output_norm= encoder.layer.#.output.LayerNorm transformer.layer.#.output_layer_norm
        encoder.layers.#.norm2 transformer.decoder_layer.#.rms_norm_3 encoder.layer.#.mlp.layernorm
        encoder.layer.#.layer_norm_2 model.layers.#.final_layernorm
        cls= classifier classifier.dense pre_classifier dense head.dense
        cls.output= classifier.out_proj
        """

    /// The tensors of each architecture, by their places in `tensorText`.
    static let architectureText = """
        llama= 0 4 5 6 9 12 13 14 15 18 19 22 24 25 27 28 30 31 35
        qwen2= 0 4 5 6 9 12 13 14 15 19 24 27 30 35
        qwen2moe= 0 4 5 9 12 13 14 15 19 22 23 25 26 28 29 31 32
        qwen3= 0 4 5 6 9 12 13 14 15 19 24 27 30 33 34 35
        qwen3moe= 0 4 5 9 12 13 14 15 19 22 25 28 31 33 34
        gemma= 0 5 9 12 13 14 15 19 24 27 30
        gemma2= 0 5 9 12 13 14 15 17 20 21 24 27 30
        gemma3= 0 4 5 9 12 13 14 15 17 20 21 24 27 30 33 34
        phi2= 0 4 5 9 11 12 13 14 15 19 24 30
        phi3= 0 4 5 7 8 9 11 12 13 14 15 19 24 30
        gpt2= 0 3 4 5 9 11 15 19 24 30
        falcon= 0 4 5 9 10 11 15 24 30
        gptneox= 0 4 5 9 11 15 19 24 30
        starcoder2= 0 4 5 6 9 12 13 14 15 18 19 24 30 35
        command-r= 0 5 9 12 13 14 15 24 27 30 33 34
        olmo= 0 4 12 13 14 15 24 27 30
        olmo2= 0 4 5 12 13 14 15 17 21 24 27 30 33 34
        stablelm= 0 4 5 6 9 12 13 14 15 19 24 27 30 33 34 35
        bert= 0 1 2 3 5 11 12 13 14 15 16 24 30 36 37 38
        """
}
