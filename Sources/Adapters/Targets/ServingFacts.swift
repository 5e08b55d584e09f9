import Problems
import Safetensors
import StrictJSON

/// What the rules of serving programs look at: an adapter, and what is known of its base.
public struct ServingFacts: Sendable {
    /// The adapter.
    public let adapter: Adapter
    /// What it does to the base, if one was named and both can be read.
    public let resolution: Resolution?
    /// The base, if one was named.
    let base: Checkpoint?
    /// Rank, alpha and scale of its modules.
    let modules: [ModuleFacts]
    /// What is wrong with the adapter by itself, without what merely stands against a merge.
    let own: [Problem]
    /// Names as PEFT reads them; of other dialects none.
    let stored: [(name: String, key: AdapterKey)]

    /// Takes the facts together.
    public init(_ adapter: Adapter, base: Checkpoint? = nil, resolution: Resolution? = nil) {
        self.adapter = adapter
        self.base = base
        self.resolution = resolution
        let facts = AdapterFacts(adapter)
        modules = facts.modules
        own = facts.problems
        stored =
            adapter.dialect == .peft && adapter.config.isReadable
            ? adapter.storedTensors.map { ($0.name, AdapterKey($0.name)) } : []
    }

    /// What to do about names that one program reads and another does not.
    static let rewriteHint = "write it anew with plain names: adapter-convert ADAPTER -o OUT --to peft"
    /// What to do where the scale of each module is not alpha / rank.
    static let foldHint = "multiply the scales into the factors: adapter-combine stack ADAPTER -o OUT"
    /// What always works for whatever can be merged.
    static let mergeHint = "merge it with adapter-merge, and serve the merged model"

    var config: PEFTConfig { adapter.config }

    /// Whether a field of the config says anything.
    func isSet(_ field: String) -> Bool { config.fields[field].map { !ConfigAudit.isNeutral($0) } ?? false }

    /// How many more there are than the first.
    func more(_ count: Int) -> String { count > 1 ? " (and \(count - 1) more like it)" : "" }

    /// A scale for people, to four places where that is enough to tell it.
    static func text(_ scale: Double) -> String {
        abs(scale) >= 0.1 && abs(scale) < 1e9 ? "\((scale * 1e4).rounded() / 1e4)" : "\(scale)"
    }

    /// Modules whose scale differs from what a program makes of them.
    func misscaled(_ scale: (ModuleFacts) -> Double) -> [ModuleFacts] {
        modules.filter { module in
            let other = scale(module)
            return abs(module.scale - other) > 1e-9 * max(abs(module.scale), abs(other))
        }
    }

    /// Modules that have other names in the base: neither as it is stored, nor as transformers names it in memory.
    var misnamed: [(adapter: String, base: String)] {
        guard let resolution else { return [] }
        let naming = ModelNaming(resolution.traits)
        return resolution.renamed.filter { pair in
            ![pair.base, naming.memoryName(pair.base)].contains { Self.isSame($0, pair.adapter) }
        }.map { (ParameterName.module(of: $0.adapter), ParameterName.module(of: $0.base)) }
    }

    /// Whether two names are one to transformers, which adds or drops the name of the inner model where a checkpoint is of
    /// the other of the two (`base_model_prefix`).
    private static func isSame(_ a: String, _ b: String) -> Bool {
        if a == b { return true }
        let (short, long) = a.utf8.count < b.utf8.count ? (a, b) : (b, a)
        return innerModels.contains { long == "\($0).\(short)" && !short.hasPrefix($0 + ".") }
    }

    /// What classes of transformers call the model inside them.
    private static let innerModels = [
        "model", "transformer", "bert", "roberta", "distilbert", "deberta", "electra", "albert", "mpnet", "xlm_roberta",
        "gpt_neox", "backbone", "vit", "beit", "deit", "dinov2", "wav2vec2", "hubert", "wavlm", "encoder", "base_model",
    ]

    /// Codes of what stands against a merge, or is one program's own affair.
    private static let ofMerging: Set<String> = [
        "not-lora", "base-changed", "layer-replication", "activated-lora", "qalora", "bdlora", "arrow", "kasa",
        "monteclora", "unknown-config-field", "quantized-base", "not-targeted",
    ]

    /// What was found about the adapter, and about the pair, whatever program it is for.
    public var problems: [Problem] {
        // Notes tell what a merge would do.
        let all = own + (resolution?.problems ?? []).filter { $0.severity != .note }
        let variants = adapter.problems.contains { $0.severity == .error && Self.ofMerging.contains($0.code) }
        var seen: [Problem] = []
        for problem in all where !Self.ofMerging.contains(problem.code) && !seen.contains(problem) {
            // The tensors of an unknown variant are not to be judged by the rules of LoRA.
            if variants, problem.code == "foreign-tensor" { continue }
            seen.append(problem)
        }
        return seen.map { $0.lowered(ifIn: ["unused-pattern"]) }
    }

    /// Tensors that the config does not target, which PEFT passes over.
    var untargeted: [Problem] {
        guard adapter.dialect == .peft, config.type == "LORA", !ProblemList(own).hasErrors else { return [] }
        return AdapterFacts(adapter).standaloneProblems(allowed: []).filter { $0.code == "not-targeted" }
    }
}

extension AdapterNames {
    /// Whether a training framework left its wrapper's name in it.
    static func isWrapped(_ name: String) -> Bool {
        name.hasPrefix("module.") || name.split(separator: ".").contains { AdapterKey.wrappers.contains(String($0)) }
    }
}
