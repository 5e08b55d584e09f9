/// Names of tensors: those of Hugging Face's models, and those that llama.cpp's converters give them.
///
/// The tables are gguf-py's (`gguf.tensor_mapping`), for some architectures.
public enum GGUFNames {
    /// Where a parameter of a model is in a GGUF file.
    public struct Place: Sendable, Equatable {
        /// The name of the tensor.
        public let name: String
        /// Which expert of a tensor that holds all experts of a block; `nil` for any other.
        public let expert: Int?
    }

    /// The architectures that are known, as `general.architecture` names them.
    public static var architectures: [String] { table.keys.sorted() }

    /// The architecture of a model by the `model_type` of its config; `nil` if it is not known.
    public static func architecture(modelType: String) -> String? { architectureOfModelType[modelType] }

    private static let architectureOfModelType = [
        "llama": "llama", "mistral": "llama", "mixtral": "llama", "internlm3": "llama", "qwen2": "qwen2",
        "qwen2_moe": "qwen2moe", "qwen3": "qwen3", "qwen3_moe": "qwen3moe", "gemma": "gemma", "gemma2": "gemma2",
        "gemma3": "gemma3", "gemma3_text": "gemma3", "phi": "phi2", "phi3": "phi3", "gpt2": "gpt2", "falcon": "falcon",
        "RefinedWeb": "falcon", "RefinedWebModel": "falcon", "gpt_neox": "gptneox", "starcoder2": "starcoder2",
        "cohere": "command-r", "olmo": "olmo", "olmo2": "olmo2", "olmo3": "olmo2", "stablelm": "stablelm",
        "stablelm_epoch": "stablelm", "bert": "bert",
    ]

    /// The tensor that a parameter becomes; `nil` if the architecture is not known or has no such tensor.
    ///
    /// A parameter of one expert becomes part of its block's tensor of all experts.
    public static func place(of hfParameter: String, architecture: String) -> Place? {
        guard let uses = table[architecture] else { return nil }
        let (name, expert) = withoutExpert(withoutPrefix(hfParameter, architecture))
        guard let found = lookup(name, uses) else { return nil }
        // Only a tensor of all experts has a place for one of them.
        guard expert == nil || found.contains("_exps.") || found.hasSuffix("_exps") else { return nil }
        return Place(name: found, expert: expert)
    }

    /// The name of the tensor that a parameter becomes: `model.layers.0.self_attn.q_proj.weight` in a llama becomes
    /// `blk.0.attn_q.weight`.
    public static func ggufName(of hfParameter: String, architecture: String) -> String? {
        place(of: hfParameter, architecture: architecture)?.name
    }

    /// The parameters that may have become a tensor, to be looked up in a base; most of them are of other models.
    ///
    /// - Parameter expert: which expert of a tensor of all experts; `nil` for names without one.
    public static func candidates(for ggufName: String, architecture: String, expert: Int? = nil) -> [String] {
        guard let uses = table[architecture] else { return [] }
        let suffix = suffixes.first { ggufName.hasSuffix($0) } ?? ""
        let (pattern, block) = pattern(of: String(ggufName.dropLast(suffix.count)))
        var names: [String] = []
        for at in uses where entries[at].tensor == pattern {
            for key in entries[at].modules where key.contains("#") == (block != nil) {
                guard let name = insert(expert, into: filled(key, block) + suffix) else { continue }
                let isSame = place(of: name, architecture: architecture) == Place(name: ggufName, expert: expert)
                if isSame, !names.contains(name) { names.append(name) }
            }
        }
        return names
    }

    // MARK: Names

    private static let suffixes = [".weight", ".bias"]

    /// A name without what wraps the model that is converted.
    private static func withoutPrefix(_ name: String, _ architecture: String) -> String {
        if architecture == "bert", name.hasPrefix("bert.") { return String(name.dropFirst(5)) }
        if name.hasPrefix("model.language_model.") { return "model." + name.dropFirst(21) }
        if name.hasPrefix("language_model.") { return String(name.dropFirst(15)) }
        return name
    }

    /// A name without the number behind `.experts.`, and the number.
    private static func withoutExpert(_ name: String) -> (name: String, expert: Int?) {
        var parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard let at = parts.firstIndex(of: "experts"), at + 1 < parts.count, let expert = number(parts[at + 1]) else {
            return (name, nil)
        }
        parts.remove(at: at + 1)
        return (parts.joined(separator: "."), expert)
    }

    /// A name with the number of an expert; `nil` if it has no place for one.
    private static func insert(_ expert: Int?, into name: String) -> String? {
        guard let expert else { return name }
        var parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard let at = parts.firstIndex(of: "experts") else { return nil }
        parts.insert(String(expert), at: at + 1)
        return parts.joined(separator: ".")
    }

    /// The number that a part of a name is, if it is written as numbers are.
    private static func number(_ part: Substring) -> Int? {
        guard !part.isEmpty, part.utf8.count <= 9, part.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let number = Int(part), String(number) == part
        else { return nil }
        return number
    }

    /// A name with `#` for its first number, and the number.
    private static func pattern(of name: String) -> (pattern: String, block: Int?) {
        var parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard let at = parts.firstIndex(where: { number($0) != nil }), let block = number(parts[at]) else {
            return (name, nil)
        }
        parts[at] = "#"
        return (parts.joined(separator: "."), block)
    }

    private static func filled(_ pattern: String, _ block: Int?) -> String {
        guard let block else { return pattern }
        return pattern.split(separator: "#", omittingEmptySubsequences: false).joined(separator: String(block))
    }

    /// The tensor of a name as it is, or of the module whose weight or bias it names.
    private static func lookup(_ name: String, _ uses: [Int]) -> String? {
        if let found = lookup(module: name, uses) { return found }
        for suffix in suffixes where name.hasSuffix(suffix) {
            if let found = lookup(module: String(name.dropLast(suffix.count)), uses) { return found + suffix }
        }
        return nil
    }

    /// Of several tensors that claim a module, the last one counts, as in gguf-py.
    private static func lookup(module: String, _ uses: [Int]) -> String? {
        // `#` stands for a block in the tables, and nothing in a file.
        guard !module.contains("#") else { return nil }
        let (pattern, block) = pattern(of: module)
        let claims = (claims[module] ?? []) + (block == nil ? [] : claims[pattern] ?? [])
        guard let last = claims.filter(uses.contains).max() else { return nil }
        return filled(entries[last].tensor, block)
    }

    // MARK: Tables

    private static let entries: [(tensor: String, modules: [String])] = lists(tensorText).map { ($0.name, $0.words) }

    private static let table = Dictionary(
        uniqueKeysWithValues: lists(architectureText).map { ($0.name, $0.words.compactMap { Int($0) }) })

    /// The tensors that claim a module, for all architectures.
    private static let claims: [String: [Int]] = {
        var claims: [String: [Int]] = [:]
        for (at, entry) in entries.enumerated() {
            for module in entry.modules { claims[module, default: []].append(at) }
        }
        return claims
    }()

    /// Each name that ends with `=`, with the words behind it.
    private static func lists(_ text: String) -> [(name: String, words: [String])] {
        var lists: [(name: String, words: [String])] = []
        for word in text.split(whereSeparator: { $0 == " " || $0 == "\n" }) {
            if word.hasSuffix("=") {
                lists.append((String(word.dropLast()), []))
            } else if !lists.isEmpty {
                lists[lists.count - 1].words.append(String(word))
            }
        }
        return lists
    }
}
