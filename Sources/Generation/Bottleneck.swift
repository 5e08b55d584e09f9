import Adapters
import Archives
import Files
import Glibc
import Models
import Problems
import Safetensors
import Serving
import StrictJSON
import Tensors

/// Bottleneck adapters (Houlsby et al., arXiv:1902.00751) as the `adapters` library saves them: small layers after attention
/// and MLP, y = x + scaling · (up(act(down(x)))).
public struct Bottleneck: BlockHooks {
    /// What its outputs are multiplied by, besides its own scaling.
    let weight: Double
    /// What its file binds it to.
    let binding: Binding?
    private let content: Content

    /// What the file has, shared by all weights.
    private final class Content: Sendable {
        let attention: [Int: Layer]
        let output: [Int: Layer]
        let activation: Activation
        let scaling: Double
        let seesResidual: Bool
        let hidden: Int

        init(
            attention: [Int: Layer], output: [Int: Layer], activation: Activation, scaling: Double, seesResidual: Bool,
            hidden: Int
        ) {
            (self.attention, self.output, self.activation) = (attention, output, activation)
            (self.scaling, self.seesResidual, self.hidden) = (scaling, seesResidual, hidden)
        }
    }

    /// One bottleneck: down (size × hidden), up (hidden × size).
    private struct Layer: Sendable {
        let down: [Double]
        let downBias: [Double]
        let up: [Double]
        let upBias: [Double]
        var size: Int { downBias.count }
    }

    private enum Activation: String {
        case relu, gelu, swish, silu, tanh, linear, leakyrelu

        func callAsFunction(_ x: Double) -> Double {
            switch self {
            case .relu: max(0, x)
            case .leakyrelu: x < 0 ? 0.01 * x : x
            case .gelu: x / 2 * (1 + erf(x / 2.0.squareRoot()))
            case .swish, .silu: x / (1 + exp(-x))
            case .tanh: Glibc.tanh(x)
            case .linear: x
            }
        }
    }

    /// Reads the adapter in `folder`, if one of this kind is there.
    public init?(_ folder: any Folder, _ config: LlamaConfig) throws(Problem) {
        guard let fields = try BottleneckFiles.config(in: folder) else { return nil }
        let path = folder.path(of: BottleneckFiles.configName)
        let own = fields["config"]?.object ?? JSONObject()
        if let kind = own[BottleneckFiles.architecture], kind != .null {
            throw Self.unknown(path, BottleneckFiles.architecture, kind)
        }
        for (field, value) in BottleneckFiles.required {
            if let found = own[field], found != .null, !Self.equal(found, value) {
                throw Self.unknown(path, field, found)
            }
        }
        let name = own[BottleneckFiles.activation]?.string ?? "relu"
        guard let activation = Activation(rawValue: name) else {
            throw Self.unknown(path, BottleneckFiles.activation, .string(name))
        }
        let scaling = own[BottleneckFiles.scaling]
        guard let factor = scaling == nil ? 1 : scaling?.number?.double, factor.isFinite else {
            throw Self.unknown(path, BottleneckFiles.scaling, scaling ?? .null)
        }
        let reader = try Reader(folder, config)
        weight = 1
        content = Content(
            attention: try reader.layers(BottleneckFiles.attentionPlace),
            output: try reader.layers(BottleneckFiles.outputPlace), activation: activation, scaling: factor,
            seesResidual: own[BottleneckFiles.seesResidual]?.bool ?? false, hidden: config.hidden)
        try reader.requireAllUsed()
        binding = try StoredBinding.read(reader.file)
    }

    private init(_ content: Content, _ binding: Binding?, weight: Double) {
        (self.content, self.binding, self.weight) = (content, binding, weight)
    }

    /// The same adapter with another weight.
    func weighted(_ weight: Double) -> Bottleneck { Bottleneck(content, binding, weight: weight) }

    private static func equal(_ a: JSONValue, _ b: JSONValue) -> Bool {
        if let a = a.number, let b = b.number { return a.double == b.double }
        return a == b
    }

    private static func unknown(_ path: String, _ field: String, _ value: JSONValue) -> Problem {
        Problem(
            .incompatible, "unknown-method", file: path,
            "has \(field) \(value.encoded().excerpted), which is not computed here",
            hint: "bottlenecks of seq_bn and double_seq_bn can be used")
    }

    /// The attention's output, with the bottleneck behind it.
    public func afterAttention(_ output: [Float], residual: [Float], layer: Int) throws(Problem) -> [Float] {
        apply(content.attention[layer], output, residual)
    }

    /// The MLP's output, with the bottleneck behind it.
    public func afterMLP(_ output: [Float], residual: [Float], layer: Int) throws(Problem) -> [Float] {
        apply(content.output[layer], output, residual)
    }

