import Adapters
import Files
import Problems
import Safetensors
import Tensors

/// One adapter's delta of one module.
struct CombinePart: Sendable {
    let input: Int
    let facts: ModuleFacts
    /// The adapter's scale.
    let scale: Double
    /// The user's weight.
    private(set) var weight: Double
    /// The magnitudes of all weights that were added up.
    private var reach: Double

    init(input: Int, facts: ModuleFacts, scale: Double, weight: Double) {
        (self.input, self.facts, self.scale, self.weight, reach) = (input, facts, scale, weight, abs(weight))
    }

    /// Adds the weight of the same factors in another adapter; what only rounding leaves, as of 0.1 + 0.2 − 0.3, is zero.
    mutating func add(_ other: Double) {
        weight += other
        reach += abs(other)
        if abs(weight) <= 4 * Double.ulpOfOne * reach { weight = 0 }
    }
}

/// One module of the result.
struct CombineModule: Sendable {
    /// The path, with the parameter's name where one is adapted.
    let path: String
    /// What the result's rank and alpha are looked up by.
    let patternPath: String
    /// The first adapter's module, whose shapes and name the result has.
    let model: ModuleFacts
    /// The adapters that have the module, without those that cancel.
    var parts: [CombinePart] = []
    /// Whether equal factors were found and counted as one.
    var hasRepetition = false

    /// Matrices: experts, or one.
    var batches: Int { model.experts }
    var rows: Int { model.factors?.rows ?? 0 }
    var columns: Int { model.factors?.columns ?? 0 }
    /// All ranks together.
    var stackedRank: Int { parts.reduce(0) { $0 + $1.facts.rank } }
    /// Whether the result has a bias of B.
    var hasBias = false
    /// How deep PEFT nests it, for one of several parameters of a module.
    var depth = 0
    /// Of a head that is tied to an embedding: the place of the embedding, whose factors it has transposed.
    var twin: Int?
    /// Whether PEFT adapts a parameter of the module, and not the module.
    var isParameter: Bool { model.kind == .experts || model.kind == .parameter }
    /// How often PEFT applies the delta.
    var repetitions: Double { Double(model.module.repetitions) }
}

/// What a combination will do, from headers and configs, but for what must be compared.
public struct CombinePlan: Sendable {
    /// What was asked for.
    public let request: CombineRequest
    let inputs: [CombineInput]
    private(set) var modules: [CombineModule] = []
    private(set) var carried: [CarriedTensor] = []
    /// What the user should know.
    public private(set) var remarks: [Problem] = []
    /// Parts that were dropped since the same factors were there with the opposite weight.
    private(set) var cancelled = 0

    /// The adapters that take part, with their weights.
    public var adapters: [(path: String, weight: Double)] { inputs.map { ($0.path, $0.weight) } }
    /// Bytes of all factors.
    public var inputBytes: Int { inputs.reduce(0) { $0 + $1.adapter.file.header.dataLength } }
    /// Whether there is any delta in the adapters.
    var hasModules: Bool { !modules.isEmpty }
    /// Whether parts were dropped since they cancel.
    var hasCancelled: Bool { cancelled > 0 }
    /// Whether no part is left, since all have a twin with the opposite weight.
    var cancelsByFactors: Bool { cancelled > 0 && modules.allSatisfy(\.parts.isEmpty) }

    /// Opens everything; all problems together end it.
    public init(_ request: CombineRequest) throws {
        try request.check()
        self.request = request
        let found = CombineInputs(request)
        var problems = found.problems
        inputs = found.entries
        problems += collect()
        if !ProblemList(problems).hasErrors {
            let found = try CarriedTensors(inputs, modules)
            carried = found.tensors
            problems += found.problems + checkExtras() + tieHeads()
            if !ProblemList(problems).hasErrors { try dropRepetitions() }
        }
        let list = ProblemList(problems)
        if list.hasErrors { throw list }
        remarks = problems
        try requireDelta()
    }

    // MARK: Modules

    private mutating func collect() -> [Problem] {
        var places: [String: Int] = [:]
        var problems: [Problem] = []
        for (input, entry) in inputs.enumerated() {
            for facts in entry.facts.modules {
                let isNamed = facts.path != facts.module.path
                let key = isNamed || facts.module.depth == 0 ? facts.path : "\(facts.path) (\(facts.module.depth))"
                let part = CombinePart(
                    input: input, facts: facts, scale: facts.scale / Double(facts.module.repetitions),
                    weight: entry.weight)
                guard let at = places[key] else {
                    places[key] = modules.count
                    modules.append(
                        CombineModule(
                            path: facts.path, patternPath: isNamed ? facts.path : facts.module.patternPath,
                            model: facts, parts: [part], depth: facts.module.depth))
                    continue
                }
                if let problem = mismatch(modules[at], part) {
                    problems.append(problem)
                } else {
                    modules[at].parts.append(part)
                }
            }
        }
        for at in modules.indices {
            modules[at].hasBias = inputs.contains { $0.adapter.config.loraBias }
        }
        return problems + mixedTargets() + nestParameters() + unequalRanks()
    }

