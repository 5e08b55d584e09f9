import Glibc
import Problems

/// A file of lines that others may read while it grows, such as a log of measurements.
public final class LineFile: Sendable {
    /// The path as the user named it.
    public let path: String
    private let descriptor: Descriptor

    /// Makes the file, in place of one that is there.
    ///
    /// - Parameter lines: what it begins with.
    public init(path: String, lines: [String] = []) throws(Problem) {
        self.path = path
        let flags = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOCTTY | O_NONBLOCK
        let result = System.open(path, in: AT_FDCWD, flags: flags, mode: 0o666)
        guard result >= 0 else { throw SystemErrors.problem(-result, "create", path, output: true) }
        descriptor = Descriptor(result)
        for line in lines { try write(line) }
    }

    /// Adds a line.
    public func write(_ line: String) throws(Problem) {
        let bytes = Array((line + "\n").utf8)
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { all in
                unsafe Glibc.write(descriptor.raw, all.baseAddress?.advanced(by: done), all.count - done)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemErrors.problem(count == 0 ? Int(EIO) : Int(errno), "write", path) }
            done += count
        }
    }
}
