import Archives
import Digests
import Problems
import Safetensors
import StrictJSON

extension Adapter {
    /// SHA-256 of what `sha256sum adapter_config.json adapter_model.safetensors` prints; without the first line where the
    /// dialect has no config, and with these names whatever the files are called.
    public func digest(progress: (Int) -> Void = { _ in }) throws(Problem) -> String {
        let hasConfig = !configBytes.isEmpty || dialect.hasConfig
        let config = hasConfig ? manifestLine(digest: SHA256.hex(configBytes), name: "adapter_config.json") : ""
        let digest = try SHA256.hex(of: source, progress: progress)
        if let packed = source as? PackedFile { try packed.require(digest) }
        let tensors = manifestLine(digest: digest, name: "adapter_model.safetensors")
        return SHA256.hex(Array((config + tensors).utf8))
    }
}

/// Where a file came from, as text in its metadata.
package enum Origin {
    /// A path says much about a machine and little about the adapter: only its last part is kept, or its directory's where a
    /// file has the name that all have.
    package static func name(of path: String) -> String {
        let parts = path.split(separator: "/").filter { $0 != "." && $0 != ".." && $0 != AdapterLocation.tensorName }
        return parts.last.map(String.init) ?? "adapter"
    }

    /// An adapter that took part, with its digest and weight.
    package static func entry(path: String, digest: String, weight: Double) -> JSONValue {
        .object(
            JSONObject([
                ("name", .string(name(of: path))), ("sha256", .string(digest)),
                ("weight", .number(JSONNumber(text: text(weight)))),
            ]))
    }

    /// A number, without a point where it is whole.
    package static func text(_ number: Double) -> String {
        number == number.rounded() && abs(number) < 1e15 ? String(Int(number)) : String(number)
    }

    /// What identifies a base by its headers: SHA-256 of a line `name dtype shape` for each tensor, separated by tabs, sorted
    /// by name.
    package static func identity(of base: Checkpoint) -> String {
        let lines = base.tensors.map { entry in
            let shape = entry.info.shape.map(String.init).joined(separator: ",")
            return "\(entry.info.name)\t\(entry.info.dtype.rawValue)\t\(shape)\n"
        }
        return SHA256.hex(
            Array(lines.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }.joined().utf8))
    }
}
