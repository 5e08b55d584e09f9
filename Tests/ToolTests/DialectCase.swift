import Fixtures
import Foundation
import Testing

/// One golden adapter of another dialect or kind, with what a library makes of its base.
struct DialectCase: CustomTestStringConvertible, Sendable {
    static let directory = "\(Golden.directory)/dialects"

    /// Every directory of a case.
    static let names = Golden.names(in: directory).filter { $0 != "bases" && $0 != "README.md" }

    /// Every case, in the order of the rows that they belong to; those that cannot be read are missed by a test.
    static let all = names.compactMap { try? DialectCase($0) }

    /// PEFT's LoRA and DoRA, by one case of each.
    static let older = [("linear-qv-f32", "lora"), ("dora-linear-f32", "dora")].compactMap { name, kind in
        try? DialectCase(Golden.Case(name), kind: kind)
    }

    /// What a library merges and these tools refuse, with the exit code and the words that say why.
    static let refusedHere: [String: (status: Int32, words: String)] = [
        "adapterhub-ia3": (1, "it scales activations, which is no sum of weights"),
        "adapterhub-lora-pickle": (65, "is a Python pickle"),
    ]

    let name: String
    let dialect: String
    let kind: String
    let base: String
    let adapter: String
    let tolerance: Double
    let changed: Set<String>
    private let directory: String
    /// Whether its library can merge it.
    let isMergeable: Bool

    init(_ name: String) throws {
        self.name = name
        directory = "\(Self.directory)/\(name)"
        let about = try object(in: "\(Self.directory)/\(name)/case.json")
        func text(_ key: String) throws -> String { try #require(about[key] as? String, "\(name): \(key)") }
        (dialect, kind) = try (text("dialect"), text("kind"))
        base = try "\(Self.directory)/" + text("base")
        adapter = try "\(Self.directory)/\(name)/" + text("adapter")
        tolerance = try #require(about["tolerance"] as? Double)
        changed = Set(try #require(about["changed"] as? [String]))
        isMergeable = try #require(about["mergeable"] as? Bool)
    }

    /// A case of PEFT's LoRA or DoRA, which are among the older golden files.
    init(_ older: Golden.Case, kind: String) throws {
        (name, dialect, self.kind) = (older.name, "peft", kind)
        (base, adapter, directory) = (older.base, try #require(older.adapters.first), older.path)
        (tolerance, changed, isMergeable) = (1e-6, older.changed, true)
    }

    var testDescription: String { name }

    /// Whether it can be merged here.
    var merges: Bool { isMergeable && Self.refusedHere[name] == nil }

    /// What `adapter-inspect` calls its dialect: LyCORIS writes kohya's names.
    var dialectName: String {
        ["peft": "PEFT", "lycoris": "kohya", "mlx": "MLX", "gguf": "GGUF", "adapterhub": "adapters"][dialect] ?? dialect
    }

    /// What a merge must give, by the names of the base's tensors.
    func expected() throws -> TensorFile { try TensorFile(path: directory + "/expected.safetensors") }

    /// Differences between a merged model and what the library made of it.
    func differences(_ merged: String) throws -> [String] {
        let (base, found) = try (Self.tensors(base), Self.tensors(merged))
        guard Set(base.keys) == Set(found.keys) else { return ["the tensors have other names"] }
        var wrong = base.filter { !changed.contains($0.key) && found[$0.key] != $0.value }.map {
            "\($0.key) was changed"
        }
        let expected = try expected()
        if Set(expected.tensors.map(\.name)) != changed {
            wrong.append("other tensors are expected than are to change")
        }
        for exact in expected.tensors {
            guard let tensor = found[exact.name], tensor.shape == exact.shape, tensor.dtype == base[exact.name]?.dtype
            else {
                wrong.append("\(exact.name) has another form")
                continue
            }
            if tensor.bytes == exact.bytes { continue }
            let wanted = exact.values
            let largest = wanted.map(\.magnitude).max() ?? 0
            let distance = zip(tensor.values, wanted).map { abs($0 - $1) }.max() ?? 0
            if !(distance <= tolerance * largest) { wrong.append("\(exact.name) is \(distance / largest) away") }
        }
        return wrong
    }

    /// All tensors of a file, a model or a pipeline, whose components' names come first.
    private static func tensors(_ path: String) throws -> [String: TensorFile.Tensor] {
        guard !path.hasSuffix(".safetensors") else {
            return Dictionary(try TensorFile(path: path).tensors.map { ($0.name, $0) }) { first, _ in first }
        }
        var result = try ToolTests.tensors(in: path)
        guard exists(path + "/model_index.json") else { return result }
        for component in Golden.names(in: path) {
            for (name, tensor) in try ToolTests.tensors(in: "\(path)/\(component)") {
                result["\(component)/\(name)"] = tensor
            }
        }
        return result
    }

    /// A place for a copy of the base or for what is made of it: a file where the base is one.
    func place(_ name: String, in scratch: Scratch) -> String {
        scratch(base.hasSuffix(".safetensors") ? name + ".safetensors" : name)
    }
}
