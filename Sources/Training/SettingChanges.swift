import Problems
import StrictJSON

/// A setting of a run that was changed when it went on from a checkpoint.
public struct SettingChange: Sendable, Equatable {
    /// Steps that were done before.
    public var step: Int
    /// The setting's name in records: `learning_rate`.
    public var setting: String
    /// Its value before, as records have it.
    public var before: String
    /// Its value from then on.
    public var now: String

    /// As a person reads it: `--learning-rate (0.5 before, 0.001 now)`.
    public var text: String {
        let name = RunSetting(setting)
        return "\(name.option ?? name.words) (\(RunSetting.shown(before)) before, \(RunSetting.shown(now)) now)"
    }

    var json: JSONValue {
        .object(
            JSONObject([
                ("after", .number(JSONNumber(step))), ("setting", .string(setting)), ("before", .string(before)),
                ("now", .string(now)),
            ]))
    }

    init(step: Int, setting: String, before: String, now: String) {
        (self.step, self.setting, self.before, self.now) = (step, setting, before, now)
    }

    /// Reads what `json` gives.
    init?(_ value: JSONValue) {
        guard let object = value.object, let step = object["after"]?.number?.int,
            let setting = object["setting"]?.string, let before = object["before"]?.string,
            let now = object["now"]?.string
        else { return nil }
        self.init(step: step, setting: setting, before: before, now: now)
    }
}

/// A name among the settings that a checkpoint keeps, in the words of messages.
struct RunSetting {
    let key: String
    let words: String
    /// The option that gives it, if one does.
    let option: String?

    private static let known: [String: (words: String, option: String?)] = [
        "accumulate": ("number of batches for a step", nil), "alpha": ("scale of the updates", nil),
        "base": ("base", ""), "batch": ("batch size", nil), "betas": ("beta1 or beta2", "--beta1, --beta2"),
        "bottleneck_size": ("bottleneck size", "--bottleneck"), "clip": ("limit of the gradients' norm", nil),
        "config": ("config", ""), "data": ("text", nil), "dora": ("magnitude", nil),
        "epochs": ("number of epochs", nil), "layer_decay": ("decay of the rate by layers", nil),
        "layers": ("choice of layers", nil), "length": ("length of sequences", nil),
        "modules_to_save": ("choice of modules to save", nil), "prefix_length": ("prefix length", nil),
        "retained": ("text of the base's own", "--retain"), "rslora": ("kind of scale", nil),
        "shuffle": ("order of sequences", "--no-shuffle"), "start": ("adapter to go on from", "--from"),
        "steps": ("number of steps", nil), "targets": ("choice of modules", nil), "threads": ("number of threads", nil),
        "tokenizer": ("tokenizer", ""), "unfreeze_every": ("pace of unfreezing", nil),
        "validate_every": ("number of steps between looks", nil), "validation": ("held-out text", nil),
        "validation_share": ("share of held-out text", nil),
    ]

    init(_ key: String) {
        self.key = key
        let found = Self.known[key]
        words = found?.words ?? key.map { $0 == "_" ? " " : String($0) }.joined()
        let usual = "--" + key.map { $0 == "_" ? "-" : String($0) }.joined()
        option = found?.option.map { $0.isEmpty ? nil : $0 } ?? usual
    }

    /// A value of a record for people.
    static func shown(_ value: String) -> String { value == "-" ? "none" : value }

    /// Settings that decide only how training goes on, not what its state means.
    private static let changeable: Set<String> = [
        "learning_rate", "schedule", "warmup", "clip", "steps", "epochs", "patience",
    ]

    /// Whether a run can go on with another value.
    ///
    /// Patience that comes late does not know the values of the best look so far.
    func canChange(from before: String?) -> Bool {
        Self.changeable.contains(key) && !(key == "patience" && before == "-")
    }

    /// The setting with what it was and is, where that can be read: `--seed: 0, not 1`.
    func difference(_ found: JSONValue?, _ own: JSONValue?) -> String? {
        let text = { (value: JSONValue?) in value.map { $0.string ?? $0.encoded() } ?? "-" }
        let (before, now) = (text(found), text(own))
        let name = option ?? words
        // A digest says nothing to people.
        let isShort = max(before.count, now.count) < 64 && found?.object == nil && own?.object == nil
        return isShort ? "\(name): \(Self.shown(before)), not \(Self.shown(now))" : option
    }
}

extension TrainingCheckpoint {
    /// What changed since a checkpoint with the settings `found`, in the order of names.
    ///
    /// - Parameter step: steps that are done.
    /// - Throws: `other-run`, with what differs and must not.
    func changes(since found: JSONObject, step: Int, _ path: String) throws(Problem) -> [SettingChange] {
        let keys = Set(found.entries.map(\.key) + settings.entries.map(\.key)).sorted()
        let differing = keys.filter { found[$0] != settings[$0] }.map(RunSetting.init)
        let refused = differing.filter { !$0.canChange(from: found[$0.key]?.string) }
        guard refused.isEmpty else {
            let details = refused.compactMap { $0.difference(found[$0.key], settings[$0.key]) }
            throw Problem(
                .incompatible, "other-run", file: path,
                "is of a run with another \(refused.map(\.words).joined(separator: ", another "))"
                    + (details.isEmpty ? "" : " (\(details.joined(separator: "; ")))"),
                hint: "go on with the same options and data, or remove the checkpoint to begin anew")
        }
        return differing.map {
            SettingChange(
                step: step, setting: $0.key, before: found[$0.key]?.string ?? "-", now: settings[$0.key]?.string ?? "-")
        }
    }
}
