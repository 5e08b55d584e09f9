import Adapters
import Files
import Problems
import Safetensors

/// One adapter that takes part.
struct CombineInput: Sendable {
    let path: String
    let facts: AdapterFacts
    /// What its delta is multiplied by; not zero.
    let weight: Double

    /// The adapter as the user named it; `facts` may be of the pairs that were made of it.
    let original: Adapter
    /// Where these pairs are, for as long as they are needed.
    let scratch: StagedOutput?

    var adapter: Adapter { facts.adapter }
}

/// The adapters, opened and held against each other, with everything that was found.
struct CombineInputs: Sendable {
    /// Those with a weight.
    private(set) var entries: [CombineInput] = []
    /// What was found.
    private(set) var problems: [Problem] = []

    init(_ request: CombineRequest) {
        var bases: [Adapter] = []
        let base = openBase(request)
        if request.base != nil, base == nil { return }
        for (operand, weight) in zip(request.operands, request.weights) {
            do {
                let original = try Adapter(path: operand.path)
                let (adapter, scratch) = try Self.pairs(original, base, request)
                let facts = AdapterFacts(adapter)
                var own = facts.standaloneProblems(allowed: request.allowed)
                // Of what is wrong already, nothing further is to be said.
                if !ProblemList(own).hasErrors { own += Self.unsummable(facts) }
                problems += own
                bases.append(facts.adapter)
                if ProblemList(own).hasErrors { continue }
                if weight != 0 {
                    entries.append(
                        CombineInput(
                            path: operand.path, facts: facts, weight: weight, original: original, scratch: scratch))
                } else {
                    problems.append(
                        Problem(.note, .incompatible, "weight-zero", file: operand.path, "has weight 0 and is left out")
                    )
                }
            } catch let error as Problem {
                problems.append(error)
            } catch let error as ProblemList {
                problems += error.problems
            } catch {
                problems.append(Problem(.internalFault, "unexpected", file: operand.path, "\(error)"))
            }
        }
        checkBases(bases, allowed: request.allowed)
        checkSettings()
    }

    /// The adapter with names of its own model; LoHa, LoKr and differences as pairs of factors, written beside the output for as long
    /// as it takes.
    private static func pairs(
        _ original: Adapter, _ base: Checkpoint?, _ request: CombineRequest
    ) throws -> (adapter: Adapter, scratch: StagedOutput?) {
        let isDense = original.additions.contains { $0.tensor.shape.count > 1 }
        let hasActions = original.changes.contains { $0.scale == nil }
        guard !original.changes.isEmpty || isDense, !hasActions, base != nil, let place = request.scratch else {
            return (try original.plain(for: base), nil)
        }
        var convert = ConvertRequest(original.path, to: .peft, version: request.version)
        convert.base = request.base
        let scratch = try StagedOutput(scratchBeside: place)
        _ = try Converter(ConvertPlan(convert)).run(to: scratch)
        return (try Adapter(path: scratch.stagePath), scratch)
    }

    /// The base, where names need one.
    private mutating func openBase(_ request: CombineRequest) -> Checkpoint? {
        guard let path = request.base else { return nil }
        do throws(Problem) {
            let opened = try Checkpoint.openModel(path: path)
            problems += opened.problems.filter { $0.severity == .error }
            return opened
        } catch {
            problems.append(error)
            return nil
        }
    }