    private func apply(_ layer: Layer?, _ output: [Float], _ residual: [Float]) -> [Float] {
        guard let layer, weight != 0 else { return output }
        let (hidden, size) = (content.hidden, layer.size)
        var result = output
        var x = [Double](repeating: 0, count: hidden)
        var inner = [Double](repeating: 0, count: size)
        for start in stride(from: 0, to: output.count, by: hidden) {
            for at in 0..<hidden {
                x[at] = Double(content.seesResidual ? output[start + at] + residual[start + at] : output[start + at])
            }
            for row in 0..<size {
                inner[row] = content.activation(Self.dot(layer.down, row * hidden, x) + layer.downBias[row])
            }
            for at in 0..<hidden {
                let up = Self.dot(layer.up, at * size, inner) + layer.upBias[at]
                result[start + at] = Float(Double(output[start + at]) + weight * content.scaling * up)
            }
        }
        return result
    }

    private static func dot(_ matrix: [Double], _ start: Int, _ vector: [Double]) -> Double {
        let (a, b) = (matrix.span, vector.span)
        var sum = 0.0
        for at in 0..<b.count { sum += a[start + at] * b[at] }
        return sum
    }

    /// Reads the tensors, and knows which were used.
    private final class Reader {
        let file: SafetensorsFile
        private let config: LlamaConfig
        private let name: String
        private var used: Set<String> = []

        init(_ folder: any Folder, _ config: LlamaConfig) throws(Problem) {
            self.config = config
            let names = Set(try folder.entries().map(\.name))
            guard let found = BottleneckFiles.weightNames.first(where: names.contains) else {
                throw Problem(
                    names.contains(BottleneckFiles.pickleName) ? .malformed : .missing,
                    names.contains(BottleneckFiles.pickleName) ? "pickle" : "no-adapter", file: folder.path,
                    "holds no \(BottleneckFiles.weightNames[0])"
                        + (names.contains(BottleneckFiles.pickleName)
                            ? ", only a Python pickle, which is never read here" : ""),
                    hint: "save the adapter again as safetensors")
            }
            file = try SafetensorsFile(folder.source(found))
            guard let name = file.header.tensors.lazy.compactMap({ BottleneckFiles.adapterName($0.name) }).first else {
                throw Problem(
                    .malformed, "no-adapter", file: file.path, "has no tensors of a bottleneck adapter",
                    hint:
                        "they are called \(BottleneckFiles.path(0, BottleneckFiles.outputPlace, "NAME")).\(BottleneckFiles.downWeight)"
                )
            }
            self.name = name
        }

        func layers(_ place: String) throws(Problem) -> [Int: Layer] {
            var result: [Int: Layer] = [:]
            for layer in 0..<config.layers {
                let path = BottleneckFiles.path(layer, place, name)
                guard let down = file.header["\(path).\(BottleneckFiles.downWeight)"] else { continue }
                let size = down.shape.first ?? 0
                result[layer] = Layer(
                    down: try values(down.name, [size, config.hidden]),
                    downBias: try values("\(path).\(BottleneckFiles.downBias)", [size]),
                    up: try values("\(path).\(BottleneckFiles.upWeight)", [config.hidden, size]),
                    upBias: try values("\(path).\(BottleneckFiles.upBias)", [config.hidden]))
            }
            return result
        }

        private func values(_ name: String, _ shape: [Int]) throws(Problem) -> [Double] {
            guard let tensor = file.header[name] else {
                throw Problem(.malformed, "no-tensor", file: file.path, tensor: name, "is missing")
            }
            guard tensor.shape == shape, !shape.contains(0) else {
                throw Problem(
                    .incompatible, "shape-mismatch", file: file.path, tensor: name,
                    "has shape \(tensor.shape), but this base needs \(shape)",
                    hint: "use the base that the adapter was trained for")
            }
            used.insert(name)
            let values = try TensorValues.doubles(file.read(tensor), tensor.dtype)
            guard values.allSatisfy(\.isFinite) else {
                throw Problem(
                    .incompatible, "non-finite", file: file.path, tensor: name, "has values that are NaN or infinite")
            }
            return values
        }

        func requireAllUsed() throws(Problem) {
            guard let left = file.header.tensors.first(where: { !used.contains($0.name) }) else { return }
            throw Problem(
                .incompatible, "unmatched-tensor", file: file.path, tensor: left.name,
                "belongs to no bottleneck of this base", hint: "use the base that the adapter was trained for")
        }
    }
}

extension String {
    /// Not more than a line of it.
    fileprivate var excerpted: String { utf8.count <= 100 ? self : String(unicodeScalars.prefix(80)) + "…" }
}
