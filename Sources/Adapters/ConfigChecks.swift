import Problems
import Safetensors

/// Holds the config of an adapter against its tensors and the base.
struct ConfigChecks {
    private let resolver: Resolver
    private var adapter: Adapter { resolver.adapter }
    private var base: Checkpoint { resolver.base }

    /// Checks what `resolver` has placed.
    init(_ resolver: Resolver) { self.resolver = resolver }

    func problems() -> [Problem] {
        adapter.config.isFile ? patterns() + targets() + saved() + identity() : patterns()
    }

    private func make(_ severity: Problem.Severity, _ code: String, _ message: String, hint: String? = nil) -> Problem {
        Problem(severity, .incompatible, code, file: adapter.configPath, message, hint: hint)
    }

    /// The paths that patterns are matched with: those of modules, and of parameters of fused experts.
    private var patternPaths: [String] {
        adapter.modules.flatMap { module -> [String] in
            resolver.targetedParameters[module.path].map { $0.map { "\(module.path).\($0)" } } ?? [module.patternPath]
        } + adapter.changes.map(\.path)
    }

    /// The paths of all adapted modules.
    private var adaptedPaths: [String] { adapter.modules.map(\.path) + adapter.changes.map(\.path) }

    private func patterns() -> [Problem] {
        let found = resolver.scales.audit(patternPaths)
        let unused = found.unused.map { field, key in
            make(
                .error, "unused-pattern", "'\(field)' has '\(key)', which matches no module of the adapter",
                hint: "correct the name; if it really means nothing, say --allow unused-pattern")
        }
        let overlaps = found.overlaps.map { field, first, second in
            make(
                .warning, "overlapping-patterns",
                "'\(field)' has '\(first)' and '\(second)', which match the same module with different values: the first counts",
                hint: "PEFT sorts these keys when it saves, so the order in training may have been another")
        }
        let zero =
            adapter.modules.first { resolver.scales.alpha(of: $0.patternPath) == 0 }?.path
            ?? adapter.changes.first { $0.scale == 0 }?.path
        return unused + overlaps + (zero.map(noScale) ?? [])
    }

    private func noScale(_ path: String) -> [Problem] {
        [
            make(
                .warning, "zero-delta",
                "gives '\(path)' an alpha of 0, so its delta counts nothing",
                hint: "alpha / rank is the scale of a delta: is this the right config?")
        ]
    }

    private func targets() -> [Problem] {
        let matcher: TargetMatcher
        do throws(Problem) {
            matcher = try TargetMatcher(config: adapter.config)
        } catch {
            return [error.at(file: adapter.configPath)]
        }
        var result: [Problem] = []
        let adapted =
            adapter.modules.map { ($0.path, $0.down) }
            + adapter.changes.compactMap { change in change.tensors.first.map { (change.path, $0) } }
        var seen: Set<String> = []
        for (path, tensor) in adapted {
            guard resolver.targetedParameters[path] == nil, !isTargeted(path, matcher) else { continue }
            if !seen.insert(tensor.name).inserted { continue }
            result.append(
                Problem(
                    .incompatible, "not-targeted", file: adapter.file.path, tensor: tensor.name,
                    "belongs to '\(path)', which the config's 'target_modules' does not name",
                    hint: "PEFT would ignore it: correct the config, or say --allow not-targeted to use it"))
        }
        return result + unusedTargets() + missing(matcher) + unusedParameters() + missingRows() + missingBiases()
    }

    /// `target_parameters` for which the adapter has no weights.
    private func unusedParameters() -> [Problem] {
        let used = Set(resolver.targetedParameters.flatMap { path, names in names.map { "\(path).\($0)" } })
        return adapter.config.targetParameters.compactMap { target in
            guard !used.contains(where: { $0 == target || $0.hasSuffix("." + target) }) else { return nil }
            return make(
                .error, "missing-parameter",
                "'target_parameters' names '\(target)', but the adapter has no weights for it",
                hint: "the file is incomplete, or the name is wrong: save the adapter again")
        }
    }

    /// Rows that the config says are trained, but the adapter has none.
    private func missingRows() -> [Problem] {
        let rows: Bool =
            switch adapter.config.trainableTokens {
            case .none: false
            case .rows(let list): !list.isEmpty
            case .byModule(let map): map.values.contains { !$0.isEmpty }
            }
        let isAdapted = adapter.tokenRows.isEmpty && !adapter.problems.contains { $0.code == "row-count" }
        guard rows, isAdapted else { return [] }
        return [
            make(
                .error, "missing-rows", "'trainable_token_indices' names rows, but the adapter has no tensor with them",
                hint: "the file is incomplete: save the adapter again, or download it again")
        ]
    }

