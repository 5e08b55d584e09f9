import Console
import Problems
import Safetensors
import Tensors
import Training

/// The options of `adapter-train`, and what they say.
enum TrainOptions {
    static let all: [Option] =
        [
            Option("data", short: "d", value: "FILE", help: "The text to train on."),
            Option("output", short: "o", value: "OUT", help: "What to make."),
            Option("force", short: "f", help: "Replace OUT if it exists."),
        ] + method + course + text + records

    private static let method = [
        Option(
            "method", help: "What is trained: lora without it.", choices: TrainingPlan.Method.allCases.map(\.rawValue),
            group: "What is trained"),
        Option(
            "layers", value: "LAYERS",
            help: "all, last:K, or numbers from 0 such as 0,4-7; the last half without it. A prefix stands in all.",
            group: "What is trained"),
        Option(
            "targets", value: "MODULES",
            help:
                "lora: the modules that are adapted, by commas: \(TrainingPlan.defaultTargets.joined(separator: ",")) "
                + "without it; 'linear' for all seven.", group: "What is trained"),
        Option(
            "rank", short: "r", value: "R",
            help:
                "lora: the rank; 8 without it. full with --save-as adapter: that of the extracted one; 16 without it.",
            group: "What is trained"),
        Option(
            "alpha", value: "A", help: "lora: updates are scaled by A/R; twice the rank without it.",
            group: "What is trained"),
        Option("rslora", help: "lora: scale by A/√R (rank-stabilised LoRA).", group: "What is trained"),
        Option("dora", help: "lora: learn a magnitude for each output as well (DoRA).", group: "What is trained"),
        Option(
            "dropout", value: "P", help: "lora: set inputs of A to zero with probability P.", group: "What is trained"),
        Option(
            "modules-to-save", value: "MODULES",
            help: "lora: train these whole in every layer, and store them in the adapter: lm_head, embed_tokens, norm, "
                + "input_layernorm, ...", group: "What is trained"),
        Option(
            "bottleneck", value: "N", help: "bottleneck: numbers between the two layers; 16 without it.",
            group: "What is trained"),
        Option(
            "prefix-length", value: "N",
            help: "prefix: virtual tokens, which take as many of the base's positions; 16 without it.",
            group: "What is trained"),
        Option(
            "layer-decay", value: "X", help: "full: each layer learns X times as fast as the one above it.",
            group: "What is trained"),
        Option(
            "unfreeze-every", value: "N", help: "full: begin with the top layer, and add the next one every N steps.",
            group: "What is trained"),
        Option(
            "save-as",
            help:
                "full: an archive of what changed (without it), an adapter of --rank by extraction, or a whole model.",
            choices: TrainingRequest.FullOutput.allCases.map(\.rawValue), group: "What is trained"),
        Option(
            "dtype", value: "TYPE",
            help: "full, pretrain: the type of the weights; the base's, or float32 for pretrain.",
            choices: DType.words, group: "What is trained"),
        Option(
            "max-shard-size", value: "SIZE",
            help: "pretrain: distribute the tensors over files of at most SIZE, such as 5GB; one file without it.",
            group: "What is trained"),
        Option(
            "from", value: "ADAPTER", help: "lora: go on from this adapter instead of from zero.",
            group: "What is trained"),
    ]

    private static let course = [
        Option("epochs", value: "N", help: "Ways through the text; 3 without it.", group: "Course"),
        Option("steps", value: "N", help: "Steps, instead of --epochs.", group: "Course"),
        Option("batch", short: "b", value: "N", help: "Sequences at a time; 8 without it.", group: "Course"),
        Option(
            "accumulate", value: "N", help: "Sum the gradients of N batches for each step; 1 without it.",
            group: "Course"),
        Option(
            "learning-rate", short: "l", value: "X", help: "The highest learning rate; 0.001 without it.",
            group: "Course"),
        Option(
            "schedule", help: "How it falls after the warm-up: cosine without it.",
            choices: Schedule.Decay.allCases.map(\.rawValue), group: "Course"),
        Option(
            "warmup", value: "P", help: "The part of all steps in which it rises; 0.03 without it.", group: "Course"),
        Option(
            "weight-decay", value: "X", help: "AdamW's decay of matrices, not of norms and biases; 0 without it.",
            group: "Course"),
        Option("beta1", value: "X", help: "AdamW's beta1; 0.9 without it.", group: "Course"),
        Option("beta2", value: "X", help: "AdamW's beta2; 0.999 without it.", group: "Course"),
        Option("epsilon", value: "X", help: "AdamW's epsilon; 1e-8 without it.", group: "Course"),
        Option("clip", value: "X", help: "Cut gradients to this norm; 1 without it, 0 for never.", group: "Course"),
        Option("seed", value: "N", help: "Decides first values, order and dropout; 0 without it.", group: "Course"),
        Option("no-shuffle", help: "Take sequences in their order.", group: "Course"),
        Option(
            "threads", short: "t", value: "N",
            help: "Use N threads; by default one for each CPU. Another number gives other last bits.", group: "Course"),
        Option(
            "cache-limit", value: "SIZE",
            help: "Keep frozen hidden states up to this size in memory, more in a temporary file; 1GB without it.",
            group: "Course"),
        Option(
            "no-cache", help: "Compute the frozen layers in every epoch; the result is the same bits.", group: "Course"),
        Option(
            "checkpoint-every", value: "N", help: "Keep the state in OUT.checkpoint every N steps.", group: "Course"),
        Option(
            "resume",
            help: "Go on from OUT.checkpoint; the result is the same bits. Learning rate, schedule, warm-up, clip, "
                + "steps, epochs and patience may be others.", group: "Course"),
    ]

