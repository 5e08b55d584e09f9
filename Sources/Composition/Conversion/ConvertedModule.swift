import Adapters
import GGUF
import Problems
import Safetensors
import Tensors

/// One pair of factors on its way from one dialect to another.
struct ConvertedModule: Sendable {
    /// Where a factor's values are.
    enum Values: Sendable {
        /// In the adapter, as PEFT lays them out.
        case stored(TensorInfo)
        /// Here, row-major.
        case computed([Double])
    }

    /// The module's path in the adapter.
    let sourcePath: String
    /// Its path in the model, without the component.
    var path: String
    /// The base's tensor, where the path in the adapter stands for several.
    var baseName: String?
    /// The part of a pipeline that it belongs to.
    var component: String?
    /// What sort of module it is.
    var kind: ModuleFacts.Kind
    /// The rank.
    var rank: Int
    /// What B·A is multiplied by.
    let scale: Double
    /// A: (rank × in, kernel...); of an embedding (rank × vocabulary).
    var down: Values
    /// B: (out × rank, 1...).
    var up: Values
    /// The shapes of both.
    var downShape: [Int]
    var upShape: [Int]
    /// The type that keeps both as they are.
    let dtype: DType
    /// DoRA's magnitude.
    var magnitude: TensorInfo?
    /// The bias of B.
    var upBias: TensorInfo?
    /// The pair that it comes from; `nil` if it stands for a delta of another kind.
    let source: ModuleFacts?

    /// What PEFT matches rank and alpha patterns with.
    var patternPath: String {
        guard let source else { return path }
        if source.module.repetitions > 1 { return source.module.patternPath }
        return source.path == source.module.path ? path : source.path
    }

    /// Takes over a pair of `facts`.
    init(_ facts: ModuleFacts) {
        let module = facts.module
        sourcePath = facts.path
        path = module.path
        kind = facts.kind
        rank = facts.rank
        scale = facts.scale
        (down, up) = (.stored(module.down), .stored(module.up))
        (downShape, upShape) = (module.down.shape, module.up.shape)
        dtype = Self.common(module.down.dtype, module.up.dtype)
        (magnitude, upBias) = (module.magnitude, module.upBias)
        source = facts
    }

    /// The factors that stand for `change`; `shape` is the weight's.
    init(_ change: ModuleChange, _ factors: LowRank, shape: [Int], dtype: DType) {
        sourcePath = change.path
        path = change.path
        rank = factors.rank
        scale = change.scale ?? 1
        down = .computed(factors.right.values)
        up = .computed(factors.left.transposed.values)
        downShape = [factors.rank] + shape.dropFirst()
        upShape = [shape[0], factors.rank] + shape.dropFirst(2).map { _ in 1 }
        kind = shape.count > 2 ? .convolution : .linear
        self.dtype = dtype
        source = nil
    }

    /// Gives factors of a linear layer two dimensions, and those of a 1×1 convolution as many as the weight has.
    mutating func fit(_ weight: [Int]) {
        guard kind == .linear || kind == .convolution else { return }
        let isPoint = downShape.dropFirst(2).allSatisfy { $0 == 1 } && weight.dropFirst(2).allSatisfy { $0 == 1 }
        guard isPoint, weight.count >= 2, weight.count != downShape.count else { return }
        let ones = [Int](repeating: 1, count: weight.count - 2)
        (downShape, upShape) = (downShape.prefix(2) + ones, upShape.prefix(2) + ones)
        kind = ones.isEmpty ? .linear : .convolution
    }

    /// Factors that were computed in float64 are stored in float32, like everything that PEFT trains.
    private static func common(_ a: DType, _ b: DType) -> DType {
        if a == b, a != .f64 { return a }
        return .f32
    }

    /// The elements of a factor as float64, row-major.
    static func values(_ values: Values, in file: SafetensorsFile) throws(Problem) -> [Double] {
        switch values {
        case .stored(let tensor): try TensorValues.doubles(file.read(tensor), tensor.dtype)
        case .computed(let values): values
        }
    }

    /// The bytes of a factor in `dtype`, multiplied by `factor`; untouched where nothing changes them.
    static func bytes(
        _ values: Values, times factor: Double, _ dtype: DType, in file: SafetensorsFile
    ) throws(Problem) -> [UInt8] {
        if case .stored(let tensor) = values, tensor.dtype == dtype, factor == 1 { return try file.read(tensor) }
        var numbers = try Self.values(values, in: file)
        if factor != 1 { for at in numbers.indices { numbers[at] *= factor } }
        return try TensorValues.rounded(numbers, to: dtype)
    }

    /// The type in which B can be multiplied by `factor`: float32, unless only exponents change.
    func upType(times factor: Double) -> DType {
        let isShift =
            factor == 1 || (factor > 0 && factor.significand == 1 && abs(factor.exponent) < 64 && dtype == .bf16)
        return isShift || dtype == .f64 ? dtype : .f32
    }
}

/// A tensor of the output, whose bytes are made when it is written.
struct ConvertedTensor {
    let name: String
    let dtype: DType
    let shape: [Int]
    let bytes: () throws(Problem) -> [UInt8]
}

/// What is written: one file of tensors and what belongs to it.
struct ConvertedFiles {
    /// What the file is called in a directory.
    let name: String
    var tensors: [ConvertedTensor] = []
    var metadata: [(key: String, value: String)]?
    /// The layout of a GGUF file, whose tensors are in the order of `tensors`.
    var gguf: GGUFWriter?
    /// Files beside it.
    var others: [(name: String, bytes: [UInt8])] = []
    /// Modules whose scale became part of B.
    var folded = 0
    /// What A of each module is called, in the order of the modules.
    var downNames: [String] = []

    /// Adds the tensors of a module, A first.
    mutating func add(_ module: [ConvertedTensor]) {
        tensors += module
        downNames.append(module[0].name)
    }
}
