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
                unsafe System.append(descriptor.raw, UnsafeRawBufferPointer(rebasing: all[done...]))
            }
            guard count > 0 else {
                removeIfEmpty()
                throw SystemErrors.problem(count == 0 ? Int(EIO) : -count, "write", path)
            }
            done += count
        }
    }

    /// Leaves no file behind in which there is nothing.
    private func removeIfEmpty() {
        var (own, named) = (stat(), stat())
        guard System.status(of: descriptor.raw, &own) >= 0, own.st_mode & S_IFMT == S_IFREG, own.st_size == 0,
            unsafe lstat(path, &named) == 0, FileIdentity(named) == FileIdentity(own)
        else { return }
        _ = System.remove(path, in: AT_FDCWD, isDirectory: false)
    }
}
