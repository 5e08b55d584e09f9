import Problems
import StrictJSON

/// A name pattern of an adapter's config, matched as PEFT matches it with Python's `re`.
struct ModulePattern {
    /// The pattern as the config writes it.
    let source: String
    private let machine: PatternMachine
    private let isWhole: Bool

    /// A key of `rank_pattern` or `alpha_pattern`: it matches as `re.match(r"(.*\.)?(KEY)$", path)` does.
    init(key: String) throws(Problem) { try self.init(#"(.*\.)?("# + key + ")$", source: key, isWhole: false) }

    /// A string that must match the whole path, as `re.fullmatch` does.
    init(whole pattern: String) throws(Problem) { try self.init(pattern, source: pattern, isWhole: true) }

    /// A pattern that must match at the beginning of the path, as `re.match` does.
    init(prefix pattern: String, source: String) throws(Problem) {
        try self.init(pattern, source: source, isWhole: false)
    }

    private init(_ pattern: String, source: String, isWhole: Bool) throws(Problem) {
        self.source = source
        self.isWhole = isWhole
        let tree: PatternTree?
        do throws(PatternParser.Failure) {
            tree = pattern.utf8.count <= Self.largestPattern ? try PatternParser.parse(pattern) : nil
        } catch {
            tree = nil
        }
        guard let tree, let machine = PatternMachine(tree) else {
            throw Problem(
                .incompatible, "bad-pattern",
                "the pattern '\(source.excerpt)' is too long, or no regular expression that can be understood here",
                hint: "write it in the config with plain names or simpler syntax: no references, no atomic groups")
        }
        self.machine = machine
    }

    /// No module's path comes near this length.
    private static let longestPath = 1024
    private static let largestPattern = 1 << 14

    /// Whether the pattern matches `path`.
    func matches(_ path: String) -> Bool {
        path.utf8.count <= Self.longestPath && machine.matches(Array(path.unicodeScalars), whole: isWhole)
    }
}

/// Where `layers_pattern` finds the number of a layer in a path.
struct LayerPattern {
    /// What comes before the number and its dot; `nil` for any two parts.
    private let before: ModulePattern?

    /// The pattern that PEFT has without `layers_pattern`: `.*?\.[^.]*\.(\d+)\.`.
    init() { before = nil }

    /// The pattern with a name for the part before the number: `(^|.*\.)NAME\.(\d+)\.`.
    init(name: String) throws(Problem) {
        // Compiled as it stands first, since only as a whole it is a pattern.
        _ = try ModulePattern(prefix: name, source: name)
        before = try ModulePattern(whole: #"(?:^|.*\.)(?:"# + name + ")")
    }

    /// The number of the layer; `nil` if the pattern does not match.
    func index(in path: String) -> Int? {
        let parts = path.split(separator: ".", omittingEmptySubsequences: false)
        for at in parts.indices.dropLast() where at > 0 {
            guard let number = Int(parts[at]), parts[at].utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
                continue
            }
            let isFound = before?.matches(parts[..<at].joined(separator: ".")) ?? (at > 1)
            if isFound { return number }
        }
        return nil
    }
}

/// Which modules a config says are adapted: PEFT's `check_target_module_exists`.
package struct TargetMatcher {
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
    private let layerPatterns: [LayerPattern]
    /// Names in `modules_to_save` that are no more than names, which need not be tried one by one.
    private let savedNames: Set<String>
    /// The same with dots, each of which stands for any character.
    private let dottedNames: [[UInt8]]

    package init(config: PEFTConfig) throws(Problem) {
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
        let isPlain = { (name: String) in !name.utf8.contains { #"\^$*+?{}[]|()"#.utf8.contains($0) } }
        let plain = config.modulesToSave.filter(isPlain)
        savedNames = Set(plain.filter { !$0.contains(".") })
        dottedNames = plain.filter { $0.contains(".") }.map { Array($0.utf8) }
        saved = try config.modulesToSave.filter { !isPlain($0) }.map { (name) throws(Problem) in
            try ModulePattern(prefix: #"(^|.*\.)"# + name + #"($|\..*)"#, source: name)
        }
        layers = config.layersToTransform.isEmpty ? nil : Set(config.layersToTransform)
        layerPatterns =
            try config.layersPattern.isEmpty
            ? [LayerPattern()] : config.layersPattern.map { (name) throws(Problem) in try LayerPattern(name: name) }
    }

    /// Whether the config names the module at `path`; `nil` where that depends on the module's class.
    package func targets(_ path: String) -> Bool? {
        if Self.named(excludedNames, path) || excludedPattern?.matches(path) == true { return false }
        if Self.holds(savedNames, path) || isDotted(path) || saved.contains(where: { $0.matches(path) }) {
            return false
        }
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
            if let index = pattern.index(in: path) { return layers.contains(index) }
        }
        return false
    }

    /// Whether `path` is one of `names`, or ends in one of them behind a dot.
    private static func named(_ names: Set<String>, _ path: String) -> Bool {
        !names.isEmpty && ends(of: path).contains { names.contains(String($0)) }
    }

    private func isDotted(_ path: String) -> Bool {
        if dottedNames.isEmpty { return false }
        let (bytes, dot) = (Array(path.utf8), UInt8(ascii: "."))
        let starts = [0] + bytes.indices.filter { bytes[$0] == dot }.map { $0 + 1 }
        return dottedNames.contains { name in
            starts.contains { start in
                let end = start + name.count
                guard end == bytes.count || (end < bytes.count && bytes[end] == dot) else { return false }
                return name.indices.allSatisfy { name[$0] == dot || name[$0] == bytes[start + $0] }
            }
        }
    }

    /// Whether one of `names` stands in `path`, as whole parts.
    static func holds(_ names: Set<String>, _ path: String) -> Bool {
        !names.isEmpty && parts(of: path).contains { names.contains(String($0)) }
    }

    /// All runs of whole parts of `path`.
    static func parts(of path: String) -> [Substring] {
        ends(of: path).flatMap { end in
            [end] + end.utf8.indices.filter { end.utf8[$0] == UInt8(ascii: ".") }.map { end[..<$0] }
        }
    }

    /// `path`, and what comes behind each of its dots.
    package static func ends(of path: String) -> [Substring] {
        let bytes = path.utf8
        let dots = bytes.indices.filter { bytes[$0] == UInt8(ascii: ".") }
        return [path[...]] + dots.map { path[bytes.index(after: $0)...] }
    }
}
