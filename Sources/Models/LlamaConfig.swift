import Problems
import Safetensors
import StrictJSON

/// The sizes of a model of the Llama family (Llama, Mistral, Qwen2), as `config.json` states them.
public struct LlamaConfig: Sendable, Equatable {
    /// `model_type`: `llama`, `mistral` or `qwen2`.
    public var modelType: String
    /// Ids that there are.
    public var vocabulary: Int
    /// Numbers of a hidden state.
    public var hidden: Int
    /// Numbers between `gate_proj`/`up_proj` and `down_proj`.
    public var intermediate: Int
    /// Blocks.
    public var layers: Int
    /// Heads of the queries.
    public var heads: Int
    /// Heads of keys and values; each serves `heads / keyValueHeads` heads of queries.
    public var keyValueHeads: Int
    /// Numbers of a head.
    public var headSize: Int
    /// What is added to the mean square in a norm.
    public var epsilon: Double
    /// How positions turn queries and keys.
    public var rotary: Rotary
    /// Positions for which the model was made; `nil` where the config does not say.
    public var positions: Int?
    /// How many positions a query sees, its own included; `nil` for all before it.
    public var window: Int?
    /// The first layer that has the window.
    public var firstWindowLayer = 0
    /// Whether the head is the embedding.
    public var isTied: Bool
    /// Whether q, k and v have biases.
    public var hasQueryBias: Bool
    /// Whether o has one.
    public var hasOutputBias: Bool
    /// Whether gate, up and down have them.
    public var hasMLPBias: Bool
    /// The id that begins a text; `nil` where there is none.
    public var beginID: Int?
    /// The ids that end a text.
    public var endIDs: [Int]

    /// Numbers of all queries of a position.
    public var queryWidth: Int { heads * headSize }
    /// Numbers of all keys of a position.
    public var keyWidth: Int { keyValueHeads * headSize }

    /// The id that is put behind an example, to be learned with it; `nil` where there is none.
    public var endOfExample: Int? { endIDs.first.flatMap { $0 < vocabulary ? $0 : nil } }

    /// How many positions a query of a layer sees; `nil` for all before it.
    public func window(ofLayer layer: Int) -> Int? { layer >= firstWindowLayer ? window : nil }

    /// Model types that are understood.
    public static let modelTypes = ["llama", "mistral", "qwen2"]

    /// The sizes of the model in `checkpoint`.
    public init(_ checkpoint: Checkpoint) throws(Problem) {
        guard let config = checkpoint.config?.object else {
            throw Problem(
                .missing, "no-config", file: checkpoint.path, "has no config.json, which says how the model computes",
                hint: "name a model's directory as transformers writes it")
        }
        let path = checkpoint.directory == nil ? checkpoint.path : "\(checkpoint.path)/config.json"
        try self.init(config, path: path)
    }

