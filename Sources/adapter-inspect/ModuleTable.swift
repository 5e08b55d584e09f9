import Adapters
import Console
import Problems
import Safetensors

/// The norms of an adapter's modules, and of the weights they are added to.
struct ModuleNorms {
    /// What was found about the base.
    private(set) var problems: [Problem] = []
    /// By the modules' places in the facts; `nil` where no delta is defined.
    private(set) var deltas: [DeltaNorm?] = []
    /// Norms of the base's weights; empty without a base.
    private(set) var weights: [Double?] = []
    private let modules: [ModuleFacts]
    /// The base's path.
    let basePath: String?

    /// Whether the norms can be given relative to the weights.
    var hasWeights: Bool { basePath != nil }

    init(of facts: AdapterFacts, base: Checkpoint?, terminal: Terminal) throws {
        modules = facts.modules
        basePath = base?.path
        let resolution = base.map { Resolution(adapter: facts.adapter, base: $0) }
        var norms: WeightNorms?
        if let base, let resolution {
            problems = resolution.problems.filter { !facts.adapter.problems.contains($0) }
            norms = WeightNorms(base: base, resolution: resolution)
        }
        let size = facts.modules.reduce(0) { $0 + $1.module.down.byteCount + $1.module.up.byteCount }
        let progress = Progress(terminal, label: "reading", totalBytes: size + (norms?.byteCount ?? 0))
        defer { progress.finish() }
        for module in facts.modules {
            deltas.append(try DeltaNorm(of: module, in: facts.adapter))
            progress.advance(by: module.module.down.byteCount + module.module.up.byteCount)
        }
        for module in norms == nil ? [] : facts.modules {
            weights.append(try norms?.norm(of: module) { progress.advance(by: $0) })
        }
    }

    /// ‖delta‖ / ‖W‖ of a module.
    func relative(_ index: Int) -> Double? {
        guard hasWeights, let delta = deltas[index], let weight = weights[index], weight > 0 else { return nil }
        return delta.frobenius / weight
    }

    /// The members of `--json` for one module.
    func members(of index: Int) -> [(String, JSON)] {
        let delta = deltas[index]
        var members: [(String, JSON)] = [
            ("finite", delta.map { .bool($0.isFinite) } ?? .null), ("norm", .optional(delta?.frobenius)),
            ("spectral_norm", .optional(delta?.spectral)), ("stable_rank", .optional(delta?.stableRank)),
        ]
        if hasWeights {
            members += [("weight_norm", .optional(weights[index])), ("relative_norm", .optional(relative(index)))]
        }
        if let delta, modules[index].experts > 1 {
            let experts = delta.matrices.map { matrix -> JSON in
                ["norm": .double(matrix.frobenius), "spectral_norm": .double(matrix.spectral)]
            }
            members.append(("experts", .array(experts)))
        }
        return members
    }

    /// The whole adapter in one line.
    var sentence: String? {
        let known = deltas.indices.compactMap { index in deltas[index].map { (index, $0) } }
        let finite = known.filter(\.1.isFinite)
        guard !known.isEmpty else { return nil }
        var parts: [String] = []
        let counted = { (count: Int) in count == 1 ? "1 delta is" : "\(count) deltas are" }
        if finite.count < known.count { parts.append(counted(known.count - finite.count) + " not finite") }
        let zeros = finite.count { $0.1.frobenius == 0 }
        if zeros > 0 { parts.append(counted(zeros) + " zero") }
        if let largest = finite.max(by: { $0.1.frobenius < $1.1.frobenius }) {
            let total = finite.reduce(0) { $0 + $1.1.frobenius * $1.1.frobenius }.squareRoot()
            parts.append(
                "norm of all deltas together \(Humane.significant(total, digits: 4)), largest "
                    + "\(Humane.significant(largest.1.frobenius, digits: 4)) (\(escaped(modules[largest.0].path)))")
        }
        let relatives = finite.compactMap { relative($0.0) }.sorted()
        if let last = relatives.last {
            parts.append(
                "\(Humane.percent(relatives[relatives.count / 2])) of the weights' norm (median), up to "
                    + Humane.percent(last))
        }
        return parts.joined(separator: "; ")
    }
}

