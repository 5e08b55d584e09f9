import Files
import Problems

/// A GGUF file that is open for reading, its header read and checked.
///
/// Version 3 and 2, little-endian. Any malformed file is one `Problem` with the code `bad-gguf`.
public final class GGUFFile: Sendable {
    /// "GGUF" as a little-endian number.
    static let magic: UInt32 = 0x4655_4747
    /// The metadata that changes the alignment.
    public static let alignmentKey = "general.alignment"

    /// The file.
    public let file: any ByteSource
    /// Its header.
    public let header: GGUFHeader
    /// The path as the user named it.
    public var path: String { file.path }
    /// The metadata, in the file's order.
    public var metadata: [(key: String, value: GGUFValue)] { header.metadata }
    /// The tensors, in the file's order.
    public var tensors: [GGUFTensor] { header.tensors }

    /// Opens the file at `path`.
    public convenience init(path: String) throws(Problem) { try self.init(InputFile(path: path)) }

    /// Reads the header of an open file.
    public init(_ file: any ByteSource) throws(Problem) {
        self.file = file
        header = try GGUFParser(file).header()
    }

    /// Whether a file that begins with these bytes means to be a GGUF file.
    public static func isGGUF(firstBytes: [UInt8]) -> Bool { firstBytes.starts(with: Array("GGUF".utf8)) }

    // MARK: Metadata

    /// The string of that key; `nil` if the key is not there, an error if it is no string.
    public func text(_ key: String) throws(Problem) -> String? { try value(key, "a string", \.text) }

    /// The whole number of that key, of any width; `nil` if the key is not there, an error if it is none.
    public func integer(_ key: String) throws(Problem) -> Int? { try value(key, "a whole number", \.integer) }

    /// The floating-point number of that key; `nil` if the key is not there, an error if it is none.
    public func number(_ key: String) throws(Problem) -> Double? { try value(key, "a floating-point number", \.number) }

    private func value<T>(_ key: String, _ what: String, _ get: (GGUFValue) -> T?) throws(Problem) -> T? {
        guard let found = header[key] else { return nil }
        guard let value = get(found) else {
            throw GGUFHeader.bad(
                path, "has metadata '\(key)' of type \(found.typeName), but \(what) was needed", at: nil)
        }
        return value
    }

    // MARK: Data

    /// All bytes of a tensor.
    public func read(_ tensor: GGUFTensor) throws(Problem) -> [UInt8] {
        try read(tensor, bytes: 0..<tensor.byteCount)
    }

    /// Some bytes of a tensor, counted from its beginning.
    public func read(_ tensor: GGUFTensor, bytes: Range<Int>) throws(Problem) -> [UInt8] {
        precondition(bytes.lowerBound >= 0 && bytes.upperBound <= tensor.byteCount, "bytes outside of the tensor")
        return try file.read(at: header.dataStart + tensor.begin + bytes.lowerBound, count: bytes.count)
    }

    /// The values of a tensor, row-major; exact but for F64, which is rounded once.
    ///
    /// F32, F16, BF16, F64 and Q8_0 are read; other types are a problem of kind `incompatible`.
    public func floats(of tensor: GGUFTensor) throws(Problem) -> [Float] {
        try checkReadable(tensor)
        return GGUFNumbers.floats(try read(tensor), tensor.type)
    }

    /// The values of a tensor, row-major and exact; the same types as `floats(of:)`.
    public func doubles(of tensor: GGUFTensor) throws(Problem) -> [Double] {
        try checkReadable(tensor)
        return GGUFNumbers.doubles(try read(tensor), tensor.type)
    }

    private func checkReadable(_ tensor: GGUFTensor) throws(Problem) {
        guard tensor.type.hasReadableValues else {
            throw Problem(
                .incompatible, "gguf-type", file: path, tensor: tensor.name,
                "has the type \(tensor.type.name), whose values are not read; F32, F16, BF16, F64 and Q8_0 are",
                hint: "use a file of one of these types")
        }
    }
}
