import Files
import Problems

/// What is to be packed: files by their paths, and directories with nothing in them.
public struct PackInput: Sendable {
    /// A file.
    struct Item: Sendable {
        let path: String
        let source: any ByteSource
    }

    /// The input's path as the user named it.
    public let path: String
    /// Whether it is a single file.
    public let isFile: Bool
    private(set) var items: [Item]
    private(set) var emptyDirectories: [String] = []

    /// Lists the directory at `path`, or takes the file there; links to files are followed, other links are refused.
    public init(path: String) throws(ProblemList) {
        self.path = path
        do throws(Problem) {
            switch Directory.kind(of: path) {
            case nil:
                throw Problem(
                    .missing, "no-input", file: path, "does not exist", hint: "name a directory or a file to pack")
            case .file:
                isFile = true
                items = [Item(path: lastComponent(of: path), source: try InputFile(path: path))]
            case .other:
                throw Problem(
                    .missing, "not-a-file", file: path, "is neither a directory nor a regular file",
                    hint: "to pack what a program writes, name - and pipe it in")
            case .directory:
                isFile = false
                items = []
            }
        } catch {
            throw ProblemList([error])
        }
        var problems: [Problem] = []
        if !isFile {
            do throws(Problem) {
                let root = try Directory(path: path)
                try collect(root, "", [root.identity], &problems)
            } catch {
                problems.append(error)
            }
        }
        check(&problems)
        if !problems.isEmpty { throw ProblemList(problems) }
        items.sort { Array($0.path.utf8).lexicographicallyPrecedes(Array($1.path.utf8)) }
        emptyDirectories.sort { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
    }

    /// Takes one source, as a file of that name.
    public init(_ source: any ByteSource, name: String) {
        path = source.path
        isFile = true
        items = [Item(path: name, source: source)]
    }

    /// Files that are kept open; there are limits.
    private static let mostOpen = 8

    /// Bytes of all files.
    public var size: Int { items.reduce(0) { $0 + $1.source.size } }
    /// The number of files.
    public var count: Int { items.count }

    private mutating func collect(
        _ directory: Directory, _ prefix: String, _ above: Set<FileIdentity>, _ problems: inout [Problem]
    ) throws(Problem) {
        let entries = try directory.entries()
        if entries.isEmpty && !prefix.isEmpty { emptyDirectories.append(String(prefix.dropLast())) }
        for entry in entries {
            switch entry.kind {
            case .file:
                let file = try directory.openFile(entry.name)
                let keepsOpen = items.count < Self.mostOpen
                items.append(Item(path: prefix + entry.name, source: keepsOpen ? file : ReopenedFile(file)))
            case .directory:
                let inner = try directory.openDirectory(entry.name)
                guard !above.contains(inner.identity), prefix.utf8.count < EntryPath.largest else {
                    problems.append(
                        Problem(
                            .incompatible, "link-loop", file: inner.path, "is a link to a directory that it lies in",
                            hint: "remove the link"))
                    continue
                }
                try collect(inner, prefix + entry.name + "/", above.union([inner.identity]), &problems)
            case .other:
                problems.append(
                    Problem(
                        .incompatible, "not-a-file", file: directory.path(of: entry.name),
                        "is neither a file nor a directory, or a link that leads nowhere, and cannot be packed",
                        hint: "move it elsewhere"))
            }
        }
    }

    /// Refuses names that would not unpack everywhere.
    private func check(_ problems: inout [Problem]) {
        var collisions = EntryPath.Collisions()
        let files = items.map { ($0.path, false) } + emptyDirectories.map { ($0, true) }
        for (path, isDirectory) in files {
            let flaw = EntryPath.flaw(path) ?? collisions.add(path, isDirectory: isDirectory)
            guard let flaw else { continue }
            problems.append(
                Problem(
                    .incompatible, "bad-name", file: isFile ? self.path : self.path + "/" + path,
                    "has a name that \(flaw), and would not unpack on every system", hint: "rename it"))
        }
    }

    /// Adds the inputs of a recipe, which come last.
    mutating func add(inputs: [(path: String, source: any ByteSource)]) {
        items += inputs.map { Item(path: ArchiveFormat.inputPrefix + $0.path, source: $0.source) }
    }
}
