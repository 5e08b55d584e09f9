import Archives
import Digests
import Files
import Problems
import Safetensors
import StrictJSON

/// An adapter that is bound to its base: digests of what it changes, recorded when it was packed or trained.
public enum BaseBinding {
    /// Codes of the errors that a differing base gives.
    public static let codes = ["bound-config", "bound-tensor"]

    /// Binds the adapter of `inputs`, which has one, to their base: reads all tensors that it changes.
    public static func make(
        _ inputs: LoadedInputs, threads: Int, progress: @escaping @Sendable (Int) -> Void
    ) throws -> Binding {
        guard inputs.isSound, let base = inputs.base, let resolution = inputs.entries.first?.resolution else {
            throw ProblemList(inputs.problems)
        }
        let places = touched(base, resolution)
        let digests = try TensorDigests.of(places, in: base, threads: threads, progress: progress)
        return Binding(
            config: base.config.map(configDigest), tensors: zip(places, digests).map { ($0.info.name, $1) })
    }

    /// Bytes that `make` reads.
    public static func bytes(_ inputs: LoadedInputs) -> Int {
        guard let base = inputs.base, let resolution = inputs.entries.first?.resolution else { return 0 }
        return touched(base, resolution).reduce(0) { $0 + $1.info.byteCount }
    }

    private static func touched(_ base: Checkpoint, _ resolution: Resolution) -> [Checkpoint.Place] {
        let names = Set(resolution.updates.compactMap(\.source))
        return base.tensors.filter { names.contains($0.info.name) }
    }

    /// Adds to `inputs` what of the base differs from what their adapters are bound to.
    ///
    /// - Parameter allowed: codes of errors that count as warnings.
    public static func check(
        _ inputs: inout LoadedInputs, allowed: Set<String>, threads: Int, progress: @escaping @Sendable (Int) -> Void
    ) throws(Problem) {
        guard let base = inputs.base else { return }
        for (at, entry) in inputs.entries.enumerated() {
            guard let adapter = entry.adapter, let binding = try adapter.binding() else { continue }
            let found = try problems(
                binding, of: adapter.path, base, allowed: allowed, threads: threads, progress: progress)
            inputs.add(found, to: at)
        }
    }

    /// Bytes that `check` reads.
    public static func checkedBytes(_ inputs: LoadedInputs) -> Int {
        inputs.entries.reduce(0) { sum, entry in
            (((try? entry.adapter?.binding()) ?? nil)?.tensors ?? []).reduce(sum) {
                $0 + (inputs.base?.lookup($1.name)?.info.byteCount ?? 0)
            }
        }
    }

    /// What of `base` differs from what the adapter at `path` is bound to.
    ///
    /// - Parameter allowed: codes of errors that count as warnings.
    package static func problems(
        _ binding: Binding, of path: String, _ base: Checkpoint, allowed: Set<String>, threads: Int,
        progress: @escaping @Sendable (Int) -> Void = { _ in }
    ) throws(Problem) -> [Problem] {
        try differences(binding, path, base, threads, progress).map { $0.lowered(ifIn: allowed) }
    }

    private static func differences(
        _ binding: Binding, _ adapter: String, _ base: Checkpoint, _ threads: Int,
        _ progress: @escaping @Sendable (Int) -> Void
    ) throws(Problem) -> [Problem] {
        var result: [Problem] = []
        if let config = binding.config, base.config.map(configDigest) != config {
            let what =
                base.config == nil
                ? "has no config.json, unlike the base to which" : "has another config.json than the base to which"
            result.append(problem("bound-config", base.path, nil, what, adapter))
        }
        var places: [(place: Checkpoint.Place, digest: String)] = []
        for tensor in binding.tensors {
            if let place = base.lookup(tensor.name) {
                places.append((place, tensor.digest))
            } else {
                result.append(
                    problem(
                        "bound-tensor", base.path, tensor.name, "is missing in the base, unlike in the one to which",
                        adapter))
            }
        }
        let found = try TensorDigests.of(places.map(\.place), in: base, threads: threads, progress: progress)
        for (known, digest) in zip(places, found) where known.digest != digest {
            let file = base.shards[known.place.shard].file.path
            result.append(
                problem("bound-tensor", file, known.place.info.name, "differs from the one to which", adapter))
        }
        return result
    }

    private static func problem(
        _ code: String, _ file: String, _ tensor: String?, _ what: String, _ adapter: String
    ) -> Problem {
        Problem(
            .incompatible, code, file: file, tensor: tensor, "\(what) '\(adapter)' is bound",
            hint: "use the base that it was made for; --allow \(code) uses this one all the same")
    }

    /// SHA-256 of a config in its one form, as `formats/adapter-archive.md` has it.
    static func configDigest(_ config: JSONValue) -> String {
        guard case .object(var object) = config else { return SHA256.hex(Array(config.encoded().utf8)) }
        object["_name_or_path"] = nil
        object["transformers_version"] = nil
        return SHA256.hex(Array(sorted(.object(object)).encoded().utf8))
    }

    private static func sorted(_ value: JSONValue) -> JSONValue {
        switch value {
        case .object(let object):
            let entries = object.entries.map { ($0.key, sorted($0.value)) }
            return .object(
                JSONObject(entries.sorted { Array($0.0.utf8).lexicographicallyPrecedes(Array($1.0.utf8)) }))
        case .array(let items): return .array(items.map(sorted))
        default: return value
        }
    }
}
