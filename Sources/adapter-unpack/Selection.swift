import Archives
import Problems
import Safetensors

/// What of an archive is wanted.
enum Selection {
    /// Everything.
    case all
    /// One file, which becomes the output itself.
    case file(String)
    /// Several files, which keep their paths.
    case files(Set<String>)
    /// Tensors of packed safetensors files, which become one.
    case tensors([(file: SafetensorsFile, packed: PackedFile, tensor: TensorInfo)], rows: Range<Int>?)

    /// Finds what `names` mean in the archive.
    init(_ archive: Archive, _ names: [String], rows: String?) throws {
        if names.isEmpty {
            guard rows == nil else {
                throw Problem(.usage, "rows-alone", "--rows is for one tensor, but none is named")
            }
            self = .all
            return
        }
        let paths = Set(archive.items.map(\.path))
        let files = try names.map { try Self.files($0, paths) }
        if files.allSatisfy({ !$0.isEmpty }) {
            guard rows == nil else {
                throw Problem(.usage, "rows-of-file", "--rows is for tensors, but '\(names[0])' is a file")
            }
            self = names.count == 1 && paths.contains(names[0]) ? .file(names[0]) : .files(Set(files.flatMap { $0 }))
            return
        }
        guard files.allSatisfy(\.isEmpty) else {
            throw Problem(
                .usage, "mixed-names", "files and tensors cannot be unpacked together",
                hint: "unpack them one after the other"
            )
        }
        guard Set(names).count == names.count else {
            throw Problem(.usage, "named-twice", "a tensor is named twice", hint: "name each one once")
        }
        let found = try names.map { try Self.tensor($0, archive) }
        guard Set(found.map(\.tensor.name)).count == found.count else {
            throw Problem(
                .usage, "named-twice", "two tensors of one name cannot be in one file",
                hint: "unpack them one after the other")
        }
        self = .tensors(found, rows: try rows.map(Self.range))
    }

    /// The paths that a name stands for: a file, or all files below a directory.
    private static func files(_ name: String, _ paths: Set<String>) throws -> [String] {
        if paths.contains(name) { return [name] }
        let prefix = name.hasSuffix("/") ? name : name + "/"
        return paths.filter { $0.hasPrefix(prefix) }.sorted()
    }

    private static func tensor(
        _ name: String, _ archive: Archive
    ) throws -> (file: SafetensorsFile, packed: PackedFile, tensor: TensorInfo) {
        var found: [(path: String, file: SafetensorsFile, packed: PackedFile, tensor: TensorInfo)] = []
        for item in archive.items where item.path.hasSuffix(".safetensors") && !item.isInput {
            guard let packed = archive.open(item.path), let file = try? SafetensorsFile(packed) else { continue }
            let own = name.hasPrefix(item.path + "//") ? String(name.dropFirst(item.path.count + 2)) : name
            if let tensor = file.header[own] { found.append((item.path, file, packed, tensor)) }
        }
        guard let first = found.first else {
            throw Problem(
                .missing, "no-such-name", file: archive.path, "holds no file and no tensor '\(name)'",
                hint: "--list shows the files, and adapter-inspect --tensors the tensors")
        }
        guard found.count == 1 else {
            throw Problem(
                .usage, "ambiguous-tensor", file: archive.path,
                "holds tensors '\(name)' in several files: \(found.map(\.path).joined(separator: ", "))",
                hint: "write FILE//TENSOR")
        }
        return (first.file, first.packed, first.tensor)
    }

    private static func range(_ text: String) throws -> Range<Int> {
        let ends = text.split(separator: ":", omittingEmptySubsequences: false).map { Int($0) }
        guard ends.count == 2, let first = ends[0], let end = ends[1], first >= 0, first < end else {
            throw Problem(
                .usage, "bad-rows", "'\(text)' is no range of rows",
                hint: "write FIRST:END, as in 0:16 for the first 16")
        }
        return first..<end
    }

    /// The files that are read; `nil` for all.
    var paths: Set<String>? {
        switch self {
        case .all: nil
        case .file(let path): [path]
        case .files(let paths): paths
        case .tensors: []
        }
    }
}
