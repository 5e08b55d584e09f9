import CPosix
import Glibc
import Problems
import Synchronization

/// A new file of a size that is known from the start, written at positions by any number of threads.
public final class OutputFile: ByteSource {
    /// The path it will have when it is whole, for messages.
    public let path: String
    /// The size it must have at the end, in bytes; of a file that grows, what it is known to have.
    public var size: Int { known.load(ordering: .relaxed) }
    private let known = Atomic(0)
    let descriptor: Descriptor
    /// Whether it has no name, and is gone when it is closed.
    private let isTemporary: Bool

    /// Creates `name`, which must not exist, and reserves its space, so that a full disk is known at once.
    convenience init(name: String, in directory: Directory, size: Int, path: String) throws(Problem) {
        try self.init(growing: name, in: directory, path: path)
        guard size > 0 else { return }
        grew(to: size)
        let code = System.allocate(descriptor.raw, count: size)
        // A file system that cannot reserve says so; then a full disk shows when it is written.
        if code < 0 && ![EOPNOTSUPP, ENOSYS, EINVAL].contains(Int32(-code)) {
            throw SystemErrors.problem(-code, "reserve \(SystemErrors.bytes(size))", path, output: true)
        }
    }

    /// Creates `name`, which must not exist and grows as it is written; `finish(size:)` is told how large it became.
    convenience init(growing name: String, in directory: Directory, path: String) throws(Problem) {
        try self.init(name, in: directory.descriptor.raw, path, isTemporary: false)
    }

    /// Creates a file without a name, in the directory for temporary files; it is gone when it is closed.
    public convenience init(temporaryFor path: String) throws(Problem) {
        let name = "\(temporaryDirectory)/.adapterkit-\(hexadecimal(UInt64.random(in: 0 ... .max))).partial"
        try self.init(name, in: AT_FDCWD, path, isTemporary: true)
        _ = System.remove(name, in: AT_FDCWD, isDirectory: false)
    }

    private init(_ name: String, in directory: Int32, _ path: String, isTemporary: Bool) throws(Problem) {
        let flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW
        let result = System.open(name, in: directory, flags: flags, mode: isTemporary ? 0o600 : 0o666)
        guard result >= 0 else {
            throw isTemporary
                ? SystemErrors.problem(-result, "make a temporary file there", temporaryDirectory, output: true)
                : SystemErrors.problem(-result, "create", path, output: true)
        }
        descriptor = Descriptor(result)
        self.isTemporary = isTemporary
        self.path = path
    }

    /// Writes all of `buffer` at `offset`.
    public func write(_ buffer: UnsafeRawBufferPointer, at offset: Int) throws(Problem) {
        var done = 0
        while done < buffer.count {
            let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[done...])
            let count = unsafe System.write(descriptor.raw, rest, at: offset + done)
            guard count > 0 else { throw failed(count == 0 ? Int(EIO) : -count, "write") }
            done += count
        }
    }

    /// A failure to write, with what the file needs if there is no room for it.
    private func failed(_ code: Int, _ doing: String) -> Problem {
        let isFull = [ENOSPC, EDQUOT].contains(Int32(truncatingIfNeeded: code))
        if isFull && isTemporary {
            return Problem(
                .io, "system-error", file: path, "does not fit into \(temporaryDirectory), where it is kept meanwhile",
                hint: "set TMPDIR to a directory with more room")
        }
        return SystemErrors.problem(code, isFull && size > 0 ? "\(doing) all \(SystemErrors.bytes(size))" : doing, path)
    }

    /// Writes all of `bytes` at `offset`.
    public func write(_ bytes: [UInt8], at offset: Int) throws(Problem) {
        var failure: Problem?
        unsafe bytes.withUnsafeBytes { buffer in
            do throws(Problem) { try unsafe write(buffer, at: offset) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Reads bytes back that were written.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Problem) {
        var done = 0
        while done < buffer.count {
            let got = unsafe System.read(
                descriptor.raw, into: UnsafeMutableRawBufferPointer(rebasing: buffer[done...]), at: offset + done)
            guard got > 0 else { throw SystemErrors.problem(got == 0 ? Int(EIO) : -got, "read back", path) }
            done += got
        }
    }

    /// Tells it from other files.
    public var identity: FileIdentity {
        var status = stat()
        _ = System.status(of: descriptor.raw, &status)
        return FileIdentity(status)
    }

    /// Says how large a growing file became.
    public func grew(to size: Int) { known.store(size, ordering: .relaxed) }

    /// Copies `count` bytes from `source`, inside the kernel where the file systems can.
    public func copy(from source: any ByteSource, at start: Int, count: Int, to offset: Int) throws(Problem) {
        guard let file = source as? InputFile else {
            return try copyByHand(from: source, at: start, count: count, to: offset)
        }
        var done = 0
        while done < count {
            let step = System.copy(
                from: file.descriptor.raw, at: start + done, to: descriptor.raw, at: offset + done,
                count: count - done)
            if step < 0 {
                let unsupported = [EXDEV, EOPNOTSUPP, ENOSYS, EINVAL, EPERM].contains(Int32(-step))
                guard unsupported else { throw failed(-step, "write") }
                return try copyByHand(from: source, at: start + done, count: count - done, to: offset + done)
            }
            // Some file systems copy nothing and say nothing; reading tells whether the file is shorter now.
            if step == 0 {
                return try copyByHand(from: source, at: start + done, count: count - done, to: offset + done)
            }
            done += step
        }
    }

    private func copyByHand(from source: any ByteSource, at start: Int, count: Int, to offset: Int) throws(Problem) {
        var done = 0
        while done < count {
            let step = min(count - done, 4 << 20)
            try write(try source.read(at: start + done, count: step), at: offset + done)
            done += step
        }
    }

    /// Asks the kernel to start writing these bytes to the disk, so that little is left to wait for at the end.
    public func startWriteback(at offset: Int, count: Int) {
        _ = ak_start_writeback(descriptor.raw, Int64(offset), Int64(count))
    }

    /// The same for who writes in small pieces: asks for a whole window of the file whenever a piece ends one.
    public func startWriteback(ofWindowsEndingIn bytes: Range<Int>) {
        let window = 4 << 20
        let (first, last) = (bytes.lowerBound / window, bytes.upperBound / window)
        if first < last { startWriteback(at: first * window, count: (last - first) * window) }
    }

    /// Checks the length and waits until the bytes are on the disk.
    public func finish() throws(Problem) { try finish(size: size) }

    /// The same for a file that grew to `size` bytes.
    ///
    /// - Parameter isDurable: whether to wait for the disk; if not, the output as a whole has to.
    public func finish(size: Int, isDurable: Bool = true) throws(Problem) {
        var status = stat()
        let code = System.status(of: descriptor.raw, &status)
        guard code >= 0 else { throw SystemErrors.problem(-code, "look at", path) }
        guard Int(status.st_size) == size else {
            throw Problem(
                .internalFault, "wrong-length", file: path, "has \(status.st_size) bytes, but \(size) were due")
        }
        grew(to: size)
        guard isDurable else { return }
        // After a failed fsync the pages may be gone: it is never tried again.
        let sync = System.sync(descriptor.raw)
        guard sync >= 0 else { throw SystemErrors.problem(-sync, "make durable", path) }
    }
}

/// Where temporary files go: `TMPDIR`, or `/tmp`.
public var temporaryDirectory: String {
    unsafe getenv("TMPDIR").map { unsafe String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 } ?? "/tmp"
}
