import Files
import Problems
import StrictJSON

/// One training, as its report and its metrics tell it.
struct Run {
    let trained: Int
    let share: Double
    let optimizerBytes: Int
    /// CPU seconds of the whole command, on all cores together.
    let cpu: Double
    /// The mean loss of the steps of the last way through the text.
    let training: Double
    /// The held-out loss before the first step, and at each look.
    let looks: [(step: Int, loss: Double)]
    /// The loss on the base's own domain.
    let ownBefore: Double
    let ownAfter: Double

    /// Reads `path` with the endings .json, .jsonl and .cpu.
    init(path: String) throws {
        let report = try Self.object(Self.text(path + ".json"))
        trained = Int(try Self.number("parameters", report))
        share = try Self.number("share", report)
        optimizerBytes = Int(try Self.number("optimizer_bytes", report))
        ownBefore = try Self.number("retained_before", report)
        ownAfter = try Self.number("retained_after", report)
        cpu = try Self.text(path + ".cpu").split { $0 == " " || $0 == "\n" }.compactMap { Double($0) }.reduce(0, +)
        let lines = try Self.text(path + ".jsonl").split(separator: "\n").map { try Self.object(String($0)) }
        looks = try lines.filter { $0["validation_loss"] != nil }.map {
            (step: Int(try Self.number("step", $0)), loss: try Self.number("validation_loss", $0))
        }
        let steps = lines.filter { $0["epoch"] != nil }
        let end = try steps.last.map { try Self.number("epoch", $0) } ?? 0
        let last = try steps.filter { try Self.number("epoch", $0) > end - 1 + 1e-9 }
        training = try last.reduce(0) { $0 + (try Self.number("loss", $1)) / Double(last.count) }
        guard !looks.isEmpty else { throw Problem(.malformed, "no-looks", "\(path).jsonl has no held-out losses") }
    }

    /// The lowest held-out loss.
    var bestLoss: Double { looks.map(\.loss).min() ?? .nan }
    /// The step that had it.
    var bestStep: Int { looks.first { $0.loss == bestLoss }?.step ?? 0 }
    /// The held-out loss at the end.
    var end: Double { looks.last?.loss ?? .nan }

    private static func text(_ path: String) throws -> String {
        let file = try InputFile(path: path)
        return String(decoding: try file.read(at: 0, count: file.size), as: UTF8.self)
    }

    private static func object(_ text: String) throws -> JSONObject {
        guard let object = try JSONValue.parse(Array(text.utf8)).object else {
            throw Problem(.malformed, "no-object", "a report is no JSON object")
        }
        return object
    }

    private static func number(_ key: String, _ object: JSONObject) throws -> Double {
        guard let number = object[key]?.number else {
            throw Problem(.malformed, "no-number", "a report has no number '\(key)'")
        }
        return number.double
    }
}

/// The runs of a method, one for each seed.
struct Method {
    let label: String
    let runs: [Run]

    /// A measure of each run.
    func values(_ measure: (Run) -> Double) -> [Double] { runs.map(measure) }
}

/// The mean of some values.
func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
