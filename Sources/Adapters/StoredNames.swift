/// Made by Tests/Golden/renames.py from transformers 5.23.0; do not edit.
///
/// How names of parameters in checkpoints become those in memory. A pair replaces the first run of whole parts that is
/// equal to its left side; one with ^ only a run at the start; * is any number, the same on both sides. The pairs of a
/// row are used in order, each once. A class with a row of its own takes that instead of its model type's.
///
/// A row is "types: pairs"; its further lines are indented.
enum StoredNames {
    static let rows: [(types: Substring, pairs: Substring)] = lines.map { row in
        let parts = row.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        return (parts[0], parts.count > 1 ? parts[1] : "")
    }

    /// The rows, each with its lines joined.
    private static var lines: [Substring] {
        var result: [String] = []
        for line in (text + "\n" + more).split(separator: "\n") {
            if line.first == " " { result[result.count - 1] += line } else { result.append(String(line)) }
        }
        return result.map { $0[...] }
    }

    private static let text = """
        AudioFlamingo3Model FuyuModel GlmAsrModel GotOcr2Model GraniteSpeechModel GraniteSpeechPlusModel
          InternVLModel Mistral3Model MllamaModel MusicFlamingoModel Qwen2AudioModel VibeVoiceAsrModel
          VoxtralModel VoxtralRealtimeModel: language_model.model=language_model
        AyaVisionModel colpali Gemma3Model LlavaModel LlavaNextModel LlavaNextVideoModel LlavaOnevisionModel
          PaliGemmaModel VipLlavaModel: vision_tower.vision_model=vision_tower language_model.model=language_model
        aya_vision gemma3 llava llava_next llava_next_video llava_onevision paligemma vipllava:
          ^vision_tower=model.vision_tower ^language_model.model=model.language_model
          vision_tower.vision_model=vision_tower ^multi_modal_projector=model.multi_modal_projector
          ^language_model= ^image_newline=model.image_newline
        audio-spectrogram-transformer deit ijepa vit vit_mae ViTMSNModel vivit: encoder.layer=layers
          decoder_encoder.layer=decoder_layers intermediate.dense=mlp.fc1 *.output.dense=*.mlp.fc2
          output.dense=o_proj attention.value=v_proj attention.query=q_proj attention.key=k_proj
        audioflamingo3 glmasr musicflamingo qwen2_audio voxtral voxtral_realtime:
          ^language_model.model=model.language_model ^audio_tower=model.audio_tower
          ^multi_modal_projector=model.multi_modal_projector ^language_model=
        depth_anything depth_pro dinov2 dinov2_with_registers prompt_depth_anything: output.dense=o_proj
          attention.value=v_proj attention.query=q_proj attention.key=k_proj
        chinese_clip_vision_model clip_vision_model siglip2_vision_model siglip_vision_model: ^vision_model=
        gemma3n_text qwen3_5_moe_text qwen3_5_text qwen4_exp_text: model.language_model=model
        pe_audio_video pe_audio_video_encoder pe_video pe_video_encoder:
          vision_model.blocks=vision_model.timm_model.blocks
          vision_model.attn_pool=vision_model.timm_model.attn_pool
          vision_model.norm_pre=vision_model.timm_model.norm_pre vision_model.norm=vision_model.timm_model.norm
          vision_model.head=vision_model.timm_model.head vision_model.pos_embed=vision_model.timm_model.pos_embed
          vision_model.patch_embed=vision_model.timm_model.patch_embed
          vision_model.cls_token=vision_model.timm_model.cls_token
        pp_doclayout_v2 pp_doclayout_v3 rt_detr rt_detr_v2: encoder.encoder=encoder.aifi out_proj=o_proj
          *.fc2=*.mlp.fc2 *.fc1=*.mlp.fc1
        qwen2_5_omni_thinker qwen2_5_vl qwen2_vl qwen3_omni_moe_thinker: ^audio_tower=model.audio_tower
          ^visual=model.visual model.layers=model.language_model.layers ^thinker=
          model.norm=model.language_model.norm model.embed_tokens=model.language_model.embed_tokens
        PaddleOCRVLModel Qwen2_5_VLModel Qwen2VLModel:
        got_ocr2 internvl mistral3: ^vision_tower=model.vision_tower vision_tower.vision_model=vision_tower
          ^language_model.model=model.language_model ^multi_modal_projector=model.multi_modal_projector
          ^language_model=
        minimax minimax_m2 mixtral: block_sparse_moe=mlp
        Qwen2_5OmniThinkerModel Qwen3OmniMoeThinkerModel: ^thinker=
        cohere2_vision lfm2_vl: vision_tower.vision_model=vision_tower
        csm kyutai_speech_to_text: codec_model.encoder_transformer=codec_model.encoder.encoder_transformer
          codec_model.decoder_transformer=codec_model.decoder.decoder_transformer
          encoder.layers=encoder.encoder_seanet.layers decoder.layers=decoder.decoder_seanet.layers
          codec_model.upsample=codec_model.decoder.upsample codec_model.downsample=codec_model.encoder.downsample
        edgetam edgetam_vision_model: backbone.layer3=backbone.timm_model.layer3
          backbone.layer2=backbone.timm_model.layer2 backbone.layer1=backbone.timm_model.layer1
          backbone.bn1=backbone.timm_model.bn1 backbone.conv1=backbone.timm_model.conv1
        exaone_moe MiniMaxM3VLModel: block_sparse_moe=mlp
          mlp.e_score_correction_bias=mlp.gate.e_score_correction_bias
        glm5_next glm5_next_text: hc_ffn_scale=ffn_hc.scale hc_ffn_fn=ffn_hc.fn hc_ffn_base=ffn_hc.base
          hc_attn_scale=attn_hc.scale hc_attn_fn=attn_hc.fn hc_attn_base=attn_hc.base
          self_attn.f_b_proj=self_attn.forget_gate.f_b_proj self_attn.f_a_proj=self_attn.forget_gate.f_a_proj
          self_attn.dt_bias=self_attn.forget_gate.dt_bias self_attn.A_log=self_attn.forget_gate.A_log
        granite_speech granite_speech_plus: ^encoder=model.encoder ^projector=model.projector
          ^language_model.model=model.language_model ^language_model=
        granitemoe granitemoeshared: output_linear.weight=experts.down_proj
          input_linear.weight=experts.gate_up_proj router.layer=router
        grounding-dino mm-grounding-dino: conv_encoder.model.encoder=conv_encoder.model.swin.encoder
          blocks.*.output.dense=blocks.*.mlp.fc2 blocks.*.intermediate.dense=blocks.*.mlp.fc1
          blocks.*.attention.self.value=blocks.*.attention.v_proj
          blocks.*.attention.self.query=blocks.*.attention.q_proj
          blocks.*.attention.self.key=blocks.*.attention.k_proj
          blocks.*.attention.output.dense=blocks.*.attention.o_proj
          self.relative_position_bias_table=relative_position_bias.relative_position_bias_table
          model.embeddings=model.swin.embeddings
        mask2former oneformer: encoder.encoder=encoder.swin.encoder intermediate.dense=mlp.fc1
          *.output.dense=*.mlp.fc2 self.value=v_proj self.query=q_proj self.key=k_proj output.dense=o_proj
          self=relative_position_bias encoder.embeddings=encoder.swin.embeddings
        sam3_tracker sam3_tracker_video: ^tracker_model= ^detector_model= ^tracker_neck=vision_encoder.neck
        AriaModel: language_model.model=language_model experts.fc2.weight=experts.down_proj
          experts.fc1.weight=experts.gate_up_proj
        BeitBackbone: ^encoder.layer=beit.layers intermediate.dense=mlp.fc1 *.output.dense=*.mlp.fc2
          output.dense=o_proj attention.value=v_proj attention.query=q_proj attention.key=k_proj
          ^embeddings=beit.embeddings
        Dots3NoteModel: audio_encoder.dots_encoder.speech_encoder=audio_tower vision_encoder=vision_tower ^model=
          ^layers=language_model.layers vision_tower.adapter=vision_tower.merger
          layers.*.fc2=layers.*.mlp.down_proj layers.*.fc1=layers.*.mlp.gate_up_proj
          ^audio_adapter.proj.3=audio_tower.adapter.fc2 ^audio_adapter.proj.1=audio_tower.adapter.fc1
          ^audio_adapter.proj.0=audio_tower.adapter.norm out_proj=o_proj conv2d3=conv_stem.convs.2
          conv2d2=conv_stem.convs.1 conv2d1=conv_stem.convs.0 gate_weight=gate.weight
          self_attn_layer_norm=input_layernorm router_bias=e_score_correction_bias norm_2=norm2 norm_1=norm1
          final_layer_norm=post_attention_layernorm mlp.fc3=mlp.up_proj mlp.fc2=mlp.down_proj
          mlp.fc1=mlp.gate_proj post_trunk_norm=norm ^norm=language_model.norm
          ^embed_tokens=language_model.embed_tokens audio_tower.conv_out=audio_tower.conv_stem.conv_out
        Emu3Model: text_model.model=text_model
        RfDetrForObjectDetection: backbone.0.encoder.encoder=model.backbone.backbone ^transformer=model
          backbone.0.projector.stages.0.0.m=model.backbone.projector.projector_layer.bottlenecks cv2.bn=conv2.norm
          backbone.0.projector.stages.0.0=model.backbone.projector.projector_layer cv1.bn=conv1.norm
          output.dense=o_proj attention.value=v_proj attention.query=q_proj attention.key=k_proj linear2=mlp.fc2
          linear1=mlp.fc1 out_proj=o_proj norm3=layer_norm layers.*.norm2=layers.*.cross_attn_layer_norm
          layers.*.norm1=layers.*.self_attn_layer_norm cv2=conv2 cv1=conv1
          backbone.0.projector.stages.0.1=model.backbone.projector.layer_norm decoder.norm=decoder.layernorm
          ^refpoint_embed=model.reference_point_embed ^query_feat=model.query_feat
        RfDetrModel: 0.encoder.encoder=backbone 0.projector.stages.0.0.m=projector.projector_layer.bottlenecks
          ^transformer= cv2.bn=conv2.norm 0.projector.stages.0.0=projector.projector_layer cv1.bn=conv1.norm
          output.dense=o_proj attention.value=v_proj attention.query=q_proj attention.key=k_proj linear2=mlp.fc2
          linear1=mlp.fc1 out_proj=o_proj norm3=layer_norm layers.*.norm2=layers.*.cross_attn_layer_norm
          layers.*.norm1=layers.*.self_attn_layer_norm cv2=conv2 cv1=conv1 stages.0.1=layer_norm
          decoder.norm=decoder.layernorm ^refpoint_embed=reference_point_embed backbone.0=backbone
        Step3p7Model: transformer.resblocks=layers moe.down_proj.weight=mlp.experts.down_proj
          share_expert=mlp.shared_experts moe.router_bias=mlp.gate.e_score_correction_bias ln_2=layernorm_after
          ln_1=layernorm_before c_proj=fc2 c_fc=fc1 attn=self_attn ls_2.gamma=lambda_2 ls_1.gamma=lambda_1
          vit_downsampler2=downsampler2 vit_downsampler1=downsampler1 moe=mlp ln_pre=pre_layernorm
          positional_embedding=embeddings.position_embedding.weight conv1=embeddings.patch_embedding
        SwinBackbone: ^encoder=swin.encoder intermediate.dense=mlp.fc1 *.output.dense=*.mlp.fc2 self.value=v_proj
          self.query=q_proj self.key=k_proj output.dense=o_proj self=relative_position_bias
          ^embeddings=swin.embeddings
        VideoLlavaModel: vision_model.encoder=encoder language_model.model=language_model
          video_tower.vision_model=video_tower image_tower.vision_model=image_tower
        altclip: layer=layers
        aria: ^language_model.model=model.language_model ^vision_tower=model.vision_tower
          ^multi_modal_projector=model.multi_modal_projector experts.fc2.weight=experts.down_proj
          experts.fc1.weight=experts.gate_up_proj ^language_model=
        aria_text: fc2.weight=down_proj fc1.weight=gate_up_proj
        axk1: *.post_mlp_layernorm=*.mlp.post_mlp_layernorm
        axk2: W_up=mlp.fc2 W_down=mlp.fc1 q_b_proj=q_gate_proj
        bailing_hybrid: attention=self_attn expert_bias=e_score_correction_bias dense=o_proj
          self_attn.f_proj=self_attn.forget_gate.f_proj self_attn.dt_bias=self_attn.forget_gate.dt_bias
          self_attn.A_log=self_attn.forget_gate.A_log word_embeddings=embed_tokens
        beit: encoder.layer=layers bn=normalization intermediate.dense=mlp.fc1 *.output.dense=*.mlp.fc2
          output.dense=o_proj attention.value=v_proj attention.query=q_proj psp_modules.*=psp_modules.blocks.*
          ^fpn1.1=fpn.fpn1.normalization bottleneck=psp_bottleneck attention.key=k_proj
          conv.weight=conv.convolution.weight 3.1.normalization=3.conv.normalization
          2.1.normalization=2.conv.normalization 1.1.normalization=1.conv.normalization
          0.1.normalization=0.conv.normalization ^fpn1=fpn.fpn1 fpn1.3=fpn1.conv_transpose2
          fpn1.0=fpn1.conv_transpose1 ^fpn2.0=fpn.fpn2 psp_bottleneck.conv=psp_bottleneck
          fpn_bottleneck.conv=fpn_bottleneck lateral_convs.*.conv=lateral_convs.* fpn_convs.*.conv=fpn_convs.*
          convs.*.conv=convs.* blocks.3.1=blocks.3 blocks.2.1=blocks.2 blocks.1.1=blocks.1 blocks.0.1=blocks.0
        chmv2: backbone.layer=backbone.model.layer
        clip_text_model: ^text_model=
        cohere_asr: transf_decoder._decoder=decoder batch_norm=norm third_sub_layer.dense_out=mlp.fc2
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
        colqwen2: vlm.model=vlm
        conditional_detr: conv_encoder.model=model out_proj=o_proj sa_v_proj=self_attn.v_proj
          sa_qpos_proj=self_attn.q_pos_proj sa_qcontent_proj=self_attn.q_content_proj
          sa_kpos_proj=self_attn.k_pos_proj sa_kcontent_proj=self_attn.k_content_proj
          ca_v_proj=encoder_attn.v_proj ca_qpos_sine_proj=encoder_attn.q_pos_sine_proj
          ca_qcontent_proj=encoder_attn.q_content_proj ca_kpos_proj=encoder_attn.k_pos_proj
          ca_kcontent_proj=encoder_attn.k_content_proj *.fc2=*.mlp.fc2 *.fc1=*.mlp.fc1
          ca_qpos_proj=encoder_attn.q_pos_proj
        cosmos3_edge: ^layers=model.language_model.layers up_proj=fc1 to_v=v_proj to_q=q_proj to_k=k_proj
          down_proj=fc2 to_out=o_proj ^norm=model.language_model.norm
          ^embed_tokens=model.language_model.embed_tokens
        cosmos3_omni: ^blocks=model.visual.blocks ^layers=model.language_model.layers
          ^deepstack_merger_list=model.visual.deepstack_merger_list ^merger=model.visual.merger to_v=v_proj
          to_q=q_proj to_out=o_proj to_k=k_proj norm_q=q_norm norm_k=k_norm ^patch_embed=model.visual.patch_embed
          ^pos_embed=model.visual.pos_embed ^norm=model.language_model.norm
          ^embed_tokens=model.language_model.embed_tokens
        d_fine: encoder.encoder=encoder.aifi fc2=mlp.layers.1 fc1=mlp.layers.0 out_proj=o_proj
        deepseek_ocr2: sam_model.blocks=vision_tower.sam_encoder.layers
          qwen2_model.model.model=vision_tower.vision_encoder sam_model=vision_tower.sam_encoder
          ^layers=language_model.layers model.layers=model.language_model.layers norm2=layer_norm2
          norm1=layer_norm1 projector.layers=multi_modal_projector patch_embed.proj=patch_embed.projection
          qwen2_model.query_768=vision_tower.query_768_resolution
          qwen2_model.query_1024=vision_tower.query_1024_resolution neck.3=neck.layer_norm2
          neck.1=neck.layer_norm1 net_3=proj.conv2 net_2=proj.conv1 view_seperator=view_separator
          neck.2=neck.conv2 neck.0=neck.conv1 ^norm=language_model.norm ^embed_tokens=language_model.embed_tokens
          model.norm=model.language_model.norm model.embed_tokens=model.language_model.embed_tokens
        deepseek_v4: attn=self_attn ffn=mlp wkv=kv_proj indexer.compressor=compressor.indexer wq_b=q_b_proj
          wgate=gate_proj ape=position_bias hc_ffn_scale=ffn_hc.scale hc_ffn_fn=ffn_hc.fn hc_ffn_base=ffn_hc.base
          hc_attn_scale=attn_hc.scale hc_attn_fn=attn_hc.fn hc_attn_base=attn_hc.base wq_a=q_a_proj wo_b=o_b_proj
          wo_a=o_a_proj q_norm=q_a_norm ffn_norm=post_attention_layernorm attn_sink=sinks
          attn_norm=input_layernorm shared_experts.w3=shared_experts.up_proj
          shared_experts.w2=shared_experts.down_proj shared_experts.w1=shared_experts.gate_proj
          self_attn.norm=self_attn.kv_norm indexer.norm=indexer.kv_norm gate.bias=gate.e_score_correction_bias
          compressor.norm=compressor.kv_norm self_attn.indexer=self_attn.compressor.indexer
          indexer.weights_proj=indexer.scorer.weights_proj ^hc_head_scale=hc_head.hc_scale
          ^hc_head_fn=hc_head.hc_fn ^hc_head_base=hc_head.hc_base ^head=lm_head ^embed=embed_tokens
        deformable_detr: conv_encoder.model=model out_proj=o_proj *.fc2=*.mlp.fc2 *.fc1=*.mlp.fc1
        detr: conv_encoder.model=model out_proj=o_proj *.fc2=*.mlp.fc2 *.fc1=*.mlp.fc1
          lay5=fpn_stages.2.refine.conv lay4=fpn_stages.1.refine.conv lay3=fpn_stages.0.refine.conv
          gn5=fpn_stages.2.refine.norm gn4=fpn_stages.1.refine.norm gn3=fpn_stages.0.refine.norm
          adapter3=fpn_stages.2.fpn_adapter adapter2=fpn_stages.1.fpn_adapter adapter1=fpn_stages.0.fpn_adapter
          lay2=conv2.conv lay1=conv1.conv gn2=conv2.norm gn1=conv1.norm q_linear=q_proj out_lay=output_conv
          k_linear=k_proj
        dinov3_convnext: ^stages=model.stages
        dinov3_vit: ^layer=model.layer
        dots3_note: audio_encoder.dots_encoder.speech_encoder=model.audio_tower ^vision_encoder=model.vision_tower
          model.layers=model.language_model.layers
          ^audio_encoder.audio_adapter.proj.3=model.audio_tower.adapter.fc2
          ^audio_encoder.audio_adapter.proj.1=model.audio_tower.adapter.fc1
          ^audio_encoder.audio_adapter.proj.0=model.audio_tower.adapter.norm
          vision_tower.adapter=vision_tower.merger layers.*.fc2=layers.*.mlp.down_proj
          layers.*.fc1=layers.*.mlp.gate_up_proj out_proj=o_proj conv2d3=conv_stem.convs.2
          conv2d2=conv_stem.convs.1 conv2d1=conv_stem.convs.0 gate_weight=gate.weight
          self_attn_layer_norm=input_layernorm router_bias=e_score_correction_bias norm_2=norm2 norm_1=norm1
          final_layer_norm=post_attention_layernorm mlp.fc3=mlp.up_proj mlp.fc2=mlp.down_proj
          mlp.fc1=mlp.gate_proj post_trunk_norm=norm model.lm_head=lm_head model.norm=model.language_model.norm
          model.embed_tokens=model.language_model.embed_tokens audio_tower.conv_out=audio_tower.conv_stem.conv_out
        emu3: ^vqmodel=model.vqmodel ^text_model.model=model.text_model ^text_model=
        ernie4_5_moe: mlp.moe_statics=mlp.gate.moe_statics
        ernie4_5_vl_moe: vision_model=vision_tower ^layers=language_model.layers
          model.layers=model.language_model.layers temporal_linear.3=temporal_linear.ln
          temporal_linear.2=temporal_linear.fc2 temporal_linear.0=temporal_linear.fc1
          spatial_linear.3=spatial_linear.ln spatial_linear.2=spatial_linear.fc2
          spatial_linear.0=spatial_linear.fc1 ^norm=language_model.norm ^embed_tokens=language_model.embed_tokens
          model.norm=model.language_model.norm model.embed_tokens=model.language_model.embed_tokens
        esm: gamma=weight beta=bias
        fast_vlm: vision_tower.stages=vision_tower.timm_model.stages
          vision_tower.final_conv=vision_tower.timm_model.final_conv
          vision_tower.stem=vision_tower.timm_model.stem
        flint: softmax_offset=sinks
        fuyu: ^language_model.model=model.language_model ^vision_embed_tokens=model.vision_embed_tokens
          ^language_model=
        gpt_neox: ^embed_out=lm_head
        gradium_phonon_tts: flow_lm.flow_net=flow_head flow_lm.transformer=model res_blocks=layers
          time_embed=timestep_embeddings mlp.2=fc2 mlp.0=fc1 adaLN_modulation.1=adaln_proj
          norm2=post_attention_layernorm norm1=input_layernorm in_ln=norm mlp.3.alpha=norm.weight
          ^flow_lm.out_norm=model.norm flow_lm.out_eos=eos_head linear2=mlp.fc2 linear1=mlp.fc1
          flow_lm.condition_provider.conditioners.transcript_in_segment.embed=model.embed_tokens
          flow_lm.condition_provider.conditioners.speaker_wavs.output_proj=model.audio_prompt_proj
          flow_lm.condition_provider.conditioners.num_speakers.output_proj=model.num_speakers_proj
          flow_lm.condition_provider.conditioners.num_speakers.embed=model.num_speakers_embed
          flow_lm.condition_provider.conditioners.duration_delta.output_proj=model.duration_delta_proj
          out_proj=o_proj linear=proj cond_embed=cond_proj ^flow_lm.input_linear=model.audio_latent_proj
          ^flow_lm.bos_emb=model.bos_latent flow_lm.emb_std=latent_std flow_lm.emb_mean=latent_mean
        granitemoehybrid: block_sparse_moe.output_linear.weight=block_sparse_moe.experts.down_proj
          block_sparse_moe.input_linear.weight=block_sparse_moe.experts.gate_up_proj router.layer=router
        gte: encoder.layer=layers ^new= mlp_ln=post_mlp_layernorm attn_ln=post_attention_layernorm
          attention=self_attn norm=layer_norm
        hrm_text: attn=self_attn
        hunyuan_vl: ^vit=model.vision_tower perceive=patch_merger model.layers=model.language_model.layers
          dense_h_to_4h=fc1 dense_4h_to_h=fc2 proj.2=proj_out proj.0=proj_conv
          vision_tower.layers.*.post_attention_layernorm=vision_tower.layers.*.layer_norm2
          vision_tower.layers.*.input_layernorm=vision_tower.layers.*.layer_norm1
          model.norm=model.language_model.norm model.embed_tokens=model.language_model.embed_tokens
        hy_v3: shared_mlp=shared_experts expert_bias=e_score_correction_bias router.gate=gate
        hy_v4: linear_gate=gate_proj hc_pre.hc_mlp_layer.hc_scale=ffn_hc.scale hc_pre.hc_mlp_layer.hc_fn=ffn_hc.fn
          hc_pre.hc_mlp_layer.hc_base=ffn_hc.base hc_pre.hc_attn_layer.hc_scale=attn_hc.scale
          hc_pre.hc_attn_layer.hc_fn=attn_hc.fn hc_pre.hc_attn_layer.hc_base=attn_hc.base
          learnable_sink_param=sinks hc_head_scale=hc_scale hc_head_fn=hc_fn hc_head_base=hc_base
          model.hc_pre=model hc_head.hc_pre=hc_head
        hyperclovax_vision_v2: vision_projector=projector model.language_model.lm_head=lm_head
        inkling2: attn=self_attn visual.backbone=vision_tower llm.layers=language_model.layers
          attn_res.mlp_queries.*=layers.*.mlp_input.query static_w=static_weight ln_2=layernorm_after
          ln_1=layernorm_before c_proj=fc2 c_fc=fc1 ls_2.gamma=lambda_2 ls_1.gamma=lambda_1
          mlp_sconv=post_mlp_convolution.conv1d attn_sconv=post_attention_convolution.conv1d wv_dv=v_proj
          wr_du=r_proj wq_du=q_proj wo_ud=o_proj wk_dv=k_proj weight_proj=weight_proj.weight w2_weight=down_proj
          v_input_norm=v_input_layernorm q_input_norm=q_input_layernorm mlp_norm=post_attention_layernorm
          k_input_norm=k_input_layernorm gate_attn=gate_proj attn_sink_proj=sink_proj attn_norm=input_layernorm
          gate.bias=gate.e_score_correction_bias attn_res.output_query=final_input.query ln_pre=pre_layernorm
          embed=embed_tokens visual.proj_out=vision_tower.merger.linear_2
          visual.proj_in=vision_tower.merger.linear_1 model.llm.unembed=lm_head llm=language_model
          v_sconv.weight=v_sconv.conv1d.weight k_sconv.weight=k_sconv.conv1d.weight
          position_embedding=position_embedding.weight
          language_model.embed_norm=language_model.embed_tokens.embed_norm
        """
}
