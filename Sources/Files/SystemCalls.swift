import CPosix
import Glibc

/// What a system call was about to change; the names that the fault seam and the tests use.
enum Mutation: String {
    case makeDirectory = "mkdir"
    case create
    case allocate
    case write
    case copy
    case sync
    case rename
    case link
    case remove
}

/// System calls with `EINTR` retried; each one that changes something can be made to fail in debug builds.
///
/// They return a negative errno on failure, so that no other call can overwrite it in between.
enum System {
    /// Runs `call` until it is not interrupted; returns its result or the negative errno.
    static func retrying<R: BinaryInteger>(_ call: () -> R) -> Int {
        while true {
            let result = call()
            if result >= 0 { return Int(result) }
            let code = errno
            if code != EINTR { return -Int(code) }
        }
    }

    /// As `retrying`, for a call that changes something.
    static func mutating<R: BinaryInteger>(_ what: Mutation, _ call: () -> R) -> Int {
        #if FAULT_SEAM
            if let code = FaultSeam.shared.next(what) { return -Int(code) }
        #endif
        return retrying(call)
    }

    /// Opens `name` below `directory` (`AT_FDCWD` for paths).
    static func open(_ name: String, in directory: Int32, flags: Int32, mode: UInt32 = 0) -> Int {
        let call = { unsafe ak_openat(directory, name, flags, mode) }
        return flags & O_CREAT != 0 ? mutating(.create, call) : retrying(call)
    }

    static func close(_ descriptor: Int32) { _ = Glibc.close(descriptor) }

    /// The status of an open file, or a negative errno.
    static func status(of descriptor: Int32, _ result: inout stat) -> Int {
        retrying { unsafe fstat(descriptor, &result) }
    }

    static func read(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer, at offset: Int) -> Int {
        retrying { unsafe pread(descriptor, buffer.baseAddress, buffer.count, offset) }
    }

    static func write(_ descriptor: Int32, _ buffer: UnsafeRawBufferPointer, at offset: Int) -> Int {
        mutating(.write) { unsafe pwrite(descriptor, buffer.baseAddress, buffer.count, offset) }
    }

    static func append(_ descriptor: Int32, _ buffer: UnsafeRawBufferPointer) -> Int {
        mutating(.write) { unsafe Glibc.write(descriptor, buffer.baseAddress, buffer.count) }
    }

    static func copy(from: Int32, at: Int, to: Int32, at position: Int, count: Int) -> Int {
        mutating(.copy) { ak_copy_file_range(from, Int64(at), to, Int64(position), count) }
    }

    static func allocate(_ descriptor: Int32, count: Int) -> Int {
        mutating(.allocate) { ak_fallocate(descriptor, 0, Int64(count)) }
    }

    static func sync(_ descriptor: Int32) -> Int {
        mutating(.sync) { fsync(descriptor) }
    }

    static func syncAll(_ descriptor: Int32) -> Int {
        mutating(.sync) { ak_syncfs(descriptor) }
    }

    static func makeDirectory(_ name: String, in directory: Int32) -> Int {
        mutating(.makeDirectory) { unsafe mkdirat(directory, name, 0o777) }
    }

    static func renameNew(_ from: String, _ to: String, in directory: Int32) -> Int {
        mutating(.rename) { unsafe ak_rename_noreplace(directory, from, directory, to) }
    }

    static func exchange(_ from: String, _ to: String, in directory: Int32) -> Int {
        exchange(from, in: directory, to, in: directory)
    }

    static func rename(_ from: String, _ to: String, in directory: Int32) -> Int {
        mutating(.rename) { unsafe renameat(directory, from, directory, to) }
    }

    /// The same between two directories.
    static func exchange(_ from: String, in source: Int32, _ to: String, in target: Int32) -> Int {
        #if FAULT_SEAM
            if !FaultSeam.shared.canExchange { return -Int(EINVAL) }
        #endif
        return mutating(.rename) { unsafe ak_rename_exchange(source, from, target, to) }
    }

    static func rename(_ from: String, in source: Int32, _ to: String, in target: Int32) -> Int {
        mutating(.rename) { unsafe renameat(source, from, target, to) }
    }

    /// Gives a file another name; of a symbolic link, what it leads to.
    static func link(_ from: String, in source: Int32, _ to: String, in target: Int32) -> Int {
        mutating(.link) { unsafe linkat(source, from, target, to, AT_SYMLINK_FOLLOW) }
    }

    static func remove(_ name: String, in directory: Int32, isDirectory: Bool) -> Int {
        mutating(.remove) { unsafe unlinkat(directory, name, isDirectory ? Int32(AT_REMOVEDIR) : 0) }
    }
}
