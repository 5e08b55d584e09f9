import Adapters
import Files
import Fixtures
import Foundation
import Merging
import Safetensors

/// A made-up base of one or more matrices, adapters for it, and their merge by plain loops.
final class Made {
    /// One adapter: its factors by module, and how it counts.
    struct Part {
        var rank = 2
        var alpha = 2.0
        var weight = 1.0
        var dtype = "F32"
        var isDoRA = false
        /// Whole tensors that it brings.
        var saved: [TensorFile.Tensor] = []
        var config: [String: any Sendable] = [:]
    }

    let scratch: Scratch
    let shape: [Int]
    let dtype: String
    private(set) var base: [Double]
    private var factors: [(part: Part, a: [Double], b: [Double], m: [Double])] = []
    private var random: SeededRandom
    /// Conv1D: the weight is stored as (in × out).
    let isTransposed: Bool

    /// A base with one weight `layer.weight` of `shape`, and a neighbour that nothing touches.
    init(_ shape: [Int], _ dtype: String, transposed: Bool = false, seed: UInt64 = 1) throws {
        scratch = try Scratch()
        self.shape = shape
        self.dtype = dtype
        isTransposed = transposed
        random = SeededRandom(seed)
        let weight = TensorFile.Tensor("layer.weight", dtype, shape, random.numbers(shape[0] * shape[1]))
        base = weight.values
        let directory = try scratch.directory("base")
        let other = TensorFile.Tensor("other.weight", dtype, [3], [1, -2, 3])
        try TensorFile([weight, other]).write(to: directory + "/model.safetensors")
    }

    private var out: Int { isTransposed ? shape[1] : shape[0] }
    private var into: Int { isTransposed ? shape[0] : shape[1] }

    /// Adds an adapter for `layer`.
    func add(_ part: Part, magnitudes: [Double]? = nil) throws {
        let format = Format.named(part.dtype)
        let rounded = { (values: [Double]) in format.decode(format.encode(values)) }
        let a = rounded(random.numbers(part.rank * into))
        let b = rounded(random.numbers(out * part.rank, size: 0.1))
        let m = part.isDoRA ? rounded(magnitudes ?? random.numbers(out, size: 2)) : []
        factors.append((part, a, b, m))
        let directory = try scratch.directory("adapter\(factors.count)")
        var tensors = [
            TensorFile.Tensor("base_model.model.layer.lora_A.weight", part.dtype, [part.rank, into], a),
            TensorFile.Tensor("base_model.model.layer.lora_B.weight", part.dtype, [out, part.rank], b),
        ]
        if part.isDoRA {
            tensors.append(TensorFile.Tensor("base_model.model.layer.lora_magnitude_vector", part.dtype, [out], m))
        }
        try TensorFile(tensors + part.saved).write(to: directory + "/adapter_model.safetensors")
        var config: [String: Any] = [
            "peft_type": "LORA", "r": part.rank, "lora_alpha": part.alpha, "target_modules": ["layer"],
            "use_dora": part.isDoRA, "fan_in_fan_out": isTransposed,
        ]
        for (key, value) in part.config { config[key] = value }
        try write([UInt8](JSONSerialization.data(withJSONObject: config)), to: directory + "/adapter_config.json")
    }

    /// The plan of the merge, from the files.
    func plan(_ change: (inout MergeOptions) -> Void = { _ in }) throws -> MergePlan {
        let checkpoint = try Checkpoint.open(path: scratch("base"))
        let inputs = try factors.indices.map { at in
            let adapter = try Adapter(path: scratch("adapter\(at + 1)"))
            let resolution = Resolution(adapter: adapter, base: checkpoint)
            guard resolution.fits else {
                throw CocoaError(.coderInvalidValue, userInfo: ["": "\(resolution.problems)"])
            }
            return MergeInput(adapter: adapter, weight: factors[at].part.weight, resolution: resolution)
        }
        var options = MergeOptions(version: "test")
        change(&options)
        return try MergePlan(base: checkpoint, inputs: inputs, options: options)
    }

    /// Carries the plan out; the tensors of the output.
    func merge(threads: Int = 2, _ change: (inout MergeOptions) -> Void = { _ in }) throws -> TensorFile {
        let plan = try plan(change)
        let output = try StagedOutput(path: scratch("out"), shape: .directory, replacing: true)
        _ = try Merger(plan: plan, output: output) { _ in }.run(threads: threads)
        try output.commit()
        return try TensorFile(path: scratch("out/model.safetensors"))
    }

    /// What the weights must be, not rounded: (m / ‖W + D‖) · (W + D) of the DoRA adapter, plus the others.
    func expected() -> [Double] {
        var values = base
        for (part, a, b, m) in factors where part.isDoRA {
            let delta = delta(part, a, b)
            var sums = [Double](repeating: 0, count: out)
            for at in values.indices {
                values[at] += delta[at]
                sums[output(at)] += values[at] * values[at]
            }
            for at in values.indices { values[at] *= m[output(at)] / sums[output(at)].squareRoot() }
        }
        for (part, a, b, _) in factors where !part.isDoRA {
            for (at, change) in delta(part, a, b).enumerated() { values[at] += part.weight * change }
        }
        return values
    }

    private func output(_ at: Int) -> Int { isTransposed ? at % shape[1] : at / shape[1] }

    private func delta(_ part: Part, _ a: [Double], _ b: [Double]) -> [Double] {
        let scale = part.alpha / Double(part.rank)
        return (0..<shape[0] * shape[1]).map { at in
            let (i, j) = isTransposed ? (at % shape[1], at / shape[1]) : (at / shape[1], at % shape[1])
            var sum = 0.0
            for k in 0..<part.rank { sum += b[i * part.rank + k] * a[k * into + j] }
            return scale * sum
        }
    }
}
