import Digests
import Problems
import Safetensors

/// SHA-256 of tensors' bytes, several at once.
package enum TensorDigests {
    /// The digests of tensors of a checkpoint, in their order.
    package static func of(
        _ tensors: [Checkpoint.Place], in base: Checkpoint, threads: Int,
        progress: @escaping @Sendable (Int) -> Void = { _ in }
    ) throws(Problem) -> [String] {
        try OrderedWork.map(tensors.count, threads: threads, worker: { NoScratch() }) { (at, _) throws(Problem) in
            let (info, file) = (tensors[at].info, base.shards[tensors[at].shard].file)
            let start = file.header.dataStart + info.begin
            return try SHA256.hex(of: file.file, bytes: start..<start + info.byteCount, progress: progress)
        }
    }
}
