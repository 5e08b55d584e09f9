import Problems
import StrictJSON
import Testing

@testable import Adapters

@Suite struct ConfigTests {
    private func config(_ fields: String) throws(Problem) -> PEFTConfig {
        let separator = fields.isEmpty ? "" : ","
        return try PEFTConfig(
            json: Array("{\"peft_type\":\"LORA\"\(separator)\(fields)}".utf8), file: "dir/adapter_config.json")
    }

    @Test func defaultsAreThoseOfPEFT() throws {
        let config = try config("")
        #expect(config.problems.isEmpty)
        #expect(config.rank == 8 && config.alpha == 8)
        #expect(
            !config.useRSLoRA && !config.useDoRA && !config.loraBias && config.bias == "none" && !config.fanInFanOut)
        #expect(config.targetModules == .none && config.excludeModules == .none && config.targetParameters.isEmpty)
        #expect(config.modulesToSave.isEmpty && config.rankPattern.isEmpty && config.alphaPattern.isEmpty)
        #expect(config.layersToTransform.isEmpty && config.layersPattern.isEmpty && config.trainableTokens == .none)
        #expect(config.initialisation == nil && config.baseModel == nil)
        let nulls = try self.config(
            #""target_modules":null,"bias":null,"layer_replication":null"#)
        #expect(nulls.problems.isEmpty && nulls.rank == 8 && nulls.bias == "none")
        // PEFT takes a field that is absent for its default, but not null.
        #expect(
            try self.config(#""r":null,"lora_alpha":null"#).problems.map(\.message) == [
                "'r' is null", "'lora_alpha' is null",
            ])
    }

    @Test func scales() throws {
        #expect(try config(#""r":16,"lora_alpha":32"#).scale(rank: 16, alpha: 32) == 2)
        #expect(try config(#""use_rslora":true"#).scale(rank: 16, alpha: 32) == 8)
        #expect(try config(#""lora_alpha":2.5"#).alpha == 2.5)
        #expect(try config(#""lora_alpha":-1e-05"#).alpha == -1e-5)
        #expect(try config(#""lora_alpha":16.0"#).alpha == 16)
    }

    @Test func formsOfFields() throws {
        let config = try config(
            #""target_modules":"all-linear","modules_to_save":"score","layers_to_transform":3,"layers_pattern":"h","#
                + #""rank_pattern":{"b":4,"a":2},"alpha_pattern":{"x":1.5},"trainable_token_indices":{"embed":[1,2]},"#
                + #""init_lora_weights":"gaussian","lora_dropout":0.1,"eva_config":{"rho":2.0},"runtime_config":{"a":1}"#
        )
        #expect(config.problems.isEmpty)
        #expect(config.targetModules == .text("all-linear") && config.modulesToSave == ["score"])
        #expect(config.layersToTransform == [3] && config.layersPattern == ["h"])
        #expect(config.rankPattern.map(\.key) == ["b", "a"] && config.alphaPattern.map(\.value) == [1.5])
        #expect(config.trainableTokens == .byModule(["embed": [1, 2]]))
        #expect(try self.config(#""trainable_token_indices":[5]"#).trainableTokens == .rows([5]))
    }

    /// Field and value; all of them are one error that names the field.
    @Test(arguments: [
        ("r", "8.0"), ("r", "\"8\""), ("r", "0"), ("r", "-1"), ("r", "1e2"), ("r", "99999999999999999999"),
        ("r", "[8]"), ("r", "true"),
        ("lora_alpha", "\"16\""), ("lora_alpha", "NaN"), ("lora_alpha", "Infinity"), ("lora_alpha", "1e999"),
        ("lora_alpha", "[]"),
        ("use_rslora", "1"), ("use_rslora", "\"true\""), ("use_dora", "0"), ("lora_bias", "{}"),
        ("fan_in_fan_out", "\"no\""),
        ("ensure_weight_tying", "2"), ("bias", "\"some\""), ("bias", "true"), ("rank_pattern", "[]"),
        ("rank_pattern", "{\"a\":1.5}"),
        ("rank_pattern", "{\"a\":0}"), ("rank_pattern", "{\"a\":-4}"), ("rank_pattern", "{\"a\":null}"),
        ("rank_pattern", "4"),
        ("alpha_pattern", "{\"a\":\"4\"}"), ("alpha_pattern", "{\"a\":NaN}"), ("alpha_pattern", "{\"a\":1e999}"),
        ("target_modules", "7"), ("target_modules", "[1]"), ("target_modules", "{\"a\":1}"),
        ("target_modules", "[[\"a\"]]"),
        ("exclude_modules", "false"), ("modules_to_save", "[null]"), ("target_parameters", "{}"),
        ("layers_to_transform", "[1.0]"),
        ("layers_to_transform", "\"1\""), ("layers_pattern", "[2]"), ("trainable_token_indices", "[1.5]"),
        ("trainable_token_indices", "{\"a\":1}"), ("trainable_token_indices", "{\"a\":[null]}"), ("peft_version", "19"),
        ("base_model_name_or_path", "[\"a\"]"),
    ])
    func wrongTypes(_ field: String, _ value: String) throws {
        let problems = try config("\"\(field)\":\(value)").problems
        #expect(problems.count == 1)
        let problem = try #require(problems.first)
        #expect(problem.kind == .malformed && problem.code == "bad-config" && problem.severity == .error)
        #expect(problem.message.hasPrefix("'\(field)' "), "\(problem.message)")
        #expect(problem.file == "dir/adapter_config.json")
    }

    /// Fields that make it something else than W + s·B·A, and unknown ones.
    @Test(arguments: [
        ("layer_replication", "[[0,4],[2,5]]", "layer-replication"),
        ("alora_invocation_tokens", "[1,2]", "activated-lora"),
        ("use_qalora", "true", "qalora"), ("use_bdlora", "true", "bdlora"), ("use_bdlora", "{}", "bdlora"),
        ("arrow_config", "{\"top_k\":2}", "arrow"), ("kasa_config", "{}", "kasa"),
        ("monteclora_config", "{\"a\":1}", "monteclora"),
        ("brand_new", "true", "unknown-config-field"), ("brand_new", "3", "unknown-config-field"),
        ("brand_new", "{\"a\":0}", "unknown-config-field"), ("brand_new", "[false]", "unknown-config-field"),
        ("init_lora_weights", "\"pissa\"", "base-changed"), ("init_lora_weights", "\"pissa_niter_4\"", "base-changed"),
        ("init_lora_weights", "\"olora\"", "base-changed"), ("init_lora_weights", "\"corda\"", "base-changed"),
        ("init_lora_weights", "\"loftq\"", "base-changed"), ("init_lora_weights", "\"lora_ga\"", "base-changed"),
        ("init_lora_weights", "\"some_new_word\"", "base-changed"),
    ])
    func refusedFields(_ field: String, _ value: String, _ code: String) throws {
        let problems = try config("\"\(field)\":\(value)").problems
        #expect(problems.map(\.code) == [code])
        #expect(problems[0].message.contains(field) && problems[0].kind == .incompatible && problems[0].hint != nil)
    }

    @Test(arguments: [
        "\"layer_replication\":[]", "\"use_qalora\":false", "\"arrow_config\":null", "\"brand_new\":false",
        "\"brand_new\":null",
        "\"brand_new\":[]", "\"brand_new\":{}", "\"brand_new\":\"\"", "\"init_lora_weights\":true",
        "\"init_lora_weights\":false",
        "\"init_lora_weights\":\"eva\"", "\"init_lora_weights\":\"orthogonal\"", "\"auto_mapping\":{\"a\":\"b\"}",
        "\"megatron_core\":\"megatron.core\"", "\"qalora_group_size\":16", "\"velora_config\":{\"a\":1}",
        "\"inference_mode\":true",
    ])
    func harmlessFields(_ fields: String) throws {
        #expect(try config(fields).problems.isEmpty)
    }

    @Test func allProblemsAtOnce() throws {
        let problems = try config(#""r":0,"lora_alpha":"x","use_qalora":true,"new":1,"use_dora":true,"lora_bias":true"#)
            .problems
        #expect(problems.map(\.code) == ["bad-config", "bad-config", "qalora", "unknown-config-field", "bad-config"])
    }

    @Test(arguments: [
        "", "[]", "{}", "{\"peft_type\":1}", "{\"peft_type\":\"LORA\",\"peft_type\":\"LORA\"}", "nul", "{\"a\":{}}",
    ])
    func noConfig(_ text: String) throws {
        let problem = #expect(throws: Problem.self) { try PEFTConfig(json: Array(text.utf8), file: "f") }
        #expect(problem?.kind == .malformed && problem?.file == "f")
    }
}
