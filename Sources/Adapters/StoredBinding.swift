import Archives
import Problems
import Safetensors
import StrictJSON

/// An adapter's binding to its base, in the metadata of its own tensor file: what `adapter-train` writes.
///
/// The value of `adapterkit.binding` is a JSON object of digests as `formats/trained-adapter.md` has it.
package enum StoredBinding {
    /// The metadata's key.
    package static let key = "adapterkit.binding"

    /// The binding to the config and these tensors of `base`, as metadata; reads the tensors.
    package static func text(
        to names: Set<String>, of base: Checkpoint, threads: Int, progress: @escaping @Sendable (Int) -> Void = { _ in }
    ) throws(Problem) -> String {
        let places = base.tensors.filter { names.contains($0.info.name) }
        let digests = try TensorDigests.of(places, in: base, threads: threads, progress: progress)
        var object = JSONObject()
        object["config"] = base.config.map { .string(BaseBinding.configDigest($0)) }
        object["tensors"] = .object(JSONObject(zip(places, digests).map { ($0.info.name, .string($1)) }))
        return JSONValue.object(object).encoded()
    }

    /// The binding in the metadata of a tensor file, if there is one.
    package static func read(_ file: SafetensorsFile) throws(Problem) -> Binding? {
        try file.header.metadataValue(key).map { (text) throws(Problem) in try read(text, file: file.path) }
    }

    private static func read(_ text: String, file: String) throws(Problem) -> Binding {
        let bad = Problem(
            .malformed, "bad-binding", file: file, "has unreadable metadata '\(key)'",
            hint: "the file is damaged, or something else wrote it")
        guard let object = (try? JSONValue.parse(Array(text.utf8)))?.object, let tensors = object["tensors"]?.object
        else { throw bad }
        var list: [(name: String, digest: String)] = []
        for entry in tensors.entries {
            guard let digest = entry.value.string, digest.utf8.count == 64 else { throw bad }
            list.append((entry.key, digest))
        }
        return Binding(config: object["config"]?.string, tensors: list)
    }
}

extension Adapter {
    /// What the adapter is bound to: by its archive, or by its own file.
    public func binding() throws(Problem) -> Binding? {
        if let bound = archive?.binding { return bound }
        return try StoredBinding.read(file)
    }
}
