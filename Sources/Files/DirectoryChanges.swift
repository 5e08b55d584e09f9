import CPosix
import Glibc
import Problems

/// Changes of names in a directory that is open; each is one system call, or says which one failed.
extension Directory {
    /// Makes a directory in this one, unless it is there.
    package func makeDirectory(_ name: String) throws(Problem) {
        let code = System.makeDirectory(name, in: descriptor.raw)
        guard code >= 0 || code == -Int(EEXIST) else {
            throw SystemErrors.problem(-code, "make the directory", path(of: name), output: true)
        }
    }

    /// Gives a file, or this directory (`.`), the mode and as far as possible the owner that `name` has in another directory.
    package func adoptMode(of name: String, in other: Directory, for own: String) {
        var status = stat()
        guard System.retrying({ unsafe fstatat(other.descriptor.raw, name, &status, 0) }) >= 0 else { return }
        // Who may not give files away keeps them; the mode is what readers need.
        _ = unsafe fchownat(descriptor.raw, own, status.st_uid, status.st_gid, 0)
        _ = unsafe fchmodat(descriptor.raw, own, status.st_mode & 0o7777, 0)
    }

    /// Whether it is the root of a mount, if the kernel tells.
    package var isMountRoot: Bool { ak_is_mount_root(descriptor.raw) != 0 }

    /// Whether this user may make files in it.
    package var isWritable: Bool { unsafe faccessat(descriptor.raw, ".", W_OK, AT_EACCESS) == 0 }

    /// Whether there is anything of that name, even a link that leads nowhere.
    package func has(_ name: String) -> Bool {
        var status = stat()
        return System.retrying { unsafe fstatat(descriptor.raw, name, &status, AT_SYMLINK_NOFOLLOW) } >= 0
    }

    /// The identity of what a name leads to; `nil` if it leads nowhere.
    package func identity(of name: String) -> FileIdentity? {
        var status = stat()
        guard System.retrying({ unsafe fstatat(descriptor.raw, name, &status, 0) }) >= 0 else { return nil }
        return FileIdentity(status)
    }

