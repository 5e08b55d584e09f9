import Models
import Problems
import Serving

/// The layers of one block.
struct DecoderBlock: Sendable {
    let firstNorm: [Float]
    let secondNorm: [Float]
    let query: LinearLayer
    let key: LinearLayer
    let value: LinearLayer
    let output: LinearLayer
    let gate: LinearLayer
    let up: LinearLayer
    let down: LinearLayer
}

/// Fetches the layers that a config promises, and holds their shapes against it.
struct LayerFetcher {
    private let snapshot: ModelSnapshot
    private let config: LlamaConfig

    init(_ snapshot: ModelSnapshot, _ config: LlamaConfig) {
        self.snapshot = snapshot
        self.config = config
    }

    private func mismatch(_ name: String, _ found: [Int], _ wanted: [Int]) -> Problem {
        Problem(
            .incompatible, "shape-mismatch", tensor: name,
            "has shape \(found), but config.json asks for \(wanted)",
            hint: LlamaLayout.mismatchHint)
    }

    /// The embedding; an adapter may have given it more rows than the config says.
    func embedding() throws(Problem) -> EmbeddingLayer {
        let layer = try snapshot.embedding(LlamaNames.embedding)
        let found = [layer.vocabulary, layer.dimension]
        guard isVocabulary(layer.vocabulary), layer.dimension == config.hidden else {
            throw mismatch(layer.name, found, [config.vocabulary, config.hidden])
        }
        return layer
    }

    func head() throws(Problem) -> LinearLayer {
        let layer = try snapshot.linear(LlamaNames.head)
        guard isVocabulary(layer.outputs), layer.inputs == config.hidden else {
            throw mismatch(layer.name, [layer.outputs, layer.inputs], [config.vocabulary, config.hidden])
        }
        return layer
    }

    private func isVocabulary(_ rows: Int) -> Bool {
        rows == config.vocabulary || (rows > config.vocabulary && !snapshot.attachments.isEmpty)
    }

    func norm(_ name: String) throws(Problem) -> [Float] {
        let (shape, values) = try snapshot.tensor(name)
        guard shape == [config.hidden] else { throw mismatch(name, shape, [config.hidden]) }
        return values
    }

    func block(_ layer: Int) throws(Problem) -> DecoderBlock {
        let path = LlamaNames.layer(layer)
        return DecoderBlock(
            firstNorm: try norm("\(path).input_layernorm.weight"),
            secondNorm: try norm("\(path).post_attention_layernorm.weight"),
            query: try linear(path, "self_attn.q_proj"), key: try linear(path, "self_attn.k_proj"),
            value: try linear(path, "self_attn.v_proj"), output: try linear(path, "self_attn.o_proj"),
            gate: try linear(path, "mlp.gate_proj"), up: try linear(path, "mlp.up_proj"),
            down: try linear(path, "mlp.down_proj"))
    }

    private func linear(_ path: String, _ module: String) throws(Problem) -> LinearLayer {
        let name = "\(path).\(module)"
        let layer = try snapshot.linear(name)
        let wanted = LlamaNames.shape(of: module, config) ?? []
        guard [layer.outputs, layer.inputs] == wanted else {
            throw mismatch(layer.name, [layer.outputs, layer.inputs], wanted)
        }
        let hasBias = LlamaNames.hasBias(module, config)
        guard layer.hasBias || !hasBias else {
            throw Problem(
                .incompatible, "no-tensor", tensor: name + ".bias",
                "is missing, though config.json says that there is one")
        }
        // An adapter may bring a bias; one of the base that the config denies would silently count here, and nowhere else.
        if layer.hasBias, !hasBias, snapshot.attachments.isEmpty {
            throw Problem(
                .incompatible, "unexpected-bias", tensor: name + ".bias",
                "is in the base, though config.json says that there is none",
                hint: LlamaLayout.mismatchHint)
        }
        return layer
    }
}
