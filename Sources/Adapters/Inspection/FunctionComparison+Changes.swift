import Files
import Problems
import Safetensors
import Tensors

/// Changes that are no products of two factors, against each other and against pairs.
extension FunctionComparison {
    mutating func compareChanges(_ first: AdapterFacts, _ second: AdapterFacts) throws {
        let key = { (change: ModuleChange) in
            change.parameter == "weight" ? change.path : "\(change.path).\(change.parameter)"
        }
        let others = Dictionary(second.adapter.changes.map { (key($0), $0) }) { own, _ in own }
        var seen: Set<String> = []
        for change in first.adapter.changes {
            let path = key(change)
            seen.insert(path)
            if let other = others[path] {
                modules.append(try Self.compare(change, first.adapter, other, second.adapter, path))
            } else {
                try compare(change, first.adapter, pairOf: second, path, isFirst: true)
            }
        }
        for change in second.adapter.changes where !seen.contains(key(change)) {
            try compare(change, second.adapter, pairOf: first, key(change), isFirst: false)
        }
        try compareAdditions(first.adapter, second.adapter)
    }

    private static func compare(
        _ a: ModuleChange, _ first: Adapter, _ b: ModuleChange, _ second: Adapter, _ path: String
    ) throws -> Module {
        if a.method == b.method, a.tensors.count == b.tensors.count, a.scale == b.scale {
            let isSame = try zip(a.tensors, b.tensors).allSatisfy { own, other in
                try own.dtype == other.dtype && own.shape == other.shape
                    && first.file.read(own) == second.file.read(other)
            }
            if isSame { return Module(path: path, verdict: .sameFactors, distance: 0, cosine: 1) }
        }
        guard let one = try rows(a, first), let two = try rows(b, second) else {
            return Module(path: path, verdict: a.method == b.method ? .different : .incomparable)
        }
        return try compare(one, two, path)
    }

    /// A delta of another kind on one side, and perhaps a pair of factors on the other, as conversions make one of the other.
    private mutating func compare(
        _ change: ModuleChange, _ adapter: Adapter, pairOf other: AdapterFacts, _ path: String, isFirst: Bool
    ) throws {
        let pair = other.modules.first { $0.path == path && $0.experts == 1 && $0.tensors.count == 2 }
        guard let pair, let one = try Self.rows(change, adapter), let two = try Self.rows(pair, other.adapter) else {
            singles.append(Single(path: path, isFirst: isFirst, isZero: false))
            return
        }
        singles.removeAll { $0.path == path }
        modules.append(try Self.compare(one, two, path))
    }

    /// A matrix by rows.
    private typealias Rows = (rows: Int, columns: Int, read: (Range<Int>) -> [Double])

    private static func rows(_ change: ModuleChange, _ adapter: Adapter) throws -> Rows? {
        guard case .delta(let delta, let scale) = change.effect else { return nil }
        let loaded = try delta.load { (info) throws(Problem) in
            try TensorValues.doubles(adapter.file.read(info), info.dtype)
        }
        let (rows, columns) = delta.shape
        return (
            rows, columns,
            { range in
                var block = [Double](repeating: 0, count: range.count * columns)
                loaded.add(range, times: scale, to: &block)
                return block
            }
        )
    }

    private static func rows(_ facts: ModuleFacts, _ adapter: Adapter) throws -> Rows? {
        guard let part = try LowRankSum.Part(facts, in: adapter.file) else { return nil }
        let (left, right) = (part.left.vectors(0), part.right.vectors(0))
        let (rows, columns, rank) = (part.left.length, part.right.length, part.left.rank)
        return (
            rows, columns,
            { range in
                var block = [Double](repeating: 0, count: range.count * columns)
                for (at, row) in range.enumerated() {
                    for k in 0..<rank {
                        let factor = facts.scale * left[k * rows + row]
                        for column in 0..<columns {
                            block[at * columns + column] += factor * right[k * columns + column]
                        }
                    }
                }
                return block
            }
        )
    }

    private static func compare(_ one: Rows, _ two: Rows, _ path: String) throws -> Module {
        guard one.rows == two.rows, one.columns == two.columns else {
            return Module(path: path, verdict: .incomparable)
        }
        var (own2, other2, inner, distance2) = (0.0, 0.0, 0.0, 0.0)
        for start in stride(from: 0, to: one.rows, by: 64) {
            try checkInterrupted()
            let range = start..<min(one.rows, start + 64)
            for (a, b) in zip(one.read(range), two.read(range)) {
                own2 += a * a
                other2 += b * b
                inner += a * b
                distance2 += (a - b) * (a - b)
            }
        }
        guard distance2.isFinite, own2.isFinite, other2.isFinite else { return Module(path: path, verdict: .notFinite) }
        let (own, other) = (own2.squareRoot(), other2.squareRoot())
        let larger = max(own, other)
        let distance = larger > 0 ? min(2, distance2.squareRoot() / larger) : 0
        return Module(
            path: path, verdict: distance > tolerance ? .different : .sameProduct, distance: distance,
            cosine: own > 0 && other > 0 ? min(1, max(-1, inner / own / other)) : nil, norms: (own, other))
    }

    private mutating func compareAdditions(_ first: Adapter, _ second: Adapter) throws {
        let name = { (entry: ParameterAddition) in "\(entry.module).\(entry.parameter)" }
        let others = Dictionary(second.additions.map { (name($0), $0) }) { own, _ in own }
        for entry in first.additions {
            guard let other = others[name(entry)] else {
                singles.append(Single(path: name(entry), isFirst: true, isZero: false))
                continue
            }
            let isSame = try entry.scale == other.scale && Self.same(first, entry.tensor, second, other.tensor)
            replaced.append((name(entry), isSame))
        }
        let own = Set(first.additions.map(name))
        for entry in second.additions where !own.contains(name(entry)) {
            singles.append(Single(path: name(entry), isFirst: false, isZero: false))
        }
    }
}
