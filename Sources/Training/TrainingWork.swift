import Files
import Problems

/// A training with its inputs, of an adapter or of a base from nothing: what the loop of steps needs, and what is told of it.
public protocol TrainingWork {
    /// What was asked for.
    var request: TrainingRequest { get }
    /// The texts.
    var data: TextData { get }
    /// Held-out text.
    var validation: TextData? { get }
    /// Text of the base's own domain.
    var retained: TextData? { get }
    /// The training.
    var trainer: Trainer { get }
    /// How its state is kept.
    var checkpoint: TrainingCheckpoint { get }
    /// What changed since the checkpoint that it goes on from.
    var changes: [SettingChange] { get }
}

extension TrainingWork {
    /// Trains to the end.
    ///
    /// - Throws: after a signal, with a checkpoint written if they are wanted; `diverged`, likewise.
    public func run(_ report: (TrainingEvent) throws -> Void) throws {
        do {
            try trainer.begin(report)
            while !trainer.isFinished {
                try report(.step(try trainer.step()))
                try trainer.lookIfDue(report)
                // What is kept is to be a state to go on from, even if the run diverges.
                if let every = request.checkpointEvery, trainer.done % every == 0, !trainer.isFinished,
                    !trainer.history.isStraying
                {
                    try checkpoint.write(trainer, to: request.checkpointPath)
                    try report(.checkpoint(step: trainer.done))
                }
            }
        } catch let problem as Problem where problem.kind == .interrupted || problem.code == "diverged" {
            throw try stopped(problem)
        }
        trainer.restoreBest()
    }

    /// The problem that ended training, with what is left of it.
    private func stopped(_ problem: Problem) throws -> Problem {
        var problem = problem
        guard request.checkpointEvery != nil else { return problem }
        if problem.kind == .interrupted {
            try checkpoint.write(trainer, to: request.checkpointPath)
            problem.message = "stopped after step \(trainer.done); its state is in \(request.checkpointPath)"
            problem.hint = "go on with the same command and --resume"
        } else if Directory.kind(of: request.checkpointPath) != nil {
            problem.message += "; a state from before that is in \(request.checkpointPath)"
            problem.hint = "go on from it with --resume and a lower --learning-rate, or remove it to begin anew"
        }
        return problem
    }

    /// Removes the checkpoint, which nobody needs once the output is there.
    public func removeCheckpoint() throws {
        guard request.checkpointEvery != nil else { return }
        let (parent, name) = try StagedOutput.split(request.checkpointPath)
        if Directory.kind(of: request.checkpointPath) == .file { try Directory(path: parent).removeFile(name) }
        try StagedOutput.sweep(path: request.checkpointPath)
    }
}

extension TrainingHistory {
    /// Whether the last loss is so much worse than the first that an older state is worth more than this one.
    var isStraying: Bool {
        guard let first = losses.first, let last = losses.last else { return false }
        return last > max(2 * first, first + 1)
    }
}

extension TrainingRequest {
    /// Refuses held-out text and checkpoints that are asked for in ways that make no sense, whatever is trained.
    func checkCourse() throws(Problem) {
        if validation != nil, validationShare > 0 {
            throw Problem(.usage, "two-validations", "--validation and --validation-share exclude each other")
        }
        if options.patience != nil, validation == nil, validationShare == 0 {
            throw Problem(
                .usage, "no-validation", "--patience needs held-out text to look at",
                hint: "add --validation FILE or --validation-share 0.1")
        }
        if resumes, checkpointEvery == nil {
            throw Problem(.usage, "no-checkpoint", "--resume goes with --checkpoint-every")
        }
        if resumes, Directory.kind(of: checkpointPath) == nil {
            throw Problem(
                .missing, "no-checkpoint", file: checkpointPath, "is not there: there is nothing to go on from",
                hint: "leave --resume out")
        }
        if !resumes, checkpointEvery != nil, Directory.kind(of: checkpointPath) != nil {
            throw Problem(
                .output, "exists", file: checkpointPath, "is there from an earlier run",
                hint: "go on from it with --resume, or remove it")
        }
    }
}
