import Archives
import Files
import Problems
import Safetensors

/// What lies in a base's directory besides its weights, and how much of that a record holds.
package struct UndoListing {
    struct Item {
        let path: String
        let source: any ByteSource
        var isAside = false
    }

    /// The directory in a model where the state of its swaps may lie: no part of it, and just being written to.
    package static let swapStateName = ".adapterkit-swap"

    /// Paths of files that are kept in another way.
    let apart: Set<String>
    private(set) var files: [Item] = []
    /// Directories with nothing in them.
    private(set) var directories: [String] = []
    private(set) var notes: [Problem] = []

    init(apart: Set<String>) { self.apart = apart.union([Self.swapStateName]) }

    mutating func collect(_ base: Checkpoint) throws(Problem) {
        if let folder = base.directory { return try collect(folder, "", []) }
        // Of a base that is one file, the config beside it says what some names in the adapter mean.
        let beside = parentPath(of: base.path) + "/config.json"
        guard base.config != nil, Directory.kind(of: beside) == .file else { return }
        files.append(Item(path: "config.json", source: try InputFile(path: beside), isAside: true))
    }

    private mutating func collect(
        _ folder: any Folder, _ prefix: String, _ above: Set<FileIdentity>
    ) throws(Problem) {
        let own = (folder as? Directory).map { [$0.identity] } ?? []
        let lineage = above.union(own)
        let entries = try folder.entries()
        if entries.isEmpty && !prefix.isEmpty { directories.append(String(prefix.dropLast())) }
        for entry in entries where !apart.contains(prefix + entry.name) {
            let path = prefix + entry.name
            guard EntryPath.flaw(path) == nil else {
                skip(folder, entry, "has a name that not every system allows"); continue
            }
            switch entry.kind {
            case .file where entry.size > UndoFormat.largestFile: skip(folder, entry, "is too large")
            case .file: files.append(Item(path: path, source: try folder.source(entry.name)))
            case .directory:
                let inner = try folder.folder(entry.name)
                if let place = inner as? Directory, lineage.contains(place.identity) {
                    skip(folder, entry, "is a link to a directory that it lies in")
                } else {
                    try collect(inner, path + "/", lineage)
                }
            case .other: skip(folder, entry, "is no file")
            }
        }
    }

    private mutating func skip(_ folder: any Folder, _ entry: DirectoryEntry, _ why: String) {
        notes.append(
            Problem(
                .warning, .incompatible, "not-in-undo", file: folder.path(of: entry.name),
                "\(why), so the undo record does not hold it: it will be missing in what adapter-unmerge restores",
                hint: "keep it, and copy it beside the restored model"))
    }
}

extension Directory {
    /// The file at a path of several plain names.
    func file(at path: String) throws(Problem) -> any ByteSource {
        var place: any Folder = self
        var parts = path.split(separator: "/").map(String.init)
        let name = parts.removeLast()
        for part in parts { place = try place.folder(part) }
        return try place.source(name)
    }
}

extension DifferenceCoder {
    /// The stream from which `bytes`, elements of `dtype`, come back, given `reference`.
    func encode(_ bytes: [UInt8], _ dtype: DType, reference: [UInt8]?) -> [UInt8] {
        unsafe bytes.withUnsafeBytes { source in
            guard let reference else {
                return unsafe encode(source, width: dtype.undoWidth, shift: dtype.undoShift, reference: nil)
            }
            return unsafe reference.withUnsafeBytes {
                unsafe encode(source, width: dtype.undoWidth, shift: dtype.undoShift, reference: $0)
            }
        }
    }
}
