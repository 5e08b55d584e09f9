import CCrypto
import Files
import Problems

/// A 128-bit checksum, several times as fast as SHA-256: Poly1305 (RFC 8439) with a key that everybody knows.
///
/// It tells accidents and edits from what was there; it is no proof against somebody who means to deceive.
@safe public struct Checksum: ~Copyable {
    /// The 32 bytes of the key.
    public static let key = "adapterkit poly1305 checksum key"

    private let context: OpaquePointer

    /// Starts an empty checksum.
    public init() {
        let method = unsafe EVP_MAC_fetch(nil, "POLY1305", nil)
        let new = unsafe EVP_MAC_CTX_new(method)
        unsafe EVP_MAC_free(method)
        guard let new = unsafe new, unsafe EVP_MAC_init(new, Array(Self.key.utf8), 32, nil) == 1 else {
            preconditionFailure("libcrypto has no Poly1305")
        }
        unsafe context = new
    }

    deinit { unsafe EVP_MAC_CTX_free(context) }

    /// Adds `bytes`.
    public mutating func update(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        let done = unsafe EVP_MAC_update(context, bytes, bytes.count)
        precondition(done == 1, "libcrypto refused bytes of a checksum")
    }

    /// The checksum of all bytes so far, in lower-case hexadecimal.
    public consuming func finish() -> String {
        var (code, length) = ([UInt8](repeating: 0, count: 16), 0)
        let done = unsafe EVP_MAC_final(context, &code, &length, code.count)
        precondition(done == 1 && length == 16, "libcrypto could not finish a checksum")
        return code.map { hexadecimal($0) }.joined()
    }
}

/// What a file's bytes are known by.
public struct FileCheck: Sendable, Equatable {
    /// How it is computed.
    public enum Method: String, CaseIterable, Sendable { case sha256, poly1305 }

    /// How it is computed.
    public let method: Method
    /// In lower-case hexadecimal.
    public let hex: String

    /// What is already known.
    public init(_ method: Method, _ hex: String) {
        self.method = method
        self.hex = hex
    }

    /// Reads `file`, in pieces of 1 MiB; `progress` is told of each.
    public init(_ method: Method, of file: any ByteSource, progress: (Int) -> Void = { _ in }) throws(Problem) {
        switch method {
        case .sha256: self.init(method, try SHA256.hex(of: file, progress: progress))
        case .poly1305:
            var checksum = Checksum()
            for start in stride(from: 0, to: file.size, by: 1 << 20) {
                try checkInterrupted()
                let piece = try file.read(at: start, count: min(1 << 20, file.size - start))
                checksum.update(piece)
                progress(piece.count)
            }
            self.init(method, checksum.finish())
        }
    }
}
