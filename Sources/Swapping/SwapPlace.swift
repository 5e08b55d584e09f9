import Files
import Merging
import Problems

/// Where a model and the state of its swaps are.
///
/// The state lies beside the model, as `.NAME.adapterkit-swap`; where the model's directory is a mount point, or nothing can
/// be made beside it, inside.
final class SwapPlace: Sendable {
    /// The model's path as the user named it, and with all links followed.
    let path: String
    let resolved: String
    /// The directory that the model is in, and its name there.
    let parent: Directory
    let name: String
    /// Whether the state is inside the model's directory, so that files must be exchanged one by one.
    let isInside: Bool

    static let insideName = UndoListing.swapStateName
    static let stateName = "state.json"
    static let journalName = "journal.json"
    static let undoName = "undo"
    static let lockName = "lock"
    static let nextName = "next"
    static let nextUndoName = "next.undo"
    static let oldName = "old"
    static let keptName = "kept"

    init(_ path: String) throws(Problem) {
        self.path = path
        let kind = Directory.kind(of: path)
        guard kind != .directory || resolvedPath(path) != nil else {
            throw Problem(
                .missing, "no-model", file: path, "was removed: a swap put another directory in its place",
                hint: "go there anew (cd), or name the model by its whole path")
        }
        guard kind == .directory, let resolved = resolvedPath(path) else {
            throw Problem(
                .missing, "no-model", file: path,
                Directory.kind(of: path) == nil ? "does not exist" : "is no directory",
                hint: "name the directory of a model")
        }
        self.resolved = resolved
        name = lastComponent(of: resolved)
        parent = try Directory(path: parentPath(of: resolved))
        let own = try Directory(path: resolved)
        guard own.identity != parent.identity else {
            throw Problem(
                .usage, "bad-model", file: path, "is the root of the file system", hint: "name a model's directory")
        }
        let beside = parent.has(Self.besideName(name))
        isInside =
            !beside
            && (own.has(Self.insideName) || own.isMountRoot || !own.identity.isBeside(parent.identity)
                || !parent.isWritable)
    }

    private static func besideName(_ name: String) -> String { ".\(name).adapterkit-swap" }

    /// The path of the directory of the state.
    var statePath: String {
        isInside ? "\(resolved)/\(Self.insideName)" : parent.path(of: Self.besideName(name))
    }

    /// The model's directory as it is now.
    func model() throws(Problem) -> Directory { try Directory(path: resolved) }

    /// The directory of the state, if there is one.
    func state() throws(Problem) -> Directory? {
        Directory.kind(of: statePath) == .directory ? try Directory(path: statePath) : nil
    }

    /// The directory of the state, made if there is none.
    func makeState() throws(Problem) -> Directory {
        if let found = try state() { return found }
        let (place, name) = isInside ? (try model(), Self.insideName) : (parent, Self.besideName(self.name))
        try place.makeDirectory(name)
        try place.makeDurable()
        return try Directory(path: statePath)
    }

    /// Removes the directory of the state, if nothing is in it.
    func removeState() throws(Problem) {
        let (place, name) = isInside ? (try model(), Self.insideName) : (parent, Self.besideName(self.name))
        try place.removeDirectory(name)
    }
}

/// All files below a directory, and the directories with nothing in them.
struct FileListing {
    struct Entry {
        let path: String
        let stamp: FileStamp
    }

    private(set) var files: [Entry] = []
    private(set) var emptyDirectories: [String] = []
    /// Whether any name is a symbolic link that is relative, and would lead elsewhere from another place.
    private(set) var hasRelativeLinks = false
    private let standing: Directory?

    /// - Parameter standing: where the directory is going to be, if relative links in it are meant from there.
    init(_ root: Directory, standing: Directory? = nil) throws(Problem) {
        self.standing = standing
        try collect(root, "")
        files.sort { Array($0.path.utf8).lexicographicallyPrecedes(Array($1.path.utf8)) }
    }

    private mutating func collect(_ directory: Directory, _ prefix: String) throws(Problem) {
        let entries = try directory.entries()
        if entries.isEmpty && !prefix.isEmpty { emptyDirectories.append(String(prefix.dropLast())) }
        for entry in entries where !(prefix.isEmpty && entry.name == SwapPlace.insideName) {
            if directory.isRelativeLink(entry.name) {
                hasRelativeLinks = true
                if let standing, let stamp = directory.stamp(ofLink: entry.name, at: prefix, below: standing) {
                    files.append(Entry(path: prefix + entry.name, stamp: stamp))
                    continue
                }
            }
            switch entry.kind {
            case .directory:
                guard prefix.utf8.count < 4000, let inner = try? directory.openDirectory(entry.name, follow: false)
                else {
                    throw Problem(
                        .incompatible, "link", file: directory.path(of: entry.name),
                        "is a link to a directory, or nested too deep, which a swap cannot carry along",
                        hint: "put the directory itself there, or move the link elsewhere")
                }
                try collect(inner, prefix + entry.name + "/")
            case .file:
                guard let stamp = FileStamp.of(entry.name, in: directory) else { continue }
                files.append(Entry(path: prefix + entry.name, stamp: stamp))
            case .other:
                throw Problem(
                    .incompatible, "not-a-file", file: directory.path(of: entry.name),
                    "is neither a file nor a directory, or a link that leads nowhere, and a swap cannot carry it along",
                    hint: "move it elsewhere")
            }
        }
    }
}

extension Directory {
    /// The directory of a file at a path of several plain names, and its name there; directories are made on the way.
    func place(of path: String, making: Bool) throws(Problem) -> (directory: Directory, name: String) {
        var parts = path.split(separator: "/").map(String.init)
        let name = parts.removeLast()
        var place = self
        for part in parts {
            if making { try place.makeDirectory(part) }
            place = try place.openDirectory(part, follow: false)
        }
        return (place, name)
    }
}
