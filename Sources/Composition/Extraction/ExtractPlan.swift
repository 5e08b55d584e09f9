import Adapters
import Problems
import Safetensors
import Tensors

/// A module or parameter of which a low-rank delta is made.
struct ExtractModule: Sendable {
    /// The module's path in memory.
    let module: String
    /// The parameter, where PEFT adapts it without its module (`target_parameters`).
    var parameter: String?
    /// How deep PEFT nests it: 1 for the first of two parameters of one module.
    var depth = 0
    /// Pieces of each matrix: one matrix, or one for each expert.
    let pieces: [[DifferenceRows.Piece]]
    let columns: Int
    /// Whether rows of the stored matrix are inputs, as in Conv1D, so that A and B change places.
    let isTransposed: Bool
    /// Further sizes of A behind (rank × in), for convolutions.
    var kernel: [Int] = []

    /// What ranks are looked up by.
    var patternPath: String { parameter.map { "\(module).\($0)" } ?? module }
    var batches: Int { pieces.count }
    var rows: Int { pieces[0].reduce(0) { $0 + $1.rows } }
    /// The largest rank that its matrices can have.
    var fullRank: Int { min(rows, columns) }
    /// Inputs and outputs of the layer.
    var inputs: Int { isTransposed ? rows : columns }
    var outputs: Int { isTransposed ? columns : rows }
    var byteCount: Int { batches * rows * columns * 4 }
}

/// A tensor of the tuned checkpoint that goes into the adapter whole.
struct WholeTensor: Sendable {
    /// The parameter's name in memory, with `base_layer` where PEFT wraps its module.
    let name: String
    let file: SafetensorsFile
    let tensor: TensorInfo
}

/// What becomes of everything that differs.
struct ExtractPlan: Sendable {
    var modules: [ExtractModule] = []
    var whole: [WholeTensor] = []
    /// `modules_to_save`.
    var saved: [String] = []
    /// `bias`: `none`, `lora_only` or `all`.
    var bias = "none"
    var tiesWeights = false
    /// `target_parameters`.
    var parameters: [String] = []
    /// Names that differ and are left out.
    var leftOut: [String] = []
    /// What the user should know.
    var remarks: [Problem] = []
    /// Tensors that are the same in both.
    var unchanged = 0
}

/// Sorts what differs between two checkpoints by the way in which PEFT can hold it.
struct ExtractPlanner {
    let pair: CheckpointPair
    let request: ExtractRequest
    let traits: BaseTraits
    let naming: ModelNaming
    private(set) var plan = ExtractPlan()
    /// Entries that differ, by their stored name.
    private var changed: [String: CheckpointPair.Entry] = [:]
    /// Paths in memory of modules that become low-rank.
    private var lowRank: Set<String> = []
    private var savedModules: Set<String> = []
    private var problems: [Problem] = []
    private var wholeNames: Set<String> = []
    /// All modules of the base by their path in memory.
    private let modulePaths: Set<String>
    /// Paths in memory of `nn.MultiheadAttention`.
    private let attentionPaths: Set<String>
    /// Paths in memory of the base's linear layers.
    private let linearPaths: Set<String>
    /// Tensors of the tuned checkpoint by their name in memory.
    private let tunedNames: [(name: String, place: Checkpoint.Place)]
    /// Last parts of names that PEFT takes for experts' wherever they stand in a model that has fused ones.
    private let expertLeaves: Set<String>

    init(_ pair: CheckpointPair, _ request: ExtractRequest) {
        self.pair = pair
        self.request = request
        traits = BaseTraits(pair.base)
        let naming = ModelNaming(traits)
        self.naming = naming
        let names = pair.base.tensors.map { (naming.memoryName($0.info.name), $0.info) }
        modulePaths = Set(names.map { ParameterName.module(of: $0.0) })
        attentionPaths = Set(names.filter { $0.0.hasSuffix(".in_proj_weight") }.map { ParameterName.module(of: $0.0) })
        linearPaths = Set(
            names.filter { $0.1.shape.count == 2 && $0.0.hasSuffix(".weight") }.map { ParameterName.module(of: $0.0) }
                .filter { naming.kind($0) == .linear })
        tunedNames = pair.tuned.tensors.map { (naming.memoryName($0.info.name), $0) }
        let hasExperts = pair.base.tensors.contains { ExpertGroups.place($0.info.name) != nil }
        expertLeaves = hasExperts ? ["gate_proj", "up_proj", "down_proj", "gate", "w1", "w2", "w3"] : []
    }

