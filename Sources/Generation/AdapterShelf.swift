import Adapters
import Archives
import Files
import Models
import Problems
import Safetensors
import Serving

/// A base in memory and adapters that were read once, of which any can be in use at a time.
///
/// Changing what is in use reads nothing: adapters that are not in use stay attached with weight 0, which leaves them out.
public final class AdapterShelf {
    /// The base.
    public let model: ServedModel
    /// Its sizes.
    public let config: LlamaConfig
    /// What is in use, in the order in which it was named.
    public private(set) var inUse: [AdapterOperand] = []
    /// Warnings and notes about adapters that were read since this was last emptied.
    public var notes: [Problem] = []
    /// Codes of errors that may be taken for warnings.
    public static let allowable =
        (LoadedInputs.allowableInMerge.filter { $0 != "overflow" } + ["unexpected-tensor"]).sorted()

    private let threads: Int
    private let allowed: Set<String>
    private var known: [String: Kind] = [:]

    /// What an adapter is, by how it takes part.
    private enum Kind {
        case served(AttachmentID)
        case prefix(PrefixTuning)
        case bottleneck(Bottleneck)
    }

    /// Opens a base, reading headers only.
    ///
    /// - Parameter allowing: codes of errors that are taken for warnings.
    public init(path: String, threads: Int, allowing: Set<String> = []) throws(ProblemList) {
        (self.threads, allowed) = (threads, allowing)
        let checkpoint: Checkpoint
        do throws(Problem) {
            checkpoint = try Checkpoint.openModel(path: path)
        } catch {
            throw Self.list(error)
        }
        try checkpoint.requireSound()
        do throws(Problem) {
            config = try LlamaConfig(checkpoint)
        } catch {
            throw Self.list(error)
        }
        notes = try Self.checkLayout(checkpoint, config, allowing)
        model = try ServedModel(checkpoint, threads: threads)
    }

    /// Holds the base's tensors against its config, before anything is read; what is allowed is returned as warnings.
    private static func checkLayout(
        _ checkpoint: Checkpoint, _ config: LlamaConfig, _ allowed: Set<String>
    ) throws(ProblemList) -> [Problem] {
        // Scales beside a weight of 8 bits are a part of it.
        let found = LlamaLayout(config).problems(checkpoint) { place in
            place.info.dtype.bits == 8 ? StoredScales.companions(of: place.info.name) : []
        }
        let problems = found.map { $0.lowered(ifIn: allowed) }
        if ProblemList(problems).hasErrors { throw ProblemList(problems) }
        return problems
    }

    private static func list(_ problem: Problem) -> ProblemList { ProblemList([problem]) }

    /// Puts `operands` in use, and no others; adapters that are new are read.
    ///
    /// If that fails, what was in use stays so.
    public func use(_ operands: [AdapterOperand]) throws(ProblemList) {
        for operand in operands { try load(operand.path) }
        var weights: [(path: String, weight: Double)] = []
        for operand in operands {
            guard let at = weights.firstIndex(where: { $0.path == operand.path }) else {
                weights.append((operand.path, operand.weight))
                continue
            }
            weights[at].weight += operand.weight
        }
        try check(weights)
        let before = model.attachments.map { ($0.id, $0.weight) }
        do throws(ProblemList) {
            try setAll(weights)
        } catch {
            for (id, _) in before { try model.setWeight(id, 0) }
            for (id, weight) in before { try model.setWeight(id, weight) }
            throw error
        }
        inUse = weights.map { AdapterOperand(path: $0.path, weight: $0.weight) }
    }

    private func setAll(_ weights: [(path: String, weight: Double)]) throws(ProblemList) {
        var wanted: [AttachmentID: Double] = [:]
        for entry in weights {
            if case .served(let id)? = known[entry.path] { wanted[id] = entry.weight }
        }
        // First out, then in: at no time are there two that have no sum.
        let attachments = model.attachments
        for entry in attachments where wanted[entry.id] == nil && entry.weight != 0 { try model.setWeight(entry.id, 0) }
        for entry in attachments {
            if let weight = wanted[entry.id], weight != entry.weight { try model.setWeight(entry.id, weight) }
        }
    }

