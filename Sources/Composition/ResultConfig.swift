import Adapters
import Problems
import StrictJSON

/// The `adapter_config.json` of a result: plain LoRA, as PEFT reads it.
struct ResultConfig {
    private var fields = JSONObject()

    init() {
        fields["peft_type"] = .string("LORA")
        fields["bias"] = .string("none")
        fields["fan_in_fan_out"] = .bool(false)
        fields["inference_mode"] = .bool(true)
        fields["init_lora_weights"] = .bool(true)
        fields["lora_bias"] = .bool(false)
        fields["lora_dropout"] = Self.number(0)
        fields["use_dora"] = .bool(false)
        fields["use_rslora"] = .bool(false)
        fields["revision"] = .null
        fields["task_type"] = .null
        fields["modules_to_save"] = .null
        fields["base_model_name_or_path"] = .null
    }

    subscript(key: String) -> JSONValue? {
        get { fields[key] }
        set { fields[key] = newValue }
    }

    static func number(_ value: Double) -> JSONValue { .number(JSONNumber(text: Origin.text(value))) }

    static func texts(_ values: some Sequence<String>) -> JSONValue { .array(values.map(JSONValue.string)) }

    /// Ranks of the modules, and alphas that make every scale the same.
    mutating func setRanks(_ ranks: [(path: String, rank: Int)], scale: Double) {
        setRanks(ranks, alphas: ranks.map { Self.alpha($0.rank, scale) })
    }

    /// Ranks and alphas of the modules: the most frequent ones for all, others as patterns.
    mutating func setRanks(_ ranks: [(path: String, rank: Int)], alphas: [Double]) {
        let rank = Tally(ranks.map(\.rank)).entries.first?.value ?? 1
        // PEFT has a pattern for each by itself, so an alpha of its own is needed only where it differs.
        let usual = zip(ranks, alphas).filter { $0.0.rank == rank }.map(\.1)
        let alpha = Tally(usual).entries.first?.value ?? 1
        fields["r"] = Self.number(Double(rank))
        fields["lora_alpha"] = Self.number(alpha)
        let paths = Set(ranks.map(\.path))
        var (rankPattern, alphaPattern): ([String: JSONValue], [String: JSONValue]) = ([:], [:])
        for (entry, own) in zip(ranks, alphas) {
            let key = Self.key(entry.path, among: paths)
            if entry.rank != rank { rankPattern[key] = Self.number(Double(entry.rank)) }
            if own != alpha { alphaPattern[key] = Self.number(own) }
        }
        let sorted = { (pattern: [String: JSONValue]) in
            JSONValue.object(JSONObject(pattern.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }))
        }
        fields["rank_pattern"] = sorted(rankPattern)
        fields["alpha_pattern"] = sorted(alphaPattern)
    }

    /// The number that makes alpha / rank the scale.
    private static func alpha(_ rank: Int, _ scale: Double) -> Double { scale * Double(rank) }

    /// A pattern that matches only this path: PEFT lets anything that ends in a dot come before it, and dots stand for any
    /// character.
    private static func key(_ path: String, among paths: Set<String>) -> String {
        let special = #"\^$*+?{}[]|()"#
        let isAmbiguous = paths.contains { $0 != path && matches(path, endOf: $0) }
        guard isAmbiguous || path.contains(where: special.contains) else { return path }
        return "^" + quoted(path)
    }

    /// The path as a pattern that matches nothing else.
    static func quoted(_ path: String) -> String {
        path.map { #"\^$*+?{}[]|()."#.contains($0) ? "\\\($0)" : "\($0)" }.joined()
    }

    /// Whether PEFT would take `key` for a pattern of `path`: at its end, behind a dot or whole, each dot for any character.
    private static func matches(_ key: String, endOf path: String) -> Bool {
        let (short, long, dot) = (Array(key.utf8), Array(path.utf8), UInt8(ascii: "."))
        guard short.count <= long.count else { return false }
        let start = long.count - short.count
        guard start == 0 || long[start - 1] == dot else { return false }
        return short.indices.allSatisfy { short[$0] == dot || short[$0] == long[start + $0] }
    }

    /// The file, keys sorted as PEFT sorts them.
    var bytes: [UInt8] {
        let sorted = fields.entries.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        return Array((JSONValue.object(JSONObject(sorted)).encoded(indent: 2, asciiOnly: true) + "\n").utf8)
    }
}

