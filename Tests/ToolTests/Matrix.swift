import Fixtures
import Foundation

/// A small dense matrix in float64, row-major.
struct Matrix: Equatable {
    let rows: Int
    let columns: Int
    var values: [Double]

    init(_ rows: Int, _ columns: Int, _ values: [Double]) {
        precondition(values.count == rows * columns, "as many values as the shape says")
        (self.rows, self.columns, self.values) = (rows, columns, values)
    }

    init(_ lines: [[Double]]) { self.init(lines.count, lines.first?.count ?? 0, lines.flatMap { $0 }) }

    /// The first dimension of a tensor makes the rows.
    init(_ tensor: TensorFile.Tensor) {
        self.init(tensor.shape[0], tensor.shape.dropFirst().reduce(1, *), tensor.values)
    }

    /// `values` on the diagonal, zero elsewhere.
    static func diagonal(_ rows: Int, _ columns: Int, _ values: [Double]) -> Matrix {
        var result = Matrix(rows, columns, [Double](repeating: 0, count: rows * columns))
        for (at, value) in values.enumerated() { result[at, at] = value }
        return result
    }

    static func random(_ rows: Int, _ columns: Int, _ random: inout SeededRandom) -> Matrix {
        Matrix(rows, columns, random.numbers(rows * columns).map { Double(Float($0)) })
    }

    subscript(row: Int, column: Int) -> Double {
        get { values[row * columns + column] }
        set { values[row * columns + column] = newValue }
    }

    var norm: Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }
    var largest: Double { values.map(\.magnitude).max() ?? 0 }

    static func * (a: Matrix, b: Matrix) -> Matrix {
        var result = Matrix(a.rows, b.columns, [Double](repeating: 0, count: a.rows * b.columns))
        for i in 0..<a.rows {
            for k in 0..<a.columns where a[i, k] != 0 {
                for j in 0..<b.columns { result[i, j] += a[i, k] * b[k, j] }
            }
        }
        return result
    }

    static func * (factor: Double, a: Matrix) -> Matrix { Matrix(a.rows, a.columns, a.values.map { factor * $0 }) }
    static func + (a: Matrix, b: Matrix) -> Matrix { Matrix(a.rows, a.columns, zip(a.values, b.values).map(+)) }
    static func - (a: Matrix, b: Matrix) -> Matrix { Matrix(a.rows, a.columns, zip(a.values, b.values).map(-)) }

    /// The largest distance of two elements.
    func distance(to other: Matrix) -> Double { (self - other).largest }
}

/// The factors of some modules, to be written as an adapter.
struct Factors {
    typealias Entry = (path: String, a: Matrix, b: Matrix)

    var modules: [Entry]
    var alpha: Double
    var dtype = "F32"
    /// Tensors besides the factors.
    var others: [TensorFile.Tensor] = []
    /// Fields of the config besides ranks and targets, or instead of them.
    var fields: [String: Any] = [:]

    /// Factors whose scale is 1 unless told.
    init(_ modules: [Entry], alpha: Double? = nil) {
        self.modules = modules
        self.alpha = alpha ?? Double(modules.first?.a.rows ?? 1)
    }

    /// Random factors of `rank` for linear layers (out × into).
    static func random(
        _ paths: [String], out: Int, into: Int, rank: Int, alpha: Double? = nil, _ random: inout SeededRandom
    ) -> Factors {
        Factors(
            paths.map { ($0, Matrix.random(rank, into, &random), Matrix.random(out, rank, &random)) }, alpha: alpha)
    }

    var rank: Int { modules.first?.a.rows ?? 1 }
    var tensors: [TensorFile.Tensor] {
        modules.flatMap { path, a, b in
            [
                TensorFile.Tensor(Pair.key(path, "A"), dtype, [a.rows, a.columns], a.values),
                TensorFile.Tensor(Pair.key(path, "B"), dtype, [b.rows, b.columns], b.values),
            ]
        }
    }

    /// Writes the adapter; its path.
    func write(as name: String, in scratch: Scratch) throws -> String {
        let directory = try scratch.directory(name)
        try TensorFile(tensors + others).write(to: directory + "/adapter_model.safetensors")
        let config: [String: Any] = [
            "peft_type": "LORA", "r": rank, "lora_alpha": alpha, "base_model_name_or_path": "base",
            "target_modules": Set(modules.map { String($0.path.split(separator: ".").last ?? "") }).sorted(),
        ]
        let text = try JSONSerialization.data(
            withJSONObject: config.merging(fields) { $1 }, options: [.prettyPrinted, .sortedKeys])
        try Fixtures.write([UInt8](text), to: directory + "/adapter_config.json")
        return directory
    }
}

/// An adapter that a tool wrote.
struct WrittenAdapter {
    let config: [String: Any]
    let tensors: [String: TensorFile.Tensor]
    let metadata: [String: String]

    init(_ directory: String) throws {
        config = try object(in: directory + "/adapter_config.json")
        let file = try TensorFile(path: directory + "/adapter_model.safetensors")
        tensors = Dictionary(file.tensors.map { ($0.name, $0) }) { own, _ in own }
        metadata = file.metadata
    }

    func values(_ module: String, _ half: String) -> [Double]? { tensors[Pair.key(module, half)]?.values }

    /// alpha / rank · B·A, with `rank_pattern` and `alpha_pattern` looked up by the whole path.
    func delta(_ module: String) -> Matrix? {
        guard let a = tensors[Pair.key(module, "A")], let b = tensors[Pair.key(module, "B")],
            let alpha = number("alpha_pattern", module) ?? config["lora_alpha"] as? Double,
            let rank = number("rank_pattern", module) ?? config["r"] as? Double, Int(rank) == a.shape[0]
        else { return nil }
        return (alpha / rank) * (Matrix(b) * Matrix(a))
    }

    private func number(_ pattern: String, _ module: String) -> Double? {
        (config[pattern] as? [String: Any])?[module] as? Double
    }
}

/// The facts of one module in a report.
func facts(_ document: [String: Any], _ path: String) -> [String: Any] {
    (document["modules"] as? [[String: Any]])?.first { $0["path"] as? String == path } ?? [:]
}

/// Codes of the problems in a document.
func codes(_ document: [String: Any], _ list: String = "problems") -> [String] {
    (document[list] as? [[String: Any]] ?? []).compactMap { $0["code"] as? String }
}
