import Fixtures
import Foundation
import Serving

/// Small models and adapters with random numbers, and what they must answer, by plain loops.
final class Sample {
    let scratch: Scratch
    var random: SeededRandom
    private var adapters = 0

    init(_ test: String) throws {
        scratch = try Scratch()
        random = SeededRandom(test: test)
    }

    /// A tensor of random numbers.
    func tensor(_ name: String, _ dtype: String, _ shape: [Int], size: Double = 1) -> TensorFile.Tensor {
        TensorFile.Tensor(name, dtype, shape, random.numbers(shape.reduce(1, *), size: size))
    }

    /// Writes a base; its path.
    func base(_ tensors: [TensorFile.Tensor], config: [String: Any]? = nil) throws -> String {
        let directory = try scratch.directory("base")
        try TensorFile(tensors).write(to: directory + "/model.safetensors")
        if let config {
            try write([UInt8](JSONSerialization.data(withJSONObject: config)), to: directory + "/config.json")
        }
        return directory
    }

    /// Writes an adapter; its path.
    func adapter(_ tensors: [TensorFile.Tensor], _ config: [String: Any]) throws -> String {
        adapters += 1
        let directory = try scratch.directory("adapter\(adapters)")
        let named = tensors.map {
            TensorFile.Tensor("base_model.model." + $0.name, $0.dtype, $0.shape, bytes: $0.bytes)
        }
        try TensorFile(named).write(to: directory + "/adapter_model.safetensors")
        let all: [String: Any] = ["peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["layer"]]
        let text = try JSONSerialization.data(withJSONObject: all.merging(config) { $1 })
        try write([UInt8](text), to: directory + "/adapter_config.json")
        return directory
    }

    /// The factors of one adapter of `layer`, and how they count.
    struct Pair {
        var rank = 2
        var alpha = 2.0
        var weight = 1.0
        var dtype = "F32"
        var isDoRA = false
        var isRsLoRA = false
        var a: [Double] = []
        var b: [Double] = []
        var m: [Double] = []
        var scale: Double { alpha / (isRsLoRA ? Double(rank).squareRoot() : Double(rank)) }
    }

    /// Gives `pair` random factors for a layer and writes it as an adapter; its path.
    func adapter(for pair: inout Pair, into: Int, out: Int, fanInFanOut: Bool = false) throws -> String {
        let a = tensor("layer.lora_A.weight", pair.dtype, [pair.rank, into])
        let b = tensor("layer.lora_B.weight", pair.dtype, [out, pair.rank], size: 0.3)
        let m = tensor("layer.lora_magnitude_vector", pair.dtype, [out], size: 2)
        (pair.a, pair.b) = (a.values, b.values)
        if pair.isDoRA { pair.m = m.values }
        return try adapter(
            [a, b] + (pair.isDoRA ? [m] : []),
            [
                "r": pair.rank, "lora_alpha": pair.alpha, "use_dora": pair.isDoRA, "use_rslora": pair.isRsLoRA,
                "fan_in_fan_out": fanInFanOut,
            ])
    }

    /// A number, and the same sum with all magnitudes taken.
    struct Exact {
        var value = 0.0
        var size = 0.0
    }

    /// y = xW'ᵀ + b for one row x, W (out × in), by the definition in float64.
    static func answer(_ x: [Double], _ w: [Double], _ pairs: [Pair], bias: [Double]? = nil) -> [Exact] {
        let (into, out) = (x.count, w.count / x.count)
        return (0..<out).map { o in
            var result = Exact()
            var factor = 1.0
            if let dora = pairs.first(where: \.isDoRA) {
                let squares = (0..<into).reduce(0.0) { sum, i in
                    let value = w[o * into + i] + delta(dora, o, i, into).value
                    return sum + value * value
                }
                factor = dora.m[o] / squares.squareRoot()
            }
            for i in 0..<into {
                var (value, size) = (w[o * into + i], abs(w[o * into + i]))
                for pair in pairs where pair.isDoRA {
                    let d = delta(pair, o, i, into)
                    value += d.value
                    size += d.size
                }
                value *= factor
                size *= abs(factor)
                for pair in pairs where !pair.isDoRA {
                    let d = delta(pair, o, i, into)
                    value += pair.weight * d.value
                    size += abs(pair.weight) * d.size
                }
                result.value += x[i] * value
                result.size += abs(x[i]) * size
            }
            if let bias {
                result.value += bias[o]
                result.size += abs(bias[o])
            }
            return result
        }
    }

    private static func delta(_ pair: Pair, _ o: Int, _ i: Int, _ into: Int) -> Exact {
        var sum = Exact()
        for k in 0..<pair.rank {
            let product = pair.scale * pair.b[o * pair.rank + k] * pair.a[k * into + i]
            sum.value += product
            sum.size += abs(product)
        }
        return sum
    }

    /// How many answers are further from the exact ones than the layer promises.
    ///
    /// The exact values are sums in float64 themselves, so the bound counts twice.
    static func misses(_ y: ArraySlice<Float>, _ exact: [Exact], into: Int, rank: Int) -> Int {
        zip(y, exact).count { got, exact in
            let bound = exact.size * Double(2 * into + rank + 32) * 0x1p-52 + abs(exact.value) * 0x1p-24 + 0x1p-149
            return !(abs(Double(got) - exact.value) <= bound)
        }
    }
}

/// The bits of numbers, so that equal means equal.
func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }
