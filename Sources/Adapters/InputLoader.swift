import Archives
import Problems
import Safetensors
import Tensors

/// A base and the adapters that are to be used with it, opened and matched, with everything that was found.
public struct LoadedInputs: Sendable {
    /// Codes of errors that the user may turn into warnings, since what happens then is defined.
    public static let allowable = [
        "base-changed", "bound-config", "bound-tensor", "not-targeted", "unknown-config-field", "unused-pattern",
    ]
    /// Codes of errors that only a merge can meet.
    public static let allowableInMerge = (allowable + ["non-finite", "overflow", "zero-delta"]).sorted()

    /// One adapter, as far as it could be read.
    public struct Entry: Sendable {
        /// How the user named it.
        public let operand: AdapterOperand
        /// The adapter; `nil` if it could not be read.
        public let adapter: Adapter?
        /// What it does to the base; `nil` if either could not be read.
        public fileprivate(set) var resolution: Resolution?
        /// What was found about it.
        public fileprivate(set) var problems: [Problem]
    }

    /// The base; `nil` if it could not be read.
    public let base: Checkpoint?
    /// What was found about the base.
    public let baseProblems: [Problem]
    /// The adapters, in the user's order.
    public private(set) var entries: [Entry]

    /// Reads headers and configs only; problems are collected, so that one run shows them all.
    ///
    /// - Parameter allowed: codes of errors that count as warnings.
    public init(base path: String, operands: [AdapterOperand], allowed: Set<String> = []) {
        var opened: Checkpoint?
        var found: [Problem] = []
        do throws(Problem) {
            let checkpoint = try Checkpoint.openModel(path: path)
            opened = checkpoint
            found = checkpoint.problems
        } catch {
            found = [error]
        }
        let isSound = !found.contains { $0.severity == .error }
        base = opened
        baseProblems = found
        entries = operands.map { Self.load($0, base: isSound ? opened : nil, allowed: allowed) }
        if let opened { dropRepetitions(opened) }
    }

    /// Reads adapters alone, for what needs no base.
    public init(withoutBase operands: [AdapterOperand], allowed: Set<String> = []) {
        base = nil
        baseProblems = []
        entries = operands.map { Self.load($0, base: nil, allowed: allowed) }
    }

    /// Matches adapters that are open already with a base.
    public init(
        base: Checkpoint, adapters: [(adapter: Adapter, weight: Double)], allowed: Set<String> = []
    ) {
        let resolved = adapters.map { item in
            // What cannot be read with this base says so among its problems.
            let own = (try? item.adapter.localized(for: base)) ?? item.adapter
            return (own, item.weight, Resolution(adapter: own, base: base))
        }
        self.init(base: base, resolved: resolved, allowed: allowed)
    }

    /// Joins adapters that were matched with the base before.
    package init(
        base: Checkpoint, resolved: [(adapter: Adapter, weight: Double, resolution: Resolution)], allowed: Set<String>
    ) {
        self.base = base
        baseProblems = base.problems
        entries = resolved.map { item in
            let operand = AdapterOperand(path: item.adapter.path, weight: item.weight)
            return Self.entry(operand, item.adapter, item.resolution, allowed)
        }
        dropRepetitions(base)
    }

    /// Drops replacements that say nothing: PEFT saves copies of embeddings with some adapters.
    ///
    /// They stand in the way only where several adapters replace the same tensor or a weight is given, so only then they
    /// are read and compared.
    private mutating func dropRepetitions(_ base: Checkpoint) {
        let active = entries.indices.filter { entries[$0].operand.weight != 0 }
        var counts: [String: Int] = [:]
        for at in active {
            for update in entries[at].resolution?.updates ?? [] where update.replacement != nil {
                counts[update.name, default: 0] += 1
            }
        }
        var kept: [String: (file: SafetensorsFile, tensor: TensorInfo)] = [:]
        for at in active {
            guard let adapter = entries[at].adapter, let updates = entries[at].resolution?.updates else { continue }
            for update in updates {
                guard let tensor = update.replacement else { continue }
                guard counts[update.name] != 1 || entries[at].operand.weight != 1 else { continue }
                if let source = update.source { entries[at].resolution?.consulted.insert(source) }
                do throws(Problem) {
                    var isKnown = try Self.isCopy(tensor, of: update, adapter, base)
                    if !isKnown, let other = kept[update.name] {
                        isKnown = try TensorValues.equal(adapter.file, tensor, other.file, other.tensor)
                    }
                    if isKnown {
                        entries[at].resolution?.dropReplacement(of: update.name)
                    } else if kept[update.name] == nil {
                        kept[update.name] = (adapter.file, tensor)
                    }
                } catch {
                    entries[at].problems.append(error)
                }
            }
        }
    }

    /// Whether a replacement has the base's values, as far as its own precision goes.
    private static func isCopy(
        _ tensor: TensorInfo, of update: TensorUpdate, _ adapter: Adapter, _ base: Checkpoint
    ) throws(Problem) -> Bool {
        guard let place = update.source.flatMap(base.lookup), place.info.shape == tensor.shape else { return false }
        guard tensor.dtype.kernel != nil, place.info.dtype.kernel != nil else { return false }
        let file = base.shards[place.shard].file
        if try TensorValues.equal(adapter.file, tensor, file, place.info, roundingTo: place.info.dtype) { return true }
        return try TensorValues.equal(file, place.info, adapter.file, tensor, roundingTo: tensor.dtype)
    }

    private static func load(_ operand: AdapterOperand, base: Checkpoint?, allowed: Set<String>) -> Entry {
        do throws(Problem) {
            let adapter = try Adapter(path: operand.path)
            guard let base else { return entry(operand, adapter, nil, allowed) }
            let own = try adapter.localized(for: base)
            return entry(operand, own, Resolution(adapter: own, base: base), allowed)
        } catch {
            return Entry(operand: operand, adapter: nil, resolution: nil, problems: [error])
        }
    }

    private static func entry(
        _ operand: AdapterOperand, _ adapter: Adapter, _ resolution: Resolution?, _ allowed: Set<String>
    ) -> Entry {
        let problems = (resolution?.problems ?? adapter.problems).map { $0.lowered(ifIn: allowed) }
        return Entry(operand: operand, adapter: adapter, resolution: resolution, problems: problems)
    }

    /// Says that no adapter was ever trained, if so: all deltas are zero and nothing else is in them.
    ///
    /// Reads the beginning of one factor of each pair, or all of it where it is zero.
    public func untrained() throws(Problem) -> Problem? {
        let adapters = entries.filter { $0.operand.weight != 0 }.compactMap(\.adapter)
        if adapters.isEmpty { return nil }
        for adapter in adapters {
            guard try DeepCheck.changesNothing(adapter) else { return nil }
        }
        let count = adapters.reduce(0) { $0 + $1.modules.count + $1.changes.count + $1.additions.count }
        return Problem(
            .incompatible, "zero-delta", file: adapters[0].file.path,
            "holds nothing but deltas that are zero, all \(count): the merged model would be the base",
            hint:
                "an untrained adapter looks like this, and so does one with an alpha of 0: is it the right checkpoint? --allow zero-delta merges it all the same"
        )
    }

    /// Adds what was found later about the adapter at a place of `entries`.
    mutating func add(_ problems: [Problem], to place: Int) { entries[place].problems += problems }

    /// Everything that was found, the base's problems first.
    public var problems: [Problem] { baseProblems + entries.flatMap(\.problems) }

    /// Whether nothing stands against using them together.
    public var isSound: Bool { !problems.contains { $0.severity == .error } }
}