    /// Sorts everything; `isChanged` tells which entries differ.
    mutating func run(_ isChanged: [Bool]) throws -> ExtractPlan {
        for (entry, flag) in zip(pair.entries, isChanged) where flag {
            guard entry.base.info.dtype.kernel != nil, entry.tuned.info.dtype.kernel != nil,
                entry.base.info.dtype.bits > 8, entry.tuned.info.dtype.bits > 8
            else {
                refuse(entry)
                continue
            }
            changed[entry.name] = entry
        }
        plan.unchanged = isChanged.count { !$0 }
        let experts = placeExperts()
        var rest: [CheckpointPair.Entry] = []
        for entry in pair.entries where changed[entry.name] != nil && !experts.contains(entry.name) {
            if let module = linear(entry) {
                plan.modules.append(module)
                lowRank.insert(module.module)
                if let parameter = module.parameter { plan.parameters.append("\(module.module).\(parameter)") }
            } else {
                rest.append(entry)
            }
        }
        try placeTiedEmbedding(&rest)
        for entry in rest { placeWhole(entry) }
        for entry in pair.reshaped { placeReshaped(entry) }
        try placeAdded()
        noteRemoved()
        if ProblemList(problems).hasErrors { throw ProblemList(problems) }
        plan.remarks += problems
        plan.modules.sort { $0.patternPath.precedesNaturally($1.patternPath) }
        // PEFT cannot save a module within one that it saves.
        let saved = plan.saved
        plan.saved = saved.filter { path in !saved.contains { path.hasPrefix($0 + ".") } }
        plan.saved.sort { $0.precedesNaturally($1) }
        return plan
    }

    private mutating func refuse(_ entry: CheckpointPair.Entry) {
        problems.append(
            Problem(
                .incompatible, "quantized", file: pair.tuned.path, tensor: entry.name,
                "differs, and is \(entry.tuned.info.dtype.rawValue) (\(entry.base.info.dtype.rawValue) in the base), of which no difference can be taken",
                hint: "extract from checkpoints in 16 or 32 bits"))
    }

    // MARK: Low-rank

    private func piece(_ entry: CheckpointPair.Entry, offset: Int = 0, rows: Int) -> DifferenceRows.Piece {
        DifferenceRows.Piece(
            base: (pair.baseFile(entry.base), entry.base.info), tuned: (pair.tunedFile(entry.tuned), entry.tuned.info),
            offset: offset, rows: rows)
    }

    /// The module of a weight that PEFT adapts by a low-rank delta; `nil` if it does not.
    private func linear(_ entry: CheckpointPair.Entry) -> ExtractModule? {
        let shape = entry.base.info.shape
        guard entry.name.hasSuffix(".weight"), shape.count >= 2, !shape.contains(0) else { return nil }
        let module = ParameterName.module(of: naming.memoryName(entry.name))
        if naming.readsItself(module, isConvolution: shape.count > 2) { return nil }
        if attentionPaths.contains(ParameterName.module(of: module)) { return nil }
        let columns = shape.dropFirst().reduce(1, *)
        if shape.count > 2 {
            // Of a convolution in groups this shows nothing but that each output sees one input.
            guard shape[1] > 1, shape.count <= 5 else { return nil }
            return ExtractModule(
                module: module, pieces: [[piece(entry, rows: shape[0])]], columns: columns, isTransposed: false,
                kernel: Array(shape.dropFirst(2)))
        }
        guard naming.kind(module) == .linear else { return nil }
        // Of a parameter PEFT takes the matrix as it is stored.
        let isParameter = expertLeaves.contains(BaseTraits.leaf(module))
        let isTransposed = !isParameter && naming.usesConv1D && !traits.mayHaveVocabulary(module)
        return ExtractModule(
            module: module, parameter: isParameter ? "weight" : nil, pieces: [[piece(entry, rows: shape[0])]],
            columns: columns, isTransposed: isTransposed)
    }

    /// Experts, which transformers holds as one parameter of three dimensions whatever the files have.
    private mutating func placeExperts() -> Set<String> {
        let groups = ExpertGroups(pair.entries, naming: naming, isChanged: { changed[$0.name] != nil })
        var taken: Set<String> = []
        for group in groups.all {
            taken.formUnion(group.names)
            guard group.names.contains(where: { changed[$0] != nil }) else { continue }
            plan.modules.append(
                ExtractModule(
                    module: group.module, parameter: group.parameter, depth: group.depth,
                    pieces: group.matrices.map { matrix in
                        matrix.map { piece($0.entry, offset: $0.offset, rows: $0.rows) }
                    }, columns: group.columns, isTransposed: group.isTransposed))
            lowRank.insert(group.module)
            plan.parameters.append("\(group.module).\(group.parameter)")
        }
        return taken
    }

    // MARK: Whole

