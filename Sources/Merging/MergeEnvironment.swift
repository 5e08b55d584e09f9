import Adapters
import Problems
import Safetensors
import Tensors

/// What all blocks of a merge read from.
final class MergeEnvironment: Sendable {
    let base: Checkpoint
    let inputs: [MergeInput]
    let store: FactorStore

    init(_ plan: MergePlan) {
        base = plan.base
        inputs = plan.inputs
        store = FactorStore(plan.inputs)
    }

    func file(of source: TensorSource) -> SafetensorsFile {
        switch source {
        case .base(let shard, _): base.shards[shard].file
        case .adapter(let input, _): inputs[input].adapter.file
        }
    }

    /// Reads bytes of a source tensor.
    func read(_ source: TensorSource, _ bytes: Range<Int>, into buffer: UnsafeMutableRawBufferPointer) throws(Problem) {
        try unsafe file(of: source).read(source.info, bytes: bytes, into: buffer)
    }

    /// SHA-256 of such bytes, if reading them has checked it already.
    func knownDigest(of source: TensorSource, _ bytes: Range<Int>) -> String? {
        let (file, start) = (file(of: source), file(of: source).header.dataStart + source.info.begin)
        return file.file.knownDigest(of: start + bytes.lowerBound..<start + bytes.upperBound)
    }

    /// DoRA's magnitudes of a tensor.
    func magnitudes(of tensor: PlannedTensor, _ magnitude: Magnitude) throws(Problem) -> [Double] {
        let entry = tensor.terms.first { $0.term.magnitude == magnitude }
        let file = inputs[entry?.input ?? 0].adapter.file
        return try TensorValues.doubles(try file.read(magnitude.tensor), magnitude.tensor.dtype)
    }
}
