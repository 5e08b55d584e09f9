import Files
import Problems
import Safetensors
import StrictJSON
import Tensors

/// The state of a training in a file, from which it goes on with the same bits; `formats/training-checkpoint.md`.
public struct TrainingCheckpoint {
    /// What the run depends on, by name; a run goes on only with the same.
    public let settings: JSONObject

    private static let schema = "adapterkit.training-checkpoint"

    /// See the property.
    public init(settings: JSONObject) { self.settings = settings }

    /// Writes the state of `trainer` to `path`, whole or not at all, in place of an older one.
    public func write(_ trainer: Trainer, to path: String) throws {
        var tensors: [(name: String, dtype: DType, shape: [Int], bytes: [UInt8])] = []
        for (slot, parameter) in trainer.model.trained.enumerated() {
            let parts = [
                ("value", parameter.value), ("first", trainer.optimizer.first[slot]),
                ("second", trainer.optimizer.second[slot]),
            ]
            for (part, matrix) in parts {
                tensors.append(("\(part).\(parameter.name)", .f32, parameter.shape, matrix.bytes))
            }
            if let best = trainer.best {
                tensors.append(("best.\(parameter.name)", .f32, parameter.shape, Self.bytes(best[slot])))
            }
        }
        let history = trainer.history
        let looks = history.validations.flatMap { [Double($0.step), $0.loss] }
        tensors.append(("history.losses", .f64, [history.losses.count], Self.bytes(history.losses)))
        tensors.append(("history.validations", .f64, [history.validations.count, 2], Self.bytes(looks)))
        var state = JSONObject([("steps", .number(JSONNumber(trainer.done)))])
        state["looks_since_best"] = .number(JSONNumber(history.looksSinceBest))
        if let best = history.best {
            state["best_step"] = .number(JSONNumber(best.step))
            state["best_loss"] = .string(Self.hexadecimal(best.loss))
        }
        if let before = history.trainingBefore { state["training_before"] = .string(Self.hexadecimal(before)) }
        if let before = history.retainedBefore { state["retained_before"] = .string(Self.hexadecimal(before)) }
        let metadata = [
            (key: "adapterkit.schema", value: Self.schema), (key: "adapterkit.version", value: "1"),
            (key: "adapterkit.settings", value: JSONValue.object(settings).encoded()),
            (key: "adapterkit.state", value: JSONValue.object(state).encoded()),
        ]
        let bytes = try Header.encode(tensors: tensors, metadata: metadata)
        try writeFile(bytes, to: path, replacing: true)
    }

    /// A double, exactly, as the hexadecimal digits of its bits.
    private static func hexadecimal(_ value: Double) -> String { String(value.bitPattern, radix: 16) }

    private static func bytes<T: FixedWidthInteger>(_ patterns: [T]) -> [UInt8] {
        patterns.flatMap { pattern in (0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: pattern >> (8 * T($0))) } }
    }

    static func bytes(_ values: [Float]) -> [UInt8] { bytes(values.map(\.bitPattern)) }
    static func bytes(_ values: [Double]) -> [UInt8] { bytes(values.map(\.bitPattern)) }

    /// Puts the state in `path` into `trainer`.
    public func read(into trainer: Trainer, from path: String) throws {
        let file = try SafetensorsFile(path: path)
        let bad = { (what: String) in
            Problem(
                .malformed, "bad-checkpoint", file: path, what, hint: "remove it to begin anew")
        }
        guard file.header.metadataValue("adapterkit.schema") == Self.schema else {
            throw bad("is no training checkpoint")
        }
        guard file.header.metadataValue("adapterkit.version") == "1" else {
            throw bad("is a training checkpoint of another version")
        }
        let object = { (key: String) throws -> JSONObject in
            guard let text = file.header.metadataValue(key),
                let value = try? JSONValue.parse(Array(text.utf8)).object
            else { throw bad("has no readable \(key)") }
            return value
        }
        try requireSame(try object("adapterkit.settings"), path)
        let state = try object("adapterkit.state")
        guard let done = state["steps"]?.number?.int, (0...trainer.steps).contains(done) else {
            throw bad("has no steps")
        }
        for (slot, parameter) in trainer.model.trained.enumerated() {
            for (part, matrix) in [
                ("value", parameter.value), ("first", trainer.optimizer.first[slot]),
                ("second", trainer.optimizer.second[slot]),
            ] {
                matrix.set(try values(file, "\(part).\(parameter.name)", parameter.shape, bad))
            }
        }
        var history = TrainingHistory()
        history.losses = try doubles(file, "history.losses", bad)
        let looks = try doubles(file, "history.validations", bad)
        for at in stride(from: 0, to: looks.count - 1, by: 2) {
            history.validations.append(TrainingHistory.Look(step: Int(looks[at]), loss: looks[at + 1]))
        }
        guard history.losses.count == done else { throw bad("has \(history.losses.count) losses of \(done) steps") }
        let number = { (key: String) in
            state[key]?.string.flatMap { UInt64($0, radix: 16) }.map { Double(bitPattern: $0) }
        }
        history.trainingBefore = number("training_before")
        history.retainedBefore = number("retained_before")
        history.looksSinceBest = state["looks_since_best"]?.number?.int ?? 0
        if let step = state["best_step"]?.number?.int, let loss = number("best_loss") {
            history.best = TrainingHistory.Look(step: step, loss: loss)
        }
        if file.header.tensors.contains(where: { $0.name.hasPrefix("best.") }) {
            trainer.best = try trainer.model.trained.map { try values(file, "best.\($0.name)", $0.shape, bad) }
        }
        (trainer.history, trainer.done) = (history, done)
    }

    private func requireSame(_ found: JSONObject, _ path: String) throws(Problem) {
        var differing: [String] = []
        let keys = Set(found.entries.map(\.key) + settings.entries.map(\.key))
        for key in keys.sorted() where found[key] != settings[key] { differing.append(key) }
        guard differing.isEmpty else {
            let (old, new) = (
                found[differing[0]]?.encoded() ?? "nothing", settings[differing[0]]?.encoded() ?? "nothing"
            )
            throw Problem(
                .incompatible, "other-run", file: path,
                "is of a run with another \(differing.joined(separator: ", ")) (\(differing[0]): \(old), not \(new))",
                hint: "go on with the same options and data, or remove the checkpoint to begin anew")
        }
    }

    private func info(
        _ file: SafetensorsFile, _ name: String, _ bad: (String) -> Problem
    ) throws(Problem) -> TensorInfo {
        guard let info = file.header.tensors.first(where: { $0.name == name }) else { throw bad("lacks '\(name)'") }
        return info
    }

    private func values(
        _ file: SafetensorsFile, _ name: String, _ shape: [Int], _ bad: (String) -> Problem
    ) throws -> [Float] {
        let info = try info(file, name, bad)
        guard info.dtype == .f32, info.shape == shape else { throw bad("has another '\(name)'") }
        return try TensorValues.floats(try file.read(info), .f32)
    }

    private func doubles(_ file: SafetensorsFile, _ name: String, _ bad: (String) -> Problem) throws -> [Double] {
        let info = try info(file, name, bad)
        guard info.dtype == .f64 else { throw bad("has another '\(name)'") }
        return try TensorValues.doubles(try file.read(info), .f64)
    }
}

extension Matrix {
    /// Its elements as float32, little-endian.
    var bytes: [UInt8] { TrainingCheckpoint.bytes(values.map { Float($0) }) }
}