    /// What PEFT can only hold whole: norms, embeddings, biases, parameters of no module.
    private mutating func placeWhole(_ entry: CheckpointPair.Entry) {
        if request.leavesOutWhole { return plan.leftOut.append(entry.name) }
        let name = naming.memoryName(entry.name)
        let module = ParameterName.module(of: name)
        let last = BaseTraits.leaf(name)
        let owner = attentionPaths.contains(module) ? module : ParameterName.module(of: module)
        if attentionPaths.contains(owner) {
            // torch's MultiheadAttention reads its projections itself.
            save(owner)
        } else if last == "bias", lowRank.contains(module) {
            let depth = plan.modules.filter { $0.module == module }.count
            let layers = String(repeating: ".base_layer", count: max(1, depth))
            add(module + layers + ".bias", entry.tuned)
            if plan.bias == "none" { plan.bias = "lora_only" }
        } else if last == "bias", linearPaths.contains(module) {
            add(name, entry.tuned)
            plan.bias = "all"
        } else if ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"].contains(last) {
            save(module)
        } else {
            addPlain(name, entry.tuned)
        }
    }

    private mutating func add(_ name: String, _ place: Checkpoint.Place) {
        guard wholeNames.insert(name).inserted else { return }
        plan.whole.append(WholeTensor(name: name, file: pair.tunedFile(place), tensor: place.info))
    }

    /// A tensor by its own name, which PEFT loads into the base: all it has for parameters that are no module.
    private mutating func addPlain(_ name: String, _ place: Checkpoint.Place) {
        let module = ParameterName.module(of: name)
        let depth = plan.modules.filter { $0.module == module }.count
        let path = module + String(repeating: ".base_layer", count: depth)
        add(module.isEmpty ? name : "\(path).\(BaseTraits.leaf(name))", place)
        plan.remarks.append(
            Problem(
                .note, .incompatible, "into-base", file: pair.tuned.path, tensor: place.info.name,
                "is no weight of a layer: PEFT loads it straight into the base, where disabling the adapter does not take it back"
            ))
    }

    /// Saves a module with everything in it, as PEFT does.
    ///
    /// PEFT takes each module whose path ends in the entry, dot or not; their tensors must be there too.
    private mutating func save(_ module: String) {
        guard savedModules.insert(module).inserted else { return }
        let hits = modulePaths.filter { $0.hasSuffix(module) }
        let inside = lowRank.contains { path in hits.contains { path == $0 || path.hasPrefix($0 + ".") } }
        let prefixes = hits.union([module]).map { $0 + "." }
        let tensors = tunedNames.filter { entry in prefixes.contains { entry.name.hasPrefix($0) } }
        guard !inside else {
            // What has a delta of its own, or belongs to another module, has its own place.
            for (name, place) in tensors where isChanged(place.info.name) {
                let owner = ParameterName.module(of: name)
                if lowRank.contains(owner) || !(hits.contains(owner) || owner == module) { continue }
                addPlain(name, place)
            }
            return
        }
        for (name, place) in tensors { add(name, place) }
        addTiedHead(inside: hits.union([module]))
        plan.saved.append(module)
    }

    /// The weight of a tied head, which is not stored, belongs to a module that is saved with the head in it.
    private mutating func addTiedHead(inside modules: Set<String>) {
        guard let shared = SharedHead(pair.base, traits), !shared.isStored,
            let embedding = pair.tuned.lookup(shared.embedding.name)
        else { return }
        let name = traits.tiedNames?.memory ?? naming.memoryName(shared.head.name)
        let isInside = { (name: String) in modules.contains { name.hasPrefix($0 + ".") } }
        if isInside(name) { add(name, pair.tuned.lookup(shared.head.name) ?? embedding) }
        for (target, source) in traits.sharedWithHead where isInside(naming.memoryName(target)) {
            if let place = pair.tuned.lookup(source) { add(naming.memoryName(target), place) }
        }
    }

    private func isChanged(_ name: String) -> Bool { changed[name] != nil || pair.base.lookup(name) == nil }

    // MARK: Embeddings that are shared

    /// An embedding that the head shares is saved under both names; else the head would stay the old one.
    private mutating func placeTiedEmbedding(_ rest: inout [CheckpointPair.Entry]) throws {
        guard let shared = SharedHead(pair.base, traits), !request.leavesOutWhole,
            let at = rest.firstIndex(where: { $0.name == shared.embedding.name })
        else { return }
        // A copy of the head that only the base stores is of no account; a model of another class may have no head.
        let isHeadThere = pair.tuned.lookup(shared.head.name) != nil
        guard !isHeadThere || !shared.isStored, isHeadThere || BaseTraits(pair.tuned).isTied else { return }
        let entry = rest.remove(at: at)
        try saveTied(entry, shared)
    }

    private mutating func saveTied(_ entry: CheckpointPair.Entry, _ shared: SharedHead) throws {
        let tie = traits.tiedNames
        let embedding = ParameterName.module(of: naming.memoryName(entry.name))
        let headName = tie?.memory ?? naming.memoryName(shared.head.name)
        let head = ParameterName.module(of: headName)
        let ownHead = pair.tuned.lookup(shared.head.name) ?? tie.flatMap { pair.tuned.lookup($0.memory) }
        for path in [embedding] + traits.furtherEmbeddings(embedding) {
            add(path + ".weight", entry.tuned)
            plan.saved.append(path)
            savedModules.insert(path)
        }
        add(head + ".weight", ownHead ?? entry.tuned)
        plan.saved.append(head)
        savedModules.insert(head)
        for (name, place) in tunedNames where name.hasPrefix(head + ".") { add(name, place) }
        for (target, source) in traits.sharedWithHead {
            guard let place = pair.tuned.lookup(source) else { continue }
            let name = naming.memoryName(target)
            if ParameterName.module(of: name) == head { add(name, place) }
        }
        let isSame = try ownHead.map { place in
            try TensorValues.equal(pair.tunedFile(place), place.info, pair.tunedFile(entry.tuned), entry.tuned.info)
        }
        let isPlain = traits.sharedWithHead.isEmpty && traits.furtherEmbeddings(embedding).isEmpty
        let isKnownToPEFT = [embedding, head].contains { ["embed_tokens", "lm_head"].contains(BaseTraits.leaf($0)) }
        plan.tiesWeights = isPlain && isKnownToPEFT && isSame != false
    }

    // MARK: What only one has, or in another shape

    private mutating func placeReshaped(_ entry: CheckpointPair.Entry) {
        let module = ParameterName.module(of: naming.memoryName(entry.name))
        guard traits.mayHaveVocabulary(module) || BaseTraits.isClassifier(module) || entry.name.hasSuffix(".bias")
        else {
            problems.append(
                Problem(
                    .incompatible, "shape-mismatch", file: pair.tuned.path, tensor: entry.name,
                    "has shape \(entry.tuned.info.shape), but \(entry.base.info.shape) in the base '\(pair.base.path)'",
                    hint: "both must be checkpoints of one model"))
            return
        }
        if request.leavesOutWhole { return plan.leftOut.append(entry.name) }
        changed[entry.name] = entry
        plan.remarks.append(
            Problem(
                .warning, .incompatible, "resized", file: pair.tuned.path, tensor: entry.name,
                "has shape \(entry.tuned.info.shape) instead of \(entry.base.info.shape): PEFT loads it only into a base of that size",
                hint: traits.mayHaveVocabulary(module)
                    ? "before loading: model.resize_token_embeddings(\(entry.tuned.info.shape.first ?? 0))"
                    : "load the base with num_labels=\(entry.tuned.info.shape.first ?? 0)"))
        if let shared = SharedHead(pair.base, traits), !shared.isStored, entry.name == shared.embedding.name {
            do { try saveTied(entry, shared) } catch let problem as Problem { problems.append(problem) } catch {}
            return
        }
        save(module)
    }

    /// Tensors that the base does not have: a head that the base ties, or a new one.
    private mutating func placeAdded() throws {
        let shared = SharedHead(pair.base, traits)
        for place in pair.added {
            let name = naming.memoryName(place.info.name)
            let module = ParameterName.module(of: name)
            if savedModules.contains(module) { continue }
            if let shared, !shared.isStored, traits.isOutputHead(module),
                let embedding = pair.tuned.lookup(shared.embedding.name), embedding.info.shape == place.info.shape,
                try TensorValues.equal(
                    pair.tunedFile(embedding), embedding.info, pair.tunedFile(place), place.info)
            {
                continue
            }
            if request.leavesOutWhole {
                plan.leftOut.append(place.info.name)
                continue
            }
            save(module)
            if !traits.isOutputHead(module) {
                plan.remarks.append(
                    Problem(
                        .warning, .incompatible, "not-in-base", file: pair.tuned.path, tensor: place.info.name,
                        "is not in the base; it is saved whole, and PEFT loads it only into a model that has it"))
            }
        }
    }

    private mutating func noteRemoved() {
        let removed = pair.removed.filter { !savedModules.contains(ParameterName.module(of: naming.memoryName($0))) }
        guard let first = removed.first else { return }
        let more = removed.count - 1
        plan.remarks.append(
            Problem(
                .warning, .incompatible, "not-in-tuned", file: pair.base.path, tensor: first,
                "is not in '\(pair.tuned.path)'" + (more > 0 ? ", and neither are \(more) others" : "")
                    + ": the adapter leaves it as it is"))
    }
}
