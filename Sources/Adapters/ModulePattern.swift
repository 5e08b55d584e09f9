import Problems
import StrictJSON

/// A name pattern of an adapter's config, matched as PEFT matches it with Python's `re`.
struct ModulePattern {
    /// The pattern as the config writes it.
    let source: String
    private let regex: Regex<AnyRegexOutput>

    /// A key of `rank_pattern` or `alpha_pattern`: it matches as `re.match(r"(.*\.)?(KEY)$", path)` does.
    init(key: String) throws(Problem) {
        source = key
        regex = try Self.compile(#"(.*\.)?("# + key + ")$", source: key)
    }

    /// A string that must match the whole path, as `re.fullmatch` does.
    init(whole pattern: String) throws(Problem) {
        source = pattern
        regex = try Self.compile("(?:" + pattern + #")\z"#, source: pattern)
    }

    /// A pattern that must match at the beginning of the path, as `re.match` does.
    init(prefix pattern: String, source: String) throws(Problem) {
        self.source = source
        regex = try Self.compile(pattern, source: source)
    }

    private static func compile(_ pattern: String, source: String) throws(Problem) -> Regex<AnyRegexOutput> {
        guard isModest(pattern) else {
            throw Problem(
                .incompatible, "bad-pattern",
                "the pattern '\(source.excerpt)' is too long, repeats something that repeats, or has sets within sets",
                hint: "write it in the config with plain names or simpler syntax")
        }
        do {
            // As in Python, `\b` lies between a word character and another one. Characters, not scalars, since Swift 6.3
            // takes digits for no word characters there; in the ASCII names of modules the two are the same.
            return try Regex(pattern).wordBoundaryKind(.simple)
        } catch {
            throw Problem(
                .incompatible, "bad-pattern",
                "the pattern '\(source.excerpt)' is no regular expression that can be understood here",
                hint: "write it in the config with plain names or simpler syntax")
        }
    }

    /// Whether the regex engine can take the pattern, and takes it as Python does: it recurses where sets stand in sets,
    /// which to Python are plain characters, and backtracks without end where a repeated group repeats something inside,
    /// as `(a+)+` does.
    private static func isModest(_ pattern: String) -> Bool {
        let bytes = Array(pattern.utf8)
        guard bytes.count <= largestPattern else { return false }
        var sets = 0
        // For each open group: whether something in it repeats without bound.
        var groups = [false]
        var at = 0
        while at < bytes.count {
            switch bytes[at] {
            case UInt8(ascii: "\\"): at += 1
            case UInt8(ascii: "["):
                sets += 1
                if sets > 1 { return false }
            case let byte where sets > 0 && "&-~|".utf8.contains(byte):
                // Operators on sets, to this engine.
                if at + 1 < bytes.count, bytes[at + 1] == byte { return false }
            case UInt8(ascii: "]"): sets = max(0, sets - 1)
            case UInt8(ascii: "(") where sets == 0: groups.append(false)
            case UInt8(ascii: ")") where sets == 0 && groups.count > 1:
                let repeats = groups.removeLast()
                let isRepeated = at + 1 < bytes.count && "*+{".utf8.contains(bytes[at + 1])
                if repeats && isRepeated { return false }
                if repeats { groups[groups.count - 1] = true }
            case let byte where sets == 0 && "*+{".utf8.contains(byte): groups[groups.count - 1] = true
            default: break
            }
            at += 1
        }
        return true
    }

    /// No module's path comes near this length, and time grows faster than it.
    private static let longestPath = 1024
    private static let largestPattern = 1 << 16

    /// Whether the pattern matches `path`.
    func matches(_ path: String) -> Bool {
        path.utf8.count <= Self.longestPath && (try? regex.prefixMatch(in: path)) != nil
    }

    /// The text of the named group `idx`, if the pattern matches.
    func index(in path: String) -> Int?? {
        guard path.utf8.count <= Self.longestPath, let match = try? regex.prefixMatch(in: path) else { return nil }
        return .some(match["idx"]?.substring.flatMap { Int($0) })
    }
}

/// Which modules a config says are adapted: PEFT's `check_target_module_exists`.
struct TargetMatcher {
    private enum Targets {
        case none
        case everyLinear
        case pattern(ModulePattern)
        case names(Set<String>)
    }

    private let targets: Targets
    private let excludedNames: Set<String>
    private let excludedPattern: ModulePattern?
    private let saved: [ModulePattern]
    private let layers: Set<Int>?
    private let layerPatterns: [ModulePattern]

    init(config: PEFTConfig) throws(Problem) {
        switch config.targetModules {
        case .none: targets = .none
        case .text("all-linear"): targets = .everyLinear
        case .text(let pattern): targets = .pattern(try ModulePattern(whole: pattern))
        case .names(let names): targets = .names(Set(names))
        }
        switch config.excludeModules {
        case .none: (excludedNames, excludedPattern) = ([], nil)
        case .text(let pattern): (excludedNames, excludedPattern) = ([], try ModulePattern(whole: pattern))
        case .names(let names): (excludedNames, excludedPattern) = (Set(names), nil)
        }
        saved = try config.modulesToSave.map { (name) throws(Problem) in
            try ModulePattern(prefix: #"(^|.*\.)"# + name + #"($|\..*)"#, source: name)
        }
        layers = config.layersToTransform.isEmpty ? nil : Set(config.layersToTransform)
        let patterns =
            config.layersPattern.isEmpty
            ? [#".*?\.[^.]*\.(?<idx>\d+)\."#] : config.layersPattern.map { #"(?:^|.*?\.)"# + $0 + #"\.(?<idx>\d+)\."# }
        layerPatterns = try patterns.map { (text) throws(Problem) in try ModulePattern(prefix: text, source: text) }
    }

    /// Whether the config names the module at `path`; `nil` where that depends on the module's class.
    func targets(_ path: String) -> Bool? {
        if Self.named(excludedNames, path) || excludedPattern?.matches(path) == true { return false }
        if saved.contains(where: { $0.matches(path) }) { return false }
        switch targets {
        case .none: return false
        case .everyLinear: return nil
        case .pattern(let pattern): return pattern.matches(path)
        case .names(let names):
            if names.contains(path) { return true }
            return Self.named(names, path) && layerAllowed(path)
        }
    }

    private func layerAllowed(_ path: String) -> Bool {
        guard let layers else { return true }
        for pattern in layerPatterns {
            if let index = pattern.index(in: path) { return index.map(layers.contains) ?? false }
        }
        return false
    }

    /// Whether `path` is one of `names`, or ends in one of them behind a dot.
    private static func named(_ names: Set<String>, _ path: String) -> Bool {
        !names.isEmpty && ends(of: path).contains { names.contains(String($0)) }
    }

    /// `path`, and what comes behind each of its dots.
    static func ends(of path: String) -> [Substring] {
        let bytes = path.utf8
        let dots = bytes.indices.filter { bytes[$0] == UInt8(ascii: ".") }
        return [path[...]] + dots.map { path[bytes.index(after: $0)...] }
    }
}
