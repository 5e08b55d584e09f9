import Composition
import Console

/// What became of each module, for people and for programs.
public struct OutcomeTable {
    private let modules: [ModuleOutcome]
    private static let most = 12

    /// Shows `modules`.
    public init(_ modules: [ModuleOutcome]) { self.modules = modules }

    /// A table of the modules that lost most, and a line on the others.
    ///
    /// - Parameter showsAll: whether all are listed, in the order of their names.
    public func show(on terminal: Terminal, all showsAll: Bool) {
        var table = Table(columns: [
            ("module", .name), ("rank", .right), ("norm", .right), ("error", .right), ("kept", .right),
            ("dropped", .right),
        ])
        let shown = showsAll ? modules[...] : modules.sorted { Self.loss($0) > Self.loss($1) }.prefix(Self.most)
        for module in shown {
            table.add([
                module.path,
                module.rank == module.stackedRank ? "\(module.rank)" : "\(module.stackedRank) → \(module.rank)",
                Humane.significant(module.norm, digits: 4), Self.error(module.relativeError),
                Humane.percent(module.retainedEnergy),
                module.largestError > 0 ? Humane.significant(module.largestError, digits: 3) : "-",
            ])
        }
        terminal.aside(table)
        if shown.count < modules.count {
            let rest = modules.count - shown.count
            terminal.note(
                "\(Humane.count(rest, "other module")) lost no more than these; --modules lists all, --report writes them to a file"
            )
        }
    }

    private static func loss(_ module: ModuleOutcome) -> Double {
        module.relativeError.isFinite ? module.relativeError : .infinity
    }

    private static func error(_ value: Double) -> String { value == 0 ? "0" : Humane.percent(value) }

    /// The error of all modules together, relative to all norms together.
    public var totalError: Double {
        let norm2 = modules.reduce(0) { $0 + $1.norm * $1.norm }
        let error2 = modules.reduce(0) { $0 + ($1.relativeError * $1.norm) * ($1.relativeError * $1.norm) }
        return norm2 > 0 ? (error2 / norm2).squareRoot() : 0
    }

    /// A sentence on the exactness of the whole.
    public var sentence: String {
        let worst = modules.map(\.relativeError).max() ?? 0
        if worst == 0 { return "exact" }
        if modules.allSatisfy(\.isExact) {
            return "nothing dropped; rounding costs a relative error of \(Humane.significant(totalError, digits: 2))"
        }
        let kept = modules.map(\.retainedEnergy).min() ?? 1
        return "relative error \(Humane.percent(totalError)), at most \(Humane.percent(worst)) in a module; "
            + "at least \(Humane.percent(kept)) of the energy is kept"
    }

    /// For `--json` and `--report`.
    public var json: JSON {
        .array(
            modules.map { module in
                [
                    "path": .string(module.path), "rank_in": .int(module.stackedRank), "rank": .int(module.rank),
                    "norm": .double(module.norm), "relative_error": .double(module.relativeError),
                    "retained_energy": .double(module.retainedEnergy), "largest_error": .double(module.largestError),
                    "exact": .bool(module.isExact),
                ]
            })
    }
}