    /// Reads an adapter that is not known yet; it is not in use.
    public func load(_ path: String) throws(ProblemList) {
        guard known[path] == nil else { return }
        if let (kind, binding) = try hooked(path) {
            if let binding { try check(binding, path) }
            known[path] = kind
            return
        }
        let id = try attach(path)
        known[path] = .served(id)
        notes += model.attachments.first { $0.id == id }?.notes ?? []
    }

    private func attach(_ path: String) throws(ProblemList) -> AttachmentID {
        do throws(ProblemList) {
            return try model.attach(path: path, weight: 0, allowing: allowed)
        } catch {
            throw ProblemList(
                error.problems.map { problem in
                    guard problem.code == "not-lora" else { return problem }
                    var copy = problem
                    copy.hint =
                        "these kinds can be run: LoRA and its relatives DoRA, rsLoRA and PiSSA, trainable tokens, prefix tuning, "
                        + "and bottlenecks of the 'adapters' library"
                    return copy
                })
        }
    }

    private func check(_ binding: Binding, _ path: String) throws(ProblemList) {
        let found: [Problem]
        do throws(Problem) {
            found = try BaseBinding.problems(
                binding, of: path, model.checkpoint, allowed: allowed, threads: threads)
        } catch {
            throw Self.list(error)
        }
        if ProblemList(found).hasErrors { throw ProblemList(found) }
        notes += found
    }

    /// An adapter that changes no weights, and what it is bound to; `nil` if it is of another kind.
    private func hooked(_ path: String) throws(ProblemList) -> (kind: Kind, binding: Binding?)? {
        do throws(Problem) {
            if let (folder, archive) = try Self.folder(path), let found = try Bottleneck(folder, config) {
                return (.bottleneck(found), archive?.binding ?? found.binding)
            }
            let adapter = try Adapter(path: path)
            guard adapter.config.type == PrefixTuning.type else { return nil }
            return (.prefix(try PrefixTuning(adapter, config)), try adapter.binding())
        } catch {
            throw Self.list(error)
        }
    }

    /// What lies at `path`, if it is a directory or an archive of one.
    private static func folder(_ path: String) throws(Problem) -> (folder: any Folder, archive: Archive?)? {
        if Directory.kind(of: path) == .directory { return (try Directory(path: path), nil) }
        guard let archive = try Archive.openIfArchive(path: path), !archive.isFile else { return nil }
        return (archive.folder(), archive)
    }

    /// A prefix has no weight but all or nothing, and stands alone.
    private func check(_ weights: [(path: String, weight: Double)]) throws(ProblemList) {
        var prefixes: [String] = []
        for entry in weights where entry.weight != 0 {
            guard case .prefix? = known[entry.path] else { continue }
            prefixes.append(entry.path)
            guard entry.weight == 1 else {
                throw Self.list(
                    Problem(
                        .incompatible, "weighted-prefix", file: entry.path,
                        "is a prefix, which has no part: its weight can only be 1, or 0",
                        hint: "name it without a weight"))
            }
        }
        guard prefixes.count > 1 else { return }
        throw Self.list(
            Problem(
                .incompatible, "several-prefixes", file: prefixes[1],
                "is a prefix, as is '\(prefixes[0])', but only one can stand before a text",
                hint: "use one prefix at a time"))
    }

    /// The model with what is in use.
    public func decoder() throws(Problem) -> Decoder {
        var hooks: [any BlockHooks] = []
        for operand in inUse where operand.weight != 0 {
            switch known[operand.path] {
            case .prefix(let prefix): hooks.append(prefix)
            case .bottleneck(let bottleneck): hooks.append(bottleneck.weighted(operand.weight))
            default: break
            }
        }
        do throws(Problem) {
            return try Decoder(model.snapshot(), config, hooks: hooks, threads: threads)
        } catch {
            throw error.at(file: model.checkpoint.path)
        }
    }
}
