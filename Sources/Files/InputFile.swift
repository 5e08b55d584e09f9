import Glibc
import Problems

/// A regular file that is open for reading; it is closed when the last reference goes.
///
/// Reads are positioned, so any number of threads may read at once. Nothing is mapped: a file that shrinks while it is
/// read is an error, not a crash.
public final class InputFile: ByteSource {
    /// The path as the user named it.
    public let path: String
    /// The size in bytes when it was opened.
    public let size: Int
    /// Tells one file from another whatever its name.
    public let identity: FileIdentity
    let descriptor: Descriptor

    /// Opens the regular file at `path`, through symbolic links.
    public convenience init(path: String) throws(Problem) {
        try self.init(name: path, in: AT_FDCWD, path: path)
    }

    init(name: String, in directory: Int32, path: String) throws(Problem) {
        // Without O_NONBLOCK, opening a FIFO would wait for ever.
        let result = System.open(name, in: directory, flags: O_RDONLY | O_NONBLOCK | O_NOCTTY)
        guard result >= 0 else { throw SystemErrors.problem(-result, "open", path) }
        descriptor = Descriptor(result)
        self.path = path
        var status = stat()
        let code = System.status(of: descriptor.raw, &status)
        guard code >= 0 else { throw SystemErrors.problem(-code, "look at", path) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            let what = status.st_mode & S_IFMT == S_IFDIR ? "a directory" : "not a regular file"
            throw Problem(.missing, "not-a-file", file: path, "is \(what), but a file was needed")
        }
        size = Int(status.st_size)
        identity = FileIdentity(status)
    }

    /// Fills `buffer` from `offset`; fewer bytes are an error.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Problem) {
        var done = 0
        while done < buffer.count {
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = unsafe System.read(descriptor.raw, into: rest, at: offset + done)
            guard count >= 0 else { throw SystemErrors.problem(-count, "read", path) }
            guard count > 0 else {
                throw Problem(
                    .io, "short-read", file: path,
                    "ended \(buffer.count - done) bytes early while it was read: something else is changing it",
                    hint: "let the other program finish and try again", offset: offset + done)
            }
            done += count
        }
    }
}

/// Device and inode: the same for two names of one file.
public struct FileIdentity: Hashable, Sendable {
    let device: UInt
    let inode: UInt
    /// For what is packed in the file: its place there.
    var place = 0

    init(_ status: stat) {
        device = UInt(status.st_dev)
        inode = UInt(status.st_ino)
    }

    /// The identity of what is packed in this file, as its entry number `place` (from 1).
    public func entry(_ place: Int) -> FileIdentity {
        var copy = self
        copy.place = place
        return copy
    }
}
