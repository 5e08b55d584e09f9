import Adapters
import Console
import Problems
import Safetensors

extension AdapterFacts {
    /// The facts for a reader at a terminal.
    ///
    /// - Parameter more: lines that come behind the file's.
    func lines(path: String, more: [String]) -> [String] {
        let config = adapter.config
        let with = extras.isEmpty ? "" : " with " + extras.joined(separator: ", ")
        let title = method == "whole parameters" ? "adapter of whole parameters" : "\(method) adapter"
        let dialect = adapter.dialect == .peft ? "" : " (\(adapter.dialect.rawValue))"
        var sheet = FactSheet(title: escaped("\(path): \(title)\(dialect)\(with)"))
        sheet.add("base", config.baseModel.map { $0 + (config.revision.map { " at revision \($0)" } ?? "") })
        if !modules.isEmpty {
            sheet.add("rank", Self.spread(ranks) { String($0) })
            sheet.add("alpha", Self.spread(alphas, plain))
            sheet.add("scale", Self.spread(scales, plain))
            let names = targets.entries.prefix(12).map { $0.count == 1 ? $0.value : "\($0.value) ×\($0.count)" }
            let more = targets.entries.count > 12 ? ["and \(targets.entries.count - 12) more"] : []
            sheet.add("modules", "\(Humane.count(modules.count)): \((names + more).joined(separator: ", "))")
        }
        sheet.add("other kinds", changesText)
        sheet.add("layers", layers.text)
        let tensors = adapter.storedTensors
        sheet.add(
            "parameters",
            "\(Humane.count(adapter.parameterCount)) in \(Humane.count(tensors.count)) "
                + (tensors.count == 1 ? "tensor, " : "tensors, ") + dtypes.text)
        sheet.add("task", config.taskType)
        let own = adapter.file.header.metadataValue("adapterkit.version").map { "AdapterKit " + $0 }
        let library = adapter.dialect == .peft ? "PEFT" + (config.version.map { " " + $0 } ?? "") : nil
        sheet.add("saved by", own ?? library)
        for note in adapter.notes { sheet.add(note.label, note.text) }
        if adapter.dialect != .peft { sheet.add("known by", reason) }
        sheet.add("file", adapter.source.path)
        let facts = sheet.lines
        sheet = FactSheet(title: "")
        for obstacle in obstacles.reduced { sheet.add("merge", "cannot be merged: \(obstacle)") }
        return facts + more + sheet.lines.dropFirst()
    }

    /// `8`, or `8 (140 modules), 16 (14 modules)`, or the range of many values.
    private static func spread<V>(_ tally: Tally<V>, _ text: (V) -> String) -> String {
        let entries = tally.entries
        if entries.count == 1 { return text(entries[0].value) }
        if entries.count <= 4 {
            let parts = entries.map { "\(text($0.value)) (\($0.count) module\($0.count == 1 ? "" : "s"))" }
            return parts.joined(separator: ", ")
        }
        let values = entries.map(\.value)
        guard let least = values.min(), let greatest = values.max() else { return "" }
        return "\(text(least)) to \(text(greatest)) (\(entries.count) values, most often \(text(entries[0].value)))"
    }

