import Problems
import Safetensors
import Tensors

/// Whether two adapters do the same to every base, by their deltas and not by their factors.
public struct FunctionComparison: Sendable {
    /// Relative distances up to this count as none: a little more than rounding factors to float32 does.
    public static let tolerance = 1e-6

    /// How two modules stand to each other.
    public enum Verdict: String, Sendable {
        /// The factors are the same, byte for byte.
        case sameFactors = "same-factors"
        /// The factors differ, the product does not.
        case sameProduct = "same-product"
        /// The deltas differ.
        case different
        /// The deltas are the same, but a magnitude or a bias differs.
        case differentExtras = "different-extras"
        /// The deltas have different shapes or are not defined.
        case incomparable
        /// One of the deltas is not finite.
        case notFinite = "not-finite"

        /// Whether the two do the same.
        public var isSame: Bool { self == .sameFactors || self == .sameProduct }
    }

    /// Two modules of the same name.
    public struct Module: Sendable {
        /// The module's path.
        public let path: String
        /// How they stand to each other.
        public let verdict: Verdict
        /// ‖D1 - D2‖ / max(‖D1‖, ‖D2‖); `nil` where it was not computed.
        public var distance: Double?
        /// <D1, D2> / (‖D1‖·‖D2‖); `nil` if one of them is zero.
        public var cosine: Double?
        /// ‖D1‖ and ‖D2‖.
        public var norms: (Double, Double)?
    }

    /// Something that only one of the two has.
    public struct Single: Sendable {
        /// The module's or the parameter's path.
        public let path: String
        /// Whether it is the first adapter that has it.
        public let isFirst: Bool
        /// Whether it is a delta of zero, which does nothing.
        public let isZero: Bool
    }

    /// Modules of both.
    public internal(set) var modules: [Module] = []
    /// What only one has.
    public internal(set) var singles: [Single] = []
    /// Parameters and rows that both replace, and whether by the same values.
    public internal(set) var replaced: [(name: String, isSame: Bool)] = []
    /// Settings that change what an adapter does, and that only one has.
    public private(set) var settings: [String] = []

    /// Whether the adapters are the same function.
    public var isSame: Bool {
        modules.allSatisfy(\.verdict.isSame) && singles.allSatisfy(\.isZero) && replaced.allSatisfy(\.isSame)
            && settings.isEmpty
    }
    /// The largest relative distance of two deltas.
    public var largestDistance: Double { modules.compactMap(\.distance).max() ?? 0 }

    /// Reads the data of both adapters.
    public init(_ first: AdapterFacts, _ second: AdapterFacts, progress: (Int) -> Void = { _ in }) throws {
        try compareModules(first, second, progress)
        try compareReplacements(first.adapter, second.adapter)
        try compareChanges(first, second)
        let own = Set(first.obstacles.map(\.message))
        let others = Set(second.obstacles.map(\.message))
        settings = own.symmetricDifference(others).sorted()
    }

    // MARK: Modules

    private static func key(_ facts: ModuleFacts) -> String {
        facts.module.depth == 0 || facts.path != facts.module.path
            ? facts.path : "\(facts.path) (\(facts.module.depth))"
    }

    private mutating func compareModules(
        _ first: AdapterFacts, _ second: AdapterFacts, _ progress: (Int) -> Void
    ) throws {
        let others = Dictionary(second.modules.map { (Self.key($0), $0) }) { own, _ in own }
        var seen: Set<String> = []
        for a in first.modules {
            let key = Self.key(a)
            seen.insert(key)
            guard let b = others[key] else {
                singles.append(try Self.single(a, first.adapter, key, isFirst: true))
                continue
            }
            modules.append(try Self.compare(a, first.adapter, b, second.adapter, key))
            for tensor in [a.module.down, a.module.up, b.module.down, b.module.up] { progress(tensor.byteCount) }
        }
        for b in second.modules where !seen.contains(Self.key(b)) {
            singles.append(try Self.single(b, second.adapter, Self.key(b), isFirst: false))
        }
    }

    private static func single(
        _ facts: ModuleFacts, _ adapter: Adapter, _ key: String, isFirst: Bool
    ) throws -> Single {
        let norm = facts.tensors.count > 2 ? nil : try DeltaNorm(of: facts, in: adapter)
        return Single(path: key, isFirst: isFirst, isZero: norm.map { $0.isFinite && $0.frobenius == 0 } ?? false)
    }

    private static func compare(
        _ a: ModuleFacts, _ first: Adapter, _ b: ModuleFacts, _ second: Adapter, _ key: String
    ) throws -> Module {
        guard let one = try LowRankSum.Part(a, in: first.file), var two = try LowRankSum.Part(b, in: second.file),
            a.experts == b.experts, one.left.length == two.left.length, one.right.length == two.right.length,
            a.module.isEmbedding == b.module.isEmbedding,
            a.module.down.shape.dropFirst() == b.module.down.shape.dropFirst()
        else { return Module(path: key, verdict: .incomparable) }
        let extras = try sameExtras(a, first, b, second)
        if one.left.isSame(as: two.left), one.right.isSame(as: two.right), one.coefficient == two.coefficient {
            return Module(path: key, verdict: extras ? .sameFactors : .differentExtras, distance: 0, cosine: 1)
        }
        two.coefficient.negate()
        let measured = try measure(one, two, batches: a.experts)
        guard let measured else { return Module(path: key, verdict: .notFinite) }
        let verdict: Verdict = measured.distance > tolerance ? .different : extras ? .sameProduct : .differentExtras
        return Module(
            path: key, verdict: verdict, distance: measured.distance, cosine: measured.cosine, norms: measured.norms)
    }

