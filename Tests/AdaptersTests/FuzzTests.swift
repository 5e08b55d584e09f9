import Fixtures
import Foundation
import Problems
import Safetensors
import StrictJSON
import Testing

@testable import Adapters

/// Random damage to headers and configs of real adapters and bases: each run ends with an answer, never with a crash.
@Suite struct FuzzTests {
    private static let sizes: [Int] = [0, 1, 2, 3, 4, 8, 16, 1 << 31, 1 << 32, 1 << 40, 1 << 61, Int.max / 2, Int.max]
    private static let names = [
        "linear-qv-f32", "dora-linear-f32", "conv2d-f32", "embedding-bf16", "mixtral-both-f32", "qwen3-moe-one-bf16",
        "tied-both-same-f32",
        "tokens-dict-bf16", "saved-head-bf16", "multihead-attention-f32", "patterns-regex-bf16", "gpt2-no-prefix-f32",
        "lora-bias-bf16",
        "tied-tokens-f32", "gpt-oss-both-f32", "classifier-f32", "resized-vocabulary-bf16", "conv3d-f32",
        "dora-conv1d-f32",
    ]

    private static let values = [
        "0", "1", "-1", "2", "8", "1.5", "1e400", "-0", "9223372036854775807", "-9223372036854775808",
        "99999999999999999999", "NaN",
        "null", "true", "false", "\"\"", "\"q_proj\"", "\"all-linear\"", "\"(\"", "\".*\"", "[]", "{}", "[0]", "[-1]",
        "[9223372036854775807]",
        "[\"\"]", "[\".\"]", "[\"a.\"]", "[\"experts.gate_up_proj\"]", "[\"q_proj\",\"q_proj\"]", "{\"\":1}",
        "{\"(\":1}", "{\".*\":0}",
        "{\"q_proj\":9223372036854775807}", "{\"embed_tokens\":[0,0,-1]}", "{\"embed_tokens\":[9223372036854775807]}",
        "[[0,1]]",
    ]

    private static let fields = [
        "r", "lora_alpha", "rank_pattern", "alpha_pattern", "target_modules", "exclude_modules", "modules_to_save",
        "target_parameters",
        "layers_to_transform", "layers_pattern", "trainable_token_indices", "use_dora", "use_rslora", "lora_bias",
        "bias", "peft_type",
        "fan_in_fan_out", "ensure_weight_tying", "init_lora_weights", "layer_replication", "base_model_name_or_path",
        "task_type",
    ]

    private static let parts = [
        "lora_A", "lora_B", "weight", "bias", "base_layer", "default", "lora_embedding_A", "lora_embedding_B",
        "lora_magnitude_vector",
        "token_adapter", "trainable_tokens_delta", "modules_to_save", "0", "7", "", "experts", "mlp", "lm_head",
        "embed_tokens", "out_proj",
        "in_proj_weight", "score", "e\u{301}", "\u{e9}", "lora_E", "_orig_mod", "module", "base_model", "model",
    ]

    /// A tensor whose bytes follow from its shape, where that is possible.
    private struct Entry {
        var name: String
        var dtype: DType
        var shape: [Int]
    }

    private static func entries(_ path: String) throws -> [Entry] {
        try SafetensorsFile(path: path).header.tensors.map { Entry(name: $0.name, dtype: $0.dtype, shape: $0.shape) }
    }

    private static func change(_ list: inout [Entry], _ random: inout SeededRandom) {
        guard !list.isEmpty else { return }
        let at = random.below(list.count)
        switch random.below(9) {
        case 0: list.remove(at: at)
        case 1, 2:
            var pieces = list[at].name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
            let place = random.below(pieces.count)
            switch random.below(3) {
            case 0: pieces.remove(at: place)
            case 1: pieces.insert(random.pick(parts), at: place)
            default: pieces[place] = random.pick(parts)
            }
            list[at].name = pieces.joined(separator: ".")
        case 3: list[at].name = list[random.below(list.count)].name + random.pick(["", ".default", ".weight"])
        case 4: list[at].dtype = random.pick(DType.allCases)
        case 5: list[at].shape.shuffle(using: &random)
        case 6: list[at].shape = (0..<random.below(6)).map { _ in random.pick(sizes) }
        case 7: if !list[at].shape.isEmpty { list[at].shape[random.below(list[at].shape.count)] = random.pick(sizes) }
        default: list.append(list[at])
        }
    }

    /// The file of those tensors; those that are too large become empty, and a name that is there already is left out.
    private static func file(_ list: [Entry]) throws -> [UInt8] {
        var seen: Set<[UInt8]> = []
        var tensors: [(name: String, dtype: DType, shape: [Int], bytes: [UInt8])] = []
        for entry in list where seen.insert(Array(entry.name.utf8)).inserted {
            var shape = entry.shape
            if (DType.byteCount(shape, entry.dtype) ?? .max) > 1 << 20 { shape.append(0) }
            guard let count = DType.byteCount(shape, entry.dtype), count <= 1 << 20 else { continue }
            tensors.append((entry.name, entry.dtype, shape, [UInt8](repeating: 0, count: count)))
        }
        return try Header.encode(tensors: tensors, metadata: nil)
    }

    private static func change(_ config: inout JSONObject, _ random: inout SeededRandom) throws {
        let key = random.below(4) == 0 ? random.pick(config.entries.map(\.key)) : random.pick(fields)
        if random.below(8) == 0, key != "peft_type" {
            config[key] = nil
        } else {
            config[key] = try JSONValue.parse(Array(random.pick(values).utf8), allowNonFinite: true)
        }
    }