    /// With `bias`, PEFT saves every bias of the model, or of the adapted modules.
    private func missingBiases() -> [Problem] {
        guard adapter.config.bias != "none", !adapter.replacements.contains(where: { $0.parameter == "bias" }) else {
            return []
        }
        let all = adapter.config.bias == "all"
        let name =
            all
            ? base.tensors.lazy.map(\.info.name).first { $0.hasSuffix(".bias") }
            : adapter.modules.lazy.map { $0.path + ".bias" }.first { resolver.names.exact($0) != nil }
        guard let name else { return [] }
        return [
            make(
                .error, "missing-bias",
                "'bias' is '\(adapter.config.bias)', but the adapter has no bias, while the base has '\(name)'",
                hint: "the file is incomplete: save the adapter again, or download it again")
        ]
    }

    private func isTargeted(_ path: String, _ matcher: TargetMatcher) -> Bool {
        if matcher.targets(path) != false { return true }
        // With this flag, targeting the embedding targets the tied head too, and the other way round.
        if adapter.config.ensureWeightTying, resolver.traits.hasVocabulary(path) { return true }
        // PEFT adapts the output projection together with the attention module around it.
        return path.hasSuffix(".out_proj") && matcher.targets(String(path.dropLast(9))) == true
    }

    private func unusedTargets() -> [Problem] {
        guard case .names(let names) = adapter.config.targetModules else { return [] }
        let ends = Set(adaptedPaths.flatMap { TargetMatcher.ends(of: $0) })
        let unused = names.filter { !ends.contains($0[...]) }
        if unused.isEmpty || unused.count == names.count { return [] }
        return [
            make(
                .note, "unused-target",
                "'target_modules' names \(unused.sorted().joined(separator: ", ")), for which the "
                    + "adapter has no weights")
        ]
    }

    /// Modules of the base that the config targets but the adapter has no weights for: PEFT leaves those as they are.
    private func missing(_ matcher: TargetMatcher) -> [Problem] {
        // With other names, the config's patterns say nothing of the base's.
        guard resolver.renamed.isEmpty, !adaptedPaths.isEmpty else { return [] }
        let present = Set(adaptedPaths)
        var absent: [String] = []
        for entry in base.tensors where entry.info.shape.count >= 2 && entry.info.name.hasSuffix(".weight") {
            let path = String(entry.info.name.dropLast(7))
            if !present.contains(path), matcher.targets(path) == true { absent.append(path) }
        }
        guard let first = absent.min() else { return [] }
        return [
            make(
                .warning, "missing-module",
                "'target_modules' also matches "
                    + (absent.count == 1 ? "one module" : "\(absent.count) modules")
                    + " of the base that the adapter has no weights for, '\(first)'"
                    + (absent.count == 1 ? "" : " first"),
                hint: (absent.count == 1 ? "it stays as it is" : "they stay as they are")
                    + "; if that is not intended, the adapter is incomplete")
        ]
    }

    /// Modules that the config says were replaced, but the adapter brings nothing for.
    private func saved() -> [Problem] {
        var wanted = Set(adapter.config.modulesToSave)
        for replacement in adapter.replacements where !wanted.isEmpty {
            wanted.subtract(TargetMatcher.parts(of: replacement.module).map(String.init))
        }
        // PEFT's classes for classifiers name both, whatever the model has.
        let names = adapter.config.modulesToSave.filter(wanted.contains)
        var stored: Set<String> = []
        for entry in base.tensors where stored.count < wanted.count {
            guard let dot = entry.info.name.lastIndex(of: ".") else { continue }
            for part in TargetMatcher.parts(of: String(entry.info.name[..<dot])) where wanted.contains(String(part)) {
                stored.insert(String(part))
            }
        }
        return names.compactMap { name in
            let isThere = stored.contains(name) || resolver.names.exact(name + ".weight") != nil
            if !isThere && adapter.config.classifierHeads.contains(name) { return nil }
            return isThere
                ? make(
                    .error, "missing-module-to-save",
                    "'modules_to_save' names '\(name)', but the adapter has no tensor for it",
                    hint: "the file is incomplete: save the adapter again, or download it again")
                : make(
                    .warning, "unused-module-to-save",
                    "'modules_to_save' names '\(name)', which neither the base nor the adapter has")
        }
    }

    /// The base's name is only a hint: it is often a path of the machine that trained the adapter.
    private func identity() -> [Problem] {
        guard let wanted = adapter.config.baseModel, let found = resolver.traits.name, !found.isEmpty, wanted != found
        else {
            return []
        }
        return [
            make(
                .note, "base-name", "names the base '\(wanted)', while the base's own config.json says '\(found)'")
        ]
    }
}