extension ModuleFacts {
    /// The kind in words: `linear`, `embedding, DoRA`, `8 experts`.
    var kindText: String {
        (kind == .experts ? "\(experts) experts" : kind.rawValue) + (isDoRA ? ", DoRA" : "")
    }

    private var dtypeText: String {
        let (a, b) = (module.down.dtype.rawValue, module.up.dtype.rawValue)
        return a == b ? a : "\(a)/\(b)"
    }

    /// The cells of a full row.
    var cells: [String] {
        [
            kindText, "\(rank)", plain(alpha), plain(scale), plain(module.down.shape), plain(module.up.shape),
            dtypeText,
            Humane.count(parameterCount),
        ]
    }

    /// The members of `--json`, without norms.
    var members: [(String, JSON)] {
        [
            ("path", .string(path)), ("kind", .string(kind.rawValue)), ("dora", .bool(isDoRA)),
            ("expert_count", kind == .experts ? .int(experts) : .null), ("rank", .int(rank)), ("alpha", .double(alpha)),
            ("scale", .double(scale)), ("a_shape", .array(module.down.shape.map(JSON.int))),
            ("b_shape", .array(module.up.shape.map(JSON.int))), ("a_dtype", .string(module.down.dtype.rawValue)),
            ("b_dtype", .string(module.up.dtype.rawValue)), ("parameters", .int(parameterCount)),
        ]
    }
}

/// A row for each module.
struct ModuleTable {
    private(set) var table: Table

    init(_ facts: AdapterFacts, norms: ModuleNorms?, isFull: Bool) {
        var columns: [(title: String, align: Table.Alignment)] = [("module", .name)]
        columns +=
            isFull
            ? [
                ("kind", .left), ("rank", .right), ("alpha", .right), ("scale", .right), ("A", .right), ("B", .right),
                ("dtype", .left), ("parameters", .right),
            ] : [("rank", .right), ("scale", .right)]
        if let norms {
            columns += [("norm", .right), ("spectral", .right), ("stable rank", .right)]
            if norms.hasWeights { columns.append(("of weight", .right)) }
        }
        table = Table(columns: columns)
        for (index, module) in facts.modules.enumerated() {
            let cells = isFull ? module.cells : ["\(module.rank)", plain(module.scale)]
            table.add([module.path] + cells + (norms.map { Self.cells($0, index) } ?? []))
        }
    }

    /// A row for each change that is no product of two factors.
    static func ofChanges(_ changes: [ModuleChange]) -> Table {
        var table = Table(columns: [
            ("module", .name), ("kind", .left), ("rank", .right), ("alpha", .right), ("scale", .right),
            ("tensors", .left),
        ])
        for change in changes {
            let path = change.parameter == "weight" ? change.path : "\(change.path).\(change.parameter)"
            table.add([
                path, change.method, change.rank.map { "\($0)" } ?? "-", change.alpha.map(plain) ?? "-",
                change.scale.map(plain) ?? "-", change.tensors.map { plain($0.shape) }.joined(separator: ", "),
            ])
        }
        return table
    }

    private static func cells(_ norms: ModuleNorms, _ index: Int) -> [String] {
        let part = norms.relative(index).map { $0.isFinite ? Humane.percent($0) : "-" }
        let relative = norms.hasWeights ? [part ?? "-"] : []
        guard let delta = norms.deltas[index] else { return ["-", "-", "-"] + relative }
        guard delta.isFinite else { return ["not finite", "-", "-"] + relative }
        return [
            Humane.significant(delta.frobenius, digits: 4), Humane.significant(delta.spectral, digits: 4),
            delta.stableRank.map { Humane.significant($0, digits: 3) } ?? "-",
        ] + relative
    }
}
