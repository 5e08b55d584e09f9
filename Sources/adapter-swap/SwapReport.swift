import Adapters
import Console
import Files
import Problems
import Swapping
import Tensors

/// What a command tells at its end.
struct SwapReport {
    let path: String
    let started: Double
    let isDryRun: Bool
    let terminal: Terminal

    private static func text(_ adapters: [(name: String, weight: Double)]) -> String {
        adapters.map { escaped($0.name) + ($0.weight == 1 ? "" : ":\(Origin.text($0.weight))") }.joined(
            separator: " + ")
    }

    func show(_ outcome: SwapOutcome, _ operands: [AdapterOperand], _ bar: SwapProgress) {
        bar.finish()
        let seconds = Clock.now - started
        if terminal.json {
            terminal.print(json: [
                "schema": "adapterkit.swap", "version": 1, "model": .string(path),
                "adapters": .array(
                    operands.map { ["path": .string($0.path), "weight": .double($0.weight)] }),
                "outcome": .string(outcome.kind.rawValue), "dry_run": .bool(isDryRun),
                "written_bytes": .int(outcome.written), "undo_bytes": outcome.undo.map(JSON.int) ?? .null,
            ])
            return
        }
        let what =
            operands.isEmpty
            ? "the pristine base" : "base + \(Self.text(operands.map { (lastComponent(of: $0.path), $0.weight) }))"
        if isDryRun {
            let how =
                switch outcome.kind {
                case .merged: "would be merged, \(Humane.bytes(outcome.written)) of new files"
                case .restored: "would be restored, \(Humane.bytes(outcome.written)) of new files"
                case .exchanged: "would be exchanged for what is kept; nothing to write"
                case .unchanged: "is what it is already"
                }
            terminal.print("\(escaped(path)): \(what) \(how)")
            terminal.print("nothing was changed")
            return
        }
        let cost =
            outcome.written == 0
            ? ""
            : " (\(Humane.bytes(outcome.written)) written"
                + (outcome.undo.map { ", \(Humane.bytes($0)) to take it out again" } ?? "") + ")"
        let word = outcome.kind == .unchanged ? "is already" : "is now"
        terminal.print("\(escaped(path)): \(word) \(what)\(cost), in \(Humane.duration(seconds))")
    }

    func show(recovered: (found: Bool, finished: Bool)) {
        if terminal.json {
            let outcome = !recovered.found ? "nothing" : recovered.finished ? "finished" : "taken-back"
            terminal.print(json: [
                "schema": "adapterkit.swap-recover", "version": 1, "model": .string(path), "outcome": .string(outcome),
            ])
        } else if recovered.found {
            let what =
                recovered.finished
                ? "was finished: the model is what it was to become" : "was taken back: the model is what it was"
            terminal.print("\(escaped(path)): the interrupted swap \(what)")
        } else {
            terminal.print("\(escaped(path)): no swap was interrupted")
        }
    }

    func show(forgotten: [String]) {
        if terminal.json {
            terminal.print(json: [
                "schema": "adapterkit.swap-forget", "version": 1, "model": .string(path), "dry_run": .bool(isDryRun),
                "generations": .array(forgotten.map(JSON.string)),
            ])
        } else {
            let what = forgotten.isEmpty ? "nothing" : forgotten.joined(separator: ", ")
            terminal.print("\(escaped(path)): \(isDryRun ? "would forget" : "forgot") \(what)")
        }
    }
}

/// `adapter-swap MODEL status`.
enum StatusReport {
    static func run(_ path: String, _ arguments: Arguments, _ terminal: Terminal) throws -> Int32 {
        let threads = try arguments.int("threads", in: 1...1024) ?? Workers.processors
        let bar = SwapProgress(terminal)
        let status = try SwapStatus(path, deep: arguments.flag("deep"), threads: threads) {
            bar.advance("checking", $0, $1)
        }
        bar.finish()
        var problems = status.problems
        if status.isInterrupted {
            problems.append(
                Problem(
                    .unfinished, "interrupted-swap", file: path, "has a swap that was interrupted",
                    hint: "finish it, or take it back: adapter-swap \(shellQuoted(path)) recover"))
        }
        if terminal.json {
            terminal.print(json: document(status, problems))
        } else {
            show(status, deep: arguments.flag("deep"), terminal)
        }
        guard problems.isEmpty else { throw ProblemList(problems) }
        return 0
    }

    private static func names(_ entry: SwapStatus.Entry) -> String {
        if entry.adapters.isEmpty { return "the pristine base" }
        return "base + "
            + entry.adapters.map { escaped($0.name) + ($0.weight == 1 ? "" : ":\(Origin.text($0.weight))") }
            .joined(separator: " + ")
    }

    private static func show(_ status: SwapStatus, deep: Bool, _ terminal: Terminal) {
        guard let live = status.live, let base = status.base else {
            let what =
                status.problems.isEmpty ? "was never swapped: it is what was put there" : "what it is, nothing tells"
            terminal.print("\(escaped(status.path)): \(what)")
            if let holder = status.holder { terminal.print("just now:  \(holder)") }
            return
        }
        terminal.print("\(escaped(status.path)): \(names(live)), since \(live.since)")
        for adapter in live.adapters {
            terminal.print(
                "adapter:   \(escaped(adapter.path)), weight \(Origin.text(adapter.weight)), sha256 \(adapter.digest)")
        }
        terminal.print("base:      sha256 \(base)")
        if let size = status.undoSize {
            terminal.print("way back:  a record of \(Humane.bytes(size))")
        } else if status.needsUndo {
            terminal.print("way back:  none: the record is missing")
        } else if !live.adapters.isEmpty {
            terminal.print("way back:  the base is kept as it is")
        }
        if status.problems.isEmpty, status.checkedFiles > 0 {
            let how = deep ? "all bytes read" : "by size, time and inode; --deep reads them"
            terminal.print("files:     \(Humane.count(status.checkedFiles, "file")), all as they were left (\(how))")
        }
        if let holder = status.holder { terminal.print("just now:  \(holder)") }
        guard !status.kept.isEmpty else { return }
        terminal.print("")
        var table = Table(columns: [
            ("kept", .left), ("what", .left), ("since", .left), ("bytes", .right), ("not shared", .right),
        ])
        for entry in status.kept {
            table.add([entry.id, names(entry), entry.since, Humane.count(entry.size), Humane.count(entry.ownSize)])
        }
        terminal.print(table)
    }

    private static func json(_ entry: SwapStatus.Entry) -> JSON {
        [
            "id": .string(entry.id), "since": .string(entry.since), "bytes": .int(entry.size),
            "own_bytes": .int(entry.ownSize),
            "adapters": .array(
                entry.adapters.map {
                    [
                        "name": .string($0.name), "path": .string($0.path), "sha256": .string($0.digest),
                        "weight": .double($0.weight),
                    ]
                }),
        ]
    }

    private static func document(_ status: SwapStatus, _ problems: [Problem]) -> JSON {
        [
            "schema": "adapterkit.swap-status", "version": 1, "model": .string(status.path),
            "live": status.live.map(json) ?? .null, "base_sha256": .optional(status.base),
            "undo_bytes": status.undoSize.map(JSON.int) ?? .null, "kept": .array(status.kept.map(json)),
            "holder": .optional(status.holder), "interrupted": .bool(status.isInterrupted),
            "problems": .array(problems.map(\.json)),
        ]
    }
}
