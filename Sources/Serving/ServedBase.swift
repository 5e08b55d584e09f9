import Adapters
import Merging
import Problems
import Safetensors

/// What all snapshots of a model have in common: the base, its weights as far as they were read, and its names.
final class ServedBase: Sendable {
    let checkpoint: Checkpoint
    let traits: BaseTraits
    let weights: WeightStore
    let threads: Int
    /// Names of tensors that the checkpoint does not store, since they are one with another: a tied head.
    private let aliases: [String: String]
    private let unchanged = OnceTable<PlannedTensor>()

    init(_ checkpoint: Checkpoint, threads: Int) {
        self.checkpoint = checkpoint
        self.threads = max(1, threads)
        traits = BaseTraits(checkpoint)
        weights = WeightStore(checkpoint)
        var names: [String: String] = [:]
        if let shared = SharedHead(checkpoint, traits) {
            if !shared.isStored { names[shared.head.name] = shared.embedding.name }
            for pair in traits.sharedWithHead where checkpoint.lookup(pair.target) == nil {
                if checkpoint.lookup(pair.source) != nil { names[pair.target] = pair.source }
            }
        }
        aliases = names
    }

    /// The name by which the checkpoint stores a tensor that shares another's values.
    func stored(_ name: String) -> String? { aliases[name] }

    /// All parameters of the base by name, also those that it shares.
    var names: [String] { checkpoint.tensors.map(\.info.name) + aliases.keys.sorted() }

    /// In float32 every 8-bit weight needs its scales, so this type makes the plan look for them.
    static var options: MergeOptions {
        var options = MergeOptions(version: "")
        options.dtype = .f32
        return options
    }

    /// A tensor as the base has it; `nil` if it has none of that name.
    func tensor(_ name: String) throws(Problem) -> ServedTensor? {
        guard let place = checkpoint.lookup(name) else { return nil }
        let planned = try unchanged.value(name) { () throws(Problem) in
            var builder = PlanBuilder(base: checkpoint, inputs: [], options: Self.options)
            let planned = builder.unchanged(place)
            if let problem = builder.problems.first { throw problem }
            guard let planned else {
                throw Problem(.internalFault, "no-plan", file: checkpoint.path, tensor: name, "has no plan")
            }
            return planned
        }
        return ServedTensor(planned: planned, adapters: [], weights: weights)
    }
}
