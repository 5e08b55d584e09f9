import Problems

extension AdapterFacts {
    /// What is wrong with the adapter as far as that shows without a base: its own problems, and config entries that its
    /// tensors contradict.
    ///
    /// - Parameter allowed: codes of errors that count as warnings.
    package func standaloneProblems(allowed: Set<String>) -> [Problem] {
        var all = problems + obstacles
        if !ProblemList(problems).hasErrors, adapter.config.type == "LORA", adapter.config.isFile {
            all += unusedPatterns() + untargeted()
        }
        return all.map { $0.lowered(ifIn: allowed) }
    }

    private func unusedPatterns() -> [Problem] {
        let scales = ScaleResolver(config: adapter.config, file: adapter.configPath)
        let paths = modules.map { $0.path == $0.module.path ? $0.module.patternPath : $0.path }
        return scales.audit(paths).unused.map { field, key in
            Problem(
                .incompatible, "unused-pattern", file: adapter.configPath,
                "'\(field)' has '\(key)', which matches no module of the adapter",
                hint: "correct the name; if it really means nothing, say --allow unused-pattern")
        }
    }

    private func untargeted() -> [Problem] {
        let matcher: TargetMatcher
        do throws(Problem) {
            matcher = try TargetMatcher(config: adapter.config)
        } catch {
            return [error.at(file: adapter.configPath)]
        }
        let vocabulary = BaseTraits.embeddingNames.union(BaseTraits.headNames)
        return modules.compactMap { facts in
            let path = facts.module.path
            guard facts.kind != .experts, facts.kind != .parameter, matcher.targets(path) == false,
                facts.module.repetitions == 1 || matcher.targets(facts.module.patternPath) == false
            else { return nil }
            // With this flag, targeting the embedding targets the tied head too, and the other way round.
            if adapter.config.ensureWeightTying, vocabulary.contains(BaseTraits.lastPart(path)) { return nil }
            return Problem(
                .incompatible, "not-targeted", file: adapter.file.path, tensor: facts.module.down.name,
                "belongs to '\(path)', which the config's 'target_modules' does not name",
                hint: "PEFT would ignore it: correct the config, or say --allow not-targeted to use it")
        }
    }
}
