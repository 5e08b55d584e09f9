import Files
import Problems
import Safetensors

/// SHA-256 of tensors' bytes, several at once.
package enum TensorDigests {
    /// The digests of tensors of a checkpoint, in their order.
    package static func of(
        _ tensors: [Checkpoint.Place], in base: Checkpoint, threads: Int,
        progress: @escaping @Sendable (Int) -> Void = { _ in }
    ) throws(Problem) -> [String] {
        let result = OrderedState<[String]>([])
        try OrderedWork.run(
            tensors.count, threads: threads, worker: { BaseFiles.Idle() },
            make: { (at, _) throws(Problem) -> String in
                let (info, file) = (tensors[at].info, base.shards[tensors[at].shard].file)
                let place = BaseFiles.Place(
                    file: file.file, offset: file.header.dataStart + info.begin, size: info.byteCount, dtype: info.dtype
                )
                return try digest(of: place, progress)
            },
            settle: { (_, digest, _) throws(Problem) in result.value.append(digest) })
        return result.value
    }
}
