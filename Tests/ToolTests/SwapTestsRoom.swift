import Fixtures
import Foundation
import Testing

extension Tools {
    static func swap(_ model: String, _ arguments: [String], environment: [String: String] = [:]) -> Answer {
        run("adapter-swap", [model] + arguments, environment: environment)
    }
}

/// A model that is served, the pristine base that it was, and adapters that go into it.
final class Served {
    let scratch: Scratch
    /// The base as it was, never touched, and the model that is swapped.
    let pristine: String
    let model: String
    /// Names that a merge writes anew, or that would be wrong beside merged weights.
    private let replaced: Set<String>
    private var merges: [String: [String: [UInt8]]?] = [:]

    /// Copies the directory at `base`; its path is `served/model` from then on.
    init(_ scratch: Scratch, base: String) throws {
        self.scratch = scratch
        pristine = base
        try scratch.directory("served")
        model = try scratch.copy(base, as: "served/model")
        replaced = Set(
            Golden.names(in: base).filter {
                $0.hasSuffix(".safetensors") || $0.hasSuffix(".safetensors.index.json") || $0 == "SHA256SUMS"
                    || $0 == "adapter_config.json"
            })
    }

    var statePath: String { scratch("served/.model.adapterkit-swap") }

    @discardableResult func swap(_ arguments: String..., environment: [String: String] = [:]) -> Answer {
        Tools.swap(model, arguments, environment: environment)
    }

    /// The same, which must succeed.
    func demand(_ arguments: [String], environment: [String: String] = [:]) throws {
        let answer = Tools.swap(model, arguments, environment: environment)
        try #require(answer.status == 0, "\(arguments): \(answer.err)")
    }

    /// All of the model but the state of its swaps.
    var found: [String: [UInt8]] { contents(of: model).filter { !$0.key.hasPrefix(".adapterkit-swap") } }

    /// What the model must be with these adapters: a fresh merge onto the pristine base, and what a merge leaves out; `nil`
    /// if they cannot be merged.
    ///
    /// - Parameter anew: whether an adapter has changed.
    func wanted(_ operands: [String], anew: Bool = false) -> [String: [UInt8]]? {
        if operands.isEmpty { return contents(of: pristine) }
        let key = operands.joined(separator: "\n")
        if !anew, let known = merges[key] { return known }
        let output = scratch("fresh")
        let answer = Tools.merge(pristine, operands, output)
        var result: [String: [UInt8]]?
        if answer.status == 0 {
            let along = contents(of: pristine).filter { !replaced.contains($0.key) }
            result = along.merging(contents(of: output)) { $1 }
            _ = Tools.shell("rm -rf \"$1\"", output)
        }
        merges[key] = .some(result)
        return result
    }

    /// What is in the directory of the state that the state does not speak of.
    func strays(in state: String? = nil) throws -> [String] {
        let path = state ?? statePath
        let names = Golden.names(in: path)
        guard names.contains("state.json") else { return names.filter { $0 != "lock" } }
        let document = try object(in: path + "/state.json")
        var known: Set = ["lock", "state.json"]
        if document["undo"] as? Bool == true { known.insert("undo") }
        let kept = Set((document["kept"] as? [[String: Any]] ?? []).compactMap { $0["id"] as? String })
        if !kept.isEmpty { known.insert("kept") }
        return names.filter { !known.contains($0) }
            + Golden.names(in: path + "/kept").filter { !kept.contains($0) }.map { "kept/\($0)" }
            + known.filter { !names.contains($0) }.map { "\($0) is missing" }
    }

    /// Ids of the generations that are kept.
    func kept() throws -> [String] {
        let document = try Tools.swap(model, ["status", "--json"]).json()
        return (document["kept"] as? [[String: Any]] ?? []).compactMap { $0["id"] as? String }
    }
}

extension Served {
    /// A base of two shards, one of which no adapter touches, and adapters `a` and `b` of all else; as small as can be, since
    /// every change of the file system is walked through.
    convenience init(small scratch: Scratch) throws {
        var random = SeededRandom(3)
        let base = "pristine/model"
        try scratch.directory(base + "/empty")
        let weight = TensorFile.Tensor("layers.0.q_proj.weight", "BF16", [8, 6], random.numbers(48))
        let other = TensorFile.Tensor("norm.weight", "BF16", [6], random.numbers(6))
        let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
        try scratch.write("\(base)/\(names[0])", TensorFile([weight]).encoded)
        try scratch.write("\(base)/\(names[1])", TensorFile([other]).encoded)
        try scratch.write("\(base)/config.json", #"{"model_type": "made-up"}"#)
        try scratch.write("\(base)/sub/notes", "n")
        try scratch.write("\(base)/SHA256SUMS", "of the base\n")
        try scratch.write(
            "\(base)/model.safetensors.index.json",
            """
            {"metadata": {"total_size": 108}, "weight_map": {"layers.0.q_proj.weight": "\(names[0])", \
            "norm.weight": "\(names[1])"}}
            """)
        for name in ["a", "b"] {
            _ = try Factors.random(["layers.0.q_proj"], out: 8, into: 6, rank: 2, &random).write(as: name, in: scratch)
        }
        try self.init(scratch, base: scratch(base))
    }

    var a: String { scratch("a") }
    var b: String { scratch("b") }
}

/// How many times as many random cases are tried as by default, and whether walks leave nothing out:
/// `ADAPTERKIT_THOROUGH=20`.
let thoroughness = ProcessInfo.processInfo.environment["ADAPTERKIT_THOROUGH"].flatMap { Int($0) }
