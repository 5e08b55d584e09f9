import Adapters
import Fixtures
import Foundation
import Safetensors

/// A made-up adapter with factors of any kind, and its deltas by plain loops.
struct InspectionSample {
    var tensors: [TensorFile.Tensor] = []
    var config: [String: Any] = ["peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": "all-linear"]

    static let prefix = "base_model.model."

    /// Adds a pair of factors of a linear module, B (out × rank) and A (rank × in).
    mutating func add(_ path: String, b: [Double], a: [Double], rank: Int, dtype: String = "F64") {
        tensors.append(.init("\(Self.prefix)\(path).lora_A.weight", dtype, [rank, a.count / rank], a))
        tensors.append(.init("\(Self.prefix)\(path).lora_B.weight", dtype, [b.count / rank, rank], b))
    }

    /// Writes it and reads its facts.
    func facts(in directory: Scratch, as name: String = "adapter") throws -> AdapterFacts {
        try directory.write("\(name)/adapter_model.safetensors", TensorFile(tensors).encoded)
        let text = try JSONSerialization.data(withJSONObject: config)
        try directory.write("\(name)/adapter_config.json", [UInt8](text))
        return AdapterFacts(try Adapter(path: directory(name)))
    }
}

/// left (rows × inner) · right (inner × columns) by plain loops.
func denseProduct(_ left: [Double], _ right: [Double], inner: Int) -> [Double] {
    let (rows, columns) = (left.count / inner, right.count / inner)
    var result = [Double](repeating: 0, count: rows * columns)
    for i in 0..<rows {
        for k in 0..<inner {
            for j in 0..<columns { result[i * columns + j] += left[i * inner + k] * right[k * columns + j] }
        }
    }
    return result
}

/// The root of the sum of squares.
func denseNorm(_ values: [Double]) -> Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }

/// The largest singular value, by many steps of the power method.
func denseSpectralNorm(_ matrix: [Double], columns: Int) -> Double {
    let rows = matrix.count / columns
    var vector = (0..<columns).map { 1 + Double($0 % 7) / 10 }
    var value = 0.0
    for _ in 0..<5000 {
        let image = denseProduct(matrix, vector, inner: columns)
        vector = [Double](repeating: 0, count: columns)
        for i in 0..<rows {
            for j in 0..<columns { vector[j] += matrix[i * columns + j] * image[i] }
        }
        value = denseNorm(vector)
        if value == 0 { return 0 }
        vector = vector.map { $0 / value }
    }
    return value.squareRoot()
}

/// Whether two numbers are the same but for `tolerance` of the larger one.
func near(_ a: Double, _ b: Double, _ tolerance: Double = 1e-9) -> Bool {
    abs(a - b) <= tolerance * max(abs(a), abs(b))
}
