import Problems
import Safetensors

/// The tensors that a model of certain sizes has, and what a checkpoint has instead of them.
public struct LlamaLayout: Sendable {
    private let config: LlamaConfig

    /// The next step where weights and config do not belong together.
    public static let mismatchHint =
        "weights and config.json belong to different models: get both again from one place"

    /// The layout of a model with these sizes.
    public init(_ config: LlamaConfig) { self.config = config }

    /// Names and shapes, in the order in which they compute.
    public var tensors: [(name: String, shape: [Int])] {
        var list = [(LlamaNames.embedding, [config.vocabulary, config.hidden])]
        for layer in 0..<config.layers {
            let path = LlamaNames.layer(layer)
            for module in LlamaNames.linear {
                guard let shape = LlamaNames.shape(of: module, config) else { continue }
                list.append(("\(path).\(module).weight", shape))
                if LlamaNames.hasBias(module, config) { list.append(("\(path).\(module).bias", [shape[0]])) }
            }
            for norm in LlamaNames.norms { list.append(("\(path).\(norm).weight", [config.hidden])) }
        }
        list.append((LlamaNames.finalNorm, [config.hidden]))
        if !config.isTied { list.append((LlamaNames.head, [config.vocabulary, config.hidden])) }
        return list
    }

    /// What is missing in a checkpoint, has another shape, or has no place in the model; all of it, from headers alone.
    ///
    /// - Parameter companions: names of tensors that may stand beside one that the model has, such as its scales.
    public func problems(
        _ checkpoint: Checkpoint, companions: (Checkpoint.Place) -> [String] = { _ in [] }
    ) -> [Problem] {
        if let problem = bareNames(checkpoint) ?? tooManyLayers(checkpoint) { return [problem] }
        let stored = Set(checkpoint.tensors.compactMap { Self.layer(of: $0.info.name) })
        var problems: [Problem] = []
        var known: Set<String> = []
        var told: Set<Int> = []
        for (name, shape) in tensors {
            known.insert(name)
            if let place = checkpoint.lookup(name) {
                known.formUnion(companions(place))
                if let problem = wrongShape(place, shape, checkpoint) { problems.append(problem) }
            } else if let layer = Self.layer(of: name), !stored.contains(layer) {
                if told.insert(layer).inserted { problems.append(missing(layer: layer, checkpoint)) }
            } else {
                problems.append(
                    Problem(
                        .incompatible, "no-tensor", file: checkpoint.path, tensor: name,
                        "is missing; config.json asks for it with shape \(shape)", hint: Self.mismatchHint))
            }
        }
        return problems + foreign(checkpoint, known)
    }

    private func wrongShape(_ place: Checkpoint.Place, _ shape: [Int], _ checkpoint: Checkpoint) -> Problem? {
        guard place.info.shape != shape else { return nil }
        return Problem(
            .incompatible, "shape-mismatch", file: checkpoint.shards[place.shard].file.path, tensor: place.info.name,
            "has shape \(place.info.shape), but config.json asks for \(shape)", hint: Self.mismatchHint)
    }

    private func missing(layer: Int, _ checkpoint: Checkpoint) -> Problem {
        Problem(
            .incompatible, "no-tensor", file: checkpoint.path,
            "layer \(layer) is missing: config.json says \(layers)", hint: Self.mismatchHint)
    }

    /// A config of more layers than there are tensors is told at once: nothing is counted up to what it says.
    private func tooManyLayers(_ checkpoint: Checkpoint) -> Problem? {
        guard config.layers > checkpoint.tensors.count else { return nil }
        let stored = Set(checkpoint.tensors.compactMap { Self.layer(of: $0.info.name) }).count
        return Problem(
            .incompatible, "no-tensor", file: checkpoint.path,
            "config.json says \(layers), but the weights have \(stored)", hint: Self.mismatchHint)
    }

    private var layers: String { "\(config.layers) layer\(config.layers == 1 ? "" : "s")" }

    /// What has no place in the model; a layer that is one too many is told once.
    private func foreign(_ checkpoint: Checkpoint, _ known: Set<String>) -> [Problem] {
        var problems: [Problem] = []
        var told: Set<Int> = []
        for place in checkpoint.tensors where !known.contains(place.info.name) {
            let name = place.info.name
            // A copy of the embedding as a tied head, and rotary tables of older versions, say nothing new.
            if config.isTied && name == LlamaNames.head { continue }
            if name.hasSuffix("rotary_emb.inv_freq") { continue }
            guard let layer = Self.layer(of: name), layer >= config.layers else {
                problems.append(
                    Problem(
                        .incompatible, "unexpected-tensor", file: checkpoint.shards[place.shard].file.path,
                        tensor: name, "has no place in a model of type \(config.modelType)",
                        hint: "the model computes something else than its config says"))
                continue
            }
            guard told.insert(layer).inserted else { continue }
            problems.append(
                Problem(
                    .incompatible, "unexpected-tensor", file: checkpoint.path,
                    "has a layer \(layer), but config.json says \(layers), which end at layer \(config.layers - 1)",
                    hint: Self.mismatchHint))
        }
        return problems
    }

    /// The number of the layer that a tensor belongs to by its name.
    private static func layer(of name: String) -> Int? {
        guard name.hasPrefix("model.layers.") else { return nil }
        let rest = name.dropFirst("model.layers.".utf8.count)
        // As it is written in names: no signs, and no zeros before it.
        guard let number = Int(rest.prefix { $0 != "." }), rest.hasPrefix("\(number).") else { return nil }
        return number
    }

    /// A model that was saved without its head has names without the first word.
    private func bareNames(_ checkpoint: Checkpoint) -> Problem? {
        let prefix = "model."
        guard !checkpoint.tensors.contains(where: { $0.info.name.hasPrefix(prefix) }),
            checkpoint.lookup(String(LlamaNames.embedding.dropFirst(prefix.utf8.count))) != nil
        else { return nil }
        return Problem(
            .incompatible, "no-tensor", file: checkpoint.path, tensor: LlamaNames.embedding,
            "is missing; the names of the weights do not begin with '\(prefix)'",
            hint: "load the model with transformers' AutoModelForCausalLM, and save it again with save_pretrained")
    }
}
