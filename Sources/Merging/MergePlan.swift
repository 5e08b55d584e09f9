import Adapters
import Files
import Problems
import Safetensors
import StrictJSON

/// One file of weights of the output.
struct PlannedShard: Sendable {
    let name: String
    /// The layout of the file; its metadata is still without digests.
    let header: Header
    /// The tensors, in the header's order.
    let tensors: [PlannedTensor]
    /// The file of the base that it is a copy of, by its place there, since no adapter changes anything in it.
    var whole: Int?

    var size: Int { header.dataStart + header.dataLength }
}

/// Everything a merge will write, known from headers, configs and options alone.
public struct MergePlan: Sendable {
    /// The base.
    public let base: Checkpoint
    /// The adapters, in the order in which they are summed.
    public let inputs: [MergeInput]
    /// How the output is written.
    public let options: MergeOptions
    private(set) var shards: [PlannedShard]
    /// Whether the output needs an index, as a checkpoint of several files does.
    private(set) var hasIndex: Bool
    /// Whether every tensor stays in the file that the base has it in.
    let keepsShards: Bool
    let provenance: Provenance

    /// Plans the merge of `inputs` into `base`.
    public init(base: Checkpoint, inputs: [MergeInput], options: MergeOptions) throws(ProblemList) {
        self.base = base
        self.inputs = inputs
        self.options = options
        provenance = Provenance(base: base, inputs: inputs, version: options.version, digests: options.digests)
        var builder = PlanBuilder(base: base, inputs: inputs, options: options)
        let tensors = builder.tensors()
        guard builder.problems.isEmpty else { throw ProblemList(builder.problems) }
        keepsShards = options.maxShardSize == nil
        do throws(Problem) {
            let groups =
                keepsShards ? Self.keep(tensors, base: base) : Self.pack(tensors, limit: options.maxShardSize ?? .max)
            shards = try Self.layOut(groups, base: base, provenance: provenance, options: options)
        } catch {
            throw ProblemList([error])
        }
        hasIndex = keepsShards ? base.index != nil : shards.count > 1
    }

    /// Plans the merge of what was loaded; problems of the inputs, and of their sum, are thrown together.
    public init(_ loaded: LoadedInputs, options: MergeOptions) throws(ProblemList) {
        guard loaded.isSound, let base = loaded.base else { throw ProblemList(loaded.problems) }
        let inputs = Self.inputs(loaded)
        try self.init(base: base, inputs: inputs, options: options)
        guard counts.changed > 0 else { throw ProblemList([Self.nothing(inputs, base)]) }
    }

    private static func inputs(_ loaded: LoadedInputs) -> [MergeInput] {
        loaded.entries.compactMap { entry in
            guard let adapter = entry.adapter, let resolution = entry.resolution else { return nil }
            return MergeInput(adapter: adapter, weight: entry.operand.weight, resolution: resolution)
        }
    }

    private static func nothing(_ inputs: [MergeInput], _ base: Checkpoint) -> Problem {
        Problem(
            .incompatible, "nothing-to-merge", file: inputs.first?.adapter.path ?? base.path,
            "changes nothing: a merged model would be no different from the base", hint: "are the weights zero?")
    }

    /// What stands against the sum of adapters that fit one by one; nothing is laid out for it.
    public static func problems(of loaded: LoadedInputs) -> [Problem] {
        guard loaded.isSound, let base = loaded.base else { return [] }
        let inputs = inputs(loaded)
        var builder = PlanBuilder(base: base, inputs: inputs, options: MergeOptions(version: ""))
        let tensors = builder.tensors()
        guard builder.problems.isEmpty else { return builder.problems }
        return tensors.contains { $0.isChanged } ? [] : [nothing(inputs, base)]
    }

    /// What the user should know of the inputs together: a base that is a merge already, an adapter that is named twice.
    public var remarks: [Problem] {
        var result: [Problem] = []
        if let earlier = RecordedMerge(of: base), !earlier.adapters.isEmpty {
            let names = earlier.adapters.map { $0.name + ($0.weight == 1 ? "" : ":\($0.weight)") }
            result.append(
                Problem(
                    .note, .incompatible, "merged-base", file: base.path,
                    "is itself a merge with \(names.joined(separator: ", ")), which stays in it"))
        }
        for (at, input) in inputs.enumerated() where input.weight != 0 {
            let isSecond = inputs[..<at].contains {
                $0.weight != 0 && $0.adapter.file.file.identity == input.adapter.file.file.identity
            }
            guard isSecond else { continue }
            result.append(
                Problem(
                    .warning, .incompatible, "adapter-twice", file: input.adapter.path,
                    "is named twice, so that its delta counts twice: the weights add up"))
        }
        return result
    }

