// Made by Tests/Golden/renames.py from transformers 5.23.0; do not edit.

extension StoredNames {
    /// The second half of the rows.
    static let more = """
        inkling2_text: attn=self_attn model.llm=model attn_res.mlp_queries.*=layers.*.mlp_input.query
          static_w=static_weight mlp_sconv=post_mlp_convolution.conv1d
          attn_sconv=post_attention_convolution.conv1d wv_dv=v_proj wr_du=r_proj wq_du=q_proj wo_ud=o_proj
          wk_dv=k_proj weight_proj=weight_proj.weight w2_weight=down_proj v_input_norm=v_input_layernorm
          q_input_norm=q_input_layernorm mlp_norm=post_attention_layernorm k_input_norm=k_input_layernorm
          gate_attn=gate_proj attn_sink_proj=sink_proj attn_norm=input_layernorm
          gate.bias=gate.e_score_correction_bias attn_res.output_query=final_input.query embed=embed_tokens
          v_sconv.weight=v_sconv.conv1d.weight k_sconv.weight=k_sconv.conv1d.weight model.unembed=lm_head
          ^embed_norm=embed_tokens.embed_norm model.embed_norm=model.embed_tokens.embed_norm
        inkling_mm_model: attn=self_attn llm.layers=language_model.layers visual=vision_tower wv_dv=v_proj
          wr_du=r_proj wq_du=q_proj wo_ud=o_proj wk_dv=k_proj w2_weight=down_proj shared_w2_weight=down_proj
          mlp_norm=post_attention_layernorm attn_norm=input_layernorm gate.bias=gate.e_score_correction_bias
          encoder=embed_audio_tokens.embed_audio_tokens audio=audio_tower model.llm.unembed=lm_head
          llm=language_model audio_tower.final_norm=audio_tower.norm v_sconv.weight=v_sconv.conv1d.weight
          mlp_sconv.weight=mlp_sconv.conv1d.weight k_sconv.weight=k_sconv.conv1d.weight
          attn_sconv.weight=attn_sconv.conv1d.weight embed=embed_tokens
          language_model.embed_norm=language_model.embed_tokens.embed_norm
        jev: ^weight=proj.weight
        jina_embeddings_v3: encoder.layers=layers mixer.out_proj=self_attn.o_proj norm2=post_mlp_layernorm
          norm1=post_attention_layernorm emb_ln=embeddings.LayerNorm
        kimi_k25: blocks=layers ^language_model.model=model.language_model
          ^vision_tower.encoder.layers.*.wo=model.vision_tower.layers.*.attn.proj
          ^vision_tower.encoder.layers.*.norm1=model.vision_tower.layers.*.norm2
          ^vision_tower.encoder.layers.*.norm0=model.vision_tower.layers.*.norm1
          ^vision_tower.encoder.layers.*.mlp.fc1=model.vision_tower.layers.*.mlp.fc2
          ^vision_tower.encoder=model.vision_tower fc0=fc1 ^mm_projector.proj.2=model.mm_projector.out_proj
          ^mm_projector.proj.0=model.mm_projector.in_proj language_model.lm_head=lm_head
          ^vision_tower.patch_embed.pos_emb.weight=model.vision_tower.patch_embed.pos_emb.position_embeddings
        kimi_linear: block_sparse_moe=mlp self_attn.f_b_proj=self_attn.forget_gate.f_b_proj
          self_attn.f_a_proj=self_attn.forget_gate.f_a_proj self_attn.dt_bias=self_attn.forget_gate.dt_bias
          self_attn.A_log=self_attn.forget_gate.A_log
        kolibri1: moe.router.expert_bias=mlp.gate.e_score_correction_bias post_ffn_norm=post_mlp_layernorm
          post_attn_norm=post_self_attn_layernorm
        laguna: shared_expert=shared_experts experts.e_score_correction_bias=gate.e_score_correction_bias
        lfm3: gate_proj=g_proj
        lfm3_vl: q_layernorm=q_norm k_layernorm=k_norm gate_proj=g_proj patchifier=patch_embed
        lfm3_vl_vision: q_layernorm=q_norm k_layernorm=k_norm ^patchifier=patch_embed
        lw_detr: attention.value=v_proj attention.query=q_proj output=o_proj attention.key=k_proj
        maskformer: out_proj=o_proj *.fc2=*.mlp.fc2 *.fc1=*.mlp.fc1
        mimi: ^encoder_transformer=encoder.encoder_transformer ^decoder_transformer=decoder.decoder_transformer
          encoder.layers=encoder.encoder_seanet.layers decoder.layers=decoder.decoder_seanet.layers
          ^upsample=decoder.upsample ^downsample=encoder.downsample
        mimi_decoder: ^decoder=decoder_seanet
        mimi_encoder: ^encoder=encoder_seanet
        mimo_v2_flash: attention_sink_bias=sinks
        minimax_m3_vl: vision_tower.vision_model.encoder=model.vision_tower
          ^language_model.model=model.language_model block_sparse_moe=mlp
          ^patch_merge_mlp.linear_2=model.multi_modal_projector.merge_linear_2
          ^patch_merge_mlp.linear_1=model.multi_modal_projector.merge_linear_1
          ^vision_tower.vision_model=model.vision_tower ^multi_modal_projector=model.multi_modal_projector
          patch_embedding=proj ^language_model= mlp.e_score_correction_bias=mlp.gate.e_score_correction_bias
        mistral_large4: ^layers.*.attention=model.language_model.layers.*.self_attn
          language_model.layers.*.attention=language_model.layers.*.self_attn ^vision_encoder=model.vision_tower
          ^layers=model.language_model.layers ssmax_scaling.s=softmax_scaling.scale
          ssmax_scaling.b=softmax_scaling.bias wo=o_proj feed_forward.w3=feed_forward.up_proj
          feed_forward.w2=feed_forward.down_proj feed_forward.w1=feed_forward.gate_proj
          shared_experts.w3=mlp.shared_experts.up_proj shared_experts.w2=mlp.shared_experts.down_proj
          shared_experts.w1=mlp.shared_experts.gate_proj *.experts=*.mlp.experts
          language_model.layers.*.feed_forward=language_model.layers.*.mlp wv=v_proj wq=q_proj wkv_b=kv_b_proj
          wkv_a_with_mqa=kv_a_proj_with_mqa kv_a_norm=kv_a_layernorm
          language_model.layers.*.ffn_norm=language_model.layers.*.post_attention_layernorm
          language_model.layers.*.attention_norm=language_model.layers.*.input_layernorm
          ^vision_language_adapter.w_out=model.multi_modal_projector.linear_2
          ^vision_language_adapter.w_in=model.multi_modal_projector.linear_1
          ^tok_embeddings=model.language_model.embed_tokens
          ^pre_mm_projector_norm=model.multi_modal_projector.norm ^lerope=model.language_model.rotary_emb
          *.gate=*.mlp.gate ^output=lm_head ^patch_merger=model.multi_modal_projector.patch_merger
          ^norm=model.language_model.norm
        mistral_large4_text: attention=self_attn ssmax_scaling.s=softmax_scaling.scale
          ssmax_scaling.b=softmax_scaling.bias feed_forward=mlp *.shared_experts=*.mlp.shared_experts
          *.experts=*.mlp.experts wq=q_proj wkv_b=kv_b_proj wkv_a_with_mqa=kv_a_proj_with_mqa
          kv_a_norm=kv_a_layernorm ffn_norm=post_attention_layernorm attention_norm=input_layernorm
          *.gate=*.mlp.gate
        mllama: ^language_model.model=model.language_model ^vision_model=model.vision_model
          ^multi_modal_projector=model.multi_modal_projector ^language_model=
        molmo2: vision_backbone.image_vit.transformer.resblocks=vision_tower.layers
          transformer.blocks=language_model.layers
          vision_backbone.image_pooling_2d=multi_modal_projector.image_pooling_2d feed_forward.w2=mlp.fc2
          feed_forward.w1=mlp.fc1 attention.wv=self_attn.v_proj attention.wq=self_attn.q_proj
          attention.wo=self_attn.o_proj attention.wk=self_attn.k_proj vision_backbone.image_vit=vision_tower
          ffn_norm=layer_norm2 attention_norm=layer_norm1 vision_backbone=multi_modal_projector wv=v_proj
          wq=q_proj wo=o_proj wk=k_proj ff_out=down_proj ff_norm=post_attention_layernorm attn_out=o_proj
          attn_norm=input_layernorm transformer.ln_f=language_model.norm w3=up_proj w2=down_proj w1=gate_proj
        molmo2_text: ff_out=down_proj ff_norm=post_attention_layernorm attn_out=o_proj attn_norm=input_layernorm
        nemo_speechlm: ^perception.encoder=model.audio_tower
          ctc_timestamp.decoder.transformer=model.word_timestamp_encoder ffn.net.3=mlp.fc2 ffn.net.0=mlp.fc1
          attn=self_attn ^llm.model=model.language_model encoder=model.audio_tower norm2=layer_norm2
          norm1=layer_norm1 self_attn.out_proj=self_attn.o_proj final_norm=layer_norm embed_norm=input_layer_norm
          pre_encode.proj=embedder.projection mixer._fp32_params=mixer
          ^ctc_timestamp.decoder.upsample=model.word_timestamp_encoder.upsampler
          sortformer_modules.subpixel_upsample=model.upsampler.conv
          ctc_timestamp.decoder.decoder_layers.0=word_timestamp_head ^perception.proj=model.multi_modal_projector
          sortformer_modules.single_hidden_to_spks=classifier.out_proj
          sortformer_modules.first_hidden_to_hidden=classifier.dense sortformer_modules.encoder_proj=model.proj
          diar_norm=speaker_norm sortformer_modules.learnable_sil_emb=silence_embeds embed_tokens=embeddings
          language_model.norm=language_model.norm_f ^llm=
        nemotron_h: ^backbone=model
        nemotron_h_omni: radio_model.model.blocks=encoder.layer backbone=model attn.proj=attention.o_proj
          radio_model.model.patch_generator.cls_token.token=embeddings.cls_register_token
          radio_model.model.patch_generator.video_embedder=embeddings.video_patch_projection
          radio_model.model.patch_generator.pos_embed=embeddings.position_embedding
          radio_model.model.patch_generator.embedder=embeddings.patch_projection
          ^mlp1.3=multi_modal_projector.linear_2 ^mlp1.1=multi_modal_projector.linear_1
          ^mlp1.0=multi_modal_projector.layer_norm vision_model.radio_model=vision_model
        nomic_bert: encoder.layers=layers norm2=post_mlp_layernorm norm1=post_attention_layernorm
          attn.out_proj=self_attn.o_proj emb_ln=embeddings.LayerNorm fc2=down_proj fc12=gate_proj fc11=up_proj
        olmo_hybrid: feedforward_layer_norm=post_attention_layernorm attention_layer_norm=input_layernorm
        omdet-turbo: model.text_model=model
        paddleocr_vl: ^visual=model.visual ^mlp_AR=model.projector model.layers=model.language_model.layers
          model.norm=model.language_model.norm model.embed_tokens=model.language_model.embed_tokens
        phimoe: block_sparse_moe=mlp gate=router
        pi0: ^paligemma_with_expert.paligemma= model.vlm.vision_tower.vision_model=vlm.vision_tower
          ^paligemma_with_expert.gemma_expert= language_model.model=language_model
          model.vision_tower=model.vlm.vision_tower model.dit=dit model.language_model=model.vlm.language_model
          model.layers=model.dit.layers paligemma_with_expert.gemma_expert.lm_head=dit.embed_tokens
          ^model.state_proj=embed_action_time.state_proj
          ^model.action_time_mlp_out=embed_action_time.action_time_mlp_out
          ^model.action_time_mlp_in=embed_action_time.action_time_mlp_in
          ^model.action_in_proj=embed_action_time.action_in_proj ^lm_head=model.dit.embed_tokens
          model.action_out_proj=action_out_proj ^state_proj=embed_action_time.state_proj
          ^action_time_mlp_out=embed_action_time.action_time_mlp_out
          ^action_time_mlp_in=embed_action_time.action_time_mlp_in
          ^action_in_proj=embed_action_time.action_in_proj
          model.vlm.multi_modal_projector=vlm.multi_modal_projector
          model.multi_modal_projector=model.vlm.multi_modal_projector model.norm=model.dit.norm
        pixio: encoder.layer=layers ^encoder=pixio intermediate.dense=mlp.fc1 *.output.dense=*.mlp.fc2
          output.dense=o_proj attention.value=v_proj attention.query=q_proj attention.key=k_proj
          norm2=layernorm_after norm1=layernorm_before
        pp_doclayout_v4: encoder.encoder=encoder.aifi decoder_roor_order_head=decoder.successor_order_head.proj
          decoder_roor_global_pointer=decoder.successor_order_head.global_pointer
          decoder_order_head=decoder.relative_order_head.proj
          decoder_global_pointer=decoder.relative_order_head.global_pointer out_proj=o_proj *.fc2=*.mlp.fc2
          *.fc1=*.mlp.fc1 s2r_fusion.a=decoder.relative_order_head.s2r_fusion.closure_weight
        qianfan_ocr: ^vision_model.encoder=model.vision_tower encoder.layers=layers
          ^language_model.model=model.language_model attn.proj=attention.projection_layer norm2=layernorm_after
          norm1=layernorm_before ^vision_model=model.vision_tower patch_embedding=patch_embeddings.projection
          ls2=lambda_2 ls1=lambda_1 ^mlp1.3=model.multi_modal_projector.linear_2
          ^mlp1.1=model.multi_modal_projector.linear_1 ^mlp1.0=model.multi_modal_projector.layer_norm
          position_embedding=position_embeddings class_embedding=cls_token language_model.lm_head=lm_head
        qwen2_5_omni: thinker.audio_tower=thinker.model.audio_tower thinker.visual=thinker.model.visual
          thinker.model.layers=thinker.model.language_model.layers
          thinker.model.norm=thinker.model.language_model.norm
          thinker.model.embed_tokens=thinker.model.language_model.embed_tokens
        radio: radio_model.model.blocks=encoder.layer attn.proj=attention.o_proj ^radio_model=
          model.patch_generator.cls_token.token=embeddings.cls_register_token
          model.patch_generator.pos_embed=embeddings.position_embedding
          model.patch_generator.embedder=embeddings.patch_projection
        rf_detr: ^backbone.0.encoder.encoder=model.model.backbone.backbone ^transformer=model.model
          backbone.0.projector.stages.0.0.m=model.model.backbone.projector.projector_layer.bottlenecks
          ^segmentation_head= cv2.bn=conv2.norm
          backbone.0.projector.stages.0.0=model.model.backbone.projector.projector_layer cv1.bn=conv1.norm
          output.dense=o_proj attention.value=v_proj attention.query=q_proj attention.key=k_proj linear2=mlp.fc2
          linear1=mlp.fc1 pwconv1=pointwise_conv out_proj=o_proj norm3=layer_norm dwconv=depthwise_conv
          *.norm=*.layernorm layers.*.norm2=layers.*.cross_attn_layer_norm
          layers.*.norm1=layers.*.self_attn_layer_norm
          backbone.0.projector.stages.0.1=model.model.backbone.projector.layer_norm cv2=conv2 cv1=conv1
          query_features_block.layers.2=query_features_block.mlp.fc2
          query_features_block.layers.0=query_features_block.mlp.fc1 norm_in=norm ^bbox_embed=model.bbox_embed
          decoder.norm=decoder.layernorm ^refpoint_embed=model.model.reference_point_embed ^bias=segmentation_bias
          ^class_embed=model.class_embed ^query_feat=model.model.query_feat
        sam3_video: tracker_model.tracker_model=tracker_model
        sapiens2: ^blocks=model.layer ffn.w3=mlp.down_proj attn.wv=attention.v_proj attn.wq=attention.q_proj
          attn.wk=attention.k_proj attn.proj=attention.o_proj attn.gamma.weight=layer_scale1.lambda1
          attn=attention ^patch_embed.projection=embeddings.patch_embeddings ln2=norm2 *.ln1=*.norm1
          ^storage_tokens=embeddings.register_tokens ^ln1=norm ^cls_token=embeddings.cls_token
        segformer: encoder.block.*=stages.*.blocks encoder.patch_embeddings.*=stages.*.patch_embeddings
          self.sr=sequence_reduction.sequence_reduction encoder.layer_norm.*=stages.*.layer_norm self.value=v_proj
          self.query=q_proj self.key=k_proj output.dense=o_proj self=sequence_reduction
          layer_norm_2=layernorm_after layer_norm_1=layernorm_before dense2=fc2 dense1=fc1
          linear_c=linear_projections
        shieldgemma2: model.vision_tower.vision_model=model.model.vision_tower language_model.model=language_model
          ^model.language_model=model.model.language_model
          ^model.multi_modal_projector=model.model.multi_modal_projector
        step3p7: ^vision_model.transformer.resblocks=model.vision_model.layers
          model.layers=model.language_model.layers moe.down_proj.weight=mlp.experts.down_proj
          share_expert=mlp.shared_experts moe.router_bias=mlp.gate.e_score_correction_bias ln_2=layernorm_after
          ln_1=layernorm_before c_proj=fc2 c_fc=fc1 attn=self_attn ^vision_model=model.vision_model
          ls_2.gamma=lambda_2 ls_1.gamma=lambda_1 vit_downsampler2=downsampler2 vit_downsampler1=downsampler1
          moe=mlp ln_pre=pre_layernorm positional_embedding=embeddings.position_embedding.weight
          ^vit_large_projector=model.multi_modal_projector conv1=embeddings.patch_embedding
          model.norm=model.language_model.norm model.embed_tokens=model.language_model.embed_tokens
        swin: intermediate.dense=mlp.fc1 *.output.dense=*.mlp.fc2 self.value=v_proj self.query=q_proj
          self.key=k_proj output.dense=o_proj self=relative_position_bias
        t5gemma2: vision_tower.vision_model=vision_tower ^encoder.layers=encoder.text_model.layers
          model.encoder.layers=model.encoder.text_model.layers
          encoder.embed_tokens=encoder.text_model.embed_tokens encoder.norm=encoder.text_model.norm
        timesfm2_5: ff1=fc2 ff0=fc1
        timm_wrapper: ^layer4=timm_model.layer4 ^layer3=timm_model.layer3 ^layer2=timm_model.layer2
          ^layer1=timm_model.layer1 ^bn1=timm_model.bn1 ^fc=timm_model.fc ^conv1=timm_model.conv1
        tipsv2: ^vision_encoder.blocks=vision_model.encoder.layer
          ^text_encoder.transformer.resblocks=text_model.encoder.layers c_proj=fc2 c_fc=fc1
          attn.proj=attention.o_proj
          ^vision_encoder.patch_embed.proj=vision_model.embeddings.patch_embeddings.projection ln_2=layer_norm2
          ln_1=layer_norm1 attn=self_attn ^vision_encoder.norm=vision_model.layernorm
          ^vision_encoder=vision_model.embeddings ^text_encoder.ln_final=text_model.final_layer_norm
          ls2.gamma=layer_scale2.lambda1 ls1.gamma=layer_scale1.lambda1 ^text_encoder=text_model.embeddings
          pos_embed=position_embeddings
        tipsv2_dpt: ^vision_encoder.blocks=backbone.encoder.layer
          segmentation_head.fusion_blocks=neck.fusion_stage.layers
          normals_head.fusion_blocks=neck.fusion_stage.layers depth_head.fusion_blocks=neck.fusion_stage.layers
          segmentation_head.reassemble=neck.reassemble_stage normals_head.reassemble=neck.reassemble_stage
          depth_head.reassemble=neck.reassemble_stage ^vision_encoder= resize_layers.*=layers.*.resize
          out_projections.*=layers.*.projection out_conv=projection
          residual_unit.conv2=residual_layer1.convolution2 residual_unit.conv1=residual_layer1.convolution1
          main_unit.conv2=residual_layer2.convolution2 main_unit.conv1=residual_layer2.convolution1
          readout_projects.*.weight=readout_projects.*.layers.0.weight
          readout_projects.*.bias=readout_projects.*.layers.0.bias attn.proj=attention.o_proj
          ^patch_embed.proj=backbone.embeddings.patch_embeddings.projection c_proj=fc2 c_fc=fc1
          ^segmentation_head.segmentation_head=decoder.head ^segmentation_head.project=decoder.project
          ^segmentation_head=neck ^normals_head.project=decoder.project ^normals_head.normals_head=decoder.head
          ^normals_head=neck ^depth_head.project=decoder.project ^depth_head.depth_head=decoder.head
          ^depth_head=neck ls2.gamma=layer_scale2.lambda1 ls1.gamma=layer_scale1.lambda1 ^norm=backbone.layernorm
          ^pos_embed=backbone.embeddings.position_embeddings ^register_tokens=backbone.embeddings.register_tokens
          ^mask_token=backbone.embeddings.mask_token ^cls_token=backbone.embeddings.cls_token
        tipsv2_text_model: transformer.resblocks=encoder.layers ^text_encoder= ln_2=layer_norm2 ln_1=layer_norm1
          c_proj=fc2 c_fc=fc1 attn=self_attn ^ln_final=final_layer_norm
          ^token_embedding=embeddings.token_embedding
        tipsv2_vision_model: blocks=encoder.layer ^vision_encoder= attn.proj=attention.o_proj
          ^patch_embed.proj=embeddings.patch_embeddings.projection c_proj=fc2 c_fc=fc1
          ls2.gamma=layer_scale2.lambda1 ls1.gamma=layer_scale1.lambda1 ^norm=layernorm
          ^pos_embed=embeddings.position_embeddings ^register_tokens=embeddings.register_tokens
          ^mask_token=embeddings.mask_token ^cls_token=embeddings.cls_token
        ultrabert: ^ultrabert.layers=model.layers ultrabert.head=head ^cls=head.decoder
          ultrabert.qa_outputs=qa_outputs ultrabert.classifier=classifier ^ultrabert=model
        ultravbert: text_model.ultrabert=text_model head.decoder=lm_head ^head=projection_head
        unlimited_ocr: sam_model.blocks=vision_tower.sam_encoder.layers
          vision_model.transformer=vision_tower.vision_encoder.encoder sam_model=vision_tower.sam_encoder
          ^layers=language_model.layers model.layers=model.language_model.layers
          vision_model=vision_tower.vision_encoder norm2=layer_norm2 norm1=layer_norm1
          projector.layers=multi_modal_projector patch_embed.proj=patch_embed.projection neck.3=neck.layer_norm2
          neck.1=neck.layer_norm1 net_3=proj.conv2 net_2=proj.conv1 view_seperator=view_separator
          neck.2=neck.conv2 neck.0=neck.conv1 ^norm=language_model.norm ^embed_tokens=language_model.embed_tokens
          model.norm=model.language_model.norm model.embed_tokens=model.language_model.embed_tokens
        vibevoice_asr: ^language_model.model=model.language_model
          ^semantic_tokenizer_encoder=model.semantic_tokenizer_encoder
          ^acoustic_tokenizer_encoder=model.acoustic_tokenizer_encoder
          ^multi_modal_projector=model.multi_modal_projector ^language_model=
        video_llava: ^video_tower=model.video_tower ^image_tower=model.image_tower vision_model.encoder=encoder
          ^language_model.model=model.language_model video_tower.vision_model=video_tower
          image_tower.vision_model=image_tower ^multi_modal_projector=model.multi_modal_projector ^language_model=
        videomae: v_bias=value.bias q_bias=query.bias
        vision-encoder-decoder: encoder.encoder.layer=encoder.layers layers.*.output.dense=layers.*.mlp.fc2
          layers.*.intermediate.dense=layers.*.mlp.fc1 attention.value=v_proj attention.query=q_proj
          attention.key=k_proj layers.*.attention.output.dense=layers.*.attention.o_proj
        vision-text-dual-encoder: vision_model.encoder.layer=vision_model.layers
          layers.*.output.dense=layers.*.mlp.fc2 layers.*.intermediate.dense=layers.*.mlp.fc1
          attention.value=v_proj attention.query=q_proj attention.key=k_proj
          layers.*.attention.output.dense=layers.*.attention.o_proj
        vit_msn: ^encoder.layer=vit.layers intermediate.dense=mlp.fc1 *.output.dense=*.mlp.fc2 output.dense=o_proj
          attention.value=v_proj attention.query=q_proj attention.key=k_proj
        yolos: encoder.mid_position_embeddings=encoder.interpolation.mid_position_embeddings
        zoedepth: encoder.layer=beit.layers intermediate.dense=mlp.fc1 *.output.dense=*.mlp.fc2
          output.dense=o_proj attention.value=v_proj attention.query=q_proj attention.key=k_proj
          attention.attention.relative_position_bias=relative_position_bias
          backbone.embeddings=backbone.beit.embeddings
        """
}
