import Adapters
import Console
import Problems

/// What `adapter-verify` prints.
extension VerifyTool {
    /// A line for each adapter, and one on the merged model.
    static func summary(_ inputs: LoadedInputs, _ problems: [Problem], _ comparison: MergedComparison?) -> [String] {
        var lines: [String] = []
        for entry in inputs.entries {
            let name = escaped(entry.operand.path)
            let own = entry.problems.filter { $0.severity == .error }.count
            let files = Set(
                [entry.adapter?.file.path, entry.adapter?.configPath, entry.adapter?.path].compactMap { $0 })
            let errors = max(own, problems.count { $0.severity == .error && $0.file.map(files.contains) == true })
            if entry.adapter == nil {
                lines.append("\(name): cannot be read")
            } else if errors > 0 {
                lines.append("\(name): does not fit: \(counted(problems, inputs, entry))")
            } else if let adapter = entry.adapter, let resolution = entry.resolution {
                lines.append("\(name): fits: " + fit(adapter, resolution))
            } else {
                lines.append("\(name): not checked, since the base cannot be read")
            }
        }
        let base = inputs.base.map { escaped($0.path) }
        if inputs.baseProblems.contains(where: { $0.severity == .error }) || isDamaged(inputs, problems) {
            lines.append((base.map { $0 + ": " } ?? "") + "the base has problems of its own; see above")
        }
        if let comparison { lines.append(comparison.sentence) }
        return lines
    }

    /// Whether reading the base's data showed something wrong.
    private static func isDamaged(_ inputs: LoadedInputs, _ problems: [Problem]) -> Bool {
        let files = Set(inputs.base?.shards.map(\.file.path) ?? [])
        return problems.contains {
            $0.severity == .error && $0.code == "non-finite" && $0.file.map(files.contains) == true
        }
    }

    private static func fit(_ adapter: Adapter, _ resolution: Resolution) -> String {
        var parts = ["\(Humane.count(adapter.modules.count, "module"))"]
        let changed = resolution.updates.count
        parts.append("\(Humane.count(changed, "tensor")) of the base change")
        if !resolution.renamed.isEmpty {
            parts.append("\(Humane.count(resolution.renamed.count, "name")) matched by their ends")
        }
        return parts.joined(separator: ", ")
    }

    private static func counted(_ problems: [Problem], _ inputs: LoadedInputs, _ entry: LoadedInputs.Entry) -> String {
        let all = inputs.entries.count == 1 ? problems : entry.problems
        let errors = all.count { $0.severity == .error }
        let warnings = all.count { $0.severity == .warning }
        let first = Humane.count(errors, "error")
        return warnings == 0 ? first : first + ", " + Humane.count(warnings, "warning")
    }

    /// The document of `--json`.
    static func document(_ inputs: LoadedInputs, _ problems: [Problem], _ comparison: MergedComparison?) -> JSON {
        let adapters = inputs.entries.map { entry -> JSON in
            [
                "path": .string(entry.operand.path), "weight": .double(entry.operand.weight),
                "fits": .bool(entry.resolution != nil && !entry.problems.contains { $0.severity == .error }),
                "modules": .optional(entry.adapter?.modules.count),
                "tensors_changed": .optional(entry.resolution?.updates.count),
                "renamed": .array(
                    (entry.resolution?.renamed ?? []).map {
                        ["adapter": .string($0.adapter), "base": .string($0.base)]
                    }),
            ]
        }
        return [
            "schema": "adapterkit.verify", "version": 1, "base": .optional(inputs.base?.path),
            "fits": .bool(!problems.contains { $0.severity == .error }), "adapters": .array(adapters),
            "merged": comparison?.json ?? .null, "for": .null, "problems": .array(problems.map(\.json)),
        ]
    }
}

extension MergedComparison {
    /// In one line.
    var sentence: String {
        let exact = elements == 0 ? 1 : Double(exact) / Double(elements)
        if !problems.isEmpty {
            return
                "the merged model is not the base plus the adapter: \(Humane.count(problems.count, "difference")), see above"
        }
        return "the merged model is the base plus the adapter: \(Humane.count(tensors)) changed tensors, "
            + "\(Humane.percent(exact)) of their \(Humane.count(elements)) weights equal to the last bit, "
            + "largest distance \(largestSteps) \(largestSteps == 1 ? "step" : "steps") of the dtype"
    }

    var json: JSON {
        [
            "tensors": .int(tensors), "elements": .int(elements), "exact": .int(exact),
            "largest_steps": .int(largestSteps),
            "largest_relative_to_weight": .double(largestRelative),
        ]
    }
}
