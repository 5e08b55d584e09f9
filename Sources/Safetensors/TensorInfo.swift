/// One tensor as a header describes it.
public struct TensorInfo: Sendable, Equatable {
    /// The name.
    public let name: String
    /// The element type.
    public let dtype: DType
    /// The sizes, row-major.
    public let shape: [Int]
    /// Where it begins in the data, in bytes.
    public let begin: Int
    /// Where it ends.
    public let end: Int

    /// Describes a tensor.
    public init(name: String, dtype: DType, shape: [Int], begin: Int, end: Int) {
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.begin = begin
        self.end = end
    }

    /// The same tensor with `prefix` before its name.
    func prefixed(_ prefix: String) -> TensorInfo {
        TensorInfo(name: prefix + name, dtype: dtype, shape: shape, begin: begin, end: end)
    }

    /// Bytes of data.
    public var byteCount: Int { end - begin }
    /// Elements: the product of the sizes.
    public var elementCount: Int { shape.contains(0) ? 0 : shape.reduce(1, *) }
}
