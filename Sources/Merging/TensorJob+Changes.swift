import Adapters
import CKernels
import Problems
import Safetensors
import Tensors

/// The changes of one tensor whose parts are in memory, in the order in which the adapters were named.
struct LoadedChanges: Sendable {
    /// Deltas, each with its scale.
    var deltas: [(delta: any LoadedDelta, scale: Double)] = []
    /// What depends on the weight itself.
    var action: (any LoadedAction)?
}

/// Changes that are no products of two factors.
extension TensorJob {
    /// Adds to D what is added as it is, and deltas of other kinds.
    func addPlain(_ block: Block, _ buffers: BlockBuffers) throws(Problem) {
        let count = block.rows.count * view.columns
        let first = firstElement(block)
        for addition in tensor.additions {
            let file = environment.inputs[addition.input].adapter.file
            let size = addition.tensor.dtype.bits / 8
            let bytes = try file.read(addition.tensor, bytes: first * size..<(first + count) * size)
            let values = try TensorValues.doubles(bytes, addition.tensor.dtype)
            for at in 0..<count { unsafe buffers.delta[at] += addition.scale * values[at] }
        }
        let deltas = try loadedChanges().deltas
        guard !deltas.isEmpty else { return }
        var sum = unsafe [Double](buffers.delta[..<count])
        for entry in deltas { entry.delta.add(block.rows, times: entry.scale, to: &sum) }
        for at in 0..<count { unsafe buffers.delta[at] = sum[at] }
    }

    /// Adds f(W) - W to D.
    func add(
        _ action: any WeightAction, _ block: Block, _ buffers: BlockBuffers, _ weights: UnsafeMutableRawBufferPointer
    ) throws(Problem) {
        guard let loaded = try loadedChanges().action else { return }
        let bytes = unsafe Array(UnsafeRawBufferPointer(weights))
        let old = try TensorValues.doubles(bytes, tensor.source.info.dtype)
        var new = old
        loaded.apply(block.rows, to: &new)
        for at in old.indices { unsafe buffers.delta[at] += new[at] - old[at] }
    }

    private func loadedChanges() throws(Problem) -> LoadedChanges {
        try loaded.withLock { (kept) throws(Problem) in
            if let kept { return kept }
            var made = LoadedChanges()
            for entry in tensor.changes {
                let file = environment.inputs[entry.input].adapter.file
                let read: ValueReader = { (info) throws(Problem) in
                    try TensorValues.doubles(file.read(info), info.dtype)
                }
                switch entry.change.effect {
                case .delta(let delta, let scale):
                    made.deltas.append((try delta.load(read), scale * entry.weight))
                case .action(let action):
                    made.action = try action.load(shape: (view.rows, view.columns), read, weights: readRows)
                }
            }
            kept = made
            return made
        }
    }

    /// Rows of the weight before anything is done to it.
    private func readRows(_ rows: Range<Int>) throws(Problem) -> [Double] {
        let info = tensor.source.info
        let size = view.columns * info.dtype.bits / 8
        let bytes = try environment.file(of: tensor.source).read(
            info, bytes: rows.lowerBound * size..<rows.upperBound * size)
        return try TensorValues.doubles(bytes, info.dtype)
    }
}
