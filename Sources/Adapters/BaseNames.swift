import Problems
import Safetensors

/// Finds the tensors of a base by the names that an adapter uses for them.
///
/// An exact name comes first, also one that the architecture is known to store under another name. Else the name is looked
/// up by its end: everything from the first number on must be equal (so layer 5 never becomes layer 0), or be so after the
/// renamings of `RenamedParts`; the prefixes before it may differ; the shape must fit; and of several candidates the one
/// with the longest common end is taken, or else the one whose prefix consists of the same parts, if it is the only one.
struct BaseNames {
    enum Answer {
        case found(TensorInfo)
        /// Names with the right end, none of which has a shape that fits.
        case wrongShape([TensorInfo])
        case ambiguous([TensorInfo])
        case absent
    }

    private static let mostAlike = 256

    private let checkpoint: Checkpoint
    private let byTail: [Substring: [TensorInfo]]
    /// Other names of tensors, and the name of a head that the base does not store.
    private let aliases: [String: TensorInfo]
    private let sharedHead: SharedHead?
    private let flattened: FlattenedNames?

    init(
        _ checkpoint: Checkpoint, tie: TiedArchitectures.Row? = nil, sharedHead: SharedHead? = nil,
        naming: ModelNaming? = nil, flattened: FlattenedNames? = nil
    ) {
        self.checkpoint = checkpoint
        self.flattened = flattened
        self.sharedHead = sharedHead
        var index: [Substring: [TensorInfo]] = [:]
        for entry in checkpoint.tensors { index[Self.tail(entry.info.name), default: []].append(entry.info) }
        var aliases: [String: TensorInfo] = [:]
        if let tie, !tie.memory.isEmpty, let stored = checkpoint.lookup(tie.head) { aliases[tie.memory] = stored.info }
        if let shared = sharedHead {
            if !shared.isStored { index[Self.tail(shared.head.name), default: []].append(shared.head) }
            aliases[shared.head.name] = shared.head
            if let tie, shared.isKnown {
                for name in [tie.head, tie.memory] where !name.isEmpty { aliases[name] = shared.head }
            }
            for (target, source) in shared.companions { aliases[target] = source }
        }
        // What transformers calls a tensor once the model is loaded, where that is another name.
        if let naming, naming.hasRenames {
            for entry in checkpoint.tensors {
                let name = naming.memoryName(entry.info.name)
                if name != entry.info.name, aliases[name] == nil { aliases[name] = entry.info }
            }
        }
        byTail = index
        self.aliases = aliases
    }

    /// The base's tensor that `tensor` starts from: for a head that is not stored, the embedding that it shares.
    func source(of tensor: TensorInfo) -> String {
        guard let sharedHead, !sharedHead.isStored, tensor.name == sharedHead.head.name else { return tensor.name }
        return sharedHead.embedding.name
    }

    /// Where a module is in a base that keeps it in parts, or as part of another.
    func places(of path: String) -> [(weight: TensorInfo, rows: Range<Int>?)] { flattened?.places(of: path) ?? [] }

    /// The base's tensor of exactly this name, stored or shared.
    func exact(_ name: String) -> TensorInfo? { checkpoint.lookup(name)?.info ?? aliases[name] }

    /// Looks `name` up; `fits` tells whether a tensor is possible.
    func find(_ name: String, fits: (TensorInfo) -> Bool) -> Answer {
        if let flattened { return flattened.find(name, fits: fits) }
        if let exact = exact(name) {
            return fits(exact) ? .found(exact) : .wrongShape([exact])
        }
        let tail = Self.tail(name)
        var candidates = byTail[tail] ?? []
        if candidates.isEmpty {
            candidates = RenamedParts.alternatives(to: String(tail)).flatMap { byTail[$0[...]] ?? [] }
        }
        // The components of a pipeline are models of their own, some of them with the same names.
        if checkpoint.isPipeline, let component = PipelineNames.component(of: name, in: checkpoint) {
            candidates.removeAll { !$0.name.hasPrefix(component) }
        }
        if tail.utf8.first.map(Self.isDigit) != true {
            // The end of a name says little where no number is in it: the pooler's `dense` is not the head's `dense`.
            candidates.removeAll { !Self.isRelated(name, $0.name) }
        }
        if candidates.isEmpty { return .absent }
        // Names of a model part near their ends; so many alike are no model, and to compare them all would take for ever.
        if candidates.count > Self.mostAlike { return .ambiguous(candidates) }
        let fitting = candidates.filter(fits)
        if fitting.isEmpty { return .wrongShape(candidates) }
        let chosen = Self.mostAlike(name, fitting)
        return chosen.count == 1 ? .found(chosen[0]) : .ambiguous(chosen)
    }

    private static func mostAlike(_ name: String, _ candidates: [TensorInfo]) -> [TensorInfo] {
        let lengths = candidates.map { commonEnd(name, $0.name) }
        let best = lengths.max() ?? 0
        let chosen = zip(candidates, lengths).filter { $0.1 == best }.map(\.0)
        if chosen.count == 1 { return chosen }
        // `model.language_model.layers` and `language_model.model.layers` are the same; a vision tower is another place.
        if prefix(name).isEmpty { return chosen }
        let related = chosen.filter { !prefix($0.name).isEmpty && isRelated(name, $0.name) }
        return related.count == 1 ? related : chosen
    }

    /// Whether two names go on from the same place: one has all the parts before the tail that the other has.
    private static func isRelated(_ a: String, _ b: String) -> Bool {
        let (left, right) = (prefix(a), prefix(b))
        return left.isSubset(of: right) || right.isSubset(of: left)
    }

    /// The parts of a name before its first number.
    private static func prefix(_ name: String) -> Set<Substring> {
        Set(name[..<tail(name).startIndex].split(separator: "."))
    }

    /// The part of a name that must be equal: from its first number on, or the last module and parameter.
    static func tail(_ name: String) -> Substring {
        let bytes = name.utf8
        var part = bytes.startIndex
        var previous = part
        while true {
            let end = bytes[part...].firstIndex(of: UInt8(ascii: ".")) ?? bytes.endIndex
            if part < end, bytes[part..<end].allSatisfy(isDigit) { return name[part...] }
            if end == bytes.endIndex { return name[previous...] }
            previous = part
            part = bytes.index(after: end)
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

    /// How many name parts two names have in common at their ends.
    private static func commonEnd(_ a: String, _ b: String) -> Int {
        let dot = UInt8(ascii: ".")
        let parts = zip(a.utf8.split(separator: dot).reversed(), b.utf8.split(separator: dot).reversed())
        return parts.prefix { $0.0.elementsEqual($0.1) }.count
    }
}
