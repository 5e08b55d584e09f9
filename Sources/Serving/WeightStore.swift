import Problems
import Safetensors
import Synchronization

/// Tensors of the base, read when they are first asked for and kept in the dtype of the file.
final class WeightStore: Sendable {
    private let base: Checkpoint
    private let kept = OnceTable<[UInt8]>()
    private let size = Mutex(0)

    init(_ base: Checkpoint) { self.base = base }

    /// Bytes of all tensors that are kept.
    var byteCount: Int { size.withLock { $0 } }

    /// The bytes of a tensor; several threads that ask for one read it once.
    func bytes(shard: Int, _ tensor: TensorInfo) throws(Problem) -> [UInt8] {
        try kept.value(tensor.name) { () throws(Problem) in
            let bytes = try base.shards[shard].file.read(tensor)
            size.withLock { $0 += bytes.count }
            return bytes
        }
    }

    /// Forgets all tensors.
    func removeAll() {
        kept.removeAll()
        size.withLock { $0 = 0 }
    }
}
