import Problems
import StrictJSON

/// `adapter_config.json` as PEFT writes it; a key that is absent has the default of PEFT's `LoraConfig`.
public struct PEFTConfig: Sendable {
    /// `target_modules` and `exclude_modules`: a list of names, a regular expression, or nothing.
    public enum Names: Sendable, Equatable {
        /// The key is absent or null.
        case none
        /// A regular expression, or the word `all-linear`.
        case text(String)
        /// Names that match whole or behind a dot.
        case names([String])
    }

    /// `trainable_token_indices`: rows of the input embedding, or of the modules named.
    public enum TokenIndices: Sendable, Equatable {
        /// The key is absent or null.
        case none
        /// Rows of the input embedding.
        case rows([Int])
        /// Rows by module name.
        case byModule([String: [Int]])
    }

    /// `peft_type`: `LORA`, `IA3`, ...
    public var type = ""
    /// `r`, the default rank.
    public var rank = 8
    /// `lora_alpha`, the default alpha.
    public var alpha = 8.0
    /// `use_rslora`: the scale is alpha / sqrt(rank) instead of alpha / rank.
    public var useRSLoRA = false
    /// `use_dora`.
    public var useDoRA = false
    /// `lora_bias`: the up projection has a bias.
    public var loraBias = false
    /// `bias`: `none`, `all` or `lora_only`.
    public var bias = "none"
    /// `fan_in_fan_out`, as written; the base's shapes decide.
    public var fanInFanOut = false
    /// `ensure_weight_tying`.
    public var ensureWeightTying = false
    /// `rank_pattern`, in the file's order, which decides which of two matching keys counts.
    public var rankPattern: [(key: String, value: Int)] = []
    /// `alpha_pattern`, in the file's order.
    public var alphaPattern: [(key: String, value: Double)] = []
    /// `target_modules`.
    public var targetModules = Names.none
    /// `exclude_modules`.
    public var excludeModules = Names.none
    /// `target_parameters`: names of parameters that are adapted without a module of their own.
    public var targetParameters: [String] = []
    /// `modules_to_save`: modules that the adapter replaces whole.
    public var modulesToSave: [String] = []
    /// `layers_to_transform`.
    public var layersToTransform: [Int] = []
    /// `layers_pattern`.
    public var layersPattern: [String] = []
    /// `trainable_token_indices`.
    public var trainableTokens = TokenIndices.none
    /// `init_lora_weights`, if it is a word.
    public var initialisation: String?
    /// `base_model_name_or_path`.
    public var baseModel: String?
    /// `revision` of the base.
    public var revision: String?
    /// `task_type`.
    public var taskType: String?
    /// Heads that PEFT's classes for classifiers save by themselves, whichever of them the model has.
    var classifierHeads: [String] {
        ["SEQ_CLS", "TOKEN_CLS"].contains(taskType ?? "") ? ["classifier", "score"] : []
    }
    /// The class of the model that the adapter was trained on, which PEFT notes where there is no task.
    public private(set) var modelClass: String?
    /// `peft_version`.
    public var version: String?
    /// `target_parameters` by the end of the module's path that each has (empty: any), with its place in the list.
    private(set) var parametersByOwner: [Substring: [(place: Int, name: String)]] = [:]
    /// What is wrong with the config, or cannot be merged because of it.
    public private(set) var problems: [Problem] = []
    /// The whole file.
    public private(set) var fields: JSONObject

    /// Rank and alpha of modules that say them themselves, by path; they come before everything else.
    public var moduleScales: [String: ModuleScale] = [:]

    /// Whether it was read from a file, whose flags are to be held against the tensors.
    public let isFile: Bool

    /// What stands in the place of a config where a dialect has none: of LoRA, with rank and alpha module by module.
    init(scales: [String: ModuleScale]) {
        fields = JSONObject()
        type = "LORA"
        moduleScales = scales
        isReadable = true
        isFile = false
    }

