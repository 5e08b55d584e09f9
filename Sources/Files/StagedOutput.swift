import Glibc
import Problems
import Synchronization

/// An output that appears under its name whole, or not at all.
///
/// A directory is filled under a hidden name beside its final one, made durable, and renamed; a single file likewise.
/// An unfinished stage is removed when the object goes; what a killed process left is removed by the next run for the
/// same output (a lock on the stage tells the two apart).
public final class StagedOutput: Sendable {
    /// What appears in the end.
    public enum Shape: Sendable { case directory, file }

    /// The path that the output will have.
    public let path: String
    /// Whether it is a directory or a file.
    public let shape: Shape
    let parent: Directory
    let name: String
    let stageName: String
    private let stage: Directory
    let replacing: Bool
    let finished = Atomic<Bool>(false)
    /// Whether the stage holds the file that was there before.
    let holdsOld = Atomic<Bool>(false)
    /// The files so far, so that they can be removed even where no descriptor is left to list them with.
    private let created = Mutex<[String]>([])
    /// Directories within a directory output, by path.
    private let nested = Mutex<Set<String>>([])
    /// What an output that is replaced may hold; `nil` for a model or adapter.
    private let replaceable: Set<String>?

    /// Prepares to make `path`; if it exists, only `replacing` allows that, and only in place of something alike.
    ///
    /// - Parameter replaceable: paths of files; a directory that holds nothing else may be replaced, too.
    public init(path: String, shape: Shape, replacing: Bool, replaceable: Set<String>? = nil) throws(Problem) {
        self.path = path
        self.shape = shape
        self.replacing = replacing
        self.replaceable = replaceable
        (parent, name) = try Self.checkPlace(
            path: path, shape: shape, replacing: replacing, replaceable: replaceable)
        Self.sweep(name: name, in: parent)
        (stageName, stage) = try Self.makeStage(name: name, path: path, in: parent)
    }

    /// A directory beside `path` for what is needed only meanwhile; it never gets a name, and is gone with this object.
    public init(scratchBeside path: String) throws(Problem) {
        self.path = path
        (shape, replacing, replaceable) = (.directory, false, nil)
        let (parentPath, name) = try Self.split(path)
        parent = try Directory(path: parentPath)
        self.name = name
        Self.sweep(name: name, in: parent)
        (stageName, stage) = try Self.makeStage(name: name, path: path, in: parent)
    }

    /// Removes what killed runs left of an output of that path.
    public static func sweep(path: String) throws(Problem) {
        let (parent, name) = try split(path)
        sweep(name: name, in: try Directory(path: parent))
    }

    deinit { discard() }

    /// Refuses an output that cannot be made, before anything is.
    @discardableResult
    public static func checkPlace(
        path: String, shape: Shape, replacing: Bool, replaceable: Set<String>? = nil
    ) throws(Problem) -> (parent: Directory, name: String) {
        let (parentPath, name) = try Self.split(path)
        let parent: Directory
        do throws(Problem) {
            parent = try Directory(path: parentPath)
        } catch {
            throw Problem(
                error.kind == .io ? .io : .output, error.code, file: path,
                "cannot be made: the directory '\(parentPath)' cannot be opened",
                hint: "make it first: mkdir -p \(shellQuoted(parentPath))")
        }
        try checkTarget(path: path, shape: shape, replacing: replacing, replaceable)
        guard unsafe faccessat(parent.descriptor.raw, ".", W_OK, AT_EACCESS) == 0 else {
            throw SystemErrors.problem(Int(errno), "make the directory", path, output: true)
        }
        return (parent, name)
    }

