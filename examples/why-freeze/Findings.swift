import Console

/// The tables, and what the numbers say by themselves.
struct Findings {
    private let methods: [Method]

    init(_ methods: [Method]) { self.methods = methods }

    var text: String {
        let tables = costs.rendered() + "\n" + losses.rendered()
        return methods[0].runs.count > 1 ? tables + "\n" + sentences : tables
    }

    private var costs: Table {
        var table = Table(columns: [
            ("trained", .left), ("numbers", .right), ("share", .right), ("optimizer", .right), ("CPU seconds", .right),
        ])
        for method in methods {
            let run = method.runs[0]
            table.add([
                method.label, Humane.count(run.trained), Humane.percent(run.share), Humane.bytes(run.optimizerBytes),
                Self.cell(method.values(\.cpu), decimals: 1),
            ])
        }
        return table
    }

    private var losses: Table {
        var table = Table(columns: [
            ("loss, nats for each byte", .left), ("training", .right), ("held-out, best", .right), ("step", .right),
            ("held-out, end", .right), ("own domain, end", .right),
        ])
        let first = methods[0].runs[0]
        let before = first.looks[0].loss
        table.add(["the base", "", Self.fixed(before, 3), "0", Self.fixed(before, 3), Self.fixed(first.ownBefore, 3)])
        for method in methods {
            let steps = method.runs.map(\.bestStep).sorted()
            table.add([
                method.label, Self.cell(method.values(\.training)), Self.cell(method.values(\.bestLoss)),
                steps[0] == steps[steps.count - 1] ? "\(steps[0])" : "\(steps[0])-\(steps[steps.count - 1])",
                Self.cell(method.values(\.end)), Self.cell(method.values(\.ownAfter)),
            ])
        }
        return table
    }

    private var sentences: String {
        let before = methods[0].runs[0].ownBefore
        return [
            "Means of \(Humane.count(methods[0].runs.count, "seed")), with the least and the greatest. Below, means from the "
                + "lowest; where ~ stands,\nthe seeds of both overlap.",
            order("Held-out loss at its best", \.bestLoss), order("Held-out loss at the end", \.end),
            order("Overfitting: the rise of the held-out loss from its best to the end") { $0.end - $0.bestLoss },
            order("Forgetting: the rise of the loss on the base's own domain") { $0.ownAfter - before },
        ].joined(separator: "\n") + "\n"
    }

    /// The methods from the lowest mean, in lines.
    private func order(_ name: String, _ measure: (Run) -> Double) -> String {
        let sorted = methods.map { ($0.label, $0.values(measure)) }.sorted { mean($0.1) < mean($1.1) }
        var text = name + ":"
        var columns = 0
        for (at, (label, values)) in sorted.enumerated() {
            let overlaps = at > 0 && (sorted[at - 1].1.max() ?? 0) >= values.min() ?? 0
            let words = (at == 0 ? "" : overlaps ? "~ " : "< ") + "\(label) \(Self.fixed(mean(values), 3))"
            columns += words.count + 1
            text += at == 0 || columns > 100 ? "\n  \(words)" : " \(words)"
            if columns > 100 { columns = words.count + 2 }
        }
        return text
    }

    /// A mean with its range.
    private static func cell(_ values: [Double], decimals: Int = 3) -> String {
        let (low, high) = (values.min() ?? 0, values.max() ?? 0)
        if values.count == 1 { return fixed(low, decimals) }
        return "\(fixed(mean(values), decimals)) (\(fixed(low, decimals))-\(fixed(high, decimals)))"
    }

    /// A number with so many decimals.
    static func fixed(_ value: Double, _ decimals: Int) -> String {
        let scale = (0..<decimals).reduce(1) { power, _ in power * 10 }
        let whole = Int((value.magnitude * Double(scale)).rounded())
        let digits = String(whole % scale)
        let sign = value < 0 && whole > 0 ? "-" : ""
        return "\(sign)\(whole / scale).\(String(repeating: "0", count: max(0, decimals - digits.count)))\(digits)"
    }
}
