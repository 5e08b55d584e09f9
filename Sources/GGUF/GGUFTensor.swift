/// One tensor as a GGUF file describes it.
public struct GGUFTensor: Sendable, Equatable {
    /// The name.
    public let name: String
    /// The sizes in ggml's order: the row's length first.
    public let ne: [Int]
    /// The type of its elements.
    public let type: GGMLType
    /// Where it begins in the data, in bytes.
    public let begin: Int
    /// Bytes of data, without the padding behind them.
    public let byteCount: Int

    /// The sizes, row-major: `ne` reversed.
    public var shape: [Int] { ne.reversed() }
    /// Where it ends in the data.
    public var end: Int { begin + byteCount }
    /// Elements: the product of the sizes.
    public var elementCount: Int { ne.reduce(1, *) }

    /// Describes a tensor.
    public init(name: String, ne: [Int], type: GGMLType, begin: Int, byteCount: Int) {
        self.name = name
        self.ne = ne
        self.type = type
        self.begin = begin
        self.byteCount = byteCount
    }
}
