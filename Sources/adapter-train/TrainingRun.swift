import Console
import Files
import Problems
import Reports
import Training

/// Trains an adapter: shows what is trained, watches it, and writes what comes out.
struct TrainingRun {
    private let arguments: Arguments
    private let terminal: Terminal

    init(_ arguments: Arguments, _ terminal: Terminal) { (self.arguments, self.terminal) = (arguments, terminal) }

    func run() throws -> Int32 {
        let started = Clock.now
        let request = try TrainingRequest(arguments)
        let gradients = arguments.value("gradients")
        let writes = !arguments.flag("dry-run") && gradients == nil
        let inputs = [request.base, request.data, request.validation, request.retained, request.start].compactMap { $0 }
        if writes {
            try requireSeparate(output: request.output, from: inputs)
            try TrainingOutput.check(request)
        }
        if let gradients {
            try requireSeparate(output: gradients, from: inputs)
            try StagedOutput.checkPlace(path: gradients, shape: .file, replacing: arguments.flag("force"))
        }
        let files = try SideFiles(arguments, request, inputs: inputs)
        let reading = Progress(terminal, label: "reading", totalBytes: nil)
        defer { reading.finish() }
        let job = try TrainingJob(request) { reading.advance(by: $0) }
        reading.finish()
        let facts = RunFacts(job)
        if let gradients { return try write(job, to: gradients, facts) }
        if !terminal.json, !terminal.quiet { facts.show(on: terminal) }
        facts.warn(on: terminal)
        try terminal.flush()
        guard writes else {
            if terminal.json { terminal.print(json: facts.document(result: nil)) }
            return 0
        }
        let seconds = try train(job, files)
        return try finish(job, facts, files, trained: seconds, started: started)
    }

    /// Trains; returns the seconds that it took.
    func train(_ job: any TrainingWork, _ files: SideFiles) throws -> Double {
        let progress = StepProgress(terminal, label: "training", total: job.trainer.steps, done: job.trainer.done)
        defer { progress.finish() }
        let started = Clock.now
        var tokens = 0
        try files.open(done: job.trainer.done)
        if job.request.resumes {
            let changes = job.changes.isEmpty ? "" : " with another \(job.changes.map(\.text).joined(separator: ", "))"
            terminal.note("going on after step \(job.trainer.done)\(changes)")
        }
        try job.run { event in
            let seconds = Clock.now - started
            try files.write(event, seconds: seconds)
            switch event {
            case .step(let step):
                tokens += step.tokens
                progress.update(
                    step.number,
                    "loss \(Humane.significant(step.loss, digits: 4))  "
                        + "\(Humane.count(Int(Double(tokens) / max(1e-9, seconds)))) tokens/s")
            case .validation(let step, let loss, let isBest):
                guard !terminal.json, !terminal.quiet else { break }
                progress.clear()
                let own = job.trainer.history.losses.suffix(10)
                let mean = RunFacts.loss(own.reduce(0, +) / Double(max(1, own.count)))
                let recent =
                    own.isEmpty ? "" : own.count == 1 ? "; last step \(mean)" : "; last \(own.count) steps \(mean)"
                terminal.print(
                    "step \(Humane.count(step)): held-out \(RunFacts.loss(loss))"
                        + (step > 0 && !isBest ? " (no better)" : "") + recent)
                try terminal.flush()
            case .checkpoint: break
            }
        }
        files.tokens = tokens
        return Clock.now - started
    }

    private func finish(
        _ job: TrainingJob, _ facts: RunFacts, _ files: SideFiles, trained: Double, started: Double
    ) throws -> Int32 {
        let (bytes, losses) = try TrainingOutput(job).write(threads: job.request.options.threads)
        try job.removeCheckpoint()
        let result = RunResult(
            bytes: bytes, trained: trained, seconds: Clock.now - started, tokens: files.tokens, losses: losses,
            peakBytes: Clock.peakMemory)
        let document = facts.document(result: result)
        try files.finish(job, method: job.plan.method.rawValue, document)
        facts.warnAfter(on: terminal)
        if terminal.json {
            terminal.print(json: document)
        } else if !terminal.quiet {
            facts.show(result, on: terminal)
        }
        return 0
    }

    private func write(_ job: TrainingJob, to path: String, _ facts: RunFacts) throws -> Int32 {
        let loss = try GradientFile.write(job, to: path, replacing: arguments.flag("force"))
        if terminal.json {
            terminal.print(json: [
                "schema": "adapterkit.gradients", "version": 1, "loss": .double(loss), "file": .string(path),
            ])
        } else {
            terminal.print("\(escaped(path)): the gradients of the first step, at a loss of \(RunFacts.loss(loss))")
        }
        return 0
    }
}

/// What a run gave, beside its output.
struct RunResult {
    let bytes: Int
    /// Seconds of training, and of everything.
    let trained: Double
    let seconds: Double
    let tokens: Int
    /// The losses of what is stored.
    let losses: TextLosses
    let peakBytes: Int
}
