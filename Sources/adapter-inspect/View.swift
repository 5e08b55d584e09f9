import Adapters
import Console
import Files
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

    /// Reads what the options ask for.
    init(path: String, arguments: Arguments, base: Checkpoint?, terminal: Terminal) throws {
        self.path = path
        showsModules = arguments.flag("modules")
        showsTensors = arguments.flag("tensors")
        showsNorms = arguments.flag("norms")
        let subject = try Subject(path: path)
        self.subject = subject
        switch subject {
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

    /// Options that have nothing to say of this path.
    var remarks: [Problem] {
        guard case .checkpoint = subject, showsModules || showsNorms else { return [] }
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
        }
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
            for line in facts.lines(path: path) { terminal.print(line) }
            if (showsModules || norms != nil && showsNorms) && !facts.modules.isEmpty {
                terminal.print()
                terminal.print(ModuleTable(facts, norms: showsNorms ? norms : nil, isFull: showsModules).table)
                if showsNorms, let sentence = norms?.sentence {
                    terminal.print()
                    terminal.print(sentence)
                }
            }
            if showsTensors {
                terminal.print()
                terminal.print(TensorList(facts).table)
            }
        case .checkpoint(let facts):
            for line in facts.lines(path: path) { terminal.print(line) }
            if showsTensors {
                terminal.print()
                terminal.print(TensorList(facts).table)
            }
        }
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