    /// The members of `--json`, without lists and problems.
    var members: [(String, JSON)] {
        let config = adapter.config
        let tensors = adapter.storedTensors
        let files =
            adapter.configPath == adapter.source.path
            ? [adapter.source.path] : [adapter.source.path, adapter.configPath]
        return [
            ("type", "adapter"), ("method", .string(method)), ("peft_type", .string(config.type)),
            ("dialect", .string(adapter.dialect.rawValue)),
            ("why", .string(reason)), ("mergeable", .bool(isMergeable)),
            ("obstacles", .array(obstacles.map(\.json))),
            ("base", ["name": .optional(config.baseModel), "revision": .optional(config.revision)]),
            ("ranks", Self.json(ranks) { .int($0) }), ("alphas", Self.json(alphas) { .double($0) }),
            ("scales", Self.json(scales) { .double($0) }), ("targets", Self.json(targets) { .string($0) }),
            ("layers", layers.json), ("parameters", .int(adapter.parameterCount)),
            ("lora_parameters", .int(lowRankParameterCount)), ("bytes", .int(tensors.reduce(0) { $0 + $1.byteCount })),
            ("tensor_count", .int(tensors.count)), ("module_count", .int(modules.count)), ("dtypes", dtypes.json),
            ("rslora", .bool(config.useRSLoRA)), ("dora", .bool(config.useDoRA)),
            ("saved_parameters", .array(savedParameters.map { .string("\($0.module).\($0.parameter)") })),
            ("biases", .array(biases.map { .string("\($0.module).\($0.parameter)") })),
            (
                "trainable_tokens",
                .array(adapter.tokenRows.map { ["module": .string($0.module), "rows": .array($0.rows.map(JSON.int))] })
            ),
            ("task_type", .optional(config.taskType)), ("peft_version", .optional(config.version)),
            ("changes", .array(adapter.changes.map(\.json))),
            ("notes", .object(adapter.notes.map { ($0.label, .string($0.text)) })),
            ("additions", .array(adapter.additions.map { .string("\($0.module).\($0.parameter)") })),
            ("files", .array(files.map(JSON.string))),
        ]
    }

    /// How many modules other kinds change, with their ranks.
    private var changesText: String? {
        let kinds = Tally(
            adapter.changes.map { change in change.rank.map { "\(change.method) rank \($0)" } ?? change.method })
        let parts = kinds.entries.prefix(6).map { "\($0.value) ×\($0.count)" }
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }

    private var isMergeable: Bool { obstacles.isEmpty && !ProblemList(problems).hasErrors }

    private static func json<V>(_ tally: Tally<V>, _ value: (V) -> JSON) -> JSON {
        .array(tally.entries.map { ["value": value($0.value), "modules": .int($0.count)] })
    }
}

extension ModuleChange {
    /// For `--json`.
    fileprivate var json: JSON {
        [
            "path": .string(path), "parameter": .string(parameter), "method": .string(method), "rank": .optional(rank),
            "alpha": .optional(alpha), "scale": .optional(scale), "tensors": .array(tensors.map { .string($0.name) }),
        ]
    }
}

extension [Problem] {
    /// The messages, each once.
    fileprivate var reduced: [String] {
        var seen: Set<String> = []
        return map(\.message).filter { seen.insert($0).inserted }
    }
}

extension [LayerSet] {
    /// `0-21`, or with their stacks if there are several; at most four.
    var text: String {
        if count == 1 { return self[0].ranges }
        let parts = prefix(4).map { "\($0.stack.isEmpty ? "(top)" : $0.stack) \($0.ranges)" }
        return parts.joined(separator: "; ") + (count > 4 ? "; and \(count - 4) more stacks" : "")
    }

    var json: JSON {
        .array(map { ["stack": .string($0.stack), "layers": .array($0.layers.map(JSON.int))] })
    }
}

extension [DTypeShare] {
    /// All bytes and the dtypes, each with its bytes if there are several.
    var text: String {
        let parts = map { count == 1 ? $0.dtype.rawValue : "\(Humane.bytes($0.bytes)) \($0.dtype.rawValue)" }
        let total = Humane.bytes(reduce(0) { $0 + $1.bytes })
        return count < 2 ? parts.reduce(total) { "\($0) of \($1)" } : "\(total) (\(parts.joined(separator: ", ")))"
    }

    var json: JSON {
        .array(
            map { share in
                [
                    "dtype": .string(share.dtype.rawValue), "tensors": .int(share.tensors),
                    "parameters": .int(share.elements), "bytes": .int(share.bytes),
                ]
            })
    }
}