    /// Tensors in the base's files; new ones come last in the last file.
    private static func keep(_ tensors: [PlannedTensor], base: Checkpoint) -> [(name: String, tensors: [PlannedTensor])]
    {
        var groups = base.shards.map { (name: $0.name, tensors: [PlannedTensor]()) }
        for tensor in tensors {
            let place = base.lookup(tensor.name)?.shard ?? groups.count - 1
            groups[place].tensors.append(tensor)
        }
        return groups
    }

    /// Fills files in the base's order.
    private static func pack(_ tensors: [PlannedTensor], limit: Int) -> [(name: String, tensors: [PlannedTensor])] {
        ShardSplit.files(sizes: tensors.map(\.byteCount), limit: limit).map { ($0.name, Array(tensors[$0.tensors])) }
    }

    private static func layOut(
        _ groups: [(name: String, tensors: [PlannedTensor])], base: Checkpoint, provenance: Provenance,
        options: MergeOptions
    ) throws(Problem) -> [PlannedShard] {
        var result: [PlannedShard] = []
        for group in groups {
            let at = base.shards.firstIndex { $0.name == group.name }
            let old = at.map { base.shards[$0].file.header }
            // A file in which nothing changes stays as it is, byte for byte.
            if let at, let old, options.maxShardSize == nil, isCopy(group.tensors, of: at, old) {
                result.append(PlannedShard(name: group.name, header: old, tensors: group.tensors, whole: at))
                continue
            }
            let metadata = provenance.metadata(
                over: old?.metadata ?? base.shards.first?.file.header.metadata, digests: nil)
            let header = try Header.layout(
                group.tensors.map { ($0.name, $0.dtype, $0.shape) }, metadata: metadata, order: .asGiven)
            result.append(PlannedShard(name: group.name, header: header, tensors: group.tensors))
        }
        return result
    }

    /// Whether the tensors are just those of a file of the base, in its order.
    private static func isCopy(_ tensors: [PlannedTensor], of shard: Int, _ header: Header) -> Bool {
        guard tensors.count == header.tensors.count else { return false }
        return zip(tensors, header.tensors).allSatisfy { tensor, info in
            guard tensor.isCopy, !tensor.isChanged, case .base(shard, let source) = tensor.source else { return false }
            return source == info && tensor.name.hasSameBytes(as: info.name)
        }
    }

    /// The same plan with its only file of weights under another name.
    public func renamed(to name: String) throws(Problem) -> MergePlan {
        guard let only = shards.first, shards.count == 1 else {
            throw Problem(
                .usage, "several-files", file: name, "cannot be the output, which has \(shards.count) files of weights",
                hint: "name a directory, or pack them into one with --max-shard-size")
        }
        var copy = self
        copy.shards = [PlannedShard(name: name, header: only.header, tensors: only.tensors, whole: only.whole)]
        copy.hasIndex = false
        return copy
    }

    /// Files of weights in which nothing changes: they are the base's, byte for byte.
    public var untouchedFiles: [String] { shards.filter { $0.whole != nil }.map(\.name) }

    /// Bytes of all tensor data in the output.
    public var dataSize: Int { shards.reduce(0) { $0 + $1.header.dataLength } }

    /// Bytes of all weight files in the output.
    public var weightFileSize: Int { shards.reduce(0) { $0 + $1.size } }

    /// Names and sizes of the weight files.
    public var files: [(name: String, size: Int)] { shards.map { ($0.name, $0.size) } }

    /// How many tensors are changed or new, and how many are copied as they are.
    public var counts: (changed: Int, copied: Int) {
        let all = shards.flatMap(\.tensors)
        let changed = all.count { !$0.isCopy || $0.isChanged }
        return (changed, all.count - changed)
    }

    /// Bytes of tensors that are copied as they are.
    public var copiedBytes: Int { shards.flatMap(\.tensors).reduce(0) { $0 + ($1.isCopy ? $1.byteCount : 0) } }

    /// The peak of memory that the merge will need besides the program itself, in bytes.
    public func memoryEstimate(threads: Int) -> Int {
        let factors = shards.flatMap(\.tensors).map { tensor in
            tensor.terms.reduce(0) { $0 + $1.term.rank * ($1.term.view.rows + 2 * $1.term.view.columns) * 8 }
        }
        return threads * BlockBuffers.size + 2 * (factors.max() ?? 0)
    }

    /// Whether embedding and head part in any of the adapters.
    var unties: Bool { inputs.contains { $0.weight != 0 && $0.resolution.unties } }
}
