import Adapters
import Archives
import Console
import Files
import Merging
import Problems
import Safetensors

/// All that is to be shown of one path.
struct View {
    let path: String
    let subject: Subject
    let problems: [Problem]
    let showsModules: Bool
    let showsTensors: Bool
    let showsNorms: Bool
    /// The norms of the adapter's modules, if they were read.
    let norms: ModuleNorms?
    /// The archive that it is packed in, if it is.
    let archive: Archive?
    /// The adapter's identity: what `formats/adapter-archive.md` calls its digest.
    let identity: String?

    /// Larger adapters are not read for their identity alone.
    private static let largestDigested = 1 << 30

    /// Reads what the options ask for.
    init(path: String, arguments: Arguments, base: Checkpoint?, terminal: Terminal) throws {
        self.path = path
        showsModules = arguments.flag("modules")
        showsTensors = arguments.flag("tensors")
        showsNorms = arguments.flag("norms")
        let subject = try Subject(path: path)
        self.subject = subject
        archive = try subject.archive(path)
        identity = try Self.identity(subject)
        switch subject {
        case .archive, .undo:
            problems = []
            norms = nil
        case .checkpoint(let facts):
            guard arguments.value("plot") == nil else {
                throw Problem(.usage, "no-adapter", file: path, "is no adapter, so there is no delta to draw")
            }
            problems = facts.checkpoint.problems
            norms = nil
        case .adapter(let facts):
            guard showsNorms || arguments.value("plot") != nil else {
                problems = facts.problems
                norms = nil
                return
            }
            let found = try ModuleNorms(of: facts, base: base, terminal: terminal)
            norms = found
            problems = facts.problems + found.problems
        }
    }

    private static func identity(_ subject: Subject) throws(Problem) -> String? {
        guard case .adapter(let facts) = subject else { return nil }
        if let known = facts.adapter.archive?.adapterDigest { return known }
        return facts.adapter.source.size <= largestDigested ? try facts.adapter.digest() : nil
    }

    /// Options that have nothing to say of this path.
    var remarks: [Problem] {
        if case .adapter = subject { return [] }
        guard showsModules || showsNorms else { return [] }
        let options = [showsModules ? "--modules" : nil, showsNorms ? "--norms" : nil].compactMap { $0 }
        return [
            Problem(
                .warning, .usage, "option-unused", file: path,
                "is no adapter, so \(options.joined(separator: " and ")) " + (options.count == 1 ? "has" : "have")
                    + " nothing to show", hint: "--tensors lists what is in it")
        ]
    }

    /// The members of `--json` for this path.
    var document: JSON {
        var members: [(String, JSON)] = [("path", .string(path))]
        switch subject {
        case .adapter(let facts):
            members += facts.members
            members.append(("modules", .array(facts.modules.indices.map { module($0, facts.modules[$0]) })))
            if let norms, norms.hasWeights { members.append(("base_path", .optional(norms.basePath))) }
            if showsTensors { members.append(("tensors", .array(TensorList(facts).documents))) }
        case .checkpoint(let facts):
            members += facts.members
            if showsTensors { members.append(("tensors", .array(TensorList(facts).documents))) }
        case .archive: members.append(("type", "archive"))
        case .undo(let record): members += record.members
        }
        members.append(("identity", .optional(identity)))
        members.append(("archive", archive?.json ?? .null))
        members.append(("problems", .array(problems.map(\.json))))
        return .object(members)
    }

    private func module(_ index: Int, _ facts: ModuleFacts) -> JSON {
        .object(facts.members + (norms?.members(of: index) ?? []))
    }