    /// Makes a hidden directory and locks it.
    ///
    /// Between the two, another run for the same output may take it for a dead run's and remove it; then the next try has
    /// another name. Where a file system has no locks, no run can lock it to remove it either.
    private static func makeStage(
        name: String, path: String, in parent: Directory
    ) throws(Problem) -> (name: String, directory: Directory) {
        while true {
            let stageName = stageName(name, UInt64.random(in: 0 ... .max))
            let made = System.makeDirectory(stageName, in: parent.descriptor.raw)
            guard made >= 0 else { throw SystemErrors.problem(-made, "make the directory", path, output: true) }
            let open = { () throws(Problem) in
                try Directory(name: stageName, in: parent.descriptor.raw, path: path, follow: false)
            }
            do throws(Problem) {
                let stage = try open()
                let isTaken = flock(stage.descriptor.raw, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK
                if !isTaken, try open().identity == stage.identity { return (stageName, stage) }
            } catch {
                if error.kind == .missing { continue }
                _ = System.remove(stageName, in: parent.descriptor.raw, isDirectory: true)
                throw error
            }
        }
    }

    private static let stageMark = ".adapterkit-"
    private static let stageEnd = ".partial"

    /// The hidden name of a stage: `.NAME.adapterkit-0123456789abcdef.partial`.
    private static func stageName(_ name: String, _ number: UInt64) -> String {
        ".\(name)\(stageMark)\(hexadecimal(number))\(stageEnd)"
    }

    /// Whether a directory's name is that of a stage for `name`: nobody else's are touched.
    private static func isStage(_ found: String, of name: String) -> Bool {
        let (start, end) = (".\(name)\(stageMark)", stageEnd)
        guard found.hasPrefix(start), found.hasSuffix(end) else { return false }
        let middle = found.utf8.dropFirst(start.utf8.count).dropLast(end.utf8.count)
        return middle.count == 16 && middle.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    /// Bytes that may still be written where the output goes.
    public func freeSpace() throws(Problem) -> Int { try parent.freeSpace() }

    /// Creates a file of the output; for a single-file output, `name` is its final name.
    public func create(_ name: String, size: Int) throws(Problem) -> OutputFile {
        guard Directory.checkComponent(name) else {
            throw Problem(.internalFault, "unsafe-name", file: path, "'\(name)' is not a plain file name")
        }
        created.withLock { $0.append(name) }
        return try OutputFile(
            name: name, in: stage, size: size, path: shape == .file ? path : stage.path(of: name))
    }

    /// Creates a file at a path of several parts in a directory output, with the directories on its way.
    ///
    /// Nothing on the way can be a link: all of it is made here.
    public func create(path: String, size: Int) throws(Problem) -> OutputFile {
        var parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let name = parts.removeLast()
        let place = try makeDirectory(parts)
        guard Directory.checkComponent(name) else { throw Self.unsafe(path) }
        created.withLock { $0.append(path) }
        return try OutputFile(name: name, in: place, size: size, path: "\(self.path)/\(path)")
    }

    /// Makes a directory in a directory output, with those on its way; the parts of its path are plain names.
    @discardableResult
    public func makeDirectory(_ parts: [String]) throws(Problem) -> Directory {
        try nested.withLock { (known) throws(Problem) in
            var place = stage
            var path = ""
            for part in parts {
                guard Directory.checkComponent(part) else { throw Self.unsafe(parts.joined(separator: "/")) }
                path += path.isEmpty ? part : "/" + part
                if !known.contains(path) {
                    // It is there already where files were put into the stage in another way.
                    let code = System.makeDirectory(part, in: place.descriptor.raw)
                    guard code >= 0 || code == -Int(EEXIST) else {
                        throw SystemErrors.problem(-code, "make the directory", "\(self.path)/\(path)", output: true)
                    }
                    known.insert(path)
                }
                place = try Directory(
                    name: part, in: place.descriptor.raw, path: "\(self.path)/\(path)", follow: false)
            }
            return place
        }
    }

    /// Makes the directories within a directory output durable, which were not kept open.
    private func syncNested() throws(Problem) {
        for path in nested.withLock({ $0.sorted() }) {
            var place = stage
            for part in path.split(separator: "/") {
                place = try Directory(name: String(part), in: place.descriptor.raw, path: self.path, follow: false)
            }
            try place.sync()
        }
    }

    private static func unsafe(_ path: String) -> Problem {
        Problem(.internalFault, "unsafe-name", file: path, "is not a plain path")
    }

    /// Where the files are until they have their place; for reading them meanwhile.
    public var stagePath: String { parent.path(of: stageName) }

    /// Creates a file of the output that grows as it is written.
    public func createGrowing(_ name: String) throws(Problem) -> OutputFile {
        created.withLock { $0.append(name) }
        return try OutputFile(growing: name, in: stage, path: shape == .file ? path : stage.path(of: name))
    }

    /// Writes a small file of the output and makes it durable.
    public func write(_ name: String, _ bytes: [UInt8]) throws(Problem) {
        let file = try create(name, size: bytes.count)
        try file.write(bytes, at: 0)
        try file.finish()
    }

    /// The same at a path of several parts in a directory output.
    public func write(path: String, _ bytes: [UInt8]) throws(Problem) {
        let file = try create(path: path, size: bytes.count)
        try file.write(bytes, at: 0)
        try file.finish()
    }

    /// Gives the output its name; every file must be finished before.
    ///
    /// - Parameter syncsAll: whether files were finished without waiting for the disk, since there are many: then the
    ///   whole file system is made durable at once.
    public func commit(syncsAll: Bool = false) throws(Problem) { try commit(syncsAll: syncsAll, keepsOld: false) }

    /// - Parameter keepsOld: whether a file that is replaced stays in the stage.
    func commit(syncsAll: Bool, keepsOld: Bool) throws(Problem) {
        if syncsAll {
            let code = System.syncAll(stage.descriptor.raw)
            guard code >= 0 else { throw SystemErrors.problem(-code, "make durable", path) }
        } else {
            try syncNested()
        }
        try stage.sync()
        switch shape {
        case .directory: try commitDirectory()
        case .file: try commitFile(keepsOld: keepsOld)
        }
        try parent.sync()
    }

    private func commitDirectory() throws(Problem) {
        let directory = parent.descriptor.raw
        var code = System.renameNew(stageName, name, in: directory)
        if code == -Int(EINVAL) || code == -Int(ENOSYS) {
            // The file system has no RENAME_NOREPLACE: look first, and accept the moment in between.
            code = Directory.kind(of: path) == nil ? System.rename(stageName, name, in: directory) : -Int(EEXIST)
        }
        if code == -Int(EEXIST), replacing {
            try Self.checkTarget(path: path, shape: shape, replacing: true, replaceable)
            code = System.exchange(stageName, name, in: directory)
            if code >= 0 {
                // What was there before goes only when the exchange is sure to last; else it comes back.
                do throws(Problem) {
                    try parent.sync()
                } catch {
                    _ = System.exchange(stageName, name, in: directory)
                    throw error
                }
                finished.store(true, ordering: .relaxed)
                Self.removeTree(stageName, in: parent)
            }
            if code == -Int(EINVAL) || code == -Int(ENOSYS) {
                throw Problem(
                    .output, "exists", file: path, "exists, and this file system cannot exchange directories",
                    hint: "remove it yourself, or choose another name")
            }
        }
        guard code >= 0 else { throw unnamed(code) }
        finished.store(true, ordering: .relaxed)
    }

    /// Removes what was written so far; after `commit` it does nothing.
    public func discard() {
        if finished.exchange(true, ordering: .relaxed) { return }
        // By their paths, since there may be no descriptor left to list them with; all of it was made here.
        for name in created.withLock({ $0 }) { _ = System.remove(name, in: stage.descriptor.raw, isDirectory: false) }
        for name in nested.withLock({ $0.sorted(by: >) }) {
            _ = System.remove(name, in: stage.descriptor.raw, isDirectory: true)
        }
        Self.removeTree(stageName, in: parent)
    }

    /// The directory and the name of an output, which must be a plain name.
    @discardableResult
    public static func split(_ path: String) throws(Problem) -> (parent: String, name: String) {
        let name = lastComponent(of: path)
        // Room for the stage's own prefix and suffix.
        guard Directory.checkComponent(name), name.utf8.count <= 200 else {
            let isLong = name.utf8.count > 200
            throw Problem(
                .usage, "bad-output", file: path,
                isLong ? "is too long a name for an output: at most 200 bytes" : "is no name for an output",
                hint: "name a new directory or file")
        }
        return (parentPath(of: path), name)
    }

    /// Refuses a target that exists, or that `replacing` would destroy more than an output of this kind.
    private static func checkTarget(
        path: String, shape: Shape, replacing: Bool, _ replaceable: Set<String>?
    ) throws(Problem) {
        guard let kind = Directory.kind(of: path) else {
            // A link to nothing takes the name, too; it must not show only when the work is done.
            guard Directory.isTaken(path) else { return }
            throw Problem(
                .output, "exists", file: path, "is a symbolic link that leads nowhere",
                hint: "remove the link, or choose another name")
        }
        guard replacing else {
            throw Problem(
                .output, "exists", file: path, "exists already",
                hint: "choose another name, or replace it with --force"
            )
        }
        let fits = kind == (shape == .directory ? .directory : .file)
        guard fits else {
            throw Problem(
                .output, "exists", file: path,
                "exists and is \(kind == .directory ? "a directory" : "not a directory"), so --force does not replace it",
                hint: "remove it yourself, or choose another name")
        }
        guard kind == .directory else { return }
        if let replaceable {
            guard let foreign = try firstForeign(replaceable, Directory(path: path), "") else { return }
            throw Problem(
                .output, "exists", file: path,
                "exists and holds '\(foreign)', which the new one does not have, so --force does not replace it",
                hint: "remove it yourself, or choose another name")
        }
        let entries = try Directory(path: path).entries()
        // Not any config.json: programs of other kinds have one, too.
        let isModel = entries.contains { $0.name.hasSuffix(".safetensors") || $0.name == "adapter_config.json" }
        guard entries.isEmpty || (isModel && entries.allSatisfy { $0.kind == .file }) else {
            throw Problem(
                .output, "exists", file: path,
                "exists and is no model or adapter directory, so --force does not replace it",
                hint: "remove it yourself, or choose another name")
        }
    }

    /// The first file below a directory that has none of these paths.
    private static func firstForeign(
        _ paths: Set<String>, _ directory: Directory, _ prefix: String
    ) throws(Problem) -> String? {
        for entry in try directory.entries() {
            let path = prefix + entry.name
            guard entry.kind == .directory else {
                if paths.contains(path) { continue }
                return path
            }
            guard path.utf8.count < 4096, let inner = try? directory.openDirectory(entry.name, follow: false) else {
                return path
            }
            if let found = try firstForeign(paths, inner, path + "/") { return found }
        }
        return nil
    }

    /// Removes stages of the same output whose process is gone.
    private static func sweep(name: String, in parent: Directory) {
        guard let entries = try? parent.entries() else { return }
        for entry in entries where entry.kind == .directory {
            guard isStage(entry.name, of: name) else { continue }
            guard let stale = try? Directory(name: entry.name, in: parent.descriptor.raw, path: "", follow: false)
            else {
                continue
            }
            if flock(stale.descriptor.raw, LOCK_EX | LOCK_NB) == 0 { removeTree(entry.name, in: parent) }
        }
    }

    /// Removes a directory with all that is in it; what cannot be removed stays for the next run.
    static func removeTree(_ name: String, in parent: Directory) {
        if let directory = try? Directory(name: name, in: parent.descriptor.raw, path: "", follow: false),
            let entries = try? directory.entries()
        {
            for entry in entries {
                if entry.kind == .directory {
                    removeTree(entry.name, in: directory)
                } else {
                    _ = System.remove(entry.name, in: directory.descriptor.raw, isDirectory: false)
                }
            }
        }
        // What was replaced may have been a link to a directory; where that leads stays as it is.
        if System.remove(name, in: parent.descriptor.raw, isDirectory: true) == -Int(ENOTDIR) {
            _ = System.remove(name, in: parent.descriptor.raw, isDirectory: false)
        }
    }
}

/// Writes `bytes` to a new file at `path` that appears whole or not at all.
public func writeFile(_ bytes: [UInt8], to path: String, replacing: Bool) throws(Problem) {
    let output = try StagedOutput(path: path, shape: .file, replacing: replacing)
    try output.write(lastComponent(of: path), bytes)
    try output.commit()
}