    /// PEFT wraps a module or a parameter of it, not both.
    private func mixedTargets() -> [Problem] {
        let whole = Dictionary(modules.filter { !$0.isParameter }.map { ($0.model.module.path, $0) }) { own, _ in own }
        return modules.filter(\.isParameter).compactMap { module in
            guard let other = whole[module.model.module.path] else { return nil }
            return Problem(
                .incompatible, "mixed-targets", file: inputs[module.parts[0].input].adapter.file.path,
                tensor: module.model.module.down.name,
                "adapts a parameter of '\(module.model.module.path)' (target_parameters), which "
                    + "'\(inputs[other.parts[0].input].path)' adapts as a module; one adapter cannot do both",
                hint: "merge them one after the other instead: adapter-merge BASE ONE OTHER -o OUT")
        }
    }

    private func mismatch(_ module: CombineModule, _ part: CombinePart) -> Problem? {
        let (a, b) = (module.model, part.facts)
        let isAlike =
            a.module.isEmbedding == b.module.isEmbedding && a.experts == b.experts && a.kind == b.kind
            && a.module.down.shape.dropFirst() == b.module.down.shape.dropFirst()
            && a.module.up.shape.first == b.module.up.shape.first && a.module.repetitions == b.module.repetitions
        if isAlike { return nil }
        let first = inputs[module.parts[0].input]
        return Problem(
            .incompatible, "shape-mismatch", file: inputs[part.input].adapter.file.path, tensor: b.module.down.name,
            "A \(b.module.down.shape) and B \(b.module.up.shape) do not go with A \(a.module.down.shape) and B "
                + "\(a.module.up.shape) of '\(first.path)'",
            hint: "the adapters were trained on different bases, or on different kinds of modules")
    }

    /// PEFT nests several parameters of one module, the one that is registered first innermost; where the config does not tell
    /// which is which, adapters with other sets of them do not go together.
    private mutating func nestParameters() -> [Problem] {
        var owners: [String: [Int]] = [:]
        for (at, module) in modules.enumerated() where module.isParameter {
            owners[module.model.module.path, default: []].append(at)
        }
        var problems: [Problem] = []
        for (path, places) in owners.sorted(by: { $0.key < $1.key }) {
            let isNamed = places.allSatisfy { modules[$0].path != path }
            if isNamed {
                let order = PEFTConfig.inRegistrationOrder(places.map { modules[$0].path }) { BaseTraits.leaf($0) }
                for at in places {
                    modules[at].depth = order.count - 1 - (order.firstIndex(of: modules[at].path) ?? 0)
                }
            } else if places.contains(where: { modules[$0].parts.count != inputs.count }) {
                problems.append(
                    Problem(
                        .incompatible, "mixed-parameters", file: inputs[0].adapter.file.path,
                        tensor: modules[places[0]].model.module.down.name,
                        "adapts a parameter of '\(path)', but not all adapters have the same ones, and which this is shows only with the base",
                        hint: "merge them one after the other instead: adapter-merge BASE ONE OTHER -o OUT"))
            }
        }
        return problems
    }

    /// Factors of different ranks cannot be added element by element.
    private func unequalRanks() -> [Problem] {
        guard request.method == .factorLinear || (request.method.isSparse && request.domain == .factors) else {
            return []
        }
        return modules.compactMap { module in
            let ranks = Set(module.parts.map(\.facts.rank))
            guard ranks.count > 1 else { return nil }
            return Problem(
                .incompatible, "rank-mismatch", tensor: module.path,
                "has ranks \(ranks.sorted().map(String.init).joined(separator: " and ")), and factors of different ranks cannot be "
                    + "added",
                hint: request.method == .factorLinear ? "linear adds the deltas" : "leave --on factors out")
        }
    }

