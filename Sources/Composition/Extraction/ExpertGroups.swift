import Adapters
import Safetensors

/// Experts of one layer that transformers holds as one parameter (expert × out × in), from the tensors of a checkpoint: one
/// fused tensor, or two for each expert that are stacked, or one for each.
struct ExpertGroups {
    /// One parameter.
    struct Group {
        /// The module's path in memory.
        let module: String
        let parameter: String
        let depth: Int
        /// The stored tensors.
        let names: Set<String>
        /// For each expert, the rows that make up its matrix.
        let matrices: [[(entry: CheckpointPair.Entry, offset: Int, rows: Int)]]
        let columns: Int
        let isTransposed: Bool
    }

    private(set) var all: [Group] = []

    /// The layer, the expert and the weight that a name speaks of: `L.experts.3.w1.weight`.
    static func place(_ name: String) -> (layer: Substring, expert: Int, leaf: Substring)? {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count >= 4, parts.last == "weight", parts[parts.count - 4] == "experts",
            let expert = Int(parts[parts.count - 3]), expert >= 0
        else { return nil }
        let leaf = parts[parts.count - 2]
        guard leaves[leaf] != nil else { return nil }
        return (name[..<parts[parts.count - 4].endIndex], expert, leaf)
    }

    /// Which parameter a weight becomes part of, and its place in it.
    private static let leaves: [Substring: (parameter: String, place: Int)] = [
        "w1": ("gate_up_proj", 0), "w3": ("gate_up_proj", 1), "w2": ("down_proj", 0),
        "gate_proj": ("gate_up_proj", 0), "up_proj": ("gate_up_proj", 1), "down_proj": ("down_proj", 0),
    ]

    /// Finds all groups among `entries`.
    init(_ entries: [CheckpointPair.Entry], naming: ModelNaming, isChanged: (CheckpointPair.Entry) -> Bool) {
        var single: [String: [Int: [Int: CheckpointPair.Entry]]] = [:]
        for entry in entries {
            if let place = Self.place(entry.name), entry.base.info.shape.count == 2, let leaf = Self.leaves[place.leaf]
            {
                let key = "\(place.layer) \(leaf.parameter)"
                single[key, default: [:]][place.expert, default: [:]][leaf.place] = entry
            } else if let group = Self.fused(entry, naming) {
                all.append(group)
            }
        }
        for (key, experts) in single.sorted(by: { $0.key < $1.key }) {
            let parts = key.split(separator: " ")
            if let group = Self.stacked(String(parts[0]), String(parts[1]), experts, naming) { all.append(group) }
        }
        nest(isChanged)
    }

    private static func fused(_ entry: CheckpointPair.Entry, _ naming: ModelNaming) -> Group? {
        let name = naming.memoryName(entry.name)
        let shape = entry.base.info.shape
        let last = name.split(separator: ".").last.map(String.init) ?? ""
        guard shape.count == 3, !shape.contains(0), ["gate_up_proj", "down_proj"].contains(last) else { return nil }
        return Group(
            module: ParameterName.module(of: name), parameter: last, depth: 0, names: [entry.name],
            matrices: (0..<shape[0]).map { [(entry, $0 * shape[1] * shape[2], shape[1])] }, columns: shape[2],
            isTransposed: naming.usesTransposedExperts)
    }

    private static func stacked(
        _ layer: String, _ parameter: String, _ experts: [Int: [Int: CheckpointPair.Entry]], _ naming: ModelNaming
    ) -> Group? {
        let parts = parameter == "gate_up_proj" ? 2 : 1
        var matrices: [[(entry: CheckpointPair.Entry, offset: Int, rows: Int)]] = []
        var names: Set<String> = []
        for expert in 0..<experts.count {
            guard let found = experts[expert], found.count == parts else { return nil }
            let ordered = (0..<parts).compactMap { found[$0] }
            guard ordered.count == parts, ordered.allSatisfy({ $0.base.info.shape[1] == ordered[0].base.info.shape[1] })
            else {
                return nil
            }
            matrices.append(ordered.map { ($0, 0, $0.base.info.shape[0]) })
            names.formUnion(ordered.map(\.name))
        }
        guard let columns = matrices.first?.first?.entry.base.info.shape[1] else { return nil }
        return Group(
            module: naming.memoryName(layer), parameter: parameter, depth: 0, names: names, matrices: matrices,
            columns: columns, isTransposed: false)
    }

    /// PEFT nests the parameter that is registered first, if both are adapted.
    private mutating func nest(_ isChanged: (CheckpointPair.Entry) -> Bool) {
        let used = all.filter { group in group.matrices.contains { $0.contains { isChanged($0.entry) } } }
        let down = Set(used.filter { $0.parameter == "down_proj" }.map(\.module))
        all = all.map { group in
            guard group.parameter == "gate_up_proj", down.contains(group.module) else { return group }
            return Group(
                module: group.module, parameter: group.parameter, depth: 1, names: group.names,
                matrices: group.matrices, columns: group.columns, isTransposed: group.isTransposed)
        }
    }
}
