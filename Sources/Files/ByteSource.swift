import Problems

/// Bytes of a known number that any thread may read at any position: a file, or one that is packed in an archive.
public protocol ByteSource: AnyObject, Sendable {
    /// The path as the user named it, for messages.
    var path: String { get }
    /// The number of bytes.
    var size: Int { get }
    /// Tells one source from another whatever its name.
    var identity: FileIdentity { get }
    /// Fills `buffer` from `offset`; fewer bytes are an error.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Problem)
    /// SHA-256 of a range of bytes, if reading these as a whole succeeds only where they have it.
    func knownDigest(of bytes: Range<Int>) -> String?
}

extension ByteSource {
    /// Most sources know none.
    public func knownDigest(of bytes: Range<Int>) -> String? { nil }

    /// Reads `count` bytes from `offset`; fewer are an error.
    public func read(at offset: Int, count: Int) throws(Problem) -> [UInt8] {
        var failure: Problem?
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            do throws(Problem) {
                let target = unsafe UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count)
                try unsafe read(into: target, at: offset)
                filled = count
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Whether `count` bytes from `offset` are those of another source from `start`; reads no further than they are.
    public func hasSameBytes(
        at offset: Int, count: Int, as other: any ByteSource, at start: Int
    ) throws(Problem) -> Bool {
        for done in stride(from: 0, to: count, by: 1 << 20) {
            try checkInterrupted()
            let size = min(1 << 20, count - done)
            guard try read(at: offset + done, count: size) == other.read(at: start + done, count: size) else {
                return false
            }
        }
        return true
    }

    /// Reads everything, if that is not more than `limit` bytes.
    public func readAll(limit: Int) throws(Problem) -> [UInt8] {
        guard size <= limit else {
            throw Problem(
                .malformed, "too-large", file: path, "has \(size) bytes, but at most \(limit) make sense for this file")
        }
        return try read(at: 0, count: size)
    }
}

/// Names that lead to files: a directory, or what an archive holds.
public protocol Folder: AnyObject, Sendable {
    /// The path as the user named it, without a trailing slash.
    var path: String { get }
    /// What it holds, sorted by the names' bytes.
    func entries() throws(Problem) -> [DirectoryEntry]
    /// Opens the file `name`, which must be one path component.
    func source(_ name: String) throws(Problem) -> any ByteSource
    /// Opens the folder `name`, which must be one path component.
    func folder(_ name: String) throws(Problem) -> any Folder
    /// The path of `name` in this folder, for messages.
    func path(of name: String) -> String
}

/// Bytes in memory, read like a file.
public final class MemorySource: ByteSource {
    /// What messages call it.
    public let path: String
    /// Tells it from other sources.
    public let identity: FileIdentity
    private let bytes: [UInt8]

    /// Takes bytes, which came from `path`.
    public init(_ bytes: [UInt8], path: String, identity: FileIdentity) {
        self.bytes = bytes
        self.path = path
        self.identity = identity
    }

    /// The number of bytes.
    public var size: Int { bytes.count }

    /// Copies bytes.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Problem) {
        guard offset >= 0, buffer.count <= bytes.count, offset <= bytes.count - buffer.count else {
            throw Problem(.internalFault, "short-read", file: path, "was read beyond its end")
        }
        unsafe bytes.withUnsafeBytes {
            unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[offset..<(offset + buffer.count)]))
        }
    }
}

/// A file that is opened anew for each reading, where there are too many to keep them open.
public final class ReopenedFile: ByteSource {
    /// The path.
    public let path: String
    /// The size when it was first opened.
    public let size: Int
    /// Tells it from other files.
    public let identity: FileIdentity

    /// Takes the place of an open file.
    public init(_ file: InputFile) {
        (path, size, identity) = (file.path, file.size, file.identity)
    }

    /// Opens, checks that it is still the same file, and reads.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Problem) {
        let file = try InputFile(path: path)
        guard file.identity == identity, file.size == size else {
            throw Problem(
                .io, "changed", file: path, "was changed while it was read: something else is writing to it",
                hint: "let the other program finish and try again")
        }
        try unsafe file.read(into: buffer, at: offset)
    }
}