    /// What has no sum, whatever it is added to.
    private static func unsummable(_ facts: AdapterFacts) -> [Problem] {
        var result: [Problem] = []
        let (config, file) = (facts.adapter.config, facts.adapter.file.path)
        if config.type == "TRAINABLE_TOKENS" {
            result.append(
                Problem(
                    .incompatible, "not-lora", file: file,
                    "replaces rows of an embedding and has no delta, so there is nothing to add up",
                    hint: "adapter-merge applies it together with others"))
        }
        if config.type == "LN_TUNING" {
            result.append(
                Problem(
                    .incompatible, "not-lora", file: file,
                    "replaces the parameters of norms and has no delta, so there is nothing to add up",
                    hint: "merge it with adapter-merge"))
        }
        result += others(facts.adapter)
        if config.type == "LORA", config.useDoRA || facts.modules.contains(where: \.isDoRA) {
            result.append(
                Problem(
                    .incompatible, "dora", file: file,
                    "is DoRA: it scales whole rows of the weights by a magnitude, which is no delta that could be added",
                    hint: "merge it with adapter-merge, then make a plain adapter of the result with adapter-extract"))
        }
        for module in facts.modules where !module.hasDelta && config.type == "LORA" {
            result.append(
                Problem(
                    .incompatible, "no-delta", file: file, tensor: module.module.down.name,
                    "shapes \(module.module.down.shape) of A and \(module.module.up.shape) of B have no product that could be "
                        + "added", hint: "a convolution with groups has none; leave the adapter out"))
        }
        return result
    }

    /// Changes that are no products, and what is added whole.
    private static func others(_ adapter: Adapter) -> [Problem] {
        if let change = adapter.changes.first {
            let isDelta = change.scale != nil
            return [
                Problem(
                    .incompatible, "not-lora", file: adapter.file.path, tensor: change.tensors.first?.name,
                    "is \(change.method) for '\(change.path)', which is no product B·A that could be added up",
                    hint: isDelta
                        ? "name the base with --base, which makes pairs of factors of it, or convert it first: adapter-convert --to peft"
                        : "merge it with adapter-merge, then make a plain adapter of the result with adapter-extract")
            ]
        }
        guard let addition = adapter.additions.first else { return [] }
        return [
            Problem(
                .incompatible, "not-lora", file: adapter.file.path, tensor: addition.tensor.name,
                "is a difference of full size for '\(addition.module).\(addition.parameter)', which is no product B·A",
                hint: "merge it with adapter-merge, then make a plain adapter of the result with adapter-extract")
        ]
    }

    // MARK: Bases

    private mutating func checkBases(_ adapters: [Adapter], allowed: Set<String>) {
        guard let first = adapters.first else { return }
        for other in adapters.dropFirst() {
            if let (severity, message) = Self.difference(first, other) {
                let isAllowed = allowed.contains("different-base") || severity == .warning
                problems.append(
                    Problem(
                        isAllowed ? .warning : .error, .incompatible, "different-base", file: other.configPath,
                        message,
                        hint: isAllowed
                            ? nil
                            : "adapters of different bases do not add up; if it is the same base, say --allow different-base"
                    ))
            }
        }
    }

    /// How the bases of two adapters differ, by name, revision or digest.
    private static func difference(_ a: Adapter, _ b: Adapter) -> (Problem.Severity, String)? {
        let (own, other) = (metadata(a, "adapterkit.base"), metadata(b, "adapterkit.base"))
        if let own, let other, own != other {
            return (
                .error,
                "was made from another base than '\(a.path)': \(other.prefix(12))... instead of \(own.prefix(12))..."
            )
        }
        guard let name = a.config.baseModel, let second = b.config.baseModel, name != second else {
            if let r = a.config.revision, let s = b.config.revision, r != s {
                return (.warning, "names revision '\(s)' of the base, while '\(a.path)' names '\(r)'")
            }
            return nil
        }
        // The same model is found under many paths.
        let isAlike = lastComponent(of: name).lowercased() == lastComponent(of: second).lowercased()
        return (
            isAlike ? .warning : .error, "names the base '\(second)', while '\(a.path)' names '\(name)'"
        )
    }

    static func metadata(_ adapter: Adapter, _ key: String) -> String? {
        adapter.file.header.metadata?.first { $0.key == key }?.value
    }

    private mutating func checkSettings() {
        let tasks = Set(entries.compactMap(\.adapter.config.taskType))
        if tasks.count > 1 {
            problems.append(
                Problem(
                    .warning, .incompatible, "different-tasks",
                    "the adapters were trained for different tasks (\(tasks.sorted().joined(separator: ", "))); the result gets the first one's"
                ))
        }
    }
}
