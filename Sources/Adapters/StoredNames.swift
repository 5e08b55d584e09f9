/// Made by Tests/Golden/renames.py from transformers 5.23.0; do not edit.
///
/// How names of parameters in checkpoints become those in memory. A pair replaces the first run of whole parts that is
/// equal to its left side; one with ^ only a run at the start. The pairs of a row are used in order, each once. A class
/// with a row of its own (its name is among the types) takes that instead of its model type's.
enum StoredNames {
    static let rows: [(types: String, pairs: String)] = [
        (
            types: """
            AudioFlamingo3Model chinese_clip_vision_model clip_vision_model colpali colqwen2 FuyuModel Gemma3Model
            GlmAsrModel GotOcr2Model GraniteSpeechModel GraniteSpeechPlusModel InternVLModel LlavaModel LlavaNextModel
            LlavaNextVideoModel LlavaOnevisionModel Mistral3Model MusicFlamingoModel PaliGemmaModel Qwen2_5_VLModel
            Qwen2AudioModel Qwen2VLModel siglip2_vision_model siglip_vision_model VibeVoiceAsrModel VideoLlavaModel
            VipLlavaModel VoxtralModel VoxtralRealtimeModel
            """,
            pairs: """
            vision_model= model=
            """
        ),
        (
            types: """
            chinese_clip clip clipseg colmodernvbert deepseek_vl deepseek_vl_hybrid metaclip_2 modernvbert sam3 siglip
            siglip2
            """,
            pairs: """
            vision_model.vision_model=vision_model text_model.text_model=text_model
            """
        ),
        (
            types: """
            gemma3 got_ocr2 internvl llava llava_next llava_next_video llava_onevision mistral3 paligemma vipllava
            """,
            pairs: """
            ^vision_tower=model.vision_tower vision_model= language_model.model=model.language_model
            ^multi_modal_projector=model.multi_modal_projector ^language_model= ^image_newline=model.image_newline
            """
        ),
        (
            types: """
            audio-spectrogram-transformer beit deit ijepa vit vit_mae ViTMSNModel vivit
            """,
            pairs: """
            encoder.layer=layers decoder_encoder.layer=decoder_layers intermediate.dense=mlp.fc1
            attention.value=v_proj attention.query=q_proj attention.key=k_proj attention.output.dense=attention.o_proj
            output.dense=mlp.fc2
            """
        ),
        (
            types: """
            audioflamingo3 glmasr musicflamingo qwen2_audio voxtral voxtral_realtime
            """,
            pairs: """
            language_model.model=model.language_model ^audio_tower=model.audio_tower
            ^multi_modal_projector=model.multi_modal_projector ^language_model=
            """
        ),
        (
            types: """
            depth_anything depth_pro dinov2 dinov2_with_registers prompt_depth_anything
            """,
            pairs: """
            output.dense=o_proj attention.value=v_proj attention.query=q_proj attention.key=k_proj
            """
        ),
        (
            types: """
            maskformer pp_doclayout_v2 pp_doclayout_v3 rt_detr rt_detr_v2
            """,
            pairs: """
            encoder.encoder=encoder.aifi out_proj=o_proj 0.fc2=0.mlp.fc2 0.fc1=0.mlp.fc1 5.fc2=5.mlp.fc2
            5.fc1=5.mlp.fc1 2.fc2=2.mlp.fc2 2.fc1=2.mlp.fc1 1.fc2=1.mlp.fc2 1.fc1=1.mlp.fc1
            """
        ),
        (
            types: """
            exaone_moe minimax MiniMaxM3VLModel mixtral
            """,
            pairs: """
            block_sparse_moe=mlp mlp.e_score_correction_bias=mlp.gate.e_score_correction_bias
            """
        ),
        (
            types: """
            gemma3n_text qwen3_5_moe_text qwen3_5_text qwen4_exp_text
            """,
            pairs: """
            language_model=
            """
        ),
        (
            types: """
            pe_audio_video pe_audio_video_encoder pe_video pe_video_encoder
            """,
            pairs: """
            vision_model.blocks=vision_model.timm_model.blocks
            vision_model.attn_pool=vision_model.timm_model.attn_pool
            vision_model.norm_pre=vision_model.timm_model.norm_pre vision_model.norm=vision_model.timm_model.norm
            vision_model.head=vision_model.timm_model.head vision_model.pos_embed=vision_model.timm_model.pos_embed
            vision_model.patch_embed=vision_model.timm_model.patch_embed
            vision_model.cls_token=vision_model.timm_model.cls_token
            """
        ),
        (
            types: """
            qwen2_5_omni_thinker qwen2_5_vl qwen2_vl qwen3_omni_moe_thinker
            """,
            pairs: """
            thinker.model.thinker=model ^audio_tower=model.audio_tower ^visual=model.visual
            model.layers=model.language_model.layers thinker= model.norm=model.language_model.norm
            model.embed_tokens=model.language_model.embed_tokens
            """
        ),
        (
            types: """
            AriaModel MllamaModel PaddleOCRVLModel
            """,
            pairs: """
            model= experts.fc2.weight=experts.down_proj experts.fc1.weight=experts.gate_up_proj
            """
        ),
        (
            types: """
            granitemoe granitemoehybrid granitemoeshared
            """,
            pairs: """
            block_sparse_moe.output_linear.weight=block_sparse_moe.experts.down_proj
            block_sparse_moe.input_linear.weight=block_sparse_moe.experts.gate_up_proj layer=
            """
        ),
        (
            types: """
            mask2former oneformer swin
            """,
            pairs: """
            encoder.encoder=encoder.swin.encoder intermediate.dense=mlp.fc1 self.value=v_proj self.query=q_proj
            self.key=k_proj attention.output.dense=attention.o_proj output.dense=mlp.fc2 self=relative_position_bias
            encoder.embeddings=encoder.swin.embeddings
            """
        ),
        (
            types: """
            Qwen2_5OmniThinkerModel Qwen3OmniMoeThinkerModel
            """,
            pairs: """
            thinker=
            """
        ),
        (
            types: """
            aria aria_text
            """,
            pairs: """
            language_model.model=model.language_model ^vision_tower=model.vision_tower
            ^multi_modal_projector=model.multi_modal_projector experts.fc2.weight=experts.down_proj
            experts.fc1.weight=experts.gate_up_proj ^language_model=
            """
        ),
        (
            types: """
            clip_text_model omdet-turbo
            """,
            pairs: """
            text_model=
            """
        ),
        (
            types: """
            cohere2_vision lfm2_vl
            """,
            pairs: """
            vision_model=
            """
        ),
        (
            types: """
            csm kyutai_speech_to_text
            """,
            pairs: """
            codec_model.encoder_transformer=codec_model.encoder.encoder_transformer
            codec_model.decoder_transformer=codec_model.decoder.decoder_transformer
            encoder.layers=encoder.encoder_seanet.layers decoder.layers=decoder.decoder_seanet.layers
            codec_model.upsample=codec_model.decoder.upsample codec_model.downsample=codec_model.encoder.downsample
            """
        ),
        (
            types: """
            deformable_detr detr
            """,
            pairs: """
            conv_encoder= out_proj=o_proj 1.fc2=1.mlp.fc2 1.fc1=1.mlp.fc1 0.fc2=0.mlp.fc2 0.fc1=0.mlp.fc1
            lay5=fpn_stages.2.refine.conv lay4=fpn_stages.1.refine.conv lay3=fpn_stages.0.refine.conv
            gn5=fpn_stages.2.refine.norm gn4=fpn_stages.1.refine.norm gn3=fpn_stages.0.refine.norm
            adapter3=fpn_stages.2.fpn_adapter adapter2=fpn_stages.1.fpn_adapter adapter1=fpn_stages.0.fpn_adapter
            lay2=conv2.conv lay1=conv1.conv gn2=conv2.norm gn1=conv1.norm q_linear=q_proj out_lay=output_conv
            k_linear=k_proj 5.fc2=5.mlp.fc2 5.fc1=5.mlp.fc1 2.fc2=2.mlp.fc2 2.fc1=2.mlp.fc1
            """
        ),
        (
            types: """
            edgetam edgetam_vision_model
            """,
            pairs: """
            backbone.layer1=backbone.timm_model.layer1 backbone.layer3=backbone.timm_model.layer3
            backbone.layer2=backbone.timm_model.layer2 backbone.bn1=backbone.timm_model.bn1
            backbone.conv1=backbone.timm_model.conv1
            """
        ),
        (
            types: """
            glm5_next glm5_next_text
            """,
            pairs: """
            hc_ffn_scale=ffn_hc.scale hc_ffn_fn=ffn_hc.fn hc_ffn_base=ffn_hc.base hc_attn_scale=attn_hc.scale
            hc_attn_fn=attn_hc.fn hc_attn_base=attn_hc.base self_attn.f_b_proj=self_attn.forget_gate.f_b_proj
            self_attn.f_a_proj=self_attn.forget_gate.f_a_proj self_attn.dt_bias=self_attn.forget_gate.dt_bias
            self_attn.A_log=self_attn.forget_gate.A_log
            """
        ),
        (
            types: """
            granite_speech granite_speech_plus
            """,
            pairs: """
            ^encoder=model.encoder ^projector=model.projector language_model.model=model.language_model
            ^language_model=
            """
        ),
        (
            types: """
            grounding-dino mm-grounding-dino
            """,
            pairs: """
            conv_encoder.model.encoder=conv_encoder.model.swin.encoder blocks.1.output.dense=blocks.1.mlp.fc2
            blocks.1.intermediate.dense=blocks.1.mlp.fc1 blocks.0.output.dense=blocks.0.mlp.fc2
            blocks.0.intermediate.dense=blocks.0.mlp.fc1 blocks.1.attention.self.value=blocks.1.attention.v_proj
            blocks.1.attention.self.query=blocks.1.attention.q_proj
            blocks.1.attention.self.key=blocks.1.attention.k_proj
            blocks.1.attention.output.dense=blocks.1.attention.o_proj
            blocks.0.attention.self.value=blocks.0.attention.v_proj
            blocks.0.attention.self.query=blocks.0.attention.q_proj
            blocks.0.attention.self.key=blocks.0.attention.k_proj
            blocks.0.attention.output.dense=blocks.0.attention.o_proj
            self.relative_position_bias_table=relative_position_bias.relative_position_bias_table
            model.embeddings=model.swin.embeddings
            """
        ),
        (
            types: """
            hrm_text tipsv2_text_model
            """,
            pairs: """
            transformer.resblocks=encoder.layers text_encoder= ln_2=layer_norm2 ln_1=layer_norm1 c_proj=fc2 c_fc=fc1
            attn=self_attn ln_final=final_layer_norm ^token_embedding=embeddings.token_embedding
            """
        ),
        (
            types: """
            kimi_linear minimax_m2
            """,
            pairs: """
            block_sparse_moe=mlp self_attn.f_b_proj=self_attn.forget_gate.f_b_proj
            self_attn.f_a_proj=self_attn.forget_gate.f_a_proj self_attn.dt_bias=self_attn.forget_gate.dt_bias
            self_attn.A_log=self_attn.forget_gate.A_log
            """
        ),
        (
            types: """
            lfm3 lfm3_vl
            """,
            pairs: """
            q_layernorm=q_norm k_layernorm=k_norm gate_proj=g_proj patchifier=patch_embed
            """
        ),
        (
            types: """
            molmo2 molmo2_text
            """,
            pairs: """
            vision_backbone.image_vit.transformer.resblocks=vision_tower.layers
            transformer.blocks=language_model.layers
            vision_backbone.image_pooling_2d=multi_modal_projector.image_pooling_2d feed_forward.w2=mlp.fc2
            feed_forward.w1=mlp.fc1 attention.wv=self_attn.v_proj attention.wq=self_attn.q_proj
            attention.wo=self_attn.o_proj attention.wk=self_attn.k_proj vision_backbone.image_vit=vision_tower
            ffn_norm=layer_norm2 attention_norm=layer_norm1 vision_backbone=multi_modal_projector wv=v_proj wq=q_proj
            wo=o_proj wk=k_proj ff_out=down_proj ff_norm=post_attention_layernorm attn_out=o_proj
            attn_norm=input_layernorm transformer.ln_f=language_model.norm w3=up_proj w2=down_proj w1=gate_proj
            """
        ),
        (
            types: """
            nemotron_h_omni radio
            """,
            pairs: """
            radio_model.model.blocks=encoder.layer backbone=model attn.proj=attention.o_proj radio_model=
            model.patch_generator.cls_token.token=embeddings.cls_register_token
            model.patch_generator.video_embedder=embeddings.video_patch_projection
            model.patch_generator.pos_embed=embeddings.position_embedding
            model.patch_generator.embedder=embeddings.patch_projection mlp1.3=multi_modal_projector.linear_2
            mlp1.1=multi_modal_projector.linear_1 mlp1.0=multi_modal_projector.layer_norm
            """
        ),
        (
            types: """
            sam3_tracker sam3_tracker_video
            """,
            pairs: """
            tracker_model= detector_model= tracker_neck=vision_encoder.neck
            """
        ),
        (
            types: """
            BeitBackbone
            """,
            pairs: """
            encoder.layer=beit.layers intermediate.dense=mlp.fc1 attention.value=v_proj attention.query=q_proj
            attention.output.dense=attention.o_proj output.dense=mlp.fc2 attention.key=k_proj
            ^embeddings=beit.embeddings
            """
        ),
        (
            types: """
            Dots3NoteModel
            """,
            pairs: """
            audio_encoder.dots_encoder.speech_encoder=audio_tower vision_encoder=vision_tower model=
            ^layers=language_model.layers vision_tower.adapter=vision_tower.merger
            audio_adapter.proj.3=audio_tower.adapter.fc2 audio_adapter.proj.1=audio_tower.adapter.fc1
            audio_adapter.proj.0=audio_tower.adapter.norm out_proj=o_proj conv2d3=conv_stem.convs.2
            conv2d2=conv_stem.convs.1 conv2d1=conv_stem.convs.0 gate_weight=gate.weight
            layers.1.fc2=layers.1.mlp.down_proj layers.1.fc1=layers.1.mlp.gate_up_proj
            layers.0.fc2=layers.0.mlp.down_proj layers.0.fc1=layers.0.mlp.gate_up_proj
            self_attn_layer_norm=input_layernorm router_bias=e_score_correction_bias norm_2=norm2 norm_1=norm1
            final_layer_norm=post_attention_layernorm mlp.fc3=mlp.up_proj mlp.fc2=mlp.down_proj mlp.fc1=mlp.gate_proj
            post_trunk_norm=norm 31.fc2=31.mlp.down_proj 30.fc2=30.mlp.down_proj layers.5.fc2=layers.5.mlp.down_proj
            layers.4.fc2=layers.4.mlp.down_proj layers.3.fc2=layers.3.mlp.down_proj
            layers.3.fc1=layers.3.mlp.gate_up_proj layers.2.fc2=layers.2.mlp.down_proj
            layers.2.fc1=layers.2.mlp.gate_up_proj ^norm=language_model.norm ^embed_tokens=language_model.embed_tokens
            audio_tower.conv_out=audio_tower.conv_stem.conv_out 31.fc1=31.mlp.gate_up_proj 30.fc1=30.mlp.gate_up_proj
            layers.5.fc1=layers.5.mlp.gate_up_proj layers.4.fc1=layers.4.mlp.gate_up_proj
            """
        ),
        (
            types: """
            RfDetrForObjectDetection
            """,
            pairs: """
            backbone.0.encoder.encoder=model.backbone.backbone transformer=model
            backbone.0.projector.stages.0.0.m=model.backbone.projector.projector_layer.bottlenecks cv2.bn=conv2.norm
            backbone.0.projector.stages.0.0=model.backbone.projector.projector_layer cv1.bn=conv1.norm
            output.dense=o_proj linear2=mlp.fc2 linear1=mlp.fc1 attention.value=v_proj attention.query=q_proj
            attention.key=k_proj out_proj=o_proj norm3=layer_norm cv2=conv2 cv1=conv1
            backbone.0.projector.stages.0.1=model.backbone.projector.layer_norm decoder.norm=decoder.layernorm
            refpoint_embed=model.reference_point_embed layers.2.norm2=layers.2.cross_attn_layer_norm
            layers.2.norm1=layers.2.self_attn_layer_norm layers.1.norm2=layers.1.cross_attn_layer_norm
            layers.1.norm1=layers.1.self_attn_layer_norm layers.0.norm2=layers.0.cross_attn_layer_norm
            layers.0.norm1=layers.0.self_attn_layer_norm ^query_feat=model.query_feat
            """
        ),
        (
            types: """
            RfDetrModel
            """,
            pairs: """
            0.encoder.encoder=backbone 0.projector.stages.0.0.m=projector.projector_layer.bottlenecks transformer=
            cv2.bn=conv2.norm cv1.bn=conv1.norm 0.projector.stages.0.0=projector.projector_layer output.dense=o_proj
            linear2=mlp.fc2 linear1=mlp.fc1 attention.value=v_proj attention.query=q_proj attention.key=k_proj
            out_proj=o_proj norm3=layer_norm cv2=conv2 cv1=conv1 stages.0.1=layer_norm decoder.norm=decoder.layernorm
            refpoint_embed=reference_point_embed layers.2.norm2=layers.2.cross_attn_layer_norm
            layers.2.norm1=layers.2.self_attn_layer_norm layers.1.norm2=layers.1.cross_attn_layer_norm
            layers.1.norm1=layers.1.self_attn_layer_norm layers.0.norm2=layers.0.cross_attn_layer_norm
            layers.0.norm1=layers.0.self_attn_layer_norm backbone.0=backbone
            """
        ),
        (
            types: """
            Step3p7Model
            """,
            pairs: """
            transformer.resblocks=layers moe.down_proj.weight=mlp.experts.down_proj share_expert=mlp.shared_experts
            moe.router_bias=mlp.gate.e_score_correction_bias ln_2=layernorm_after ln_1=layernorm_before c_proj=fc2
            c_fc=fc1 attn=self_attn ls_2.gamma=lambda_2 ls_1.gamma=lambda_1 vit_downsampler2=downsampler2
            vit_downsampler1=downsampler1 moe=mlp ln_pre=pre_layernorm
            positional_embedding=embeddings.position_embedding.weight conv1=embeddings.patch_embedding
            """
        ),
        (
            types: """
            SwinBackbone
            """,
            pairs: """
            ^encoder=swin.encoder intermediate.dense=mlp.fc1 self.value=v_proj self.query=q_proj self.key=k_proj
            attention.output.dense=attention.o_proj output.dense=mlp.fc2 self=relative_position_bias
            ^embeddings=swin.embeddings
            """
        ),
        (
            types: """
            altclip
            """,
            pairs: """
            layer=layers vision_model.vision_model=vision_model
            """
        ),
        (
            types: """
            axk1
            """,
            pairs: """
            60.post_mlp_layernorm=60.mlp.post_mlp_layernorm 6.post_mlp_layernorm=6.mlp.post_mlp_layernorm
            59.post_mlp_layernorm=59.mlp.post_mlp_layernorm 5.post_mlp_layernorm=5.mlp.post_mlp_layernorm
            4.post_mlp_layernorm=4.mlp.post_mlp_layernorm 3.post_mlp_layernorm=3.mlp.post_mlp_layernorm
            2.post_mlp_layernorm=2.mlp.post_mlp_layernorm 1.post_mlp_layernorm=1.mlp.post_mlp_layernorm
            """
        ),
        (
            types: """
            axk2
            """,
            pairs: """
            W_up=mlp.fc2 W_down=mlp.fc1 q_b_proj=q_gate_proj
            """
        ),
        (
            types: """
            bailing_hybrid
            """,
            pairs: """
            attention=self_attn expert_bias=e_score_correction_bias dense=o_proj
            self_attn.f_proj=self_attn.forget_gate.f_proj self_attn.dt_bias=self_attn.forget_gate.dt_bias
            self_attn.A_log=self_attn.forget_gate.A_log word_embeddings=embed_tokens
            """
        ),
        (
            types: """
            chmv2
            """,
            pairs: """
            backbone.layer=backbone.model.layer
            """
        ),
        (
            types: """
            cohere_asr
            """,
            pairs: """
            transf_decoder._decoder=decoder batch_norm=norm third_sub_layer.dense_out=mlp.fc2
            third_sub_layer.dense_in=mlp.fc1 second_sub_layer.value_net=encoder_attn.v_proj
            second_sub_layer.query_net=encoder_attn.q_proj second_sub_layer.out_projection=encoder_attn.o_proj
            second_sub_layer.key_net=encoder_attn.k_proj pre_encode.conv=subsampling.layers
            first_sub_layer.value_net=self_attn.v_proj first_sub_layer.query_net=self_attn.q_proj
            first_sub_layer.out_projection=self_attn.o_proj first_sub_layer.key_net=self_attn.k_proj
            transf_decoder._embedding.layer_norm=decoder.embedding_layernorm linear_v=v_proj linear_q=q_proj
            linear_out=o_proj linear_k=k_proj layer_norm_3=final_layernorm layer_norm_2=post_attention_layernorm
            layer_norm_1=input_layernorm pre_encode.out=subsampling.linear
            transf_decoder._embedding.position_embedding.pos_enc=decoder.pos_emb.weight
            encoder_decoder_proj=decoder.proj transf_decoder._embedding.token_embedding=decoder.embed_tokens
            pos_bias_v=bias_v pos_bias_u=bias_u linear_pos=relative_k_proj final_layer_norm=norm
            log_softmax.mlp.layer0=proj_out
            """
        ),
        (
            types: """
            conditional_detr
            """,
            pairs: """
            conv_encoder= out_proj=o_proj ca_qcontent_proj=encoder_attn.q_content_proj
            ca_kpos_proj=encoder_attn.k_pos_proj ca_kcontent_proj=encoder_attn.k_content_proj
            ca_qpos_sine_proj=encoder_attn.q_pos_sine_proj sa_v_proj=self_attn.v_proj
            sa_qpos_proj=self_attn.q_pos_proj sa_qcontent_proj=self_attn.q_content_proj
            sa_kpos_proj=self_attn.k_pos_proj sa_kcontent_proj=self_attn.k_content_proj ca_v_proj=encoder_attn.v_proj
            ca_qpos_proj=encoder_attn.q_pos_proj 1.fc2=1.mlp.fc2 1.fc1=1.mlp.fc1 0.fc2=0.mlp.fc2 0.fc1=0.mlp.fc1
            5.fc2=5.mlp.fc2 5.fc1=5.mlp.fc1 2.fc2=2.mlp.fc2 2.fc1=2.mlp.fc1
            """
        ),
        (
            types: """
            cosmos3_edge
            """,
            pairs: """
            ^layers=model.language_model.layers up_proj=fc1 to_v=v_proj to_q=q_proj to_k=k_proj down_proj=fc2
            to_out=o_proj ^norm=model.language_model.norm ^embed_tokens=model.language_model.embed_tokens
            """
        ),
        (
            types: """
            cosmos3_omni
            """,
            pairs: """
            ^blocks=model.visual.blocks ^layers=model.language_model.layers
            ^deepstack_merger_list=model.visual.deepstack_merger_list ^merger=model.visual.merger to_v=v_proj
            to_q=q_proj to_out=o_proj to_k=k_proj norm_q=q_norm norm_k=k_norm ^patch_embed=model.visual.patch_embed
            ^pos_embed=model.visual.pos_embed ^norm=model.language_model.norm
            ^embed_tokens=model.language_model.embed_tokens
            """
        ),
        (
            types: """
            d_fine
            """,
            pairs: """
            encoder.encoder=encoder.aifi fc2=mlp.layers.1 fc1=mlp.layers.0 out_proj=o_proj
            """
        ),
        (
            types: """
            deepseek_v4
            """,
            pairs: """
            attn=self_attn ffn=mlp wkv=kv_proj indexer.compressor=compressor.indexer wq_b=q_b_proj wgate=gate_proj
            ape=position_bias hc_ffn_scale=ffn_hc.scale hc_ffn_fn=ffn_hc.fn hc_ffn_base=ffn_hc.base
            hc_attn_scale=attn_hc.scale hc_attn_fn=attn_hc.fn hc_attn_base=attn_hc.base wq_a=q_a_proj wo_b=o_b_proj
            wo_a=o_a_proj q_norm=q_a_norm ffn_norm=post_attention_layernorm bias=e_score_correction_bias
            attn_sink=sinks attn_norm=input_layernorm shared_experts.w3=shared_experts.up_proj
            shared_experts.w2=shared_experts.down_proj shared_experts.w1=shared_experts.gate_proj
            self_attn.norm=self_attn.kv_norm indexer.norm=indexer.kv_norm compressor.norm=compressor.kv_norm
            self_attn.indexer=self_attn.compressor.indexer indexer.weights_proj=indexer.scorer.weights_proj
            hc_head_scale=hc_head.hc_scale hc_head_fn=hc_head.hc_fn hc_head_base=hc_head.hc_base head=lm_head
            embed=embed_tokens
            """
        ),
        (
            types: """
            dinov3_convnext
            """,
            pairs: """
            ^stages=model.stages
            """
        ),
        (
            types: """
            dinov3_vit
            """,
            pairs: """
            ^layer=model.layer
            """
        ),
        (
            types: """
            dots3_note
            """,
            pairs: """
            ^audio_encoder.dots_encoder.speech_encoder=model.audio_tower ^vision_encoder=model.vision_tower
            model.audio_encoder.dots_encoder.speech_encoder=audio_tower model.vision_encoder=vision_tower
            model.layers=model.language_model.layers model.model=model vision_tower.adapter=vision_tower.merger
            audio_adapter.proj.3=audio_tower.adapter.fc2 audio_adapter.proj.1=audio_tower.adapter.fc1
            audio_adapter.proj.0=audio_tower.adapter.norm out_proj=o_proj conv2d3=conv_stem.convs.2
            conv2d2=conv_stem.convs.1 conv2d1=conv_stem.convs.0 audio_encoder=model gate_weight=gate.weight
            layers.1.fc2=layers.1.mlp.down_proj layers.1.fc1=layers.1.mlp.gate_up_proj
            layers.0.fc2=layers.0.mlp.down_proj layers.0.fc1=layers.0.mlp.gate_up_proj
            self_attn_layer_norm=input_layernorm router_bias=e_score_correction_bias norm_2=norm2 norm_1=norm1
            final_layer_norm=post_attention_layernorm mlp.fc3=mlp.up_proj mlp.fc2=mlp.down_proj mlp.fc1=mlp.gate_proj
            post_trunk_norm=norm 31.fc2=31.mlp.down_proj 30.fc2=30.mlp.down_proj layers.5.fc2=layers.5.mlp.down_proj
            layers.4.fc2=layers.4.mlp.down_proj layers.3.fc2=layers.3.mlp.down_proj
            layers.3.fc1=layers.3.mlp.gate_up_proj layers.2.fc2=layers.2.mlp.down_proj
            layers.2.fc1=layers.2.mlp.gate_up_proj model.norm=model.language_model.norm
            model.embed_tokens=model.language_model.embed_tokens audio_tower.conv_out=audio_tower.conv_stem.conv_out
            model.lm_head=lm_head 31.fc1=31.mlp.gate_up_proj 30.fc1=30.mlp.gate_up_proj
            layers.5.fc1=layers.5.mlp.gate_up_proj layers.4.fc1=layers.4.mlp.gate_up_proj
            """
        ),
        (
            types: """
            ernie4_5_moe
            """,
            pairs: """
            mlp.moe_statics=mlp.gate.moe_statics
            """
        ),
        (
            types: """
            ernie4_5_vl_moe
            """,
            pairs: """
            vision_model=vision_tower model.layers=model.language_model.layers ^layers=language_model.layers
            temporal_linear.3=temporal_linear.ln temporal_linear.2=temporal_linear.fc2
            temporal_linear.0=temporal_linear.fc1 spatial_linear.3=spatial_linear.ln
            spatial_linear.2=spatial_linear.fc2 spatial_linear.0=spatial_linear.fc1 ^norm=language_model.norm
            ^embed_tokens=language_model.embed_tokens model.norm=model.language_model.norm
            model.embed_tokens=model.language_model.embed_tokens
            """
        ),
        (
            types: """
            esm
            """,
            pairs: """
            gamma=weight beta=bias
            """
        ),
        (
            types: """
            fast_vlm
            """,
            pairs: """
            vision_tower.stages=vision_tower.timm_model.stages
            vision_tower.final_conv=vision_tower.timm_model.final_conv vision_tower.stem=vision_tower.timm_model.stem
            """
        ),
        (
            types: """
            flint
            """,
            pairs: """
            softmax_offset=sinks
            """
        ),
        (
            types: """
            fuyu
            """,
            pairs: """
            language_model.model=model.language_model ^vision_embed_tokens=model.vision_embed_tokens ^language_model=
            """
        ),
        (
            types: """
            gpt_neox
            """,
            pairs: """
            embed_out=lm_head
            """
        ),
        (
            types: """
            gradium_phonon_tts
            """,
            pairs: """
            flow_lm.flow_net=flow_head flow_lm.transformer=model res_blocks=layers time_embed=timestep_embeddings
            mlp.2=fc2 mlp.0=fc1 adaLN_modulation.1=adaln_proj norm2=post_attention_layernorm norm1=input_layernorm
            in_ln=norm flow_lm.out_norm=model.norm mlp.3.alpha=norm.weight linear2=mlp.fc2 linear1=mlp.fc1
            flow_lm.out_eos=eos_head
            flow_lm.condition_provider.conditioners.transcript_in_segment.embed=model.embed_tokens
            flow_lm.condition_provider.conditioners.speaker_wavs.output_proj=model.audio_prompt_proj
            flow_lm.condition_provider.conditioners.num_speakers.output_proj=model.num_speakers_proj
            flow_lm.condition_provider.conditioners.num_speakers.embed=model.num_speakers_embed
            flow_lm.condition_provider.conditioners.duration_delta.output_proj=model.duration_delta_proj
            out_proj=o_proj linear=proj cond_embed=cond_proj flow_lm.input_linear=model.audio_latent_proj
            flow_lm.bos_emb=model.bos_latent flow_lm.emb_std=latent_std flow_lm.emb_mean=latent_mean
            """
        ),
        (
            types: """
            gte
            """,
            pairs: """
            encoder.layer=layers new= mlp_ln=post_mlp_layernorm attn_ln=post_attention_layernorm attention=self_attn
            norm=layer_norm
            """
        ),
        (
            types: """
            hy_v3
            """,
            pairs: """
            shared_mlp=shared_experts expert_bias=e_score_correction_bias router=
            """
        ),
        (
            types: """
            hy_v4
            """,
            pairs: """
            hc_pre= linear_gate=gate_proj hc_mlp_layer.hc_scale=ffn_hc.scale hc_mlp_layer.hc_fn=ffn_hc.fn
            hc_mlp_layer.hc_base=ffn_hc.base hc_attn_layer.hc_scale=attn_hc.scale hc_attn_layer.hc_fn=attn_hc.fn
            hc_attn_layer.hc_base=attn_hc.base learnable_sink_param=sinks hc_head_scale=hc_scale hc_head_fn=hc_fn
            hc_head_base=hc_base
            """
        ),
        (
            types: """
            hyperclovax_vision_v2
            """,
            pairs: """
            language_model.model=language_model vision_projector=projector model.language_model.lm_head=lm_head
            """
        ),
        (
            types: """
            inkling2
            """,
            pairs: """
            attn=self_attn visual.backbone=vision_tower llm.layers=language_model.layers attn_res.mlp_queries=layers
            mlp_sconv=post_mlp_convolution.conv1d attn_sconv=post_attention_convolution.conv1d static_w=static_weight
            ln_2=layernorm_after ln_1=layernorm_before c_proj=fc2 c_fc=fc1 llm.layers=language_model.layers
            wo_ud=o_proj wk_dv=k_proj w2_weight=down_proj mlp_norm=post_attention_layernorm gate_attn=gate_proj
            ls_2.gamma=lambda_2 ls_1.gamma=lambda_1 gate.bias=gate.e_score_correction_bias
            attn_res.attn_queries.5=layers.6.attention_input.query
            attn_res.attn_queries.46=layers.47.attention_input.query
            attn_res.attn_queries.45=layers.46.attention_input.query
            attn_res.attn_queries.4=layers.5.attention_input.query
            attn_res.attn_queries.3=layers.4.attention_input.query
            attn_res.attn_queries.2=layers.3.attention_input.query llm.layers=language_model.layers
            attn_res.attn_queries.1=layers.2.attention_input.query
            attn_res.attn_queries.0=layers.1.attention_input.query attn_norm=input_layernorm wv_dv=v_proj wr_du=r_proj
            wq_du=q_proj v_input_norm=v_input_layernorm q_input_norm=q_input_layernorm k_input_norm=k_input_layernorm
            attn_sink_proj=sink_proj weight_proj=weight_proj.weight attn_res.output_query=final_input.query
            ln_pre=pre_layernorm embed=embed_tokens visual.proj_out=vision_tower.merger.linear_2
            visual.proj_in=vision_tower.merger.linear_1 k_sconv.weight=k_sconv.conv1d.weight model.llm.unembed=lm_head
            llm=language_model v_sconv.weight=v_sconv.conv1d.weight position_embedding=position_embedding.weight
            embed_norm=embed_tokens.embed_norm
            """
        ),
        (
            types: """
            inkling2_text
            """,
            pairs: """
            attn=self_attn llm= attn_res.mlp_queries=layers mlp_sconv=post_mlp_convolution.conv1d
            attn_sconv=post_attention_convolution.conv1d static_w=static_weight wo_ud=o_proj wk_dv=k_proj
            w2_weight=down_proj mlp_norm=post_attention_layernorm gate_attn=gate_proj bias=e_score_correction_bias
            attn_res.attn_queries.3=layers.4.attention_input.query
            attn_res.attn_queries.2=layers.3.attention_input.query
            attn_res.attn_queries.1=layers.2.attention_input.query
            attn_res.attn_queries.0=layers.1.attention_input.query attn_norm=input_layernorm wv_dv=v_proj wr_du=r_proj
            wq_du=q_proj v_input_norm=v_input_layernorm q_input_norm=q_input_layernorm k_input_norm=k_input_layernorm
            attn_sink_proj=sink_proj weight_proj=weight_proj.weight attn_res.output_query=final_input.query
            embed=embed_tokens k_sconv.weight=k_sconv.conv1d.weight
            attn_res.attn_queries.5=layers.6.attention_input.query
            attn_res.attn_queries.46=layers.47.attention_input.query
            attn_res.attn_queries.45=layers.46.attention_input.query
            attn_res.attn_queries.4=layers.5.attention_input.query v_sconv.weight=v_sconv.conv1d.weight
            model.unembed=lm_head embed_norm=embed_tokens.embed_norm
            """
        ),
        (
            types: """
            inkling_mm_model
            """,
            pairs: """
            attn=self_attn llm.layers=language_model.layers visual=vision_tower
            layers.norm_5=encoder_layers.5.layer_norm layers.norm_4=encoder_layers.4.layer_norm
            layers.norm_3=encoder_layers.3.layer_norm layers.norm_22=encoder_layers.22.layer_norm
            layers.norm_21=encoder_layers.21.layer_norm layers.norm_2=encoder_layers.2.layer_norm
            layers.norm_1=encoder_layers.1.layer_norm layers.norm_0=encoder_layers.0.layer_norm
            layers.linear_5=encoder_layers.5.projection layers.linear_4=encoder_layers.4.projection
            layers.linear_3=encoder_layers.3.projection layers.linear_23=encoder_layers.23.projection
            layers.linear_22=encoder_layers.22.projection layers.linear_2=encoder_layers.2.projection
            layers.linear_1=encoder_layers.1.projection layers.linear_0=encoder_layers.0.projection wv_dv=v_proj
            wr_du=r_proj wq_du=q_proj wo_ud=o_proj wk_dv=k_proj w2_weight=down_proj shared_w2_weight=down_proj
            mlp_norm=post_attention_layernorm bias=e_score_correction_bias attn_norm=input_layernorm
            encoder=embed_audio_tokens.embed_audio_tokens audio=audio_tower model.llm.unembed=lm_head
            llm=language_model audio_tower.final_norm=audio_tower.norm v_sconv.weight=v_sconv.conv1d.weight
            mlp_sconv.weight=mlp_sconv.conv1d.weight k_sconv.weight=k_sconv.conv1d.weight
            attn_sconv.weight=attn_sconv.conv1d.weight embed=embed_tokens
            language_model.embed_norm=language_model.embed_tokens.embed_norm
            """
        ),
        (
            types: """
            jev
            """,
            pairs: """
            ^weight=proj.weight
            """
        ),
        (
            types: """
            jina_embeddings_v3
            """,
            pairs: """
            encoder= mixer.out_proj=self_attn.o_proj norm2=post_mlp_layernorm norm1=post_attention_layernorm
            emb_ln=embeddings.LayerNorm
            """
        ),
        (
            types: """
            kimi_k25
            """,
            pairs: """
            blocks=layers language_model.model=model.language_model vision_tower.encoder=model.vision_tower
            wo=attn.proj norm0=norm1 fc0=fc1 mm_projector.proj.2=model.mm_projector.out_proj
            mm_projector.proj.0=model.mm_projector.in_proj pos_emb.weight=pos_emb.position_embeddings
            language_model.lm_head=lm_head
            """
        ),
        (
            types: """
            kolibri1
            """,
            pairs: """
            moe.router.expert_bias=mlp.gate.e_score_correction_bias post_ffn_norm=post_mlp_layernorm
            post_attn_norm=post_self_attn_layernorm
            """
        ),
        (
            types: """
            laguna
            """,
            pairs: """
            shared_expert=shared_experts experts.e_score_correction_bias=gate.e_score_correction_bias
            """
        ),
        (
            types: """
            lfm3_vl_vision
            """,
            pairs: """
            q_layernorm=q_norm k_layernorm=k_norm patchifier=patch_embed
            """
        ),
        (
            types: """
            lw_detr
            """,
            pairs: """
            attention.value=v_proj attention.query=q_proj output=o_proj attention.key=k_proj
            """
        ),
        (
            types: """
            mimi
            """,
            pairs: """
            ^encoder_transformer=encoder.encoder_transformer ^decoder_transformer=decoder.decoder_transformer
            encoder.layers=encoder.encoder_seanet.layers decoder.layers=decoder.decoder_seanet.layers
            ^upsample=decoder.upsample ^downsample=encoder.downsample
            """
        ),
        (
            types: """
            mimi_decoder
            """,
            pairs: """
            decoder=decoder_seanet
            """
        ),
        (
            types: """
            mimi_encoder
            """,
            pairs: """
            encoder=encoder_seanet
            """
        ),
        (
            types: """
            mimo_v2_flash
            """,
            pairs: """
            attention_sink_bias=sinks
            """
        ),
        (
            types: """
            minimax_m3_vl
            """,
            pairs: """
            vision_tower.vision_model.encoder=model.vision_tower language_model.model=model.language_model
            block_sparse_moe=mlp patch_merge_mlp.linear_2=model.multi_modal_projector.merge_linear_2
            patch_merge_mlp.linear_1=model.multi_modal_projector.merge_linear_1
            vision_tower.vision_model=model.vision_tower ^multi_modal_projector=model.multi_modal_projector
            patch_embedding=proj ^language_model= mlp.e_score_correction_bias=mlp.gate.e_score_correction_bias
            """
        ),
        (
            types: """
            mistral_large4
            """,
            pairs: """
            ^layers=model.language_model.layers vision_encoder=model.vision_tower attention.indexer=self_attn.indexer
            ssmax_scaling.b=softmax_scaling.bias attention.wq=self_attn.q_proj attention.wkv_b=self_attn.kv_b_proj
            attention.kv_a_norm=self_attn.kv_a_layernorm wo=o_proj ssmax_scaling.s=softmax_scaling.scale
            attention.wkv_a_with_mqa=self_attn.kv_a_proj_with_mqa attention.softmax_scaling=self_attn.softmax_scaling
            wv=v_proj shared_experts.w3=mlp.shared_experts.up_proj shared_experts.w2=mlp.shared_experts.down_proj
            shared_experts.w1=mlp.shared_experts.gate_proj feed_forward.w3=feed_forward.up_proj
            feed_forward.w2=feed_forward.down_proj feed_forward.w1=feed_forward.gate_proj 70.experts=70.mlp.experts
            1.experts=1.mlp.experts language_model.layers.0.feed_forward=language_model.layers.0.mlp
            71.experts=71.mlp.experts 5.experts=5.mlp.experts 4.experts=4.mlp.experts 2.experts=2.mlp.experts
            3.experts=3.mlp.experts vision_language_adapter.w_out=model.multi_modal_projector.linear_2
            vision_language_adapter.w_in=model.multi_modal_projector.linear_1
            tok_embeddings=model.language_model.embed_tokens pre_mm_projector_norm=model.multi_modal_projector.norm
            lerope=model.language_model.rotary_emb output=lm_head 6.experts=6.mlp.experts
            ^patch_merger=model.multi_modal_projector.patch_merger ^norm=model.language_model.norm
            language_model.layers.1.ffn_norm=language_model.layers.1.post_attention_layernorm
            language_model.layers.1.attention_norm=language_model.layers.1.input_layernorm
            language_model.layers.1.attention=language_model.layers.1.self_attn
            language_model.layers.0.ffn_norm=language_model.layers.0.post_attention_layernorm
            language_model.layers.0.attention_norm=language_model.layers.0.input_layernorm
            language_model.layers.0.attention=language_model.layers.0.self_attn
            71.ffn_norm=71.post_attention_layernorm 71.attention_norm=71.input_layernorm 71.attention=71.self_attn
            70.ffn_norm=70.post_attention_layernorm 70.attention_norm=70.input_layernorm 70.attention=70.self_attn
            2.gate=2.mlp.gate 1.gate=1.mlp.gate
            language_model.layers.5.ffn_norm=language_model.layers.5.post_attention_layernorm
            language_model.layers.5.attention_norm=language_model.layers.5.input_layernorm
            language_model.layers.5.attention=language_model.layers.5.self_attn
            language_model.layers.4.ffn_norm=language_model.layers.4.post_attention_layernorm
            language_model.layers.4.attention_norm=language_model.layers.4.input_layernorm
            language_model.layers.4.attention=language_model.layers.4.self_attn
            language_model.layers.3.ffn_norm=language_model.layers.3.post_attention_layernorm
            language_model.layers.3.attention_norm=language_model.layers.3.input_layernorm
            language_model.layers.3.attention=language_model.layers.3.self_attn
            language_model.layers.2.ffn_norm=language_model.layers.2.post_attention_layernorm
            language_model.layers.2.attention_norm=language_model.layers.2.input_layernorm
            language_model.layers.2.attention=language_model.layers.2.self_attn 71.gate=71.mlp.gate
            70.gate=70.mlp.gate 6.gate=6.mlp.gate 5.gate=5.mlp.gate 4.gate=4.mlp.gate 3.gate=3.mlp.gate
            """
        ),
        (
            types: """
            mistral_large4_text
            """,
            pairs: """
            attention=self_attn ssmax_scaling.s=softmax_scaling.scale ssmax_scaling.b=softmax_scaling.bias
            ffn_norm=post_attention_layernorm attention_norm=input_layernorm 6.experts=6.mlp.experts feed_forward=mlp
            70.experts=70.mlp.experts 5.experts=5.mlp.experts 3.experts=3.mlp.experts 2.experts=2.mlp.experts
            wq=q_proj wkv_b=kv_b_proj wkv_a_with_mqa=kv_a_proj_with_mqa kv_a_norm=kv_a_layernorm
            1.experts=1.mlp.experts 71.experts=71.mlp.experts 4.experts=4.mlp.experts
            4.shared_experts=4.mlp.shared_experts 3.shared_experts=3.mlp.shared_experts
            2.shared_experts=2.mlp.shared_experts 1.shared_experts=1.mlp.shared_experts
            71.shared_experts=71.mlp.shared_experts 70.shared_experts=70.mlp.shared_experts
            6.shared_experts=6.mlp.shared_experts 5.shared_experts=5.mlp.shared_experts 71.gate=71.mlp.gate
            70.gate=70.mlp.gate 6.gate=6.mlp.gate 5.gate=5.mlp.gate 4.gate=4.mlp.gate 3.gate=3.mlp.gate
            2.gate=2.mlp.gate 1.gate=1.mlp.gate
            """
        ),
        (
            types: """
            mllama
            """,
            pairs: """
            language_model.model=model.language_model ^vision_model=model.vision_model
            ^multi_modal_projector=model.multi_modal_projector ^language_model=
            """
        ),
        (
            types: """
            nemo_speechlm
            """,
            pairs: """
            perception.encoder=model.audio_tower ctc_timestamp.decoder.transformer=model.word_timestamp_encoder
            ffn.net.3=mlp.fc2 ffn.net.0=mlp.fc1 attn=self_attn llm.model=model.language_model
            encoder=model.audio_tower norm2=layer_norm2 norm1=layer_norm1 self_attn.out_proj=self_attn.o_proj
            final_norm=layer_norm embed_norm=input_layer_norm pre_encode.proj=embedder.projection _fp32_params=
            ctc_timestamp.decoder.upsample=model.word_timestamp_encoder.upsampler
            sortformer_modules.subpixel_upsample=model.upsampler.conv
            sortformer_modules.single_hidden_to_spks=classifier.out_proj
            sortformer_modules.first_hidden_to_hidden=classifier.dense sortformer_modules.encoder_proj=model.proj
            perception.proj=model.multi_modal_projector ctc_timestamp.decoder.decoder_layers.0=word_timestamp_head
            diar_norm=speaker_norm sortformer_modules.learnable_sil_emb=silence_embeds embed_tokens=embeddings llm=
            language_model.norm=language_model.norm_f
            """
        ),
        (
            types: """
            nemotron_h
            """,
            pairs: """
            backbone=model
            """
        ),
        (
            types: """
            nomic_bert
            """,
            pairs: """
            encoder= norm2=post_mlp_layernorm norm1=post_attention_layernorm attn.out_proj=self_attn.o_proj
            emb_ln=embeddings.LayerNorm fc2=down_proj fc12=gate_proj fc11=up_proj
            """
        ),
        (
            types: """
            olmo_hybrid
            """,
            pairs: """
            feedforward_layer_norm=post_attention_layernorm attention_layer_norm=input_layernorm
            """
        ),
        (
            types: """
            paddleocr_vl
            """,
            pairs: """
            ^visual=model.visual mlp_AR=model.projector model.layers=model.language_model.layers
            model.norm=model.language_model.norm model.embed_tokens=model.language_model.embed_tokens
            """
        ),
        (
            types: """
            phimoe
            """,
            pairs: """
            block_sparse_moe=mlp gate=router
            """
        ),
        (
            types: """
            pi0
            """,
            pairs: """
            paligemma_with_expert.paligemma.model=model.vlm paligemma_with_expert.gemma_expert.model=model.dit
            language_model.model=language_model paligemma_with_expert.gemma_expert.lm_head=model.dit.embed_tokens
            state_proj=embed_action_time.state_proj action_time_mlp_out=embed_action_time.action_time_mlp_out
            action_time_mlp_in=embed_action_time.action_time_mlp_in action_in_proj=embed_action_time.action_in_proj
            """
        ),
        (
            types: """
            pixio
            """,
            pairs: """
            encoder.layer=layers encoder=pixio intermediate.dense=mlp.fc1 attention.value=v_proj
            attention.query=q_proj attention.key=k_proj attention.output.dense=attention.o_proj output.dense=mlp.fc2
            norm2=layernorm_after norm1=layernorm_before
            """
        ),
        (
            types: """
            pp_doclayout_v4
            """,
            pairs: """
            encoder.encoder=encoder.aifi decoder_roor_order_head=decoder.successor_order_head.proj
            decoder_roor_global_pointer=decoder.successor_order_head.global_pointer
            decoder_order_head=decoder.relative_order_head.proj
            decoder_global_pointer=decoder.relative_order_head.global_pointer out_proj=o_proj
            s2r_fusion.a=decoder.relative_order_head.s2r_fusion.closure_weight 0.fc2=0.mlp.fc2 0.fc1=0.mlp.fc1
            5.fc2=5.mlp.fc2 5.fc1=5.mlp.fc1 2.fc2=2.mlp.fc2 2.fc1=2.mlp.fc1 1.fc2=1.mlp.fc2 1.fc1=1.mlp.fc1
            """
        ),
        (
            types: """
            qianfan_ocr
            """,
            pairs: """
            vision_model.encoder=model.vision_tower encoder= language_model.model=model.language_model
            attn.proj=attention.projection_layer norm2=layernorm_after norm1=layernorm_before
            vision_model=model.vision_tower patch_embedding=patch_embeddings.projection ls2=lambda_2 ls1=lambda_1
            mlp1.3=model.multi_modal_projector.linear_2 mlp1.1=model.multi_modal_projector.linear_1
            mlp1.0=model.multi_modal_projector.layer_norm position_embedding=position_embeddings
            class_embedding=cls_token language_model.lm_head=lm_head
            """
        ),
        (
            types: """
            qwen2_5_omni
            """,
            pairs: """
            thinker.thinker.model.thinker=thinker.model thinker.audio_tower=thinker.model.audio_tower
            thinker.visual=thinker.model.visual thinker.model.layers=thinker.model.language_model.layers
            thinker.thinker=thinker thinker.model.norm=thinker.model.language_model.norm
            thinker.model.embed_tokens=thinker.model.language_model.embed_tokens
            """
        ),
        (
            types: """
            rf_detr
            """,
            pairs: """
            backbone.0.encoder.encoder=model.model.backbone.backbone transformer=model.model
            backbone.0.projector.stages.0.0.m=model.model.backbone.projector.projector_layer.bottlenecks
            segmentation_head= cv2.bn=conv2.norm
            backbone.0.projector.stages.0.0=model.model.backbone.projector.projector_layer cv1.bn=conv1.norm
            linear2=mlp.fc2 linear1=mlp.fc1 norm3=layer_norm output.dense=o_proj attention.value=v_proj
            attention.query=q_proj attention.key=k_proj pwconv1=pointwise_conv out_proj=o_proj dwconv=depthwise_conv
            backbone.0.projector.stages.0.1=model.model.backbone.projector.layer_norm cv2=conv2 cv1=conv1
            ^bbox_embed=model.bbox_embed query_features_block.layers.2=query_features_block.mlp.fc2
            query_features_block.layers.0=query_features_block.mlp.fc1 norm_in=norm
            refpoint_embed=model.model.reference_point_embed decoder.norm=decoder.layernorm ^bias=segmentation_bias
            2.norm=2.layernorm 1.norm=1.layernorm 0.norm=0.layernorm ^class_embed=model.class_embed
            ^query_feat=model.model.query_feat layers.2.norm2=layers.2.cross_attn_layer_norm
            layers.2.norm1=layers.2.self_attn_layer_norm layers.1.norm2=layers.1.cross_attn_layer_norm
            layers.1.norm1=layers.1.self_attn_layer_norm layers.0.norm2=layers.0.cross_attn_layer_norm
            layers.0.norm1=layers.0.self_attn_layer_norm
            """
        ),
        (
            types: """
            sam3_video
            """,
            pairs: """
            tracker_model.tracker_model=tracker_model text_model.text_model=text_model
            """
        ),
        (
            types: """
            sapiens2
            """,
            pairs: """
            blocks=model.layer ffn.w3=mlp.down_proj attn.wv=attention.v_proj attn.wq=attention.q_proj
            attn.wk=attention.k_proj attn.proj=attention.o_proj attn.gamma.weight=layer_scale1.lambda1 attn=attention
            patch_embed.projection=embeddings.patch_embeddings ln2=norm2 storage_tokens=embeddings.register_tokens
            ^ln1=norm ln1=norm1 ^cls_token=embeddings.cls_token
            """
        ),
        (
            types: """
            segformer
            """,
            pairs: """
            encoder.block.0=stages.0.blocks self.key=k_proj encoder.block=stages output.dense=o_proj
            self.sr=sequence_reduction.sequence_reduction encoder.patch_embeddings.1=stages.1.patch_embeddings
            encoder.patch_embeddings.0=stages.0.patch_embeddings self.value=v_proj self.query=q_proj
            self=sequence_reduction linear_c=linear_projections layer_norm_2=layernorm_after
            layer_norm_1=layernorm_before dense2=fc2 dense1=fc1 encoder.patch_embeddings.3=stages.3.patch_embeddings
            encoder.patch_embeddings.2=stages.2.patch_embeddings encoder.layer_norm.3=stages.3.layer_norm
            encoder.layer_norm.2=stages.2.layer_norm encoder.layer_norm.1=stages.1.layer_norm
            encoder.layer_norm.0=stages.0.layer_norm 1.1=1.blocks.1 1.0=1.blocks.0 3.1=3.blocks.1 3.0=3.blocks.0
            2.1=2.blocks.1 2.0=2.blocks.0
            """
        ),
        (
            types: """
            shieldgemma2
            """,
            pairs: """
            model.vision_tower.vision_model=model.model.vision_tower language_model.model=language_model
            ^model.language_model=model.model.language_model
            ^model.multi_modal_projector=model.model.multi_modal_projector
            """
        ),
        (
            types: """
            step3p7
            """,
            pairs: """
            vision_model.transformer.resblocks=model.vision_model.layers model.layers=model.language_model.layers
            moe.down_proj.weight=mlp.experts.down_proj share_expert=mlp.shared_experts
            moe.router_bias=mlp.gate.e_score_correction_bias ln_2=layernorm_after ln_1=layernorm_before c_proj=fc2
            c_fc=fc1 attn=self_attn ^vision_model=model.vision_model ls_2.gamma=lambda_2 ls_1.gamma=lambda_1
            vit_downsampler2=downsampler2 vit_downsampler1=downsampler1 moe=mlp ln_pre=pre_layernorm
            positional_embedding=embeddings.position_embedding.weight vit_large_projector=model.multi_modal_projector
            conv1=embeddings.patch_embedding model.norm=model.language_model.norm
            model.embed_tokens=model.language_model.embed_tokens
            """
        ),
        (
            types: """
            t5gemma2
            """,
            pairs: """
            vision_model= ^encoder.layers=encoder.text_model.layers
            model.encoder.layers=model.encoder.text_model.layers encoder.embed_tokens=encoder.text_model.embed_tokens
            encoder.norm=encoder.text_model.norm
            """
        ),
        (
            types: """
            timesfm2_5
            """,
            pairs: """
            ff1=fc2 ff0=fc1
            """
        ),
        (
            types: """
            timm_wrapper
            """,
            pairs: """
            ^layer1=timm_model.layer1 ^layer4=timm_model.layer4 ^layer3=timm_model.layer3 ^layer2=timm_model.layer2
            ^bn1=timm_model.bn1 ^fc=timm_model.fc ^conv1=timm_model.conv1
            """
        ),
        (
            types: """
            tipsv2
            """,
            pairs: """
            vision_encoder.blocks=vision_model.encoder.layer
            text_encoder.transformer.resblocks=text_model.encoder.layers vision_encoder= c_proj=fc2 c_fc=fc1
            attn.proj=attention.o_proj text_encoder=
            patch_embed.proj=vision_model.embeddings.patch_embeddings.projection ln_2=layer_norm2 ln_1=layer_norm1
            attn=self_attn ls2.gamma=layer_scale2.lambda1 ls1.gamma=layer_scale1.lambda1 norm=vision_model.layernorm
            ln_final=text_model.final_layer_norm vision_encoder= pos_embed=vision_model.embeddings.position_embeddings
            text_encoder= ^token_embedding=text_model.embeddings.token_embedding
            ^register_tokens=vision_model.embeddings.register_tokens ^mask_token=vision_model.embeddings.mask_token
            ^cls_token=vision_model.embeddings.cls_token
            """
        ),
        (
            types: """
            tipsv2_dpt
            """,
            pairs: """
            vision_encoder.blocks=backbone.encoder.layer normals_head.reassemble=neck.reassemble_stage
            depth_head.reassemble=neck.reassemble_stage vision_encoder=
            segmentation_head.reassemble=neck.reassemble_stage normals_head.fusion_blocks=neck.fusion_stage.layers
            depth_head.fusion_blocks=neck.fusion_stage.layers segmentation_head.fusion_blocks=neck.fusion_stage.layers
            out_projections=layers resize_layers=layers out_conv=projection
            main_unit.conv2=residual_layer2.convolution2 main_unit.conv1=residual_layer2.convolution1
            attn.proj=attention.o_proj residual_unit.conv2=residual_layer1.convolution2
            residual_unit.conv1=residual_layer1.convolution1
            patch_embed.proj=backbone.embeddings.patch_embeddings.projection c_proj=fc2 c_fc=fc1
            segmentation_head.segmentation_head=decoder.head normals_head.normals_head=decoder.head
            ls2.gamma=layer_scale2.lambda1 ls1.gamma=layer_scale1.lambda1 depth_head.depth_head=decoder.head
            norm=backbone.layernorm segmentation_head.convs=neck.convs normals_head.convs=neck.convs
            depth_head.convs=neck.convs vision_encoder= readout_projects.1.weight=readout_projects.1.layers.0.weight
            readout_projects.1.bias=readout_projects.1.layers.0.bias
            readout_projects.0.weight=readout_projects.0.layers.0.weight
            readout_projects.0.bias=readout_projects.0.layers.0.bias segmentation_head=decoder normals_head=decoder
            depth_head=decoder pos_embed=backbone.embeddings.position_embeddings
            ^register_tokens=backbone.embeddings.register_tokens ^mask_token=backbone.embeddings.mask_token
            ^cls_token=backbone.embeddings.cls_token readout_projects.3.weight=readout_projects.3.layers.0.weight
            readout_projects.3.bias=readout_projects.3.layers.0.bias
            readout_projects.2.weight=readout_projects.2.layers.0.weight
            readout_projects.2.bias=readout_projects.2.layers.0.bias 2.bias=2.projection.bias
            layers.2.weight=layers.2.projection.weight
            """
        ),
        (
            types: """
            tipsv2_vision_model
            """,
            pairs: """
            blocks=encoder.layer vision_encoder= attn.proj=attention.o_proj
            patch_embed.proj=embeddings.patch_embeddings.projection c_proj=fc2 c_fc=fc1 ls2.gamma=layer_scale2.lambda1
            ls1.gamma=layer_scale1.lambda1 norm=layernorm pos_embed=embeddings.position_embeddings
            ^register_tokens=embeddings.register_tokens ^mask_token=embeddings.mask_token
            ^cls_token=embeddings.cls_token
            """
        ),
        (
            types: """
            ultrabert
            """,
            pairs: """
            ultrabert=model ultrabert= model.head=head cls=head.decoder model.qa_outputs=qa_outputs
            model.classifier=classifier
            """
        ),
        (
            types: """
            ultravbert
            """,
            pairs: """
            vision_model.vision_model=vision_model ultrabert= head.decoder=lm_head head=projection_head
            """
        ),
        (
            types: """
            unlimited_ocr
            """,
            pairs: """
            sam_model.blocks=vision_tower.sam_encoder.layers
            vision_model.transformer=vision_tower.vision_encoder.encoder sam_model=vision_tower.sam_encoder
            model.layers=model.language_model.layers ^layers=language_model.layers
            vision_model=vision_tower.vision_encoder norm2=layer_norm2 norm1=layer_norm1
            projector.layers=multi_modal_projector patch_embed.proj=patch_embed.projection net_3=proj.conv2
            net_2=proj.conv1 neck.3=neck.layer_norm2 neck.1=neck.layer_norm1 view_seperator=view_separator
            neck.2=neck.conv2 neck.0=neck.conv1 ^norm=language_model.norm ^embed_tokens=language_model.embed_tokens
            model.norm=model.language_model.norm model.embed_tokens=model.language_model.embed_tokens
            """
        ),
        (
            types: """
            vibevoice_asr
            """,
            pairs: """
            language_model.model=model.language_model ^semantic_tokenizer_encoder=model.semantic_tokenizer_encoder
            ^acoustic_tokenizer_encoder=model.acoustic_tokenizer_encoder
            ^multi_modal_projector=model.multi_modal_projector ^language_model=
            """
        ),
        (
            types: """
            video_llava
            """,
            pairs: """
            vision_model= ^video_tower=model.video_tower ^image_tower=model.image_tower
            language_model.model=model.language_model ^multi_modal_projector=model.multi_modal_projector
            ^language_model=
            """
        ),
        (
            types: """
            videomae
            """,
            pairs: """
            v_bias=value.bias q_bias=query.bias
            """
        ),
        (
            types: """
            vision-encoder-decoder
            """,
            pairs: """
            encoder.encoder.layer=encoder.layers attention.value=v_proj attention.query=q_proj attention.key=k_proj
            layers.2.output.dense=layers.2.mlp.fc2 layers.2.intermediate.dense=layers.2.mlp.fc1
            layers.11.output.dense=layers.11.mlp.fc2 layers.11.intermediate.dense=layers.11.mlp.fc1
            layers.1.output.dense=layers.1.mlp.fc2 layers.1.intermediate.dense=layers.1.mlp.fc1
            layers.0.output.dense=layers.0.mlp.fc2 layers.0.intermediate.dense=layers.0.mlp.fc1
            layers.5.attention.output.dense=layers.5.attention.o_proj
            layers.4.attention.output.dense=layers.4.attention.o_proj
            layers.3.attention.output.dense=layers.3.attention.o_proj
            layers.2.attention.output.dense=layers.2.attention.o_proj
            layers.11.attention.output.dense=layers.11.attention.o_proj
            layers.10.attention.output.dense=layers.10.attention.o_proj
            layers.1.attention.output.dense=layers.1.attention.o_proj
            layers.0.attention.output.dense=layers.0.attention.o_proj
            """
        ),
        (
            types: """
            vision-text-dual-encoder
            """,
            pairs: """
            vision_model.encoder.layer=vision_model.layers attention.value=v_proj attention.query=q_proj
            attention.key=k_proj layers.2.output.dense=layers.2.mlp.fc2 layers.2.intermediate.dense=layers.2.mlp.fc1
            layers.11.output.dense=layers.11.mlp.fc2 layers.11.intermediate.dense=layers.11.mlp.fc1
            layers.1.output.dense=layers.1.mlp.fc2 layers.1.intermediate.dense=layers.1.mlp.fc1
            layers.0.output.dense=layers.0.mlp.fc2 layers.0.intermediate.dense=layers.0.mlp.fc1
            layers.5.attention.output.dense=layers.5.attention.o_proj
            layers.4.attention.output.dense=layers.4.attention.o_proj
            layers.3.attention.output.dense=layers.3.attention.o_proj
            layers.2.attention.output.dense=layers.2.attention.o_proj
            layers.11.attention.output.dense=layers.11.attention.o_proj
            layers.10.attention.output.dense=layers.10.attention.o_proj
            layers.1.attention.output.dense=layers.1.attention.o_proj
            layers.0.attention.output.dense=layers.0.attention.o_proj
            """
        ),
        (
            types: """
            vit_msn
            """,
            pairs: """
            encoder.layer=vit.layers intermediate.dense=mlp.fc1 attention.value=v_proj attention.query=q_proj
            attention.key=k_proj attention.output.dense=attention.o_proj output.dense=mlp.fc2
            """
        ),
        (
            types: """
            yolos
            """,
            pairs: """
            encoder.mid_position_embeddings=encoder.interpolation.mid_position_embeddings
            """
        ),
        (
            types: """
            zoedepth
            """,
            pairs: """
            encoder.layer=beit.layers intermediate.dense=mlp.fc1 attention.value=v_proj attention.query=q_proj
            attention.output.dense=attention.o_proj output.dense=mlp.fc2 attention.key=k_proj attention.attention=
            backbone.embeddings=backbone.beit.embeddings
            """
        ),
    ]
}