    /// Where a symbolic link leads, as it says; `nil` if the name is none.
    private func target(ofLink name: String) -> String? {
        var room = [CChar](repeating: 0, count: 4096)
        let length = System.retrying { unsafe readlinkat(descriptor.raw, name, &room, room.count) }
        guard length > 0, length < room.count else { return nil }
        return String(decoding: room[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Whether a name is a symbolic link.
    package func isLink(_ name: String) -> Bool { target(ofLink: name) != nil }

    /// Whether a name is a symbolic link, and whether it is a relative one.
    package func isRelativeLink(_ name: String) -> Bool { target(ofLink: name).map { !$0.hasPrefix("/") } ?? false }

    /// What a relative symbolic link would lead to if its directory were `path` (empty, or with a slash at its end) below
    /// another one; `nil` if that is no file.
    package func stamp(ofLink name: String, at path: String, below other: Directory) -> FileStamp? {
        target(ofLink: name).flatMap { FileStamp.of(path + $0, in: other) }
    }

    /// Whether no mount lies between a file of this directory and another directory, so that files can be renamed from one
    /// to the other; tried with a second name for the file, which is removed again.
    package func isOneMount(with target: Directory, file name: String, trial: String) throws(Problem) -> Bool {
        try target.removeFile(trial)
        let code = System.link(name, in: descriptor.raw, trial, in: target.descriptor.raw)
        if code >= 0 { try target.removeFile(trial) }
        return code != -Int(EXDEV)
    }

    /// Gives a file of this directory a name in another one, or where that cannot be, copies it there, durably.
    package func link(_ name: String, to target: Directory, as newName: String) throws(Problem) {
        let code = System.link(name, in: descriptor.raw, newName, in: target.descriptor.raw)
        if code >= 0 { return }
        guard [EXDEV, EPERM, EMLINK, EOPNOTSUPP].contains(Int32(truncatingIfNeeded: -code)) else {
            throw SystemErrors.problem(-code, "link", target.path(of: newName), output: true)
        }
        let source = try openFile(name)
        let copy = try OutputFile(name: newName, in: target, size: source.size, path: target.path(of: newName))
        try copy.copy(from: source, at: 0, count: source.size, to: 0)
        try copy.finish()
    }

    /// Moves a file or directory into another directory, over a file that has that name there.
    package func move(_ name: String, to target: Directory, as newName: String) throws(Problem) {
        let code = System.rename(name, in: descriptor.raw, newName, in: target.descriptor.raw)
        guard code >= 0 else { throw SystemErrors.problem(-code, "rename", path(of: name), output: true) }
    }

    /// Exchanges two directories at one stroke; false if the file system cannot do that.
    package func exchange(_ name: String, with other: String, in target: Directory) throws(Problem) -> Bool {
        let code = System.exchange(name, in: descriptor.raw, other, in: target.descriptor.raw)
        // EXDEV: another mount, or a directory that lies in a lower layer of an overlay.
        if [EINVAL, ENOSYS, EOPNOTSUPP, EBUSY, EXDEV].contains(Int32(truncatingIfNeeded: -code)) { return false }
        guard code >= 0 else { throw SystemErrors.problem(-code, "exchange", path(of: name), output: true) }
        return true
    }

    /// Removes a directory that has nothing in it.
    package func removeDirectory(_ name: String) throws(Problem) {
        let code = System.remove(name, in: descriptor.raw, isDirectory: true)
        guard code >= 0 else { throw SystemErrors.problem(-code, "remove", path(of: name), output: true) }
    }

    /// Removes a file; one that is not there is no failure.
    package func removeFile(_ name: String) throws(Problem) {
        let code = System.remove(name, in: descriptor.raw, isDirectory: false)
        guard code >= 0 || code == -Int(ENOENT) else {
            throw SystemErrors.problem(-code, "remove", path(of: name), output: true)
        }
    }

    /// Removes a file or a directory with all that is in it; links are not followed.
    package func removeAll(_ name: String) throws(Problem) {
        guard has(name) else { return }
        if let inner = try? Directory(name: name, in: descriptor.raw, path: path(of: name), follow: false) {
            for entry in try inner.entries() { try inner.removeAll(entry.name) }
            try removeDirectory(name)
        } else {
            try removeFile(name)
        }
    }

    /// Waits until the names of this directory are on the disk.
    package func makeDurable() throws(Problem) { try sync() }

    /// Writes a small file that is there whole or not at all, and durable when this returns.
    package func write(_ bytes: [UInt8], as name: String) throws(Problem) {
        let temporary = ".\(name).partial"
        try removeFile(temporary)
        do throws(Problem) {
            let file = try OutputFile(name: temporary, in: self, size: bytes.count, path: path(of: name))
            try file.write(bytes, at: 0)
            try file.finish()
            try move(temporary, to: self, as: name)
        } catch {
            try? removeFile(temporary)
            throw error
        }
        try sync()
    }

    /// The directory that this one is in.
    package func above() throws(Problem) -> Directory {
        try Directory(name: "..", in: descriptor.raw, path: parentPath(of: path))
    }
}

/// What tells whether a file is still the one that it was, without reading it.
package struct FileStamp: Sendable, Equatable {
    /// Bytes.
    package let size: Int
    /// Nanoseconds since 1970 when its bytes were last changed.
    package let modified: Int
    /// The number of the file in its file system.
    package let inode: UInt

    package init(size: Int, modified: Int, inode: UInt) {
        self.size = size
        self.modified = modified
        self.inode = inode
    }

    private init(_ status: stat) {
        size = Int(status.st_size)
        modified = Int(status.st_mtim.tv_sec) * 1_000_000_000 + Int(status.st_mtim.tv_nsec)
        inode = UInt(status.st_ino)
    }

    /// Of what `path` leads to; `nil` if that is nothing.
    package static func of(path: String) -> FileStamp? {
        var status = stat()
        guard System.retrying({ unsafe stat(path, &status) }) >= 0 else { return nil }
        return FileStamp(status)
    }

    /// Of what `name` in a directory leads to.
    package static func of(_ name: String, in directory: Directory) -> FileStamp? {
        var status = stat()
        guard System.retrying({ unsafe fstatat(directory.descriptor.raw, name, &status, 0) }) >= 0 else { return nil }
        return FileStamp(status)
    }

    /// Of an open file.
    static func of(_ descriptor: borrowing Descriptor) -> FileStamp? {
        var status = stat()
        return System.status(of: descriptor.raw, &status) >= 0 ? FileStamp(status) : nil
    }

    /// Whether two names lead to the same file, unchanged.
    package var text: String { "\(size) \(modified) \(inode)" }
}

extension FileIdentity {
    /// The number of the file in its file system.
    package var number: UInt { inode }
    /// Whether both are on one file system.
    package func isBeside(_ other: FileIdentity) -> Bool { device == other.device }
}

/// The path with all symbolic links followed; `nil` if it leads nowhere.
package func resolvedPath(_ path: String) -> String? {
    guard let found = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(found) }
    return unsafe String(cString: found)
}

/// The time by the wall clock, as `2026-01-31T12:00:00Z`.
package func timestamp() -> String {
    var now = time(nil)
    var parts = unsafe tm()
    unsafe gmtime_r(&now, &parts)
    let fields = unsafe [
        parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
    ]
    let texts = fields.map { $0 < 10 ? "0\($0)" : "\($0)" }
    return "\(texts[0])-\(texts[1])-\(texts[2])T\(texts[3]):\(texts[4]):\(texts[5])Z"
}

/// A lock on a file that goes when the process does, and whose file tells who has it.
package final class ExclusiveLock: Sendable {
    private let descriptor: Descriptor

    /// Takes the lock on `name` in `directory`; `nil` if somebody else has it.
    ///
    /// - Parameter holder: what others read of who has it.
    package init?(_ name: String, in directory: Directory, holder: String) throws(Problem) {
        let result = System.open(name, in: directory.descriptor.raw, flags: O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o666)
        guard result >= 0 else { throw SystemErrors.problem(-result, "open", directory.path(of: name), output: true) }
        descriptor = Descriptor(result)
        var tries = 0
        while flock(descriptor.raw, LOCK_EX | LOCK_NB) != 0 {
            let code = errno
            tries += 1
            guard code == EWOULDBLOCK else {
                throw SystemErrors.problem(Int(code), "lock", directory.path(of: name), output: true)
            }
            // Whoever only asks for the holder shares the lock for a moment; that is no reason to refuse anything.
            guard tries < 1000, flock(descriptor.raw, LOCK_SH | LOCK_NB) == 0 else { return nil }
            _ = flock(descriptor.raw, LOCK_UN)
            usleep(1000)
        }
        // The file may have been removed, with its directory, between opening and locking it.
        guard FileStamp.of(name, in: directory)?.inode == FileStamp.of(descriptor)?.inode else { return nil }
        let text = Array((holder + "\n").utf8)
        _ = ftruncate(descriptor.raw, 0)
        _ = unsafe text.withUnsafeBytes { unsafe pwrite(descriptor.raw, $0.baseAddress, $0.count, 0) }
    }

    /// Who has the lock, as far as that is written; `nil` if nobody has.
    package static func holder(_ name: String, in directory: Directory) -> String? {
        let result = System.open(name, in: directory.descriptor.raw, flags: O_RDONLY | O_NOFOLLOW)
        guard result >= 0 else { return nil }
        let descriptor = Descriptor(result)
        guard flock(descriptor.raw, LOCK_SH | LOCK_NB) < 0 else { return nil }
        var room = [UInt8](repeating: 0, count: 256)
        let count = unsafe room.withUnsafeMutableBytes { unsafe pread(descriptor.raw, $0.baseAddress, $0.count, 0) }
        let text = String(decoding: room.prefix(max(0, count)), as: UTF8.self)
        return text.split(separator: "\n").first.map(String.init) ?? "another process"
    }

    /// The number of this process.
    package static var processNumber: Int { Int(getpid()) }
}
