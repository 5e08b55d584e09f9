import Adapters
import Digests
import Models
import Problems
import Safetensors
import StrictJSON

/// What an adapter was trained from, with and how: the same for the same run, so it has no times in it.
///
/// It goes into the metadata of the tensor file and, to be read by people, into `training.json`; see
/// `formats/trained-adapter.md`.
public struct TrainingRecord {
    private var fields = JSONObject()

    /// What is known before training.
    ///
    /// - Parameters:
    ///   - digests: SHA-256 of each of the base's files, by name.
    ///   - start: name and SHA-256 of the adapter that training goes on from.
    public init(
        base: BaseModel, baseName: String, digests: [(name: String, digest: String)],
        start: (name: String, digest: String)?, plan: TrainingPlan, options: TrainingOptions, data: TextData,
        validation: TextData?, retained: TextData?, length: Int
    ) {
        fields["schema"] = .string("adapterkit.training")
        fields["version"] = .number(JSONNumber(1))
        fields["method"] = .string(plan.method.rawValue)
        fields["settings"] = .object(Self.settings(plan, options, length))
        fields["base"] = .object(
            JSONObject([
                ("name", .string(baseName)), ("layout", .string(Origin.identity(of: base.checkpoint))),
                ("files", .object(JSONObject(digests.map { ($0.name, .string($0.digest)) }))),
            ]))
        if let start {
            fields["start"] = .object(
                JSONObject([("name", .string(start.name)), ("sha256", .string(start.digest))]))
        }
        for (key, text) in [("data", data), ("validation", validation), ("retained", retained)] {
            guard let text else { continue }
            fields[key] = .object(
                JSONObject([
                    ("name", .string(Origin.name(of: text.path))), ("sha256", .string(text.digest)),
                    ("sequences", .number(JSONNumber(text.sequences.count))),
                    ("tokens", .number(JSONNumber(text.tokenCount))),
                    ("targets", .number(JSONNumber(text.targetCount))),
                ]))
        }
    }

    /// Everything that decides the result, beside base and data.
    private static func settings(_ plan: TrainingPlan, _ options: TrainingOptions, _ length: Int) -> JSONObject {
        var fields = JSONObject()
        let texts = { (values: [String]) in JSONValue.array(values.map(JSONValue.string)) }
        let number = { (value: Int) in JSONValue.number(JSONNumber(value)) }
        fields["layers"] = .array(plan.layers.map(number))
        switch plan.method {
        case .lora:
            fields["targets"] = texts(plan.targets)
            fields["rank"] = number(plan.rank)
            fields["alpha"] = .string("\(plan.alpha)")
            fields["rslora"] = .bool(plan.usesRankStabilization)
            fields["dora"] = .bool(plan.usesMagnitude)
            fields["dropout"] = .string("\(plan.dropout)")
            fields["modules_to_save"] = texts(plan.modulesToSave)
        case .bottleneck: fields["bottleneck_size"] = number(plan.bottleneckSize)
        case .prefix: fields["prefix_length"] = number(plan.prefixLength)
        case .full: break
        }
        fields["length"] = number(length)
        for pair in options.fields { fields[pair[0]] = .string(pair[1]) }
        return fields
    }

    /// What a checkpoint must have been made with for this run to go on from it.
    public var identity: JSONObject {
        var result = fields["settings"]?.object ?? JSONObject()
        result["method"] = fields["method"]
        for key in ["start", "data", "validation", "retained"] { result[key] = fields[key]?.object?["sha256"] }
        result["base"] = fields["base"]?.object?["files"]
        return result
    }

    /// Adds what training gave.
    ///
    /// - Parameter after: the losses of what is stored.
    mutating func finish(_ trainer: Trainer, after: TextLosses) {
        let history = trainer.history
        let number = { (value: Double) in JSONValue.number(JSONNumber(text: "\(value)")) }
        var result = JSONObject([("steps", .number(JSONNumber(trainer.done)))])
        if let first = history.losses.first { result["first_loss"] = number(first) }
        if let last = history.losses.last { result["last_loss"] = number(last) }
        if let before = history.trainingBefore { result["training_before"] = number(before) }
        result["training_after"] = number(after.training)
        if let first = history.validations.first { result["validation_before"] = number(first.loss) }
        if let loss = after.validation { result["validation_after"] = number(loss) }
        if let best = history.best {
            result["best_step"] = .number(JSONNumber(best.step))
            result["best_validation"] = number(best.loss)
        }
        if let before = history.retainedBefore { result["retained_before"] = number(before) }
        if let loss = after.retained { result["retained_after"] = number(loss) }
        if !history.changes.isEmpty { result["changes"] = .array(history.changes.map(\.json)) }
        fields["result"] = .object(result)
    }

    /// As metadata of a tensor file.
    ///
    /// - Parameter binding: `StoredBinding.text`.
    func metadata(version: String, binding: String?) -> [(key: String, value: String)] {
        let base = fields["base"]?.object
        let bound = binding.map { [(key: StoredBinding.key, value: $0)] } ?? []
        return bound + [
            (key: "adapterkit.base", value: base?["layout"]?.string ?? ""),
            (key: "adapterkit.base_sha256", value: (base?["files"] ?? .null).encoded()),
            (key: "adapterkit.training", value: JSONValue.object(fields).encoded()),
            (key: "adapterkit.version", value: version),
        ]
    }

    /// As a file.
    public var bytes: [UInt8] { Array((JSONValue.object(fields).encoded(indent: 2) + "\n").utf8) }
}
