import Files
import Problems

/// A safetensors file that is open for reading, its header read and checked.
public final class SafetensorsFile: Sendable {
    /// The file.
    public let file: any ByteSource
    /// Its header.
    public let header: Header
    /// The path as the user named it.
    public var path: String { file.path }

    /// Opens the file at `path`.
    public convenience init(path: String) throws(Problem) { try self.init(InputFile(path: path)) }

    /// Reads the header of an open file.
    public init(_ file: any ByteSource) throws(Problem) {
        self.file = file
        header = try Header.read(from: file)
    }

    /// The same file with `prefix` before the names of its tensors.
    init(_ other: SafetensorsFile, prefix: String) {
        file = other.file
        header = other.header.prefixed(prefix)
    }

    /// All bytes of a tensor.
    public func read(_ tensor: TensorInfo) throws(Problem) -> [UInt8] {
        try file.read(at: header.dataStart + tensor.begin, count: tensor.byteCount)
    }

    /// Some bytes of a tensor, counted from its beginning.
    public func read(_ tensor: TensorInfo, bytes: Range<Int>) throws(Problem) -> [UInt8] {
        try file.read(at: place(tensor, bytes), count: bytes.count)
    }

    /// Some bytes of a tensor into `buffer`, which must be as long as the range.
    public func read(
        _ tensor: TensorInfo, bytes: Range<Int>, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Problem) {
        let target = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<bytes.count])
        try unsafe file.read(into: target, at: place(tensor, bytes))
    }

    private func place(_ tensor: TensorInfo, _ bytes: Range<Int>) -> Int {
        precondition(bytes.lowerBound >= 0 && bytes.upperBound <= tensor.byteCount, "bytes outside of the tensor")
        return header.dataStart + tensor.begin + bytes.lowerBound
    }
}
