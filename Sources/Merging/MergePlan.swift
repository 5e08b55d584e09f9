import Adapters
import Files
import Problems
import Safetensors
import StrictJSON

/// One file of weights of the output.
struct PlannedShard: Sendable {
    /// Its path in the output: a name, or `COMPONENT/NAME` in a pipeline.
    let name: String
    /// The layout of the file; its metadata is still without digests.
    let header: Header
    /// The tensors, in the header's order; in a pipeline their names begin with the component's.
    let tensors: [PlannedTensor]
    /// The component of a pipeline that it belongs to.
    var component: String?
    /// The file of the base that it is a copy of, by its place there, since no adapter changes anything in it.
    var whole: Int?

    var size: Int { header.dataStart + header.dataLength }

    /// The header of a file with these tensors, under the names that they have there.
    static func header(
        of tensors: [PlannedTensor], component: String?, metadata: [(key: String, value: String)]
    ) throws(Problem) -> Header {
        let prefix = component.map { $0.utf8.count + 1 } ?? 0
        return try Header.layout(
            tensors.map { (String(Substring($0.name.utf8.dropFirst(prefix))), $0.dtype, $0.shape) }, metadata: metadata,
            order: .asGiven)
    }
}

/// Tensors that go into one file.
private struct TensorGroup {
    let name: String
    var component: String?
    var tensors: [PlannedTensor] = []
    /// Whether it is a file of the base, with the same tensors unless an adapter brings new ones.
    var isKept = true
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
    /// Whether the only file of weights was renamed, so that the output is this file.
    private(set) var isLoneFile = false
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
            let groups = try Self.groups(tensors, base: base, limit: options.maxShardSize)
            shards = try Self.layOut(groups, base: base, provenance: provenance)
        } catch {
            throw ProblemList([error])
        }
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

    /// The files of the output: those of a model, or of one component after the other.
    private static func groups(_ tensors: [PlannedTensor], base: Checkpoint, limit: Int?) throws(Problem)
        -> [TensorGroup]
    {
        guard base.isPipeline else {
            return limit.map { pack(tensors, base: base, nil, limit: $0) }
                ?? keep(tensors, base: base, nil, base.shards.indices)
        }
        var parts: [String: [PlannedTensor]] = [:]
        for tensor in tensors {
            guard let component = base.component(of: tensor.name) else {
                throw Problem(
                    .incompatible, "no-component", file: base.path, tensor: tensor.name,
                    "would be new in the pipeline, but in none of its components",
                    hint: "names of its tensors begin with one of: "
                        + base.components.map(\.name).joined(separator: ", "))
            }
            parts[component.name, default: []].append(tensor)
        }
        return base.components.flatMap { component in
            let own = parts[component.name] ?? []
            let kept = keep(own, base: base, component, component.shards)
            guard let limit else { return kept }
            // A component in which nothing changes keeps files that are small enough.
            let isSame = own.allSatisfy { $0.isCopy && !$0.isChanged }
            let largest = kept.map { $0.tensors.reduce(0) { $0 + $1.byteCount } }.max() ?? 0
            return isSame && largest <= limit ? kept : pack(own, base: base, component, limit: limit)
        }
    }

    /// Tensors in the base's files; new ones come last in the last file.
    private static func keep(
        _ tensors: [PlannedTensor], base: Checkpoint, _ component: Checkpoint.Component?, _ shards: Range<Int>
    ) -> [TensorGroup] {
        var groups = base.shards[shards].map { TensorGroup(name: $0.name, component: component?.name) }
        for tensor in tensors {
            let place = (base.lookup(tensor.name)?.shard).map { $0 - shards.lowerBound } ?? groups.count - 1
            groups[place].tensors.append(tensor)
        }
        return groups
    }

    /// Fills files in the base's order.
    private static func pack(
        _ tensors: [PlannedTensor], base: Checkpoint, _ component: Checkpoint.Component?, limit: Int
    ) -> [TensorGroup] {
        let names = base.weightNames(of: component)
        return ShardSplit.files(sizes: tensors.map(\.byteCount), limit: limit, names: names).map { name, range in
            TensorGroup(
                name: component.map { "\($0.name)/\(name)" } ?? name, component: component?.name,
                tensors: Array(tensors[range]), isKept: false)
        }
    }

    private static func layOut(
        _ groups: [TensorGroup], base: Checkpoint, provenance: Provenance
    ) throws(Problem) -> [PlannedShard] {
        var result: [PlannedShard] = []
        for group in groups {
            let at = base.shards.firstIndex { $0.name == group.name }
            // A file in which nothing changes stays as it is, byte for byte.
            if let at, group.isKept, isCopy(group.tensors, of: at, base.shards[at].file.header) {
                result.append(
                    PlannedShard(
                        name: group.name, header: base.shards[at].file.header, tensors: group.tensors,
                        component: group.component, whole: at))
                continue
            }
            let metadata = provenance.metadata(
                over: ownMetadata(base, group.name, group.component), digests: nil)
            let header = try PlannedShard.header(of: group.tensors, component: group.component, metadata: metadata)
            result.append(
                PlannedShard(name: group.name, header: header, tensors: group.tensors, component: group.component))
        }
        return result
    }

    /// The metadata of the base's file of that name, or of the first that it has in its place.
    private static func ownMetadata(
        _ base: Checkpoint, _ name: String, _ component: String?
    ) -> [(key: String, value: String)]? {
        let own = base.shards.first { $0.name == name } ?? base.shards.first { $0.component == component }
        return own?.file.header.metadata
    }

    /// The final header of a file that is written.
    func header(of shard: PlannedShard, digests: Provenance.Digests) throws(Problem) -> Header {
        let own = Self.ownMetadata(base, shard.name, shard.component)
        return try PlannedShard.header(
            of: shard.tensors, component: shard.component, metadata: provenance.metadata(over: own, digests: digests))
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
        guard !base.isPipeline else {
            throw Problem(
                .usage, "several-files", file: name, "cannot be the output, since the base is a pipeline",
                hint: "name a directory, or one of the pipeline's files as BASE")
        }
        guard let only = shards.first, shards.count == 1 else {
            throw Problem(
                .usage, "several-files", file: name, "cannot be the output, which has \(shards.count) files of weights",
                hint: "name a directory, or pack them into one with --max-shard-size")
        }
        var copy = self
        copy.shards = [PlannedShard(name: name, header: only.header, tensors: only.tensors, whole: only.whole)]
        copy.isLoneFile = true
        return copy
    }

    /// The files of a component, or of the model.
    func shards(of component: Checkpoint.Component?) -> [PlannedShard] {
        guard let component else { return shards }
        return shards.filter { $0.component == component.name }
    }

    /// Whether a component, or the model, needs an index, as a checkpoint of several files does.
    func hasIndex(_ component: Checkpoint.Component?) -> Bool {
        if isLoneFile { return false }
        let own = shards(of: component)
        return keepsFiles(component) ? (component.map(\.index) ?? base.index) != nil : own.count > 1
    }

    /// Whether all files of a component, or of the model, are those of the base.
    func keepsFiles(_ component: Checkpoint.Component?) -> Bool {
        keepsShards || component != nil && shards(of: component).allSatisfy { $0.whole != nil }
    }

    /// What a directory may hold that is replaced by the output of a pipeline; `nil` for a model, which is known by itself.
    public func replaceablePaths() throws(Problem) -> Set<String>? {
        guard base.isPipeline else { return nil }
        return try Merger.documentNames(of: self).union(shards.map(\.name)).union(["SHA256SUMS"])
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