    /// The same for a method that is recognised, but not read.
    init(unreadable type: String) {
        fields = JSONObject()
        self.type = type
        isReadable = false
        isFile = false
    }

    /// Reads the config from the bytes of `file`.
    public init(json bytes: [UInt8], file: String) throws(Problem) {
        isFile = true
        let value: JSONValue
        do throws(Problem) {
            value = try JSONValue.parse(bytes, allowNonFinite: true)
        } catch {
            throw error.at(file: file)
        }
        guard case .object(let fields) = value else {
            throw Problem(.malformed, "bad-config", file: file, "is no JSON object")
        }
        self.fields = fields
        guard let type = fields["peft_type"]?.string else {
            throw Problem(
                .malformed, "bad-config", file: file, "has no 'peft_type', so it is no config of a PEFT adapter",
                hint: "PEFT's save_pretrained writes it; a config of something else is best moved away")
        }
        self.type = type
        isReadable = ["LORA", "TRAINABLE_TOKENS"].contains(type) || PEFTKinds.reads(type)
        var reader = ConfigReader(fields: fields, file: file)
        read(&reader)
        problems = reader.problems
        if isReadable, !PEFTKinds.reads(type) { problems += ConfigAudit.problems(of: self, file: file) }
    }

    private mutating func read(_ from: inout ConfigReader) {
        rank = from.integer("r") ?? rank
        alpha = from.number(alphaField) ?? alpha
        useRSLoRA = from.flag("use_rslora")
        useDoRA = from.flag("use_dora")
        loraBias = from.flag("lora_bias")
        fanInFanOut = from.flag("fan_in_fan_out")
        ensureWeightTying = from.flag("ensure_weight_tying")
        bias = from.text("bias") ?? bias
        // AdaLoRA's has lists of flags.
        if type != "ADALORA" { rankPattern = from.pattern("rank_pattern") { $0.number?.int } }
        alphaPattern = from.pattern("alpha_pattern") { $0.number?.double }
        targetModules = from.names("target_modules")
        excludeModules = from.names("exclude_modules")
        targetParameters = from.list("target_parameters")
        for (place, target) in targetParameters.enumerated() { index(target, place) }
        modulesToSave = from.list("modules_to_save")
        layersToTransform = from.integers("layers_to_transform")
        layersPattern = from.list("layers_pattern")
        trainableTokens = from.tokens(type == "TRAINABLE_TOKENS" ? "token_indices" : "trainable_token_indices")
        if case .string(let word)? = fields["init_lora_weights"] { initialisation = word }
        baseModel = from.text("base_model_name_or_path")
        revision = from.text("revision")
        taskType = from.text("task_type")
        modelClass = fields["auto_mapping"]?.object?["base_model_class"]?.string
        version = from.text("peft_version")
        if !alpha.isFinite { from.report(alphaField, "is not finite") }
        guard ["LORA", "LOHA", "LOKR"].contains(type) else { return }
        for key in ["r", alphaField] where fields[key] == .null { from.report(key, "is null") }
        if rank <= 0 { from.report("r", "is \(rank), but a rank is at least 1") }
        for (key, value) in rankPattern where value <= 0 {
            from.report("rank_pattern", "gives '\(key)' rank \(value), but a rank is at least 1")
        }
        for (key, value) in alphaPattern where !value.isFinite {
            from.report("alpha_pattern", "gives '\(key)' an alpha that is not finite")
        }
        if !["none", "all", "lora_only"].contains(bias) {
            from.report("bias", "is '\(bias)', but 'none', 'all' or 'lora_only' was needed")
        }
    }

    /// What the field for alpha is called.
    private var alphaField: String { ["LOHA", "LOKR"].contains(type) ? "alpha" : "lora_alpha" }

    /// Whether it is of a method that can be verified and merged.
    public private(set) var isReadable: Bool

