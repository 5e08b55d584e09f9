import CPosix
import Glibc
import Problems

/// A name in a directory.
public struct DirectoryEntry: Sendable, Equatable {
    /// What a name leads to, through symbolic links.
    public enum Kind: Sendable { case file, directory, other }
    /// The name, one path component.
    public let name: String
    /// What it leads to.
    public let kind: Kind
    /// The size in bytes of a file.
    public let size: Int

    /// Describes a name; see the properties.
    public init(name: String, kind: Kind, size: Int) {
        self.name = name
        self.kind = kind
        self.size = size
    }
}

/// An open directory; names are opened relative to it, so that renaming a parent cannot lead elsewhere.
public final class Directory: Folder {
    /// The path as the user named it, without a trailing slash.
    public let path: String
    /// Tells one directory from another whatever its name.
    public let identity: FileIdentity
    let descriptor: Descriptor

    /// Opens the directory at `path`.
    public convenience init(path: String) throws(Problem) {
        try self.init(name: path.isEmpty ? "." : path, in: AT_FDCWD, path: path)
    }

    /// - Parameter isPlace: whether only its identity and what is in it are wanted, not a list of that.
    init(name: String, in parent: Int32, path: String, follow: Bool = true, isPlace: Bool = false) throws(Problem) {
        let flags = (isPlace ? ak_path_flag() : O_RDONLY) | O_DIRECTORY | (follow ? 0 : O_NOFOLLOW)
        let result = System.open(name, in: parent, flags: flags)
        guard result >= 0 else { throw SystemErrors.problem(-result, "open the directory", path) }
        descriptor = Descriptor(result)
        self.path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        var status = stat()
        let code = System.status(of: descriptor.raw, &status)
        guard code >= 0 else { throw SystemErrors.problem(-code, "look at", path) }
        identity = FileIdentity(status)
    }

    /// Whether `name` is one harmless path component: no `/`, not `.` or `..`, no NUL, at most 255 bytes.
    public static func checkComponent(_ name: String) -> Bool {
        !name.isEmpty && name != "." && name != ".." && name.utf8.count <= 255
            && !name.utf8.contains { $0 == UInt8(ascii: "/") || $0 == 0 }
    }

    /// The path of `name` in this directory, for messages.
    public func path(of name: String) -> String { path.isEmpty ? name : path == "/" ? "/\(name)" : "\(path)/\(name)" }

    /// Opens the regular file `name`, which must be one path component.
    public func openFile(_ name: String) throws(Problem) -> InputFile {
        try Self.require(name)
        return try InputFile(name: name, in: descriptor.raw, path: path(of: name))
    }

    /// Opens the directory `name`, which must be one path component.
    public func openDirectory(_ name: String, follow: Bool = true) throws(Problem) -> Directory {
        try Self.require(name)
        return try Directory(name: name, in: descriptor.raw, path: path(of: name), follow: follow)
    }

    /// Opens the regular file `name`, which must be one path component.
    public func source(_ name: String) throws(Problem) -> any ByteSource { try openFile(name) }

    /// Opens the directory `name`, which must be one path component.
    public func folder(_ name: String) throws(Problem) -> any Folder { try openDirectory(name) }

    private static func require(_ name: String) throws(Problem) {
        guard checkComponent(name) else {
            throw Problem(
                .malformed, "unsafe-name", "'\(name)' is not a plain file name, so it is not opened",
                hint: "names in an index must be file names in the same directory")
        }
    }

    /// What the directory holds, sorted by the names' bytes; names that lead nowhere are of kind `other`.
    public func entries() throws(Problem) -> [DirectoryEntry] {
        var result: [DirectoryEntry] = []
        for name in try names() {
            var status = stat()
            let code = System.retrying { unsafe fstatat(descriptor.raw, name, &status, 0) }
            let kind: DirectoryEntry.Kind =
                switch code >= 0 ? status.st_mode & S_IFMT : 0 {
                case S_IFREG: .file
                case S_IFDIR: .directory
                default: .other
                }
            result.append(DirectoryEntry(name: name, kind: kind, size: kind == .file ? Int(status.st_size) : 0))
        }
        return result.sorted { Array($0.name.utf8).lexicographicallyPrecedes(Array($1.name.utf8)) }
    }

    private func names() throws(Problem) -> [String] {
        // A stream owns its descriptor, so it gets one of its own.
        let copy = System.open(".", in: descriptor.raw, flags: O_RDONLY | O_DIRECTORY)
        guard copy >= 0 else { throw SystemErrors.problem(-copy, "list", path) }
        guard let stream = unsafe fdopendir(Int32(copy)) else {
            System.close(Int32(copy))
            throw SystemErrors.problem(Int(errno), "list", path)
        }
        defer { unsafe _ = closedir(stream) }
        var result: [String] = []
        while true {
            errno = 0
            guard let entry = unsafe readdir(stream) else { break }
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != "." && name != ".." { result.append(name) }
        }
        guard errno == 0 else { throw SystemErrors.problem(Int(errno), "list", path) }
        return result
    }

    /// Bytes that this user may still write to the directory's file system.
    public func freeSpace() throws(Problem) -> Int {
        var status = statvfs()
        let code = System.retrying { unsafe fstatvfs(descriptor.raw, &status) }
        guard code >= 0 else { throw SystemErrors.problem(-code, "ask for its free space", path) }
        return Int(status.f_bavail) * Int(status.f_frsize)
    }

    /// Whether `path` leads to something, and to what; `nil` if it leads nowhere.
    public static func kind(of path: String) -> DirectoryEntry.Kind? {
        var status = stat()
        guard System.retrying({ unsafe stat(path, &status) }) >= 0 else { return nil }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return .file
        case S_IFDIR: return .directory
        default: return .other
        }
    }

    /// Whether there is anything at `path`, even a symbolic link that leads nowhere.
    static func isTaken(_ path: String) -> Bool {
        var status = stat()
        return System.retrying { unsafe lstat(path, &status) } >= 0
    }

    /// This directory and those above it, up to the root, by identity.
    public func lineage() throws(Problem) -> [FileIdentity] {
        var chain = [identity]
        var current = self
        while chain.count < 4096 {
            // A directory that may be passed through, but not read, is enough.
            let above = try Directory(name: "..", in: current.descriptor.raw, path: current.path + "/..", isPlace: true)
            if above.identity == current.identity { break }
            chain.append(above.identity)
            current = above
        }
        return chain
    }

    func sync() throws(Problem) {
        let code = System.sync(descriptor.raw)
        guard code >= 0 else { throw SystemErrors.problem(-code, "make durable", path) }
    }
}
