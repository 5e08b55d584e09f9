import Digests
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
    private static let version = "2"

    private typealias Tensor = (name: String, dtype: DType, shape: [Int], bytes: [UInt8])

    /// See the property.
    public init(settings: JSONObject) { self.settings = settings }

    /// Writes the state of `trainer` to `path`, whole or not at all, in place of an older one.
    public func write(_ trainer: Trainer, to path: String) throws {
        let tensors = Self.tensors(trainer)
        let (settings, state) = (JSONValue.object(settings).encoded(), Self.state(trainer.history, trainer.done))
        let order = try Header.layout(
            tensors.map { ($0.name, $0.dtype, $0.shape) }, metadata: nil, order: .reference
        ).tensors.map(\.name)
        let known = Dictionary(tensors.map { ($0.name, $0.bytes) }) { first, _ in first }
        var digest = Self.digest(settings, state)
        for name in order { digest.update(known[name] ?? []) }
        let metadata = [
            (key: "adapterkit.schema", value: Self.schema), (key: "adapterkit.version", value: Self.version),
            (key: "adapterkit.settings", value: settings), (key: "adapterkit.state", value: state),
            (key: "adapterkit.sha256", value: digest.finish()),
        ]
        try writeFile(try Header.encode(tensors: tensors, metadata: metadata), to: path, replacing: true)
    }

    /// The beginning of the digest of everything that is kept; the bytes of all tensors follow, as they lie in the file.
    private static func digest(_ settings: String, _ state: String) -> SHA256 {
        var digest = SHA256()
        digest.update(Array(settings.utf8))
        digest.update(Array(state.utf8))
        return digest
    }

    private static func tensors(_ trainer: Trainer) -> [Tensor] {
        var tensors: [Tensor] = []
        for (slot, parameter) in trainer.model.trained.enumerated() {
            let parts = [
                ("value", parameter.value), ("first", trainer.optimizer.first[slot]),
                ("second", trainer.optimizer.second[slot]),
            ]
            for (part, matrix) in parts {
                tensors.append(("\(part).\(parameter.name)", .f32, parameter.shape, matrix.bytes))
            }
            if let best = trainer.best {
                tensors.append(("best.\(parameter.name)", .f32, parameter.shape, bytes(best[slot])))
            }
        }
        let history = trainer.history
        let looks = history.validations.flatMap { [Double($0.step), $0.loss] }
        tensors.append(("history.losses", .f64, [history.losses.count], bytes(history.losses)))
        tensors.append(("history.validations", .f64, [history.validations.count, 2], bytes(looks)))
        return tensors
    }

    private static func state(_ history: TrainingHistory, _ done: Int) -> String {
        var state = JSONObject([("steps", .number(JSONNumber(done)))])
        state["looks_since_best"] = .number(JSONNumber(history.looksSinceBest))
        if let best = history.best {
            state["best_step"] = .number(JSONNumber(best.step))
            state["best_loss"] = .string(hexadecimal(best.loss))
        }
        if let before = history.trainingBefore { state["training_before"] = .string(hexadecimal(before)) }
        if let before = history.retainedBefore { state["retained_before"] = .string(hexadecimal(before)) }
        if !history.changes.isEmpty { state["changes"] = .array(history.changes.map(\.json)) }
        return JSONValue.object(state).encoded()
    }

    /// A double, exactly, as the hexadecimal digits of its bits.
    private static func hexadecimal(_ value: Double) -> String { String(value.bitPattern, radix: 16) }

    private static func bytes<T: FixedWidthInteger>(_ patterns: [T]) -> [UInt8] {
        patterns.flatMap { pattern in (0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: pattern >> (8 * T($0))) } }
    }

    static func bytes(_ values: [Float]) -> [UInt8] { bytes(values.map(\.bitPattern)) }
    static func bytes(_ values: [Double]) -> [UInt8] { bytes(values.map(\.bitPattern)) }

    /// Puts the state in `path` into `trainer`; returns the settings that it goes on with, where they are others.
    ///
    /// - Throws: if the file is damaged, or of a run that this one cannot go on from.
    @discardableResult public func read(into trainer: Trainer, from path: String) throws -> [SettingChange] {
        let bad = { (what: String) in
            Problem(.malformed, "bad-checkpoint", file: path, what, hint: "remove it to begin anew")
        }
        let file: SafetensorsFile
        do throws(Problem) {
            file = try SafetensorsFile(path: path)
        } catch {
            throw error.kind == .malformed ? bad(error.message) : error
        }
        let (settings, state) = try sound(file, bad)
        guard let done = state["steps"]?.number?.int, done >= 0 else { throw bad("has no steps") }
        let changes = try changes(since: settings, step: done, path)
        guard done <= trainer.steps else {
            throw Problem(
                .incompatible, "other-run", file: path,
                "has \(done) steps done, but only \(trainer.steps) are asked for",
                hint: "give more --steps or --epochs, or remove the checkpoint to begin anew")
        }
        let history = try history(file, state, done, bad)
        for (slot, parameter) in trainer.model.trained.enumerated() {
            for (part, matrix) in [
                ("value", parameter.value), ("first", trainer.optimizer.first[slot]),
                ("second", trainer.optimizer.second[slot]),
            ] {
                matrix.set(try values(file, "\(part).\(parameter.name)", parameter.shape, bad))
            }
        }
        // Without patience, nobody asks for the best values any more.
        if trainer.options.patience != nil, file.header.tensors.contains(where: { $0.name.hasPrefix("best.") }) {
            trainer.best = try trainer.model.trained.map { try values(file, "best.\($0.name)", $0.shape, bad) }
        }
        (trainer.history, trainer.done) = (history, done)
        trainer.history.changes += changes
        return changes
    }

    /// Settings and state of a file whose digest is right.
    private func sound(
        _ file: SafetensorsFile, _ bad: (String) -> Problem
    ) throws -> (settings: JSONObject, state: JSONObject) {
        let header = file.header
        guard header.metadataValue("adapterkit.schema") == Self.schema else { throw bad("is no training checkpoint") }
        let version = header.metadataValue("adapterkit.version") ?? ""
        guard version == Self.version else {
            throw bad("is a training checkpoint of version '\(version.excerpt)', not of version \(Self.version)")
        }
        guard let settings = header.metadataValue("adapterkit.settings"),
            let state = header.metadataValue("adapterkit.state")
        else { throw bad("lacks its settings or its state") }
        var digest = Self.digest(settings, state)
        for tensor in header.tensors { digest.update(try file.read(tensor)) }
        guard digest.finish() == header.metadataValue("adapterkit.sha256") else {
            throw bad("is damaged: its SHA-256 is not the one that it was written with")
        }
        return (try object(settings, bad), try object(state, bad))
    }

    private func object(_ text: String, _ bad: (String) -> Problem) throws(Problem) -> JSONObject {
        guard let object = try? JSONValue.parse(Array(text.utf8)).object else { throw bad("has no readable settings") }
        return object
    }

    /// The course until the checkpoint.
    private func history(
        _ file: SafetensorsFile, _ state: JSONObject, _ done: Int, _ bad: (String) -> Problem
    ) throws -> TrainingHistory {
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
        history.changes = (state["changes"]?.array ?? []).compactMap(SettingChange.init)
        return history
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