    private mutating func index(_ target: String, _ place: Int) {
        guard let dot = target.lastIndex(of: ".") else {
            return parametersByOwner["", default: []].append((place, target))
        }
        parametersByOwner[target[..<dot], default: []].append((place, String(target[target.index(after: dot)...])))
    }

    /// Names one more parameter that is adapted without a module of its own.
    mutating func addTargetParameter(_ name: String) {
        targetParameters.append(name)
        index(name, targetParameters.count - 1)
    }

    /// s = alpha / rank, or alpha / sqrt(rank) for rsLoRA (PEFT `tuners/lora/layer.py`), in double precision.
    public func scale(rank: Int, alpha: Double) -> Double {
        useRSLoRA ? alpha / Double(rank).squareRoot() : alpha / Double(rank)
    }
}

/// Reads typed fields and collects what is wrong with them.
private struct ConfigReader {
    let fields: JSONObject
    let file: String
    var problems: [Problem] = []

    mutating func report(_ key: String, _ message: String) {
        problems.append(Problem(.malformed, "bad-config", file: file, "'\(key)' \(message)"))
    }

    private func present(_ key: String) -> JSONValue? {
        guard let value = fields[key], value != .null else { return nil }
        return value
    }

    mutating func integer(_ key: String) -> Int? {
        guard let value = present(key) else { return nil }
        if let result = value.number?.int { return result }
        report(key, "is no whole number")
        return nil
    }

    mutating func number(_ key: String) -> Double? {
        guard let value = present(key) else { return nil }
        if let result = value.number?.double { return result }
        report(key, "is no number")
        return nil
    }

    mutating func flag(_ key: String) -> Bool {
        guard let value = present(key) else { return false }
        if case .bool(let result) = value { return result }
        report(key, "is neither true nor false")
        return false
    }

    mutating func text(_ key: String) -> String? {
        guard let value = present(key) else { return nil }
        if let result = value.string { return result }
        report(key, "is no text")
        return nil
    }

    mutating func list(_ key: String) -> [String] {
        switch names(key) {
        case .none: []
        case .text(let one): [one]
        case .names(let many): many
        }
    }

    mutating func names(_ key: String) -> PEFTConfig.Names {
        guard let value = present(key) else { return .none }
        if let text = value.string { return .text(text) }
        if case .array(let items) = value {
            let texts = items.compactMap(\.string)
            if texts.count == items.count { return .names(texts) }
        }
        report(key, "is neither a text nor a list of texts")
        return .none
    }

    mutating func integers(_ key: String) -> [Int] {
        guard let value = present(key) else { return [] }
        if let one = value.number?.int { return [one] }
        if case .array(let items) = value {
            let numbers = items.compactMap { $0.number?.int }
            if numbers.count == items.count { return numbers }
        }
        report(key, "is neither a whole number nor a list of them")
        return []
    }

    mutating func pattern<V>(_ key: String, _ convert: (JSONValue) -> V?) -> [(key: String, value: V)] {
        guard let value = present(key) else { return [] }
        guard case .object(let object) = value else {
            report(key, "is no object")
            return []
        }
        var result: [(key: String, value: V)] = []
        for entry in object.entries {
            if let converted = convert(entry.value) {
                result.append((entry.key, converted))
            } else {
                report(key, "has no number for '\(entry.key)'")
            }
        }
        return result
    }

    mutating func tokens(_ key: String) -> PEFTConfig.TokenIndices {
        guard let value = present(key) else { return .none }
        guard case .object(let object) = value else { return .rows(integers(key)) }
        var result: [String: [Int]] = [:]
        for entry in object.entries {
            guard case .array(let items) = entry.value else {
                report(key, "has no list for '\(entry.key)'")
                continue
            }
            let rows = items.compactMap { $0.number?.int }
            if rows.count != items.count { report(key, "has something else than row numbers for '\(entry.key)'") }
            result[entry.key] = rows
        }
        return .byModule(result)
    }
}