    private static let text = [
        Option(
            "length", value: "N",
            help: "The longest sequence, in tokens; 128 without it, or as many as the base has room for.",
            group: "Text"),
        Option("truncate", help: "Cut examples that are longer, instead of refusing them.", group: "Text"),
        Option("validation", value: "FILE", help: "Held-out text: its loss is watched.", group: "Text"),
        Option(
            "validation-share", value: "P", help: "Hold out the last part P of the training text instead.",
            group: "Text"),
        Option(
            "validate-every", value: "N", help: "Look at it every N steps; after each way through the text without it.",
            group: "Text"),
        Option(
            "patience", value: "N", help: "Stop after N looks without a better loss, and keep the best.", group: "Text"),
        Option(
            "retain", value: "FILE",
            help: "Text of the base's own domain: its loss before and after tells what is forgotten.", group: "Text"),
    ]

    private static let records = [
        Option(
            "base-name", value: "NAME",
            help: "What the adapter's config calls the base; its directory's name otherwise.", group: "Records"),
        Option("metrics", value: "FILE", help: "Write each step and look as a JSON line.", group: "Records"),
        Option("plot", value: "FILE.svg", help: "Draw the loss curves.", group: "Records"),
        Option("report", value: "FILE", help: "Write what --json prints to a file.", group: "Records"),
        Option("dry-run", short: "n", help: "Show what would be trained and stop.", group: "Records"),
        Option(
            "gradients", value: "FILE.safetensors",
            help: "Write the loss and gradients of the first step, and stop: to compare with another trainer.",
            group: "Records"),
    ]
}

extension TrainingRequest {
    /// Reads the command line.
    init(_ arguments: Arguments) throws {
        guard let data = arguments.value("data") else {
            throw Problem(.usage, "no-data", "there is no text to train on", hint: "name it with --data FILE")
        }
        let stops = arguments.flag("dry-run") || arguments.value("gradients") != nil
        guard let output = arguments.value("output") ?? (stops ? "adapter" : nil) else {
            throw Problem(.usage, "no-output", "there is no output", hint: "name it with -o OUT")
        }
        // Of pretrain, the config stands where a base would.
        let isPretraining = arguments.operands[0] == "pretrain"
        let base = arguments.operands[isPretraining ? 1 : 0]
        self.init(base: base, data: data, output: output, version: adapterKitVersion)
        replaces = arguments.flag("force")
        validation = arguments.value("validation")
        validationShare = try arguments.number("validation-share", in: 1e-6...0.9) ?? 0
        retained = arguments.value("retain")
        start = arguments.value("from")
        layers = try arguments.value("layers").map { try LayerChoice($0) }
        length = try arguments.int("length", in: 2...1 << 20)
        truncates = arguments.flag("truncate")
        baseName = arguments.value("base-name")
        dtype = arguments.value("dtype").flatMap(DType.init(word:))
        checkpointEvery = try arguments.int("checkpoint-every", in: 1...Int.max)
        resumes = arguments.flag("resume")
        plan = try Self.plan(arguments)
        options = try Self.options(arguments)
        if let name = arguments.value("save-as"), let choice = FullOutput(rawValue: name) { fullOutput = choice }
        extractedRank = try arguments.int("rank", in: 1...1 << 16) ?? extractedRank
        if !isPretraining { try checkMethod(arguments) }
        try checkTogether(arguments)
    }

    /// Refuses options that would silently do nothing without another, or beside it.
    private func checkTogether(_ arguments: Arguments) throws(Problem) {
        if options.validateEvery != nil, validation == nil, validationShare == 0 {
            throw Problem(
                .usage, "no-validation", "--validate-every needs held-out text to look at",
                hint: "add --validation FILE or --validation-share 0.1")
        }
        if !options.usesCache, arguments.value("cache-limit") != nil {
            throw Problem(.usage, "two-caches", "--no-cache and --cache-limit exclude each other")
        }
        if let plot = arguments.value("plot"), !plot.lowercased().hasSuffix(".svg") {
            throw Problem(
                .usage, "bad-plot", "--plot writes SVG, but '\(plot)' is named otherwise",
                hint: "give a name that ends in .svg")
        }
    }