extension CombinePlan {
    /// The config of the result.
    func config(_ result: ResultRanks) throws -> [UInt8] {
        var config = ResultConfig()
        let configs = inputs.map(\.adapter.config)
        let first = { (value: (PEFTConfig) -> String?) -> JSONValue in
            configs.lazy.compactMap(value).first.map(JSONValue.string) ?? .null
        }
        config["base_model_name_or_path"] = first(\.baseModel)
        config["revision"] = first(\.revision)
        config["task_type"] = first(\.taskType)
        if let mapping = configs.lazy.compactMap({ $0.fields["auto_mapping"] }).first(where: { $0 != .null }) {
            config["auto_mapping"] = mapping
        }
        if let version = configs.first?.version { config["peft_version"] = .string(version) }
        config["fan_in_fan_out"] = .bool(configs.contains(where: \.fanInFanOut))
        config["lora_bias"] = .bool(modules.contains(where: \.hasBias))
        config.setRanks(zip(modules, result.ranks).map { ($0.patternPath, $1) }, scale: result.scale)
        setTargets(&config, configs)
        setReplacements(&config, configs)
        return config.bytes
    }

    private func setTargets(_ config: inout ResultConfig, _ configs: [PEFTConfig]) {
        let targets = TargetUnion(configs, modules: modules)
        config["target_modules"] = targets.modules
        for (key, value) in targets.others { config[key] = value }
        let parameters = configs.flatMap(\.targetParameters)
        if !parameters.isEmpty {
            var seen: Set<String> = []
            config["target_parameters"] = ResultConfig.texts(parameters.filter { seen.insert($0).inserted })
        }
        if configs.contains(where: \.ensureWeightTying) { config["ensure_weight_tying"] = .bool(true) }
    }

    /// What the adapters replace is replaced by the result, and named in the same fields.
    private func setReplacements(_ config: inout ResultConfig, _ configs: [PEFTConfig]) {
        let saved = configs.flatMap(\.modulesToSave)
        if !saved.isEmpty { config["modules_to_save"] = ResultConfig.texts(Set(saved).sorted()) }
        let biases = configs.map(\.bias)
        if let bias = ["all", "lora_only"].first(where: biases.contains) { config["bias"] = .string(bias) }
        if let rows = configs.lazy.compactMap({ $0.fields["trainable_token_indices"] }).first(where: { $0 != .null }) {
            config["trainable_token_indices"] = rows
        }
    }
}

/// Which modules the result names as its targets: exactly those that it has factors for.
struct TargetUnion {
    let modules: JSONValue
    /// Other fields that select modules.
    private(set) var others: [(String, JSONValue)] = []

    private static let selecting = ["exclude_modules", "layers_to_transform", "layers_pattern"]

    init(_ configs: [PEFTConfig], modules result: [CombineModule]) {
        let lists = configs.map { config -> [String]? in
            if case .names(let names) = config.targetModules { names.sorted() } else { nil }
        }
        let isSelected = { (config: PEFTConfig) in
            Self.selecting.contains { key in
                guard let value = config.fields[key], value != .null else { return false }
                return value.array?.isEmpty != true
            }
        }
        // Other dialects have no such lists: there, too, the modules are named one by one.
        let haveLists = configs.allSatisfy(\.isFile)
        if let first = configs.first, haveLists, configs.allSatisfy({ Self.isSame($0, first) }) {
            modules = lists[0].map { ResultConfig.texts($0) } ?? first.fields["target_modules"] ?? .null
            others = Self.selecting.compactMap { key in first.fields[key].map { (key, $0) } }
        } else if !configs.contains(where: isSelected), !lists.contains(nil) {
            modules = ResultConfig.texts(Set(lists.compactMap { $0 }.joined()).sorted())
        } else {
            // Different ways of choosing have no union but the list of what they chose.
            let paths = result.filter { !$0.isParameter && $0.model.module.repetitions == 1 }.map(\.model.module.path)
            // Where one path is the end of another, a list could take in further ones of the base; a pattern does not.
            let isEnd = paths.contains { path in paths.contains { $0.hasSuffix("." + path) } }
            modules =
                isEnd
                ? .string(paths.map(ResultConfig.quoted).joined(separator: "|")) : ResultConfig.texts(paths)
        }
    }

    private static func isSame(_ a: PEFTConfig, _ b: PEFTConfig) -> Bool {
        let targets: Bool =
            switch (a.targetModules, b.targetModules) {
            case (.names(let own), .names(let other)): own.sorted() == other.sorted()
            default: a.targetModules == b.targetModules
            }
        return targets
            && selecting.allSatisfy { (a.fields[$0] ?? .null) == (b.fields[$0] ?? .null) }
    }
}
