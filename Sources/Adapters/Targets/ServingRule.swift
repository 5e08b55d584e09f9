import Problems

/// One thing that a program demands of an adapter, and what is said where it does not have it.
struct ServingRule: Sendable {
    /// What is said of one adapter.
    struct Finding {
        /// Where it stands.
        enum Place {
            case config, file
            case tensor(String)
        }

        let place: Place
        let message: String
        let hint: String?

        init(_ place: Place, _ message: String, hint: String? = nil) {
            self.place = place
            self.message = message
            self.hint = hint
        }
    }

    /// A stable name for scripts, which programs share where they have the same rule.
    let code: String
    /// An error where the adapter is not loaded, or something else is computed; a warning where versions or options decide.
    let severity: Problem.Severity
    /// The dialects that it is about.
    let dialects: Set<Dialect>
    /// Whether nothing else is to be said where it is broken.
    let isGate: Bool
    /// Finds what breaks it.
    let find: @Sendable (ServingFacts) -> Finding?

    init(
        _ severity: Problem.Severity, _ code: String, of dialects: Set<Dialect> = Set(Dialect.allCases),
        isGate: Bool = false, _ find: @escaping @Sendable (ServingFacts) -> Finding?
    ) {
        self.code = code
        self.severity = severity
        self.dialects = dialects
        self.isGate = isGate
        self.find = find
    }

    /// What breaks it, as a problem.
    func problem(_ facts: ServingFacts) -> Problem? {
        guard dialects.contains(facts.adapter.dialect), let found = find(facts) else { return nil }
        var file = facts.adapter.file.path
        var tensor: String?
        switch found.place {
        case .config: file = facts.adapter.configPath
        case .file: break
        case .tensor(let name): tensor = name
        }
        return Problem(
            severity, .incompatible, code, file: file, tensor: tensor, found.message, hint: found.hint)
    }
}

/// Rules that several programs have, each with the program's name in its words.
extension ServingRule {
    /// An archive of AdapterKit's own, which no other program opens.
    static func packed(_ program: String) -> ServingRule {
        ServingRule(.error, "packed", isGate: true) { facts in
            guard facts.adapter.archive != nil else { return nil }
            return Finding(
                .file, "is packed, and \(program) does not read archives", hint: "unpack it with adapter-unpack")
        }
    }

    /// A file of another library.
    static func otherFormat(_ program: String, reads: Set<Dialect>, _ needs: String, hint: String) -> ServingRule {
        ServingRule(.error, "other-format", isGate: true) { facts in
            let dialect = facts.adapter.dialect
            guard !reads.contains(dialect) else { return nil }
            let what = dialect == .adapters ? "the 'adapters' library's" : "\(dialect.rawValue)'s"
            return Finding(
                .file, "is in \(what) format, but \(program) reads \(needs)",
                hint: hint)
        }
    }

    /// Files that the program looks for by name.
    static func fileName(_ program: String, _ name: String, of dialect: Dialect) -> ServingRule {
        ServingRule(.error, "file-name", of: [dialect], isGate: true) { facts in
            let parts = facts.adapter.file.path.split(separator: "/")
            guard facts.adapter.archive == nil, let last = parts.last, last != name else { return nil }
            return Finding(
                .file, "is not called '\(name)', which is what \(program) looks for", hint: "rename it to \(name)")
        }
    }

    /// Methods other than LoRA.
    static func notLoRA(_ program: String, hint: String) -> ServingRule {
        ServingRule(.error, "not-lora", of: [.peft], isGate: true) { facts in
            guard facts.config.type != "LORA" else { return nil }
            return Finding(
                .config, "says peft_type \(facts.config.type), and \(program) reads LoRA alone",
                hint: facts.config.isReadable ? hint : "serve it with PEFT")
        }
    }

    /// Variants that the program takes for plain LoRA.
    static func ignoredVariant(_ program: String) -> ServingRule {
        ServingRule(.error, "ignored-variant", of: [.peft]) { facts in
            let codes: Set<String> = ["arrow", "kasa", "monteclora"]
            guard let found = facts.adapter.problems.first(where: { codes.contains($0.code) }) else { return nil }
            return Finding(.config, found.message + "; \(program) does not know the field", hint: "serve it with PEFT")
        }
    }

    /// Fields that nobody is known to read.
    static func unknownField(_ what: String) -> ServingRule {
        ServingRule(.warning, "unknown-field", of: [.peft]) { facts in
            let found = facts.adapter.problems.filter { $0.code == "unknown-config-field" }
            guard let first = found.first else { return nil }
            return Finding(
                .config, "\(first.message); \(what)\(facts.more(found.count))",
                hint: "if it does change something, use the version of PEFT that wrote it")
        }
    }

    /// A field of the config that switches on what the program does not have.
    static func field(
        _ severity: Problem.Severity, _ code: String, _ field: String, _ message: String, hint: String
    ) -> ServingRule {
        ServingRule(severity, code, of: [.peft]) { facts in
            guard facts.isSet(field) else { return nil }
            return Finding(.config, "sets '\(field)', \(message)", hint: hint)
        }
    }

    /// Magnitudes of DoRA.
    static func dora(_ message: String, hint: String) -> ServingRule {
        ServingRule(.error, "dora", of: [.peft]) { facts in
            guard facts.config.useDoRA || facts.adapter.modules.contains(where: { $0.magnitude != nil }) else {
                return nil
            }
            return Finding(.config, "is DoRA, \(message)", hint: hint)
        }
    }

    /// Training that began from changed base weights.
    static func changedBase(_ message: String, unless neutral: Set<String>) -> ServingRule {
        ServingRule(.error, "changed-base", of: [.peft]) { facts in
            guard let word = facts.config.initialisation, !neutral.contains(word.lowercased()) else { return nil }
            return Finding(
                .config, "says 'init_lora_weights' \"\(word)\", which changes the base before training, \(message)",
                hint: "save the adapter again with PEFT's path_initial_model_for_weight_conversion")
        }
    }

    /// Names under which the program finds no module, because something else than PEFT's prefix or suffix is left in them.
    static func wrappedName(_ message: String) -> ServingRule {
        ServingRule(.error, "wrapped-name", of: [.peft]) { facts in
            let found = facts.stored.filter { $0.key.adapterName != nil || AdapterNames.isWrapped($0.name) }
            guard let first = found.first else { return nil }
            let what =
                first.key.adapterName.map { "the adapter's name, '\($0)'," } ?? "a wrapper of the training framework"
            return Finding(
                .tensor(first.name), "has \(what) in its name, \(message)\(facts.more(found.count))",
                hint: ServingFacts.rewriteHint)
        }
    }

    /// Factors of convolutions.
    static func convolution(_ message: String, hint: String) -> ServingRule {
        ServingRule(.error, "convolution", of: [.peft]) { facts in
            let found = facts.adapter.modules.filter { $0.down.shape.count > 2 }
            guard let first = found.first else { return nil }
            return Finding(
                .tensor(first.down.name), "belongs to a convolution, \(message)\(facts.more(found.count))", hint: hint)
        }
    }

    /// Paths that only the ends of the base's names fit.
    static func wrongPrefix(_ message: String) -> ServingRule {
        ServingRule(.error, "wrong-prefix", of: [.peft, .mlx]) { facts in
            let found = facts.misnamed
            guard let first = found.first else { return nil }
            return Finding(
                .file,
                "names a module '\(first.adapter)', which the base has as '\(first.base)': \(message)"
                    + facts.more(found.count),
                hint: "rename the adapter's tensors, or merge it with adapter-merge, which finds modules by their ends")
        }
    }
}