    /// The sizes that `config` states; `path` is for messages.
    public init(_ config: JSONObject, path: String) throws(Problem) {
        let read = ConfigReader(config, path)
        modelType = config["model_type"]?.string ?? ""
        guard Self.modelTypes.contains(modelType) else {
            throw Problem(
                .incompatible, "not-llama", file: path,
                config["model_type"] == nil
                    ? "has no model_type" : "is of model_type '\(modelType.excerpt)', which is not of the Llama family",
                hint: "models of the types \(Self.modelTypes.joined(separator: ", ")) can be run and trained")
        }
        try read.require("hidden_act", "silu")
        guard config["quantization_config"] == nil || config["quantization_config"] == .null else {
            throw Problem(
                .incompatible, "quantized-base", file: path,
                "is of a quantized model, whose weights cannot be trained on",
                hint: "use the model in float32, float16 or bfloat16")
        }
        vocabulary = try read.size("vocab_size")
        hidden = try read.size("hidden_size")
        intermediate = try read.size("intermediate_size")
        layers = try read.size("num_hidden_layers")
        heads = try read.size("num_attention_heads")
        keyValueHeads = try read.sizeIfAny("num_key_value_heads") ?? heads
        guard heads % keyValueHeads == 0 else {
            throw Problem(
                .malformed, "bad-config", file: path,
                "has \(heads) attention heads, which \(keyValueHeads) heads of keys and values cannot share")
        }
        if let stated = try read.sizeIfAny("head_dim") {
            headSize = stated
        } else {
            guard hidden % heads == 0 else {
                throw Problem(
                    .malformed, "bad-config", file: path,
                    "has hidden_size \(hidden), which is no multiple of \(heads) heads")
            }
            headSize = hidden / heads
        }
        guard headSize % 2 == 0 else {
            throw Problem(
                .malformed, "bad-config", file: path,
                "has heads of \(headSize) numbers; rotary embeddings need an even number")
        }
        epsilon = try read.number("rms_norm_eps") ?? 1e-6
        positions = try read.sizeIfAny("max_position_embeddings")
        rotary = try Rotary(read, headSize: headSize)
        isTied = config["tie_word_embeddings"]?.bool ?? false
        let isQwen = modelType == "qwen2"
        let bias = config["attention_bias"]?.bool ?? false
        hasQueryBias = isQwen || (modelType == "llama" && bias)
        hasOutputBias = modelType == "llama" && bias
        hasMLPBias = modelType == "llama" && (config["mlp_bias"]?.bool ?? false)
        let usesWindow = isQwen ? config["use_sliding_window"]?.bool ?? false : modelType == "mistral"
        window = usesWindow ? try read.sizeIfAny("sliding_window") : nil
        if isQwen, window != nil { firstWindowLayer = try read.count("max_window_layers") ?? layers }
        beginID = try read.ids("bos_token_id").first
        endIDs = try read.ids("eos_token_id")
        if isQwen { try requireLayerTypes(config, path) }
    }

    /// transformers goes by `layer_types`, where a config has them: they must say what the other fields say.
    private func requireLayerTypes(_ config: JSONObject, _ path: String) throws(Problem) {
        guard let kinds = config["layer_types"]?.array else { return }
        let own = (0..<layers).map { window(ofLayer: $0) == nil ? "full_attention" : "sliding_attention" }
        guard kinds.map(\.string) != own.map(Optional.some) else { return }
        throw Problem(
            .incompatible, "layer-types", file: path,
            "has layer_types that do not follow from use_sliding_window, sliding_window and max_window_layers",
            hint: "only layers with a window behind layers without one can be computed")
    }
}

/// Numbers of a config, with errors that name them.
struct ConfigReader {
    let object: JSONObject
    let path: String

    init(_ object: JSONObject, _ path: String) {
        self.object = object
        self.path = path
    }

    private func bad(_ key: String, _ what: String) -> Problem {
        Problem(.malformed, "bad-config", file: path, "the field '\(key)' \(what)")
    }

    /// The value of `key`, unless it is missing or null.
    func value(_ key: String) -> JSONValue? { object[key].flatMap { $0 == .null ? nil : $0 } }

    func count(_ key: String) throws(Problem) -> Int? {
        guard let value = value(key) else { return nil }
        guard let number = value.number?.int, (0...(1 << 31)).contains(number) else {
            throw bad(key, "should be a whole number from 0 to 2147483648")
        }
        return number
    }

    func sizeIfAny(_ key: String) throws(Problem) -> Int? {
        guard let number = try count(key) else { return nil }
        guard number > 0 else { throw bad(key, "is 0") }
        return number
    }

    func size(_ key: String) throws(Problem) -> Int {
        guard let number = try sizeIfAny(key) else { throw bad(key, "is missing") }
        return number
    }

    func number(_ key: String) throws(Problem) -> Double? {
        guard let value = value(key) else { return nil }
        guard let number = value.number?.double, number.isFinite else { throw bad(key, "should be a number") }
        return number
    }

    func require(_ key: String, _ only: String) throws(Problem) {
        guard let value = value(key), value.string != only else { return }
        let found = value.string.map { "'\($0.excerpt)'" } ?? value.encoded().excerpt
        throw Problem(
            .incompatible, "not-llama", file: path, "has \(key) \(found); only '\(only)' can be computed")
    }

    /// A number, or a list of them.
    func ids(_ key: String) throws(Problem) -> [Int] {
        guard let value = value(key) else { return [] }
        var result: [Int] = []
        for item in value.array ?? [value] {
            guard let id = item.number?.int, id >= 0 else {
                throw bad(key, "should be one token id, or a list of them")
            }
            result.append(id)
        }
        return result
    }
}
