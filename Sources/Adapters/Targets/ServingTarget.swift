import Problems

/// A program that loads adapters, as `--for` names it.
///
/// Each has a table of rules that was read from its source; `formats/serving-rules.md` names files and versions.
public enum ServingTarget: String, Sendable, CaseIterable {
    /// Hugging Face PEFT.
    case peft
    /// vLLM.
    case vllm
    /// llama.cpp, with its own converter where the adapter is PEFT's.
    case llamaCpp = "llama.cpp"
    /// mlx-lm.
    case mlx
    /// diffusers.
    case diffusers

    /// Its rules, in the order in which they are told.
    var rules: [ServingRule] {
        switch self {
        case .peft: PEFTRules.all
        case .vllm: VLLMRules.all
        case .llamaCpp: LlamaCppRules.all
        case .mlx: MLXRules.all
        case .diffusers: DiffusersRules.all
        }
    }

    /// Everything that stands against using the adapter there, or is to be known; errors first.
    ///
    /// What is wrong with the adapter by itself is not repeated: see `ServingFacts.problems`.
    public func problems(_ facts: ServingFacts) -> [Problem] {
        var found: [Problem] = []
        for rule in rules {
            guard let problem = rule.problem(facts) else { continue }
            if rule.isGate { return found + [problem] }
            found.append(problem)
        }
        return [Problem.Severity.error, .warning, .note].flatMap { severity in found.filter { $0.severity == severity }
        }
    }
}