    @Test(arguments: names) func damagedPairsGetAnAnswer(_ name: String) throws {
        var random = SeededRandom(test: "damagedPairsGetAnAnswer \(name)")
        let golden = TestFiles.golden + "/cases/" + name
        let scratch = try Scratch()
        let base = TestFiles.names(golden + "/base").filter { $0.hasSuffix(".safetensors") }.map {
            golden + "/base/" + $0
        }
        let baseEntries = try base.flatMap { try Self.entries($0) }
        let adapterEntries = try Self.entries(golden + "/adapter/adapter_model.safetensors")
        let config = try #require(JSONValue.parse(bytes(of: golden + "/adapter/adapter_config.json")).object)
        let baseConfig = golden + "/base/config.json"
        try scratch.write("base/config.json", exists(baseConfig) ? try bytes(of: baseConfig) : Array("{}".utf8))
        var fitting = 0
        for _ in 0..<150 {
            var (tensors, weights, fields) = (adapterEntries, baseEntries, config)
            for _ in 0..<random.below(4) { Self.change(&tensors, &random) }
            for _ in 0..<random.below(3) { Self.change(&weights, &random) }
            for _ in 0..<random.below(3) { try Self.change(&fields, &random) }
            try scratch.write("base/model.safetensors", Self.file(weights))
            try scratch.write("adapter/adapter_model.safetensors", Self.file(tensors))
            try scratch.write("adapter/adapter_config.json", JSONValue.object(fields).encoded())
            let inputs = LoadedInputs(base: scratch("base"), operands: [AdapterOperand(path: scratch("adapter"))])
            for problem in inputs.problems { #expect(!problem.message.isEmpty && problem.kind != .internalFault) }
            if inputs.isSound, let resolution = inputs.entries[0].resolution {
                fitting += 1
                try Self.checkBounds(resolution, "\(name): \(JSONValue.object(fields).encoded())")
                // Whatever fits changes something; no tensor of the adapter goes unused without a word.
                #expect(!resolution.updates.isEmpty || !resolution.problems.isEmpty || resolution.unties == false)
            }
        }
        print("damagedPairsGetAnAnswer \(name): \(fitting) of 150 still fit")
    }

    /// What a resolution says can be read: every factor stays inside of its tensor.
    private static func checkBounds(_ resolution: Resolution, _ context: String) throws {
        for update in resolution.updates {
            for term in update.terms {
                for (factor, rows, columns) in [
                    (term.left, term.view.rows, term.rank), (term.right, term.rank, term.view.columns),
                ] {
                    #expect(rows > 0 && columns > 0 && term.view.batches > 0 && term.scale.isFinite, "\(context)")
                    let last =
                        factor.offset + (term.view.batches - 1) * factor.batchStride + (rows - 1) * factor.rowStride
                        + (columns - 1) * factor.columnStride
                    #expect(last < factor.tensor.elementCount, "\(context): \(update.name)")
                }
                #expect(term.view.batches * term.view.rows * term.view.columns == update.shape.reduce(1, *))
            }
            if let rows = update.tokenRows {
                #expect(rows.rows.allSatisfy { (0..<(update.shape.first ?? 0)).contains($0) })
            }
        }
    }

    /// Random bytes in the config's text.
    @Test func noiseInConfigs() throws {
        var random = SeededRandom(test: "noiseInConfigs")
        for name in Self.names {
            let text = try bytes(of: TestFiles.golden + "/cases/\(name)/adapter/adapter_config.json")
            for _ in 0..<200 {
                var noisy = text
                for _ in 0...random.below(4) {
                    let at = random.below(noisy.count)
                    switch random.below(3) {
                    case 0: noisy[at] = random.pick(Array("\"\\{}[],:09.-eEtfn(*+".utf8))
                    case 1: noisy.remove(at: at)
                    default: noisy[at] ^= 1 << UInt8(random.below(8))
                    }
                }
                guard let config = try? PEFTConfig(json: noisy, file: "f") else { continue }
                _ = try? TargetMatcher(config: config).targets("model.layers.0.self_attn.q_proj")
                let scales = ScaleResolver(config: config, file: "f")
                _ = config.scale(rank: scales.rank(of: "a.b"), alpha: scales.alpha(of: "a.b"))
                _ = scales.audit(["a.b", "model.layers.0.self_attn.q_proj"])
            }
        }
    }

    /// Many names with the same end, many patterns, many targets: time grows with the size of the files, not with its square.
    @Test(.timeLimit(.minutes(1))) func largeInputsEndSoon() throws {
        let scratch = try Scratch()
        let count = 4_000
        let weights = (0..<count).map { Entry(name: "p\($0).layers.0.q.weight", dtype: .f32, shape: [2, 2]) }
        let pairs = (0..<count).flatMap { at in
            ["lora_A", "lora_B"].map { Entry(name: "x\(at).layers.0.q.\($0).weight", dtype: .f32, shape: [2, 2]) }
        }
        let patterns = (0..<count).map { "\"x\($0).layers.0.q\":2" }.joined(separator: ",")
        let targets = (0..<count).map { "\"x\($0).layers.0.q\"" }.joined(separator: ",")
        try scratch.write("base/model.safetensors", Self.file(weights))
        try scratch.write("adapter/adapter_model.safetensors", Self.file(pairs))
        try scratch.write(
            "adapter/adapter_config.json",
            #"{"peft_type":"LORA","r":2,"rank_pattern":{\#(patterns)},"target_modules":[\#(targets)]}"#)
        let inputs = LoadedInputs(base: scratch("base"), operands: [AdapterOperand(path: scratch("adapter"))])
        #expect(inputs.problems.count == count && inputs.problems.allSatisfy { $0.code == "ambiguous-module" })
    }
}
