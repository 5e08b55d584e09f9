import CCrypto
import Files
import Problems

/// SHA-256 of bytes that arrive piece by piece (FIPS 180-4, by libcrypto).
@safe public struct SHA256: ~Copyable {
    private let context: OpaquePointer

    /// Starts an empty digest.
    public init() {
        guard let new = unsafe EVP_MD_CTX_new(), unsafe EVP_DigestInit_ex(new, EVP_sha256(), nil) == 1 else {
            preconditionFailure("libcrypto has no memory for a digest")
        }
        unsafe context = new
    }

    deinit { unsafe EVP_MD_CTX_free(context) }

    /// Adds `bytes`.
    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0 else { return }
        let done = unsafe EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
        precondition(done == 1, "libcrypto refused bytes of a digest")
    }

    /// Adds `bytes`.
    public mutating func update(_ bytes: [UInt8]) {
        unsafe bytes.withUnsafeBytes { unsafe update($0) }
    }

    /// The digest of all bytes so far, in lower-case hexadecimal.
    public consuming func finish() -> String {
        var digest = [UInt8](repeating: 0, count: 32)
        let done = unsafe EVP_DigestFinal_ex(context, &digest, nil)
        precondition(done == 1, "libcrypto could not finish a digest")
        return digest.map { hexadecimal($0) }.joined()
    }

    /// The digest of `bytes`, in lower-case hexadecimal.
    public static func hex(_ bytes: [UInt8]) -> String {
        var digest = SHA256()
        digest.update(bytes)
        return digest.finish()
    }

    /// The digest of `bytes`, in lower-case hexadecimal.
    public static func hex(_ bytes: UnsafeRawBufferPointer) -> String {
        var digest = SHA256()
        unsafe digest.update(bytes)
        return digest.finish()
    }

    /// The digest of a file, or of some of its bytes, read in pieces of 1 MiB; `progress` is told of each.
    public static func hex(
        of file: any ByteSource, bytes: Range<Int>? = nil, progress: (Int) -> Void = { _ in }
    ) throws(Problem) -> String {
        var digest = SHA256()
        var offset = bytes?.lowerBound ?? 0
        let end = bytes?.upperBound ?? file.size
        while offset < end {
            try checkInterrupted()
            let piece = try file.read(at: offset, count: min(1 << 20, end - offset))
            digest.update(piece)
            offset += piece.count
            progress(piece.count)
        }
        return digest.finish()
    }
}

/// A line of a manifest that `sha256sum -c` reads.
///
/// GNU's rule for odd names applies: where a name holds a backslash or a line end, the line starts with a backslash and
/// the name is escaped.
public func manifestLine(digest: String, name: String) -> String {
    // By scalars: to Swift, a carriage return and a line feed are one character that equals neither.
    guard name.unicodeScalars.contains(where: { $0 == "\\" || $0 == "\n" || $0 == "\r" }) else {
        return "\(digest)  \(name)\n"
    }
    var escaped = ""
    for character in name.unicodeScalars {
        switch character {
        case "\\": escaped += "\\\\"
        case "\n": escaped += "\\n"
        case "\r": escaped += "\\r"
        default: escaped.unicodeScalars.append(character)
        }
    }
    return "\\\(digest)  \(escaped)\n"
}