    private typealias Measured = (distance: Double, cosine: Double?, norms: (Double, Double))

    private static func measure(_ one: LowRankSum.Part, _ two: LowRankSum.Part, batches: Int) throws -> Measured? {
        let sum = try LowRankSum([one, two], batches: batches)
        let (a, b) = (0..<one.left.rank, one.left.rank..<sum.size)
        let total = { (value: (Int) -> Double) in (0..<batches).reduce(0) { $0 + value($1) } }
        let squares = (0..<batches).map(sum.squaredNorm)
        let refined = squares.contains { !$0.isExact } ? try sum.refinedSquaredNorms() : []
        let distance2 = total { squares[$0].isExact ? squares[$0].value : refined[$0] }
        let (own2, other2) = (total { sum.inner($0, a, a) }, total { sum.inner($0, b, b) })
        guard distance2.isFinite, own2.isFinite, other2.isFinite else { return nil }
        let (own, other) = (max(0, own2).squareRoot(), max(0, other2).squareRoot())
        let larger = max(own, other)
        let cosine = own > 0 && other > 0 ? min(1, max(-1, -total { sum.inner($0, a, b) } / own / other)) : nil
        return (larger > 0 ? min(2, max(0, distance2).squareRoot() / larger) : 0, cosine, (own, other))
    }

    /// Whether DoRA's magnitudes and the biases of the up projections are the same but for rounding.
    private static func sameExtras(
        _ a: ModuleFacts, _ first: Adapter, _ b: ModuleFacts, _ second: Adapter
    ) throws -> Bool {
        for (own, other, factors) in [
            (a.module.magnitude, b.module.magnitude, (1.0, 1.0)),
            (a.module.upBias, b.module.upBias, (a.scale, b.scale)),
        ] {
            guard let own, let other else {
                if own == nil && other == nil { continue }
                return false
            }
            guard own.dtype.kernel != nil, other.dtype.kernel != nil, own.elementCount == other.elementCount else {
                return false
            }
            let left = try TensorValues.doubles(first.file.read(own), own.dtype).map { $0 * factors.0 }
            let right = try TensorValues.doubles(second.file.read(other), other.dtype).map { $0 * factors.1 }
            let largest = (left + right).reduce(0) { max($0, abs($1)) }
            guard zip(left, right).allSatisfy({ abs($0 - $1) <= tolerance * largest }) else { return false }
        }
        return true
    }

    // MARK: Replacements

    private mutating func compareReplacements(_ first: Adapter, _ second: Adapter) throws {
        let name = { (entry: Replacement) in "\(entry.module).\(entry.parameter)" }
        let others = Dictionary(second.replacements.map { (name($0), $0.tensor) }) { own, _ in own }
        for entry in first.replacements {
            guard let other = others[name(entry)] else {
                singles.append(Single(path: name(entry), isFirst: true, isZero: false))
                continue
            }
            replaced.append((name(entry), try Self.same(first, entry.tensor, second, other)))
        }
        let own = Set(first.replacements.map(name))
        for entry in second.replacements where !own.contains(name(entry)) {
            singles.append(Single(path: name(entry), isFirst: false, isZero: false))
        }
        let rows = Dictionary(second.tokenRows.map { ($0.module, $0) }) { own, _ in own }
        for entry in first.tokenRows {
            guard let other = rows[entry.module] else {
                singles.append(Single(path: "\(entry.module) (rows)", isFirst: true, isZero: false))
                continue
            }
            let isSame = try Self.orderedRows(first, entry) == Self.orderedRows(second, other)
            replaced.append(("\(entry.module) (rows)", isSame))
        }
        let ownRows = Set(first.tokenRows.map(\.module))
        for entry in second.tokenRows where !ownRows.contains(entry.module) {
            singles.append(Single(path: "\(entry.module) (rows)", isFirst: false, isZero: false))
        }
    }

    static func same(_ a: Adapter, _ own: TensorInfo, _ b: Adapter, _ other: TensorInfo) throws -> Bool {
        guard own.shape == other.shape else { return false }
        if own.dtype == other.dtype, try a.file.read(own) == b.file.read(other) { return true }
        guard own.dtype.kernel != nil, other.dtype.kernel != nil else { return false }
        return try TensorValues.equal(a.file, own, b.file, other)
    }

    /// The new rows by their numbers.
    private static func orderedRows(_ adapter: Adapter, _ entry: TokenRows) throws -> [Int: ArraySlice<Double>] {
        guard entry.tensor.shape.count == 2, entry.tensor.dtype.kernel != nil else { return [:] }
        let values = try TensorValues.doubles(adapter.file.read(entry.tensor), entry.tensor.dtype)
        let width = entry.tensor.shape[1]
        let pairs = zip(entry.rows, 0..<entry.tensor.shape[0]).map { ($0, values[$1 * width..<($1 + 1) * width]) }
        return Dictionary(pairs) { own, _ in own }
    }
}
