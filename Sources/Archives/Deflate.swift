import CZlib
import Problems

/// How zlib looks for what repeats.
enum DeflateMethod: Hashable, CaseIterable, Sendable {
    /// Not at all: each byte is a symbol of a Huffman code.
    case huffman
    /// Runs of equal bytes.
    case runs
    /// Matches of some length, for data of small numbers.
    case filtered
    /// All matches.
    case matches

    fileprivate var strategy: Int32 {
        switch self {
        case .huffman: Z_HUFFMAN_ONLY
        case .runs: Z_RLE
        case .filtered: Z_FILTERED
        case .matches: Z_DEFAULT_STRATEGY
        }
    }
}

/// Makes zlib streams (RFC 1950), one after the other, with one method and level.
@safe final class Deflater {
    private let stream: UnsafeMutablePointer<z_stream>

    /// `level` is zlib's, from 1 to 9; it matters only where matches are looked for.
    init(_ method: DeflateMethod, level: Int32) {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        // Memory level 9 has the largest blocks, so the fewest tables of codes.
        let code = unsafe deflateInit2_(
            stream, level, Z_DEFLATED, 15, 9, method.strategy, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        precondition(code == Z_OK, "zlib has no memory for a stream")
    }

    deinit {
        unsafe deflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Deflates `source` into `target`; `nil` if it does not fit there.
    func run(_ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Int? {
        unsafe deflateReset(stream)
        unsafe stream.pointee.lend(source, target)
        guard unsafe deflate(stream, Z_FINISH) == Z_STREAM_END else { return nil }
        return unsafe target.count - Int(stream.pointee.avail_out)
    }
}

/// Inflates zlib streams, one after the other.
@safe final class Inflater {
    private let stream: UnsafeMutablePointer<z_stream>

    init() {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        let code = unsafe inflateInit2_(stream, 15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        precondition(code == Z_OK, "zlib has no memory for a stream")
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Whether `source` is one whole stream that fills just `target`, its Adler-32 right.
    func run(_ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Bool {
        unsafe inflateReset(stream)
        unsafe stream.pointee.lend(source, target)
        let code = unsafe inflate(stream, Z_FINISH)
        return unsafe code == Z_STREAM_END && stream.pointee.avail_in == 0 && stream.pointee.avail_out == 0
    }
}

extension z_stream {
    /// What the next call reads, and where it writes.
    fileprivate mutating func lend(_ source: UnsafeRawBufferPointer, _ target: UnsafeMutableRawBufferPointer) {
        unsafe next_in = UnsafeMutablePointer(mutating: source.baseAddress?.assumingMemoryBound(to: Bytef.self))
        unsafe avail_in = UInt32(source.count)
        unsafe next_out = target.baseAddress?.assumingMemoryBound(to: Bytef.self)
        unsafe avail_out = UInt32(target.count)
    }
}

/// The Adler-32 of bytes (RFC 1950).
func adler(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    UInt32(
        truncatingIfNeeded: unsafe adler32(
            1, bytes.baseAddress?.assumingMemoryBound(to: Bytef.self), UInt32(bytes.count)))
}

/// The version of zlib that is in use.
public var zlibVersion: String { unsafe zlibVersionText.map { unsafe String(cString: $0) } ?? "unknown" }
private var zlibVersionText: UnsafePointer<CChar>? { unsafe CZlib.zlibVersion() }

/// Small texts in one stream.
package enum ZlibText {
    package static func deflate(_ bytes: [UInt8]) throws(Problem) -> [UInt8] {
        var room = [UInt8](repeating: 0, count: bytes.count + bytes.count / 1000 + 64)
        let count = unsafe room.withUnsafeMutableBytes { target in
            unsafe bytes.withUnsafeBytes { unsafe Deflater(.matches, level: 9).run($0, into: target) }
        }
        guard let count else { throw Problem(.internalFault, "deflate", "zlib needed more room than it may") }
        return Array(room[..<count])
    }

    /// Inflates to exactly `size` bytes; `nil` if that is not what it holds.
    package static func inflate(_ bytes: [UInt8], size: Int) -> [UInt8]? {
        var room = [UInt8](repeating: 0, count: size)
        let isWhole = unsafe room.withUnsafeMutableBytes { target in
            unsafe bytes.withUnsafeBytes { unsafe Inflater().run($0, into: target) }
        }
        return isWhole ? room : nil
    }
}
