import Fixtures
import Problems
import Safetensors
import Tensors

@testable import Adapters

/// One weight and an adapter of some kind for it, with random numbers, and the weight that the adapter makes of it.
struct KindSample {
    /// Tensors of the adapter by what they are called in their module: shape and, unless random, values.
    typealias Parts = [(name: String, shape: [Int], values: [Double]?)]

    let shape: [Int]
    let weight: [Double]
    /// The parts' values.
    private(set) var values: [String: [Double]] = [:]
    let scratch: Scratch
    private let paths: (base: String, adapter: String)

    /// - Parameters:
    ///   - config: PEFT's; without it the names are LyCORIS's.
    ///   - model: the base's `model_type`.
    init(_ shape: [Int], _ parts: Parts, config: String? = nil, model: String? = nil, seed: UInt64 = 5) throws {
        scratch = try Scratch()
        self.shape = shape
        var random = SeededRandom(seed)
        let count = shape.reduce(1, *)
        weight = random.numbers(count)
        let bias = random.numbers(shape[0])
        let base = [
            TensorFile.Tensor("model.fc.weight", "F64", shape, weight),
            TensorFile.Tensor("model.fc.bias", "F64", [shape[0]], bias),
        ]
        var tensors: [TensorFile.Tensor] = []
        for part in parts {
            let numbers = part.values ?? random.numbers(part.shape.reduce(1, *))
            values[part.name] = numbers
            let prefix =
                part.name.hasPrefix("vera_A") || part.name.hasPrefix("vera_B")
                ? "base_model." : config == nil ? "lycoris_model_fc." : "base_model.model.model.fc."
            tensors.append(TensorFile.Tensor(prefix + part.name, "F64", part.shape, numbers))
        }
        try scratch.write("base/model.safetensors", TensorFile(base).encoded)
        if let model { try scratch.write("base/config.json", #"{"model_type":"\#(model)"}"#) }
        guard let config else {
            try scratch.write("adapter.safetensors", TensorFile(tensors).encoded)
            paths = (scratch("base"), scratch("adapter.safetensors"))
            return
        }
        try scratch.write("adapter/adapter_model.safetensors", TensorFile(tensors).encoded)
        try scratch.write("adapter/adapter_config.json", config)
        paths = (scratch("base"), scratch("adapter"))
    }

    subscript(part: String) -> [Double] { values[part] ?? [] }

    func adapter() throws -> Adapter { try Adapter(path: paths.adapter) }

    func resolution() throws -> Resolution {
        Resolution(adapter: try adapter(), base: try Checkpoint.open(path: paths.base))
    }

    /// Codes of errors with the tensors that they name.
    func errors() throws -> [String] {
        try resolution().problems.errors.map { problem in
            "\(problem.code) \(problem.tensor?.split(separator: "fc.").last.map(String.init) ?? "-")"
        }
    }

    /// What the adapter makes of the weight, in blocks of `rows` rows.
    func merged(rows: Int = 1) throws -> [Double] {
        let adapter = try adapter()
        let resolution = try resolution()
        if let error = resolution.problems.errors.first { throw error }
        let read: ValueReader = { (info) throws(Problem) in
            try TensorValues.doubles(adapter.file.read(info), info.dtype)
        }
        var result = weight
        let columns = weight.count / shape[0]
        for update in resolution.updates where update.name == "model.fc.weight" {
            if let addition = update.addition {
                result = zip(result, try read(addition.tensor)).map { $0 + addition.scale * $1 }
            }
            for term in update.terms {
                let (left, right) = (try read(term.left.tensor), try read(term.right.tensor))
                for at in result.indices {
                    for k in 0..<term.rank {
                        result[at] +=
                            term.scale * left[at / columns * term.left.rowStride + k * term.left.columnStride]
                            * right[k * term.right.rowStride + at % columns * term.right.columnStride]
                    }
                }
            }
            for change in update.changes {
                try apply(change, &result, rows: rows, columns: columns, read)
            }
        }
        return result
    }

    private func apply(
        _ change: ModuleChange, _ result: inout [Double], rows: Int, columns: Int, _ read: ValueReader
    ) throws {
        let old = result
        switch change.effect {
        case .delta(let delta, let scale):
            let loaded = try delta.load(read)
            for start in stride(from: 0, to: shape[0], by: rows) {
                let range = start..<min(shape[0], start + rows)
                var block = Array(old[range.lowerBound * columns..<range.upperBound * columns])
                loaded.add(range, times: scale, to: &block)
                result.replaceSubrange(range.lowerBound * columns..<range.upperBound * columns, with: block)
            }
        case .action(let action):
            let loaded = try action.load(shape: (shape[0], columns), read) { (range) throws(Problem) in
                Array(old[range.lowerBound * columns..<range.upperBound * columns])
            }
            for start in stride(from: 0, to: shape[0], by: action.rowGroup) {
                let range = start..<min(shape[0], start + action.rowGroup)
                var block = Array(old[range.lowerBound * columns..<range.upperBound * columns])
                loaded.apply(range, to: &block)
                result.replaceSubrange(range.lowerBound * columns..<range.upperBound * columns, with: block)
            }
        }
    }

    /// The delta of exact factors, times the scale.
    func product() throws -> (rank: Int, values: [Double])? {
        let adapter = try adapter()
        guard case .delta(let delta, let scale)? = try resolution().updates.first?.changes.first?.effect,
            let factors = try delta.factors({ (info) throws(Problem) in
                try TensorValues.doubles(adapter.file.read(info), info.dtype)
            })
        else { return nil }
        let (rows, columns) = delta.shape
        var result = [Double](repeating: 0, count: rows * columns)
        for at in result.indices {
            for k in 0..<factors.rank {
                result[at] +=
                    scale * factors.left[at / columns * factors.rank + k] * factors.right[k * columns + at % columns]
            }
        }
        return (factors.rank, result)
    }
}

/// The largest distance of two lists; infinite if their lengths differ.
func distance(_ a: [Double], _ b: [Double]) -> Double {
    a.count == b.count ? zip(a, b).map { abs($0 - $1) }.max() ?? 0 : .infinity
}
