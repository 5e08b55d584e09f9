import Adapters
import Problems
import Safetensors
import Tensors

/// An adapter whose tensors are in memory, in the dtypes that its file has them in.
final class HeldAdapter: Sendable {
    let adapter: Adapter
    let resolution: Resolution
    /// Codes of errors that its user takes for warnings.
    let allowed: Set<String>
    /// What DoRA multiplies with, by tensor and what that starts from: it takes a pass over the whole tensor.
    let factors = OnceTable<[Double]>()
    private let pairs: [PairKey: HeldFactors]
    private let tensors: [String: [UInt8]]
    /// What is wrong with the values.
    let problems: [Problem]

    /// What tells the factors of two terms apart.
    private struct PairKey: Hashable {
        let left: String
        let right: String
        let leftOffset: Int
        let rightOffset: Int
        let rowStride: Int

        init(_ term: LowRankTerm) {
            left = term.left.tensor.name
            right = term.right.tensor.name
            leftOffset = term.left.offset
            rightOffset = term.right.offset
            rowStride = term.left.rowStride
        }
    }

    /// Reads all tensors that the adapter's updates use.
    init(_ adapter: Adapter, _ resolution: Resolution, allowed: Set<String>) throws(Problem) {
        self.adapter = adapter
        self.resolution = resolution
        self.allowed = allowed
        // Experts that are stored one by one share the tensors of a fused pair: each is read once.
        var read: [String: [UInt8]] = [:]
        func bytes(_ tensor: TensorInfo) throws(Problem) -> [UInt8] {
            if let known = read[tensor.name] { return known }
            let new = try adapter.file.read(tensor)
            read[tensor.name] = new
            return new
        }
        var pairs: [PairKey: HeldFactors] = [:]
        var kept: [String: [UInt8]] = [:]
        for update in resolution.updates {
            for term in update.terms where pairs[PairKey(term)] == nil {
                pairs[PairKey(term)] = try HeldFactors(term) { (factor) throws(Problem) in try bytes(factor.tensor) }
            }
            let whole = [
                update.replacement, update.tokenRows?.tensor, update.addition?.tensor,
                update.terms.first?.magnitude?.tensor,
            ]
            for case let tensor? in whole { kept[tensor.name] = try bytes(tensor) }
        }
        self.pairs = pairs
        tensors = kept
        problems = Self.nonFinite(adapter, read)
    }

    private static func nonFinite(_ adapter: Adapter, _ read: [String: [UInt8]]) -> [Problem] {
        adapter.file.header.tensors.compactMap { tensor in
            let count = read[tensor.name].map { HeldMatrix.nonFinite($0, tensor.dtype) } ?? 0
            guard count > 0 else { return nil }
            return Problem(
                .incompatible, "non-finite", file: adapter.file.path, tensor: tensor.name,
                "has \(count) of \(tensor.elementCount) values that are NaN or infinite",
                hint: "training diverged or the file was damaged: use an earlier checkpoint of the adapter")
        }
    }

    /// The factors of one of its terms.
    func factors(of term: LowRankTerm) -> HeldFactors? { pairs[PairKey(term)] }

    /// The bytes of a tensor that is used whole.
    func bytes(of tensor: TensorInfo) -> [UInt8]? { tensors[tensor.name] }

    /// The values of a tensor that is used whole.
    func values(of tensor: TensorInfo) throws(Problem) -> [Double] {
        guard let bytes = bytes(of: tensor) else {
            throw Problem(.internalFault, "not-held", file: adapter.file.path, tensor: tensor.name, "was not read")
        }
        return try TensorValues.doubles(bytes, tensor.dtype)
    }
}