    private static func plan(_ arguments: Arguments) throws -> TrainingPlan {
        var plan = TrainingPlan(layers: [])
        if let name = arguments.value("method"), let method = TrainingPlan.Method(rawValue: name) {
            plan.method = method
        }
        if let text = arguments.value("targets") {
            plan.targets = text == "linear" ? TrainingPlan.linearModules : names(text)
        }
        plan.rank = try arguments.int("rank", in: 1...1 << 16) ?? plan.rank
        plan.alpha = try arguments.number("alpha", in: 1e-6...1e6) ?? Double(2 * plan.rank)
        plan.usesRankStabilization = arguments.flag("rslora")
        plan.usesMagnitude = arguments.flag("dora")
        plan.dropout = try arguments.number("dropout", in: 0...0.99) ?? 0
        plan.modulesToSave = arguments.value("modules-to-save").map(names) ?? []
        plan.bottleneckSize = try arguments.int("bottleneck", in: 1...1 << 16) ?? plan.bottleneckSize
        plan.prefixLength = try arguments.int("prefix-length", in: 1...1 << 16) ?? plan.prefixLength
        plan.seed = UInt64(try arguments.int("seed", in: 0...Int.max) ?? 0)
        return plan
    }

    /// Names between commas, each once.
    private static func names(_ text: String) -> [String] {
        var seen: Set<String> = []
        return text.split(separator: ",").map { String($0.trimmed) }.filter { !$0.isEmpty && seen.insert($0).inserted }
    }

    /// How long, how fast, on how much at a time.
    static func options(_ arguments: Arguments) throws -> TrainingOptions {
        var options = TrainingOptions()
        options.steps = try arguments.int("steps", in: 1...1 << 40)
        options.epochs = try arguments.number("epochs", in: 0.001...1e6) ?? options.epochs
        if options.steps != nil, arguments.value("epochs") != nil {
            throw Problem(.usage, "two-lengths", "--steps and --epochs exclude each other")
        }
        options.batch = try arguments.int("batch", in: 1...1 << 20) ?? options.batch
        options.accumulate = try arguments.int("accumulate", in: 1...1 << 20) ?? options.accumulate
        options.rate = try arguments.number("learning-rate", in: 0...1e3) ?? options.rate
        if let name = arguments.value("schedule"), let decay = Schedule.Decay(rawValue: name) { options.decay = decay }
        options.warmup = try arguments.number("warmup", in: 0...1) ?? options.warmup
        options.weightDecay = try arguments.number("weight-decay", in: 0...1e3) ?? options.weightDecay
        options.betas.first = try arguments.number("beta1", in: 0...0.999999) ?? options.betas.first
        options.betas.second = try arguments.number("beta2", in: 0...0.9999999) ?? options.betas.second
        options.epsilon = try arguments.number("epsilon", in: 1e-30...1) ?? options.epsilon
        options.clip = try arguments.number("clip", in: 0...1e9) ?? options.clip
        options.seed = UInt64(try arguments.int("seed", in: 0...Int.max) ?? 0)
        options.shuffles = !arguments.flag("no-shuffle")
        options.threads = try arguments.int("threads", in: 1...256) ?? Workers.processors
        options.cacheLimit = try arguments.bytes("cache-limit", in: 0...Int.max) ?? 1_000_000_000
        options.usesCache = !arguments.flag("no-cache")
        options.validateEvery = try arguments.int("validate-every", in: 1...Int.max)
        options.patience = try arguments.int("patience", in: 1...Int.max)
        options.layerDecay = try arguments.number("layer-decay", in: 0.001...1) ?? 1
        options.unfreezeEvery = try arguments.int("unfreeze-every", in: 1...Int.max)
        return options
    }

    /// Refuses options that the method does not have: they would silently do nothing.
    private func checkMethod(_ arguments: Arguments) throws(Problem) {
        guard arguments.value("max-shard-size") == nil else {
            throw Problem(.usage, "bad-method", "--max-shard-size belongs to pretrain only")
        }
        let own: [String: [TrainingPlan.Method]] = [
            "targets": [.lora], "rank": fullOutput == .adapter ? [.lora, .full] : [.lora], "alpha": [.lora],
            "dropout": [.lora], "modules-to-save": [.lora], "from": [.lora], "bottleneck": [.bottleneck],
            "prefix-length": [.prefix], "layer-decay": [.full], "unfreeze-every": [.full], "save-as": [.full],
            "dtype": [.full],
        ]
        let given =
            own.keys.sorted().filter { arguments.value($0) != nil } + ["rslora", "dora"].filter { arguments.flag($0) }
        for name in given where !(own[name] ?? [.lora]).contains(plan.method) {
            throw Problem(
                .usage, "bad-method", "--\(name) does not belong to --method \(plan.method.rawValue)",
                hint: "it belongs to \((own[name] ?? [.lora]).map(\.rawValue).joined(separator: " and "))"
                    + (name == "rank" && plan.method == .full ? ", and to full with --save-as adapter" : ""))
        }
    }
}

extension StringProtocol {
    /// Without the spaces around it.
    fileprivate var trimmed: SubSequence {
        let start = drop { $0 == " " }
        guard let last = start.lastIndex(where: { $0 != " " }) else {
            return start[start.startIndex..<start.startIndex]
        }
        return start[start.startIndex...last]
    }
}
