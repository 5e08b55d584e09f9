import CKernels
import Files
import Problems
import Safetensors
import Tensors

/// Reads the data of an adapter, and of the base's tensors that it touches, for what headers cannot show.
public enum DeepCheck {
    /// Whether all deltas of `adapter` are zero and it has nothing but deltas.
    static func changesNothing(_ adapter: Adapter) throws(Problem) -> Bool {
        let hasMore =
            !adapter.replacements.isEmpty || !adapter.tokenRows.isEmpty
            || adapter.modules.contains { $0.magnitude != nil || $0.upBias != nil }
        if hasMore || (adapter.modules.isEmpty && adapter.changes.isEmpty && adapter.additions.isEmpty) { return false }
        let scales = ScaleResolver(config: adapter.config, file: adapter.configPath)
        for module in adapter.modules {
            guard module.up.dtype.kernel != nil, module.down.dtype.kernel != nil else { return false }
            if scales.alpha(of: module.patternPath) == 0 { continue }
            if try TensorValues.isZero(adapter.file, module.up) { continue }
            guard try TensorValues.isZero(adapter.file, module.down) else { return false }
        }
        for addition in adapter.additions where addition.scale != 0 {
            guard try TensorValues.isZero(adapter.file, addition.tensor) else { return false }
        }
        for change in adapter.changes where try !isZero(change, adapter) { return false }
        return true
    }

    /// Whether a change is a delta that is zero; reads it up to the first row that is not.
    private static func isZero(_ change: ModuleChange, _ adapter: Adapter) throws(Problem) -> Bool {
        guard case .delta(let delta, let scale) = change.effect else { return false }
        if scale == 0 { return true }
        let loaded = try delta.load { (info) throws(Problem) in
            try TensorValues.doubles(adapter.file.read(info), info.dtype)
        }
        for row in 0..<delta.shape.rows {
            try checkInterrupted()
            var values = [Double](repeating: 0, count: delta.shape.columns)
            loaded.add(row..<row + 1, times: 1, to: &values)
            if values.contains(where: { $0 != 0 }) { return false }
        }
        return true
    }

    /// Reads all tensors of `adapter`: values that are not finite are errors, a zero up projection is worth a warning.
    public static func problems(of adapter: Adapter, progress: (Int) -> Void = { _ in }) throws(Problem) -> [Problem] {
        var result: [Problem] = []
        var zeros: [Problem] = []
        let ups = Set(adapter.modules.map(\.up.name))
        let factors = ups.union(adapter.modules.map(\.down.name))
        for tensor in adapter.file.header.tensors where tensor.dtype.kernel != nil {
            let found = try TensorValues.scan(adapter.file, tensor)
            if found.nonFinite > 0 {
                result.append(
                    Problem(
                        .incompatible, "non-finite", file: adapter.file.path, tensor: tensor.name,
                        "has \(found.nonFinite) of \(tensor.elementCount) values that are NaN or infinite",
                        hint: "training diverged or the file was damaged: use an earlier checkpoint of the adapter"))
            } else if found.allZero, factors.contains(tensor.name), tensor.elementCount > 0 {
                zeros.append(
                    Problem(
                        .warning, .incompatible, "zero-delta", file: adapter.file.path, tensor: tensor.name,
                        "is all zero \(tensor.shape), so this module changes nothing",
                        hint: "an untrained adapter looks like this: is it the right checkpoint?"))
            }
            progress(tensor.byteCount)
        }
        let isEvery = Set(zeros.compactMap(\.tensor)).isSuperset(of: ups)
        guard ups.count > 1, isEvery, var all = zeros.first(where: { ups.contains($0.tensor ?? "") }) else {
            return result + zeros
        }
        all.message = "is all zero, and so is lora_B of all \(ups.count) modules: none of them changes anything"
        return result + [all]
    }

    /// Reads the base's tensors that any of `resolutions` touches.
    public static func problems(
        of base: Checkpoint, touchedBy resolutions: [Resolution], progress: (Int) -> Void = { _ in }
    ) throws(Problem) -> [Problem] {
        let names = Set(resolutions.flatMap(\.updates).compactMap(\.source))
        var result: [Problem] = []
        for entry in base.tensors where names.contains(entry.info.name) {
            guard let kernel = entry.info.dtype.kernel else { continue }
            let file = base.shards[entry.shard].file
            let count = try nonFinite(file, entry.info, kernel)
            progress(entry.info.byteCount)
            guard count > 0 else { continue }
            result.append(
                Problem(
                    .incompatible, "non-finite", file: file.path, tensor: entry.info.name,
                    "has \(count) of \(entry.info.elementCount) values that are NaN or infinite",
                    hint: "the base is damaged: download it again"))
        }
        return result
    }

    /// Bytes that `problems(of:touchedBy:)` reads.
    public static func bytes(of base: Checkpoint, touchedBy resolutions: [Resolution]) -> Int {
        let names = Set(resolutions.flatMap(\.updates).compactMap(\.source))
        return base.tensors.reduce(0) { $0 + (names.contains($1.info.name) ? $1.info.byteCount : 0) }
    }

    private static func nonFinite(
        _ file: SafetensorsFile, _ tensor: TensorInfo, _ kernel: ak_dtype
    ) throws(Problem) -> Int {
        let size = tensor.dtype.bits / 8
        let piece = 4 << 20
        var total = 0
        for start in stride(from: 0, to: tensor.byteCount, by: piece) {
            try checkInterrupted()
            let bytes = try file.read(tensor, bytes: start..<min(tensor.byteCount, start + piece))
            total += unsafe bytes.withUnsafeBytes { unsafe ak_nonfinite(kernel, $0.baseAddress, $0.count / size) }
        }
        return total
    }
}