    /// Prints the facts, and the lists that were asked for.
    func show(on terminal: Terminal) {
        switch subject {
        case .adapter(let facts):
            for line in facts.lines(path: path, more: ownLines) { terminal.print(line) }
            if (showsModules || norms != nil && showsNorms) && !facts.modules.isEmpty {
                terminal.print()
                terminal.print(ModuleTable(facts, norms: showsNorms ? norms : nil, isFull: showsModules).table)
                if showsNorms, let sentence = norms?.sentence {
                    terminal.print()
                    terminal.print(sentence)
                }
            }
            if showsModules, !facts.adapter.changes.isEmpty {
                terminal.print()
                terminal.print(ModuleTable.ofChanges(facts.adapter.changes))
            }
            if showsTensors {
                terminal.print()
                terminal.print(TensorList(facts).table)
            }
        case .archive(let archive):
            let sheet = FactSheet(title: escaped("\(path): packed archive"))
            for line in sheet.lines + ownLines { terminal.print(line) }
            terminal.note("adapter-unpack \(shellQuoted(archive.path)) --list shows what is in it")
        case .undo(let record):
            for line in record.lines(path: path) { terminal.print(line) }
            terminal.note("adapter-unmerge MERGED --undo \(shellQuoted(path)) -o OUT gives the base back")
        case .checkpoint(let facts):
            for line in facts.lines(path: path) + ownLines { terminal.print(line) }
            if showsTensors {
                terminal.print()
                terminal.print(TensorList(facts).table)
            }
        }
    }

    /// What digests and the archive tell.
    private var ownLines: [String] {
        var sheet = FactSheet(title: "")
        if case .adapter(let facts) = subject {
            sheet.add(
                "identity", identity ?? "not computed: the file has \(Humane.bytes(facts.adapter.source.size))")
        }
        guard let archive else { return Array(sheet.lines.dropFirst()) }
        let size = archive.items.reduce(0) { $0 + ($1.isInput ? 0 : $1.size) }
        let part = size > 0 ? " (\(Humane.percent(Double(archive.size) / Double(size))))" : ""
        let count = archive.items.count { !$0.isInput }
        sheet.add(
            "packed", "\(Humane.count(count, "file")), \(Humane.bytes(size)) in \(Humane.bytes(archive.size))\(part)")
        sheet.add("content", archive.content)
        if let base = archive.baseName {
            let how = archive.recipe == nil ? "as the difference to" : "as adapters to merge into"
            sheet.add("stored", "\(how) '\(base)', digest \(archive.baseDigest ?? "")")
        }
        if case .adapter = subject {
            let binding = archive.binding.map { "to a base, by \(Humane.count($0.tensors.count, "tensor")) of it" }
            sheet.add("bound", binding ?? "to no base")
        }
        return Array(sheet.lines.dropFirst())
    }

    /// Draws the norms.
    func plot(to file: String, replacing: Bool) throws {
        guard case .adapter(let facts) = subject, let norms else { return }
        guard !facts.modules.isEmpty else {
            throw Problem(
                .usage, "no-modules", file: path, "has no low-rank modules, so there is nothing to draw")
        }
        let picture = NormPicture(facts, norms: norms, path: path)
        try writeFile(Array(picture.map.svg.utf8), to: file, replacing: replacing)
    }
}

/// Lines of a name and a value, aligned.
struct FactSheet {
    private(set) var lines: [String]

    init(title: String) { lines = [title] }

    mutating func add(_ name: String, _ value: String?) {
        guard let value, !value.isEmpty else { return }
        lines.append("  " + name + String(repeating: " ", count: max(1, 14 - name.count)) + escaped(value))
    }
}

/// A number as short as it can be: `2`, `0.125`, `1.414`.
func plain(_ number: Double) -> String {
    let text = "\(number)"
    if text.hasSuffix(".0") { return String(text.dropLast(2)) }
    return text.count <= 7 ? text : Humane.significant(number, digits: 4)
}

/// A shape as its sizes with crosses: `16 × 2048`.
func plain(_ shape: [Int]) -> String { shape.isEmpty ? "scalar" : shape.map(String.init).joined(separator: " × ") }

extension Subject {
    /// The archive that it is packed in.
    func archive(_ path: String) throws(Problem) -> Archive? {
        switch self {
        case .adapter(let facts): facts.adapter.archive
        case .undo: nil
        case .archive(let archive): archive
        case .checkpoint: try Archive.openIfArchive(path: path)
        }
    }
}

extension Archive {
    /// For `--json`.
    var json: JSON {
        [
            "bytes": .int(size), "files": .int(items.count { !$0.isInput }),
            "unpacked_bytes": .int(items.reduce(0) { $0 + ($1.isInput ? 0 : $1.size) }), "content": .string(content),
            "base": baseName.map { ["name": .string($0), "digest": .optional(baseDigest)] } ?? .null,
            "recipe": .bool(recipe != nil),
            "bound": binding.map { .object([("config", .optional($0.config)), ("tensors", .int($0.tensors.count))]) }
                ?? .null,
        ]
    }
}
