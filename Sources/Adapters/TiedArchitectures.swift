// Made by Tests/Golden/architectures.py from transformers 5.23.0; do not edit.

/// The output heads that transformers' model classes tie to their input embeddings, by the names of the checkpoint.
enum TiedArchitectures {
    /// One set of ties and the classes that have it.
    struct Row: Sendable {
        /// The head's weight in the checkpoint.
        var head: String
        /// The same in memory, where that is another name.
        var memory = ""
        /// The end of the embedding's name.
        var embedding: String
        /// Other tensors that are tied together with the head, as target=source.
        var companions = ""
        /// Whether the embedding is used in more places than these two.
        var isSharedFurther = false
        var classes: String
    }

    static let rows: [Row] = [
        Row(
            head: "lm_head.weight", embedding: "embed_tokens.weight",
            classes: """
                AXK1ForCausalLM AXK2ForCausalLM AfmoeForCausalLM ApertusForCausalLM ArceeForCausalLM
                AriaTextForCausalLM AyaVisionForConditionalGeneration BambaForCausalLM BartForCausalLM
                BeamForCausalLM BitNetForCausalLM BlenderbotForCausalLM BlenderbotSmallForCausalLM
                ChameleonForConditionalGeneration Cohere2ForCausalLM Cohere2MoeForCausalLM
                Cohere2VisionForConditionalGeneration CohereCompassForCausalLM
                CohereCompassForConditionalGeneration CohereForCausalLM Cosmos3OmniForConditionalGeneration
                CwmForCausalLM DeepseekOcr2ForConditionalGeneration DeepseekV2ForCausalLM DeepseekV32ForCausalLM
                DeepseekV3ForCausalLM DeepseekVLForConditionalGeneration DeepseekVLHybridForConditionalGeneration
                DiffLlamaForCausalLM DiffusionGemmaForBlockDiffusion DogeForCausalLM Dots1ForCausalLM
                Dots3NoteForCausalLM Dots3NoteForConditionalGeneration Emu3ForCausalLM
                Emu3ForConditionalGeneration Ernie4_5ForCausalLM Ernie4_5_MoeForCausalLM
                Ernie4_5_VLMoeForConditionalGeneration EuroBertForMaskedLM Exaone4ForCausalLM
                Exaone4_5_ForConditionalGeneration ExaoneMoeForCausalLM FalconH1ForCausalLM
                FastVlmForConditionalGeneration FlexOlmoForCausalLM FlintForCausalLM
                FunAsrNanoForConditionalGeneration Gemma2ForCausalLM Gemma3ForCausalLM Gemma3nForCausalLM
                Gemma3nForConditionalGeneration Gemma4AssistantForCausalLM Gemma4ForCausalLM
                Gemma4ForConditionalGeneration Gemma4UnifiedAssistantForCausalLM Gemma4UnifiedForCausalLM
                Gemma4UnifiedForConditionalGeneration GemmaForCausalLM Glm46VForConditionalGeneration
                Glm4ForCausalLM Glm4MoeForCausalLM Glm4MoeLiteForCausalLM Glm4vForConditionalGeneration
                Glm4vMoeForConditionalGeneration Glm5NextForConditionalGeneration GlmForCausalLM
                GlmMoeDsaForCausalLM GlmOcrForConditionalGeneration GptOssForCausalLM
                Granite4VisionForConditionalGeneration GraniteDoclingForConditionalGeneration GraniteForCausalLM
                GraniteMoeForCausalLM GraniteMoeHybridForCausalLM GraniteMoeSWAForCausalLM
                GraniteMoeSharedForCausalLM GraniteSWAForCausalLM HYV3ForCausalLM HYV4ForCausalLM
                HeliumForCausalLM HrmTextForCausalLM HunYuanDenseV1ForCausalLM HunYuanMoEV1ForCausalLM
                HunYuanVLForConditionalGeneration HyperCLOVAXForCausalLM Idefics2ForConditionalGeneration
                Idefics3ForConditionalGeneration IdeficsForVisionText2Text Jais2ForCausalLM JambaForCausalLM
                JanusForConditionalGeneration JetMoeForCausalLM Kolibri1ForCausalLM
                KyutaiSpeechToTextForConditionalGeneration LagunaForCausalLM Lfm2ForCausalLM Lfm2MoeForCausalLM
                Lfm2VlForConditionalGeneration Lfm3ForCausalLM Lfm3VlForConditionalGeneration
                LightOnOcrForConditionalGeneration Llama4ForCausalLM LlamaForCausalLM LongcatFlashForCausalLM
                MBartForCausalLM MarianForCausalLM MellumForCausalLM MiMoV2FlashForCausalLM MiniCPM3ForCausalLM
                MiniCPMOcrForConditionalGeneration MiniCPMV4_6ForConditionalGeneration
                MiniCPMV4_7ForConditionalGeneration MiniMaxForCausalLM MiniMaxM2ForCausalLM MiniMaxM3VLForCausalLM
                Ministral3ForCausalLM MinistralForCausalLM Mistral4ForCausalLM MistralForCausalLM
                MixtralForCausalLM MossTranscribeDiarizeForConditionalGeneration
                MuseGlimmerForConditionalGeneration MvpForCausalLM NanoChatForCausalLM NemotronForCausalLM
                OPTForCausalLM Olmo2ForCausalLM Olmo3ForCausalLM OlmoForCausalLM OlmoHybridForCausalLM
                OlmoeForCausalLM Ovis2ForConditionalGeneration PLBartForCausalLM
                PaddleOCRVLForConditionalGeneration PegasusForCausalLM PerceptionLMForConditionalGeneration
                PersimmonForCausalLM Phi3ForCausalLM Phi4MultimodalForCausalLM PhiForCausalLM PhimoeForCausalLM
                Qwen2ForCausalLM Qwen2MoeForCausalLM Qwen2VLForConditionalGeneration
                Qwen2_5OmniThinkerForConditionalGeneration Qwen2_5_VLForConditionalGeneration
                Qwen3ASRForConditionalGeneration Qwen3ForCausalLM Qwen3MoeForCausalLM Qwen3NextForCausalLM
                Qwen3OmniMoeThinkerForConditionalGeneration Qwen3VLForConditionalGeneration
                Qwen3VLMoeForConditionalGeneration Qwen3_5ForCausalLM Qwen3_5ForConditionalGeneration
                Qwen3_5MoeForCausalLM Qwen3_5MoeForConditionalGeneration Qwen4ExpForCausalLM
                Qwen4ExpForConditionalGeneration RecurrentGemmaForCausalLM SeedOssForCausalLM SmolLM3ForCausalLM
                SmolVLMForConditionalGeneration SolarOpenForCausalLM Speech2TextForConditionalGeneration
                StableLmForCausalLM Starcoder2ForCausalLM Step3p7ForConditionalGeneration
                UnlimitedOcrForConditionalGeneration VaultGemmaForCausalLM VibeVoiceForConditionalGeneration
                VideoLlama3ForConditionalGeneration XGLMForCausalLM YoutuForCausalLM Zamba2ForCausalLM
                ZambaForCausalLM ZayaForCausalLM
                """),
        Row(
            head: "cls.predictions.decoder.weight", embedding: "word_embeddings.weight",
            companions: "cls.predictions.decoder.bias=cls.predictions.bias",
            classes: """
                BertForMaskedLM BertForPreTraining BertLMHeadModel BigBirdForCausalLM BigBirdForMaskedLM
                BigBirdForPreTraining DebertaForMaskedLM DebertaV2ForMaskedLM ErnieForCausalLM ErnieForMaskedLM
                ErnieForPreTraining FNetForMaskedLM FNetForPreTraining LayoutLMForMaskedLM MegatronBertForCausalLM
                MegatronBertForMaskedLM MegatronBertForPreTraining MobileBertForMaskedLM MobileBertForPreTraining
                MraForMaskedLM NomicBertForMaskedLM NystromformerForMaskedLM RoCBertForCausalLM RoCBertForMaskedLM
                RoCBertForPreTraining RoFormerForCausalLM RoFormerForMaskedLM SqueezeBertForMaskedLM
                TapasForMaskedLM VisualBertForPreTraining YosoForMaskedLM
                """),
        Row(
            head: "lm_head.weight", embedding: "shared.weight",
            isSharedFurther: true,
            classes: """
                BartForConditionalGeneration BigBirdPegasusForConditionalGeneration
                BlenderbotForConditionalGeneration BlenderbotSmallForConditionalGeneration
                Florence2ForConditionalGeneration LEDForConditionalGeneration LongT5ForConditionalGeneration
                M2M100ForConditionalGeneration MBartForConditionalGeneration MT5ForConditionalGeneration
                MarianMTModel MvpForConditionalGeneration NllbMoeForConditionalGeneration
                PLBartForConditionalGeneration PegasusForConditionalGeneration PegasusXForConditionalGeneration
                SeamlessM4TForSpeechToText SeamlessM4TForTextToText SeamlessM4Tv2ForSpeechToText
                SeamlessM4Tv2ForTextToText SwitchTransformersForConditionalGeneration T5ForConditionalGeneration
                UMT5ForConditionalGeneration UdopForConditionalGeneration
                """),
        Row(
            head: "language_model.lm_head.weight", memory: "lm_head.weight", embedding: "embed_tokens.weight",
            classes: """
                AriaForConditionalGeneration FuyuForCausalLM Gemma3ForConditionalGeneration
                GlmAsrForConditionalGeneration GotOcr2ForConditionalGeneration
                GraniteSpeechForConditionalGeneration GraniteSpeechPlusForConditionalGeneration
                InternVLForConditionalGeneration Kimi_K25ForConditionalGeneration LlavaForConditionalGeneration
                LlavaNextForConditionalGeneration LlavaNextVideoForConditionalGeneration
                LlavaOnevisionForConditionalGeneration MiniMaxM3SparseForConditionalGeneration
                Mistral3ForConditionalGeneration PaliGemmaForConditionalGeneration
                QianfanOCRForConditionalGeneration VideoLlavaForConditionalGeneration
                VipLlavaForConditionalGeneration VoxtralRealtimeForConditionalGeneration
                """),
        Row(
            head: "lm_head.decoder.weight", embedding: "word_embeddings.weight",
            companions: "lm_head.decoder.bias=lm_head.bias",
            classes: """
                BertGenerationDecoder CamembertForCausalLM CamembertForMaskedLM Data2VecTextForCausalLM
                Data2VecTextForMaskedLM JinaEmbeddingsV3ForMaskedLM LongformerForMaskedLM MPNetForMaskedLM
                RobertaForCausalLM RobertaForMaskedLM RobertaPreLayerNormForCausalLM
                RobertaPreLayerNormForMaskedLM XLMRobertaForCausalLM XLMRobertaForMaskedLM XLMRobertaXLForCausalLM
                XLMRobertaXLForMaskedLM XmodForCausalLM XmodForMaskedLM
                """),
        Row(
            head: "lm_head.weight", embedding: "wte.weight",
            classes: """
                CodeGenForCausalLM DbrxForCausalLM GPT2LMHeadModel GPTBigCodeForCausalLM GPTJForCausalLM
                GPTNeoForCausalLM ImageGPTForCausalImageModeling MptForCausalLM
                """),
        Row(
            head: "language_model.lm_head.weight", embedding: "embed_tokens.weight",
            classes: """
                Blip2ForConditionalGeneration Blip2Model InstructBlipForConditionalGeneration
                InstructBlipVideoForConditionalGeneration Llama4ForConditionalGeneration
                """),
        Row(
            head: "proj_out.weight", embedding: "embed_tokens.weight",
            classes: """
                CanaryForConditionalGeneration MoonshineForConditionalGeneration
                MoonshineStreamingForConditionalGeneration WhisperForCausalLM WhisperForConditionalGeneration
                """),
        Row(
            head: "decoder.cls.predictions.decoder.weight", embedding: "word_embeddings.weight",
            companions: "decoder.cls.predictions.decoder.bias=decoder.cls.predictions.bias",
            classes: """
                EncoderDecoderModel SpeechEncoderDecoderModel VisionEncoderDecoderModel
                """),
        Row(
            head: "generator_lm_head.weight", embedding: "word_embeddings.weight",
            classes: """
                ConvBertForMaskedLM ElectraForCausalLM ElectraForMaskedLM
                """),
        Row(
            head: "lm_head.weight", embedding: "embeddings.weight",
            classes: """
                FalconMambaForCausalLM Mamba2ForCausalLM MambaForCausalLM
                """),
        Row(
            head: "lm_head.weight", embedding: "word_embeddings.weight",
            classes: """
                BloomForCausalLM FalconForCausalLM FunnelForMaskedLM
                """),
        Row(
            head: "lm_head.weight", embedding: "word_embeddings.weight",
            isSharedFurther: true,
            classes: """
                NeoMMEForMaskedLM ProphetNetForCausalLM ProphetNetForConditionalGeneration
                """),
        Row(
            head: "decoder.weight", embedding: "tok_embeddings.weight",
            classes: """
                ModernBertDecoderForCausalLM ModernBertForMaskedLM
                """),
        Row(
            head: "lm_head.decoder.weight", embedding: "word_embeddings.weight",
            classes: """
                EsmForMaskedLM GteForMaskedLM
                """),
        Row(
            head: "output_projection.weight", embedding: "embed_tokens.weight",
            classes: """
                BioGptForCausalLM TrOCRForCausalLM
                """),
        Row(
            head: "pred_layer.proj.weight", embedding: "embeddings.weight",
            classes: """
                FlaubertWithLMHeadModel XLMWithLMHeadModel
                """),
        Row(
            head: "predictions.decoder.weight", embedding: "word_embeddings.weight",
            companions: "predictions.decoder.bias=predictions.bias",
            classes: """
                AlbertForMaskedLM AlbertForPreTraining
                """),
        Row(
            head: "text_decoder.cls.predictions.decoder.weight", embedding: "word_embeddings.weight",
            companions: "text_decoder.cls.predictions.decoder.bias=text_decoder.cls.predictions.bias",
            classes: """
                BlipForConditionalGeneration BlipForQuestionAnswering
                """),
        Row(
            head: "text_model.lm_head.weight", embedding: "embed_tokens.weight",
            classes: """
                Kosmos2ForConditionalGeneration Kosmos2_5ForConditionalGeneration
                """),
        Row(
            head: "cls.predictions.decoder.weight", embedding: "word_embeddings.weight",
            classes: """
                LxmertForPreTraining
                """),
        Row(
            head: "cls.weight", memory: "head.decoder.weight", embedding: "embed_tokens.weight",
            classes: """
                UltrabertForMaskedLM
                """),
        Row(
            head: "decoder.lm_head.weight", embedding: "embed_tokens.weight",
            classes: """
                Pix2StructForConditionalGeneration
                """),
        Row(
            head: "decoder.output_projection.weight", embedding: "embed_tokens.weight",
            isSharedFurther: true,
            classes: """
                FSMTModel
                """),
        Row(
            head: "embed_out.weight", embedding: "embed_in.weight",
            classes: """
                GPTNeoXJapaneseForCausalLM
                """),
        Row(
            head: "embed_out.weight", memory: "lm_head.weight", embedding: "embed_in.weight",
            classes: """
                GPTNeoXForCausalLM
                """),
        Row(
            head: "entity_predictions.decoder.weight", embedding: "entity_embeddings.weight",
            isSharedFurther: true,
            classes: """
                LukeForMaskedLM
                """),
        Row(
            head: "head.decoder.weight", memory: "lm_head.weight", embedding: "embed_tokens.weight",
            classes: """
                UltraVBertForMaskedLM
                """),
        Row(
            head: "head.weight", embedding: "embeddings.weight",
            classes: """
                RwkvForCausalLM
                """),
        Row(
            head: "head.weight", memory: "lm_head.weight", embedding: "embed_tokens.weight",
            classes: """
                DeepseekV4ForCausalLM
                """),
        Row(
            head: "lm_head.out_proj.weight", embedding: "embed_tokens.weight",
            classes: """
                T5GemmaForConditionalGeneration
                """),
        Row(
            head: "lm_head.out_proj.weight", embedding: "embed_tokens.weight",
            isSharedFurther: true,
            classes: """
                T5Gemma2ForConditionalGeneration
                """),
        Row(
            head: "lm_head.weight", embedding: "tok_embeddings.weight",
            classes: """
                ModernVBertForMaskedLM
                """),
        Row(
            head: "lm_head.weight", embedding: "tokens_embed.weight",
            classes: """
                OpenAIGPTLMHeadModel
                """),
        Row(
            head: "lm_head.weight", embedding: "w.weight",
            classes: """
                CTRLLMHeadModel
                """),
        Row(
            head: "lm_loss.weight", embedding: "word_embedding.weight",
            classes: """
                XLNetLMHeadModel
                """),
        Row(
            head: "log_softmax.mlp.layer0.weight", memory: "proj_out.weight", embedding: "token_embedding.weight",
            classes: """
                CohereAsrForConditionalGeneration
                """),
        Row(
            head: "model.decoder.output_projection.weight", embedding: "embed_tokens.weight",
            isSharedFurther: true,
            classes: """
                FSMTForConditionalGeneration
                """),
        Row(
            head: "model.language_model.lm_head.weight", memory: "lm_head.weight", embedding: "embed_tokens.weight",
            classes: """
                HyperCLOVAXVisionV2ForConditionalGeneration
                """),
        Row(
            head: "model.lm_head.weight", embedding: "embed_tokens.weight",
            classes: """
                ShieldGemma2ForImageClassification
                """),
        Row(
            head: "output.weight", embedding: "word_embeddings.weight",
            classes: """
                GitForCausalLM
                """),
        Row(
            head: "output.weight", memory: "lm_head.weight", embedding: "tok_embeddings.weight",
            classes: """
                MistralLarge4ForConditionalGeneration
                """),
        Row(
            head: "text_decoder_postnet.lm_head.weight", embedding: "embed_tokens.weight",
            classes: """
                SpeechT5ForSpeechToText
                """),
        Row(
            head: "thinker.lm_head.weight", embedding: "embed_tokens.weight",
            classes: """
                Qwen2_5OmniForConditionalGeneration
                """),
        Row(
            head: "vocab_projector.weight", embedding: "word_embeddings.weight",
            classes: """
                DistilBertForMaskedLM
                """),
    ]
}
