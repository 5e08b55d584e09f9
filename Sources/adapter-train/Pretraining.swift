import Console
import Files
import Problems
import Reports
import Training

/// `adapter-train pretrain`: a small base from nothing.
struct Pretraining {
    private let arguments: Arguments
    private let terminal: Terminal

    init(_ arguments: Arguments, _ terminal: Terminal) { (self.arguments, self.terminal) = (arguments, terminal) }

    /// Options that only adapters have.
    private static let foreign = [
        "method", "layers", "targets", "rank", "alpha", "rslora", "dora", "dropout", "modules-to-save", "bottleneck",
        "prefix-length", "layer-decay", "unfreeze-every", "save-as", "from", "base-name", "gradients", "cache-limit",
        "no-cache",
    ]

    func run() throws -> Int32 {
        try check()
        let started = Clock.now
        let request = try TrainingRequest(arguments)
        let shardSize = try arguments.bytes("max-shard-size")
        let inputs = [request.base, request.data, request.validation].compactMap { $0 }
        let writes = !arguments.flag("dry-run")
        if writes {
            try requireSeparate(output: request.output, from: inputs)
            try StagedOutput.checkPlace(path: request.output, shape: .directory, replacing: request.replaces)
        }
        let files = try SideFiles(arguments, request, inputs: inputs)
        let pretrainer = try Pretrainer(request)
        let facts = PretrainingFacts(pretrainer)
        if !terminal.json, !terminal.quiet { facts.show(on: terminal) }
        try terminal.flush()
        guard writes else {
            if terminal.json { terminal.print(json: facts.document(result: nil)) }
            return 0
        }
        let seconds = try TrainingRun(arguments, terminal).train(pretrainer, files)
        let (bytes, losses) = try pretrainer.write(shardSize: shardSize)
        try pretrainer.removeCheckpoint()
        let result = RunResult(
            bytes: bytes, trained: seconds, seconds: Clock.now - started, tokens: files.tokens, losses: losses,
            peakBytes: Clock.peakMemory)
        let document = facts.document(result: result)
        try files.finish(pretrainer, method: pretrainer.config.modelType, document)
        if terminal.json {
            terminal.print(json: document)
        } else if !terminal.quiet {
            facts.show(result, on: terminal)
        }
        return 0
    }

    /// Refuses operands and options that do not belong to it.
    private func check() throws(Problem) {
        guard arguments.operands.count == 2 else {
            throw Problem(
                .usage, "no-config", "pretrain needs the config of the model to make",
                hint: "write adapter-train pretrain config.json --data FILE -o OUT")
        }
        if let name = Self.foreign.first(where: { arguments.isGiven($0) }) {
            throw Problem(.usage, "bad-option", "--\(name) does not belong to pretrain")
        }
        guard !arguments.isGiven("retain") else {
            throw Problem(
                .usage, "bad-option", "--retain does not belong to pretrain: there is no base that could forget",
                hint: "the loss on other text is watched with --validation FILE")
        }
    }
}