    private func checkExtras() -> [Problem] {
        guard inputs.contains(where: { $0.adapter.config.loraBias }) else { return [] }
        let (file, method) = (inputs[0].path, request.method)
        if !method.isSum {
            return [
                Problem(
                    .incompatible, "lora-bias", file: file,
                    "the adapters have biases of lora_B, for which \(method.rawValue) is not defined",
                    hint: "stack, subtract, linear and svd add them up")
            ]
        }
        let odd = modules.first { $0.model.kind != .linear && $0.model.kind != .convolution }
        guard let odd else { return [] }
        return [
            Problem(
                .incompatible, "lora-bias", file: file, tensor: odd.model.module.down.name,
                "is neither a linear layer nor a convolution, and PEFT knows biases of lora_B for those only; but the result would have them",
                hint: "combine adapters of the same kind")
        ]
    }

    /// With `ensure_weight_tying` a head has the factors of its embedding, transposed, and must keep them.
    private mutating func tieHeads() -> [Problem] {
        let tying = inputs.map(\.adapter.config.ensureWeightTying)
        guard tying.contains(true) else { return [] }
        let heads = modules.indices.filter { BaseTraits.isVocabulary(modules[$0].model.module.path) }
        let all = modules
        let odd = heads.flatMap { all[$0].parts }.first { !tying[$0.input] }
        if let odd {
            return [
                Problem(
                    .incompatible, "mixed-tying", file: inputs[odd.input].adapter.file.path,
                    tensor: odd.facts.module.down.name,
                    "changes an embedding or a head by itself, while another of the adapters keeps the two tied "
                        + "('ensure_weight_tying'); one adapter cannot do both",
                    hint: "merge both at once instead: adapter-merge BASE ONE OTHER -o OUT")
            ]
        }
        for at in heads where !modules[at].model.module.isEmbedding {
            modules[at].twin = heads.first { place in
                let other = modules[place]
                return other.model.module.isEmbedding && other.rows == modules[at].columns
                    && other.columns == modules[at].rows && other.parts.map(\.input) == modules[at].parts.map(\.input)
            }
        }
        return []
    }

    // MARK: Equal factors

    /// Counts the same factors once, with the sum of their coefficients: so they cancel exactly where they should.
    private mutating func dropRepetitions() throws {
        guard request.method.isSum, inputs.count > 1 else { return }
        for at in modules.indices {
            var kept: [CombinePart] = []
            for part in modules[at].parts {
                let twin = try kept.indices.first { index in
                    guard kept[index].scale == part.scale else { return false }
                    return try Self.sameFactors(kept[index], part, inputs)
                }
                if let twin {
                    kept[twin].add(part.weight)
                    modules[at].hasRepetition = true
                } else {
                    kept.append(part)
                }
            }
            cancelled += kept.count { $0.weight == 0 }
            modules[at].parts = kept.filter { $0.weight != 0 }
        }
    }

    private static func sameFactors(_ a: CombinePart, _ b: CombinePart, _ inputs: [CombineInput]) throws -> Bool {
        let (first, second) = (inputs[a.input].adapter.file, inputs[b.input].adapter.file)
        let pairs = [(a.facts.module.down, b.facts.module.down), (a.facts.module.up, b.facts.module.up)]
        for (own, other) in pairs {
            guard own.dtype == other.dtype, own.shape == other.shape else { return false }
        }
        for (own, other) in pairs {
            var done = 0
            while done < own.byteCount {
                // Most differ within the first bytes.
                let range = done..<min(own.byteCount, done + (done == 0 ? 1 << 12 : 1 << 20))
                guard try first.read(own, bytes: range) == second.read(other, bytes: range) else { return false }
                done = range.upperBound
            }
        }
        return true
    }

    private mutating func requireDelta() throws {
        if inputs.isEmpty {
            throw Problem(
                .incompatible, "zero-delta", "every adapter has weight 0, so nothing is left",
                hint: "give weights that are not 0")
        }
        guard cancelled > 0 else { return }
        if modules.contains(where: { !$0.parts.isEmpty }) {
            let count = modules.count { $0.parts.isEmpty }
            if count > 0 {
                remarks.append(
                    Problem(
                        .note, .incompatible, "cancelled",
                        "\(count) of \(modules.count) modules have the same factors in the adapters, cancel, and are zero in the result"
                    ))
            }
            return
        }
        try addZero(
            "the adapters have the same factors and cancel: the result is zero in all \(modules.count) modules")
    }

    mutating func addZero(_ message: String) throws {
        let isAllowed = request.allowed.contains("zero-delta")
        let problem = Problem(
            isAllowed ? .warning : .error, .incompatible, "zero-delta", file: inputs[0].path, message,
            hint: isAllowed ? nil : "--allow zero-delta writes it all the same")
        guard isAllowed else { throw problem }
        remarks.append(problem)
    }
}
