import Adapters
import Archives
import Console
import Files
import Problems
import Safetensors

/// `--for`: whether programs would load adapters, and compute with them what was trained.
extension VerifyTool {
    /// What was found about one adapter.
    private struct Served {
        let entry: LoadedInputs.Entry
        /// What is wrong with it, or with it and the base, whatever the program.
        let own: [Problem]
        /// What each program says.
        let targets: [(target: ServingTarget, problems: [Problem])]

        /// Whether a program would load it and apply it.
        func works(_ problems: [Problem]) -> Bool { !ProblemList(own + problems).hasErrors }
    }

    /// Answers for each adapter and each program.
    static func serve(_ arguments: Arguments, _ terminal: Terminal) throws -> Int32 {
        guard arguments.value("merged") == nil else {
            throw Problem(
                .usage, "several-questions", "--for and --merged are two questions",
                hint: "ask them one after the other")
        }
        var seen: Set<ServingTarget> = []
        let targets = arguments.values("for").compactMap(ServingTarget.init).filter { seen.insert($0).inserted }
        let allowed = Set(arguments.values("allow"))
        let inputs = try load(arguments.operands, allowed)
        let served = inputs.entries.map { serve($0, inputs, targets, allowed) }
        var problems = inputs.baseProblems + served.flatMap(\.own)
        if arguments.flag("deep") { problems += try deep(inputs, terminal) }
        terminal.report(problems)
        if terminal.json {
            for item in served { for answer in item.targets { terminal.report(answer.problems) } }
            terminal.print(json: document(inputs, served, problems))
        } else {
            // Each verdict stands below what led to it, where both go to the same terminal.
            for item in served {
                for answer in item.targets {
                    terminal.report(answer.problems)
                    terminal.print(line(item, answer.target, answer.problems, isOne: served.count == 1))
                }
            }
        }
        let list = ProblemList(problems + served.flatMap { $0.targets.flatMap(\.problems) })
        return list.decidingKind?.exitCode ?? 0
    }

    /// The first path is the base if it is a model and something follows.
    private static func load(_ paths: [String], _ allowed: Set<String>) throws(Problem) -> LoadedInputs {
        let base = paths.count > 1 && isModel(paths[0]) ? paths[0] : nil
        var operands: [AdapterOperand] = []
        for path in base == nil ? paths[...] : paths.dropFirst() { operands.append(try AdapterOperand(path)) }
        guard let base else { return LoadedInputs(withoutBase: operands, allowed: allowed) }
        return LoadedInputs(base: base, operands: operands, allowed: allowed)
    }

    private static func isModel(_ path: String) -> Bool {
        if Directory.kind(of: path) == .directory {
            let names = Set(((try? Directory(path: path).entries()) ?? []).map(\.name))
            if names.contains("adapter_config.json") { return false }
            return names.contains { name in
                name == "config.json" || name == "model_index.json" || name.hasSuffix(".index.json")
                    || name.hasPrefix("model") && name.hasSuffix(".safetensors")
            }
        }
        return (try? Adapter(path: path)) == nil && (try? Checkpoint.openModel(path: path)) != nil
    }

    private static func serve(
        _ entry: LoadedInputs.Entry, _ inputs: LoadedInputs, _ targets: [ServingTarget], _ allowed: Set<String>
    ) -> Served {
        guard let adapter = entry.adapter else {
            return Served(entry: entry, own: entry.problems, targets: targets.map { ($0, []) })
        }
        let facts = ServingFacts(adapter, base: inputs.base, resolution: entry.resolution)
        return Served(
            entry: entry, own: facts.problems.map { $0.lowered(ifIn: allowed) },
            targets: targets.map { ($0, $0.problems(facts)) })
    }

    // MARK: What is printed

    private static func line(_ item: Served, _ target: ServingTarget, _ problems: [Problem], isOne: Bool) -> String {
        let name = isOne ? "" : escaped(item.entry.operand.path) + ": "
        return "\(name)\(target.rawValue): \(verdict(item, problems))"
    }

    private static func verdict(_ item: Served, _ problems: [Problem]) -> String {
        if item.entry.adapter == nil { return "cannot be said, since the adapter cannot be read" }
        let count = { (list: [Problem], severity: Problem.Severity) in list.count { $0.severity == severity } }
        var parts: [String] = []
        for severity in [Problem.Severity.error, .warning, .note] where count(problems, severity) > 0 {
            parts.append(Humane.count(count(problems, severity), severity.rawValue))
        }
        let own = count(item.own, .error)
        if own > 0 { parts.insert(Humane.count(own, "error") + " of the adapter itself", at: 0) }
        let list = parts.joined(separator: ", ")
        if !item.works(problems) { return "would not load, or would compute something else: " + list }
        return "would load and be applied" + (parts.isEmpty ? "" : ", with " + list)
    }

    private static func document(_ inputs: LoadedInputs, _ served: [Served], _ problems: [Problem]) -> JSON {
        let answers = served.flatMap { item in
            item.targets.map { answer -> JSON in
                [
                    "adapter": .string(item.entry.operand.path), "target": .string(answer.target.rawValue),
                    "ok": .bool(item.entry.adapter != nil && item.works(answer.problems)),
                    "problems": .array(answer.problems.map(\.json)),
                ]
            }
        }
        let adapters = served.map { item -> JSON in
            [
                "path": .string(item.entry.operand.path), "weight": .double(item.entry.operand.weight),
                "fits": inputs.base == nil
                    ? .null : .bool(item.entry.resolution != nil && !ProblemList(item.own).hasErrors),
                "modules": .optional(item.entry.adapter?.modules.count),
                "tensors_changed": .optional(item.entry.resolution?.updates.count),
                "renamed": .array(
                    (item.entry.resolution?.renamed ?? []).map {
                        ["adapter": .string($0.adapter), "base": .string($0.base)]
                    }),
            ]
        }
        return [
            "schema": "adapterkit.verify", "version": 1, "base": .optional(inputs.base?.path),
            "fits": inputs.base == nil ? .null : .bool(!ProblemList(problems).hasErrors),
            "adapters": .array(adapters), "merged": .null, "for": .array(answers),
            "problems": .array(problems.map(\.json)),
        ]
    }
}
