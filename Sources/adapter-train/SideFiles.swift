import Console
import Files
import Problems
import StrictJSON
import Training

/// What is written beside the output: metrics as it goes, a plot and a report at the end.
final class SideFiles {
    private let metrics: String?
    private let plot: String?
    private let report: String?
    private let replaces: Bool
    private let isResumed: Bool
    private var stream: LineFile?
    /// Positions that went through the model.
    var tokens = 0

    init(_ arguments: Arguments, _ request: TrainingRequest, inputs: [String]) throws {
        metrics = arguments.value("metrics")
        plot = arguments.value("plot")
        report = arguments.value("report")
        replaces = request.replaces
        isResumed = request.resumes
        for (path, what) in [(metrics, "metrics"), (plot, "plot"), (report, "report")] {
            guard let path else { continue }
            try requireSeparate(output: path, from: inputs)
            try requireApart(report: path, output: request.output, what: what)
            try StagedOutput.checkPlace(path: path, shape: .file, replacing: replaces || (isResumed && path == metrics))
        }
        let paths = [metrics, plot, report].compactMap { $0 }
        guard Set(paths).count == paths.count else {
            throw Problem(.usage, "two-outputs", "--metrics, --plot and --report name the same file")
        }
    }

    /// Begins the metrics; those of a run that goes on keep what is there.
    func open(done: Int) throws {
        guard let metrics else { return }
        // Steps behind the checkpoint that a run goes on from will come again.
        let old = isResumed ? try? InputFile(path: metrics) : nil
        let text = try old.map { String(decoding: try $0.read(at: 0, count: $0.size), as: UTF8.self) } ?? ""
        let kept = text.split(separator: "\n").map(String.init).filter { Self.step(of: $0).map { $0 <= done } ?? false }
        stream = try LineFile(path: metrics, lines: kept)
    }

    /// The step that a line is about.
    private static func step(of line: String) -> Int? {
        (try? JSONValue.parse(Array(line.utf8)))?.object?["step"]?.number?.int
    }

    func write(_ event: TrainingEvent, seconds: Double) throws {
        guard let stream else { return }
        let time = ("seconds", JSON.double((seconds * 1000).rounded() / 1000))
        switch event {
        case .step(let step):
            try stream.write(
                JSON.object([
                    ("step", .int(step.number)), ("loss", .double(step.loss)), ("learning_rate", .double(step.rate)),
                    ("gradient_norm", .double(step.gradientNorm)), ("tokens", .int(step.tokens)),
                    ("epoch", .double(step.epoch)), time,
                ]).compact)
        case .validation(let step, let loss, let isBest):
            try stream.write(
                JSON.object([
                    ("step", .int(step)), ("validation_loss", .double(loss)), ("best", .bool(isBest)), time,
                ]).compact)
        case .checkpoint(let step):
            try stream.write(JSON.object([("step", .int(step)), ("checkpoint", .bool(true)), time]).compact)
        }
    }

    /// Draws the plot and writes the report, once the output is there.
    ///
    /// - Parameter method: what the plot's title says was trained.
    func finish(_ job: any TrainingWork, method: String, _ document: JSON) throws(Problem) {
        let picture = LossPlot(
            job.trainer.history, title: "Training \(method) on \(lastComponent(of: job.request.data))")
        do throws(Problem) {
            if let plot { try writeFile(Array(picture.svg.utf8), to: plot, replacing: replaces) }
            if let report {
                try writeFile(Array((document.pretty + "\n").utf8), to: report, replacing: replaces)
            }
        } catch {
            var problem = error
            problem.hint = "the training itself is done: '\(job.request.output)' is whole"
            throw problem
        }
    }
}
