import Adapters
import Console
import Problems

extension InspectTool {
    /// Compares two adapters, like `diff`: 0 if they do the same, 1 if not.
    static func compare(_ path: String, _ other: String, _ arguments: Arguments, _ terminal: Terminal) throws -> Int32 {
        let facts = try [path, other].map { path in
            guard case .adapter(let facts) = try Subject(path: path) else {
                throw Problem(.usage, "no-adapter", file: path, "is no adapter, so it cannot be compared as one")
            }
            guard !facts.obstacles.contains(where: { $0.code == "not-lora" }) else {
                throw Problem(
                    .usage, "not-lora", file: path,
                    "is \(facts.method), and only pairs of factors and trainable tokens can be compared")
            }
            return facts
        }
        let problems = facts.flatMap(\.problems)
        terminal.report(problems)
        // What contradicts itself has no function to compare.
        if ProblemList(problems).hasErrors {
            throw Problem(.malformed, "unsound", "an adapter is not sound, so nothing was compared")
        }
        let size = facts.flatMap(\.modules).reduce(0) { $0 + $1.module.down.byteCount + $1.module.up.byteCount }
        let progress = Progress(terminal, label: "comparing", totalBytes: size)
        let comparison = try FunctionComparison(facts[0], facts[1]) { progress.advance(by: $0) }
        progress.finish()
        let report = ComparisonReport(comparison: comparison, paths: (path, other), showsAll: arguments.flag("modules"))
        if terminal.json {
            terminal.print(json: [
                "schema": "adapterkit.inspect", "version": 1, "comparison": report.document,
            ])
        } else {
            report.show(on: terminal)
        }
        return comparison.isSame ? 0 : 1
    }
}

/// What a comparison shows.
struct ComparisonReport {
    let comparison: FunctionComparison
    let paths: (String, String)
    let showsAll: Bool

    private static let most = 20

    func show(on terminal: Terminal) {
        let differing = comparison.modules.filter { !$0.verdict.isSame }
        let rows = showsAll ? comparison.modules : differing.sorted { ($0.distance ?? 3) > ($1.distance ?? 3) }
        if !rows.isEmpty {
            terminal.print(table(showsAll ? rows[...] : rows.prefix(Self.most)))
            if !showsAll, rows.count > Self.most {
                terminal.print("and \(rows.count - Self.most) more modules; --modules lists all")
            }
            terminal.print()
        }
        let others = comparison.singles.filter { showsAll || !$0.isZero }
        for single in others.prefix(showsAll ? .max : Self.most) {
            let note = single.isZero ? ": a delta of zero, which does nothing" : ""
            terminal.print("only in \(escaped(single.isFirst ? paths.0 : paths.1)): \(escaped(single.path))\(note)")
        }
        if !showsAll, others.count > Self.most {
            terminal.print("and \(others.count - Self.most) more; --modules lists all")
        }
        for entry in comparison.replaced where !entry.isSame {
            terminal.print("replaced by other values: \(escaped(entry.name))")
        }
        for setting in comparison.settings { terminal.print("only one says: \(escaped(setting))") }
        terminal.print(sentence)
    }

    private func table(_ modules: ArraySlice<FunctionComparison.Module>) -> Table {
        var table = Table(columns: [
            ("module", .name), ("distance", .right), ("cosine", .right), ("norm", .right), ("other norm", .right),
            ("verdict", .left),
        ])
        for module in modules {
            let short = { (number: Double?) in number.map { Humane.significant($0, digits: 3) } ?? "-" }
            table.add([
                module.path, short(module.distance), module.cosine.map(Self.cosine) ?? "-", short(module.norms?.0),
                short(module.norms?.1), module.verdict.text,
            ])
        }
        return table
    }

    /// Four decimals, but never a 1 that is none.
    private static func cosine(_ value: Double) -> String {
        let digits = String(10_000 + Int((abs(value) * 1e4 + 1e-9).rounded(.down)))
        return (value < 0 && digits != "10000" ? "-" : "") + (digits == "20000" ? "1." : "0.") + digits.dropFirst()
    }

    /// The answer.
    var sentence: String {
        let all = comparison.modules
        if comparison.isSame {
            let other = all.count { $0.verdict == .sameProduct }
            let what = "the same function: \(Humane.count(all.count, "module"))"
            guard other > 0 else { return what + " with the same factors" }
            return what + ", \(Humane.count(other)) of them with other factors; largest relative distance "
                + Humane.significant(comparison.largestDistance, digits: 2)
        }
        var parts: [String] = []
        let differing = all.count { !$0.verdict.isSame }
        if differing > 0 {
            let known = all.contains { $0.verdict == .different }
            parts.append(
                "\(Humane.count(differing)) of \(Humane.count(all.count, "module")) differ"
                    + (known
                        ? ", relative distance up to " + Humane.significant(comparison.largestDistance, digits: 3) : "")
            )
        }
        let singles = comparison.singles.count { !$0.isZero }
        if singles > 0 { parts.append("\(Humane.count(singles)) only in one") }
        let replaced = comparison.replaced.count { !$0.isSame }
        if replaced > 0 { parts.append("\(Humane.count(replaced)) replaced by other values") }
        if !comparison.settings.isEmpty { parts.append("their configs mean different things") }
        return "different: " + parts.joined(separator: "; ")
    }

    var document: JSON {
        [
            "paths": [.string(paths.0), .string(paths.1)], "same": .bool(comparison.isSame),
            "tolerance": .double(FunctionComparison.tolerance),
            "largest_distance": .double(comparison.largestDistance), "summary": .string(sentence),
            "modules": .array(
                comparison.modules.map { module in
                    [
                        "path": .string(module.path), "verdict": .string(module.verdict.rawValue),
                        "distance": .optional(module.distance), "cosine": .optional(module.cosine),
                        "norm": .optional(module.norms?.0), "other_norm": .optional(module.norms?.1),
                    ]
                }),
            "only_in_one": .array(
                comparison.singles.map { single in
                    [
                        "path": .string(single.path), "in": .string(single.isFirst ? paths.0 : paths.1),
                        "zero": .bool(single.isZero),
                    ]
                }),
            "replaced": .array(comparison.replaced.map { ["name": .string($0.name), "same": .bool($0.isSame)] }),
            "settings": .array(comparison.settings.map(JSON.string)),
        ]
    }
}

extension FunctionComparison.Verdict {
    fileprivate var text: String {
        switch self {
        case .sameFactors: "same factors"
        case .sameProduct: "same"
        case .different: "different"
        case .differentExtras: "magnitude or bias differs"
        case .incomparable: "not comparable"
        case .notFinite: "not finite"
        }
    }
}
