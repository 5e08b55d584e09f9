import Files
import Problems
import Safetensors
import StrictJSON
import Tensors

/// Holds a merged model against its base and adapters: a second, plain way to the same weights.
///
/// Nothing of the merge engine is used: each weight is W + Σ weight·scale·Σₖ B·A by a loop in double precision, rounded
/// once. Only changes that are no products are computed by the same code, each tensor at once. It takes long, and agrees to the last bit with a merge that is right.
public struct MergedComparison: Sendable {
    /// Tensors that the adapters change.
    public private(set) var tensors = 0
    /// Their elements.
    public private(set) var elements = 0
    /// Elements that are equal to the last bit.
    public private(set) var exact = 0
    /// The largest distance in steps of the dtype (units in the last place).
    public private(set) var largestSteps = 0
    /// The largest distance relative to the largest weight of its tensor.
    public private(set) var largestRelative = 0.0
    /// Tensors that are absent, have the wrong shape, or are no merge of these inputs.
    public private(set) var problems: [Problem] = []

    /// Distances up to this part of a tensor's largest delta are a matter of how another program sums, not of what it merged.
    private static let tolerance = 1e-5

    /// An empty comparison.
    public init() {}

    /// Compares all tensors of `merged`; those that no adapter changes must be equal to the base's byte for byte.
    public init(
        base: Checkpoint, adapters: [(adapter: Adapter, weight: Double, resolution: Resolution)], merged: Checkpoint,
        progress: (Int) -> Void = { _ in }
    ) throws(Problem) {
        var updates: [String: [(Adapter, Double, TensorUpdate)]] = [:]
        // An adapter with weight 0 takes no part, whatever it would replace.
        for entry in adapters where entry.weight != 0 {
            for update in entry.resolution.updates {
                updates[update.name, default: []].append((entry.adapter, entry.weight, update))
            }
        }
        // A head that one adapter parts from the embedding also gets what the others do to the shared tensor.
        for (name, changes) in updates where base.lookup(name) == nil {
            guard let shared = changes.first?.2.source, updates[shared] != nil else { continue }
            updates[name] = adapters.filter { $0.weight != 0 }.flatMap { entry in
                let all = entry.resolution.updates
                let own = all.filter { $0.name == name }
                return (own.isEmpty ? all.filter { $0.name == shared } : own).map { (entry.adapter, entry.weight, $0) }
            }
        }
        let scaled = Self.dequantized(base, merged)
        for entry in base.tensors {
            guard let place = merged.lookup(entry.info.name) else {
                if scaled.scales.contains(entry.info.name) { continue }
                report(merged, entry.info.name, "is missing in the merged model")
                continue
            }
            let file = merged.shards[place.shard].file
            progress(place.info.byteCount)
            if updates[entry.info.name] != nil || scaled.weights.contains(entry.info.name) {
                try compare(base, updates[entry.info.name] ?? [], file, place.info, merged)
            } else {
                let own = base.shards[entry.shard].file
                guard place.info.shape == entry.info.shape,
                    place.info.dtype.kernel == nil || entry.info.dtype.kernel != nil
                else {
                    report(merged, entry.info.name, "has shape \(place.info.shape) instead of \(entry.info.shape)")
                    continue
                }
                let same = try same(own, entry.info, file, place.info)
                if !same { report(merged, entry.info.name, "differs from the base, though no adapter changes it") }
            }
        }
        for (name, changes) in updates where base.lookup(name) == nil {
            guard let place = merged.lookup(name) else {
                report(merged, name, "is missing in the merged model")
                continue
            }
            try compare(base, changes, merged.shards[place.shard].file, place.info, merged)
        }
        for entry in merged.tensors where base.lookup(entry.info.name) == nil && updates[entry.info.name] == nil {
            report(merged, entry.info.name, "is in the merged model, but neither in the base nor from an adapter")
        }
        compareConfig(base, merged, updates, unties: adapters.contains { $0.weight != 0 && $0.resolution.unties })
    }

    /// The 8-bit weights of the base that are stored in a wider type, and the scales that these do without.
    private static func dequantized(_ base: Checkpoint, _ merged: Checkpoint) -> (
        weights: Set<String>, scales: Set<String>
    ) {
        var result: (weights: Set<String>, scales: Set<String>) = ([], [])
        for entry in base.tensors where entry.info.dtype.kernel != nil && entry.info.dtype.bits == 8 {
            let name = entry.info.name
            guard let info = merged.lookup(name)?.info, info.dtype.bits > 8 else { continue }
            result.weights.insert(name)
            result.scales.formUnion(StoredScales.companions(of: name))
        }
        return result
    }

    /// What no merge changes in config.json, but decides what the weights mean.
    private mutating func compareUnchanged(
        _ base: Checkpoint, _ merged: Checkpoint, _ config: JSONObject, unties: Bool
    ) {
        guard let original = base.config?.object else { return }
        let shape = [
            "model_type", "hidden_size", "n_embd", "num_hidden_layers", "n_layer", "num_attention_heads", "n_head",
            "num_key_value_heads", "head_dim", "intermediate_size", "rms_norm_eps", "layer_norm_eps", "rope_theta",
            "sliding_window",
        ]
        for key in unties ? shape : shape + ["tie_word_embeddings"] {
            let (old, new) = (Self.setting(key, original), Self.setting(key, config))
            guard let old, let new, old != new else { continue }
            if let a = old.number?.double, let b = new.number?.double, a == b { continue }
            report(
                merged, nil,
                "says \(key) \(new.encoded(indent: 0)) in config.json, but the base says \(old.encoded(indent: 0))")
        }
    }

    private static func setting(_ key: String, _ config: JSONObject) -> JSONValue? {
        config[key] ?? config["text_config"]?.object?[key]
    }

    /// What a merge must have changed in config.json, since a loader goes by it.
    private mutating func compareConfig(
        _ base: Checkpoint, _ merged: Checkpoint, _ updates: [String: [(Adapter, Double, TensorUpdate)]], unties: Bool
    ) {
        guard let config = merged.config?.object else {
            // A single file has no config of its own.
            if base.config != nil, !merged.path.hasSuffix(".safetensors") {
                report(merged, nil, "has no config.json that can be read, but the base has one")
            }
            return
        }
        compareUnchanged(base, merged, config, unties: unties)
        if unties && Self.setting("tie_word_embeddings", config) == .bool(true) {
            report(merged, nil, "says tie_word_embeddings: true in config.json, but embedding and head differ")
        }
        let said = Self.setting("vocab_size", config)?.number?.int
        var resized = false
        for change in updates.values.compactMap({ $0.first?.2 }) {
            guard let rows = change.shape.first, let source = change.source.flatMap(base.lookup)?.info else { continue }
            guard source.shape.first != rows, source.shape.count == 2 else { continue }
            let module = ParameterName.module(of: source.name)
            if BaseTraits.isClassifier(module) { continue }
            resized = true
            guard let said, said != rows else { continue }
            report(merged, nil, "says vocab_size \(said) in config.json, but the adapter makes it \(rows)")
            return
        }
        guard !resized, let old = base.config?.object.flatMap({ Self.setting("vocab_size", $0) })?.number?.int,
            let said, said != old
        else { return }
        report(merged, nil, "says vocab_size \(said) in config.json, but the base says \(old)")
    }

    private func same(
        _ a: SafetensorsFile, _ left: TensorInfo, _ b: SafetensorsFile, _ right: TensorInfo
    ) throws(Problem) -> Bool {
        if left.dtype == right.dtype { return try a.read(left) == b.read(right) }
        guard left.dtype.kernel != nil, right.dtype.kernel != nil else { return false }
        return try TensorValues.equal(a, left, b, right, roundingTo: right.dtype)
    }

    private mutating func report(_ merged: Checkpoint, _ name: String?, _ message: String) {
        problems.append(
            Problem(
                .incompatible, "not-this-merge", file: merged.path, tensor: name, message,
                hint: "merge again: adapter-merge BASE ADAPTER -o OUT"))
    }

    private mutating func compare(
        _ base: Checkpoint, _ changes: [(Adapter, Double, TensorUpdate)], _ file: SafetensorsFile, _ info: TensorInfo,
        _ merged: Checkpoint
    ) throws(Problem) {
        try checkInterrupted()
        tensors += 1
        guard info.dtype.kernel != nil else {
            return report(merged, info.name, "is \(info.dtype.rawValue), which no merge gives")
        }
        let shape = changes.first?.2.shape ?? base.lookup(info.name)?.info.shape
        guard shape == info.shape else {
            return report(merged, info.name, "has shape \(info.shape), but the merge has \(shape ?? [])")
        }
        let expected = try Expectation(base: base, name: info.name, changes: changes, isScaled: info.dtype.bits == 8)
        let found = try TensorValues.doubles(file.read(info), info.dtype)
        let rounded = try TensorValues.doubles(TensorValues.rounded(expected.values, to: info.dtype), info.dtype)
        guard expected.values.count == found.count else {
            return report(merged, info.name, "has \(found.count) values, which is not that of the merge")
        }
        count(found, rounded, expected, info, merged)
    }

    /// Compares value by value: another program may round once more, and may sum in float32, but no more than that.
    private mutating func count(
        _ found: [Double], _ rounded: [Double], _ expected: Expectation, _ info: TensorInfo, _ merged: Checkpoint
    ) {
        let (values, pristine) = (expected.values, expected.pristine)
        var delta = 0.0
        for at in values.indices where values[at].isFinite { delta = max(delta, abs(values[at] - pristine[at])) }
        var (largest, distance, wrong, error2, change2) = (0.0, 0.0, 0, 0.0, 0.0)
        elements += found.count
        for at in found.indices {
            if values[at].isFinite { largest = max(largest, abs(values[at])) }
            let change = rounded[at] - pristine[at]
            if change.isFinite { change2 += change * change }
            if found[at] == rounded[at] || (found[at].isNaN && rounded[at].isNaN) {
                exact += 1
                continue
            }
            let apart = abs(found[at] - rounded[at])
            let size = max(abs(rounded[at]), abs(pristine[at]))
            let allowed = 2 * Self.step(size, info.dtype) + Self.tolerance * delta
            if !(apart <= allowed) { wrong += 1 }
            if apart.isFinite { error2 += apart * apart }
            distance = max(distance, apart.isFinite ? apart : .infinity)
            largestSteps = max(largestSteps, Self.steps(found[at], rounded[at], info.dtype))
        }
        let relative = distance == 0 ? 0 : largest > 0 ? distance / largest : distance
        largestRelative = max(largestRelative, relative)
        if wrong > 0 {
            report(
                merged, info.name,
                "has \(wrong) of \(found.count) weights farther from the merge than rounding explains, by up to "
                    + "\(Self.short(relative)) of its largest weight")
        } else if error2 > change2 / 4, change2 > 0 {
            report(
                merged, info.name,
                "is closer to the base than to the merge: \(Self.short((error2 / change2).squareRoot() * 100))% of what the "
                    + "merge changes is missing, or there twice")
        }
    }

    /// Three digits.
    private static func short(_ number: Double) -> String {
        guard number.isFinite, number != 0, number < 1e6 else { return "\(number)" }
        var unit = 1.0
        while number / unit < 100 && unit > 1e-12 { unit /= 10 }
        let digits = Int((number / unit).rounded())
        var text = "\(digits)"
        var places = 0
        while unit < 0.99 { (unit, places) = (unit * 10, places + 1) }
        while text.utf8.count <= places { text = "0" + text }
        return places == 0 ? text : text.dropLast(places) + "." + text.suffix(places)
    }

    /// How many representable numbers lie between two numbers of a dtype, at most a billion.
    private static func steps(_ a: Double, _ b: Double, _ dtype: DType) -> Int {
        guard a.isFinite, b.isFinite else { return 1_000_000_000 }
        return Int(min(1e9, (abs(a - b) / step(max(abs(a), abs(b)), dtype)).rounded(.up)))
    }

    /// The distance of neighbouring numbers of a dtype at the size of `number`.
    private static func step(_ number: Double, _ dtype: DType) -> Double {
        let (digits, smallest): (Int, Int) =
            switch dtype {
            case .bf16: (7, -133)
            case .f16: (10, -24)
            case .f8E4M3: (3, -9)
            case .f8E5M2: (2, -16)
            case .f64: (52, -1074)
            default: (23, -149)
            }
        guard number.isFinite, number > 0 else { return Double(sign: .plus, exponent: smallest, significand: 1) }
        return Double(sign: .plus, exponent: max(Int(number.exponent) - digits, smallest), significand: 1)
    }
}

/// The values of one merged tensor by plain loops.
private struct Expectation {
    let values: [Double]
    /// What the deltas were added to.
    let pristine: [Double]

    /// - Parameter isScaled: whether the result is stored with the scales of the base.
    init(
        base: Checkpoint, name: String, changes: [(Adapter, Double, TensorUpdate)], isScaled: Bool
    ) throws(Problem) {
        var start: [Double] = []
        var scales: [Double]?
        if let source = changes.isEmpty ? name : changes.first?.2.source, let place = base.lookup(source) {
            let info = place.info
            start = try TensorValues.doubles(base.shards[place.shard].file.read(info), info.dtype)
            let hasTerms = changes.contains {
                (!$0.2.terms.isEmpty || !$0.2.changes.isEmpty) && $0.2.replacement == nil
            }
            if info.dtype.bits == 8, hasTerms || !isScaled {
                scales = try StoredScales(base: base, of: info)?.perElement()
            }
        }
        if let scales { for at in start.indices { start[at] *= scales[at] } }
        // Rows are of what is there when all replacements are done, in whatever order the adapters come.
        for (adapter, _, update) in changes {
            guard let tensor = update.replacement else { continue }
            start = try TensorValues.doubles(adapter.file.read(tensor), tensor.dtype)
        }
        for (adapter, _, update) in changes {
            guard let rows = update.tokenRows else { continue }
            let new = try TensorValues.doubles(adapter.file.read(rows.tensor), rows.tensor.dtype)
            let width = rows.tensor.shape[1]
            for (at, row) in rows.rows.enumerated() {
                for j in 0..<width { start[row * width + j] = new[at * width + j] }
            }
        }
        let pristine = start
        for (adapter, weight, update) in changes {
            if let addition = update.addition {
                let vector = try TensorValues.doubles(adapter.file.read(addition.tensor), addition.tensor.dtype)
                for at in vector.indices { start[at] += weight * addition.scale * vector[at] }
            }
            for change in update.changes { try Self.apply(change, of: adapter, weight, update.shape, pristine, &start) }
            for term in update.terms {
                let delta = try Self.delta(adapter, term, weight)
                guard let magnitude = term.magnitude else {
                    for at in delta.indices { start[at] += delta[at] }
                    continue
                }
                let m = try TensorValues.doubles(adapter.file.read(magnitude.tensor), magnitude.tensor.dtype)
                Self.applyDoRA(&start, pristine, delta, m, term)
            }
        }
        var origin = pristine
        if let scales, isScaled {
            for at in start.indices {
                start[at] /= scales[at]
                origin[at] /= scales[at]
            }
        }
        self.pristine = origin
        values = start
    }

    /// A change that is no product; an action is added as its difference to W.
    private static func apply(
        _ change: ModuleChange, of adapter: Adapter, _ weight: Double, _ shape: [Int], _ pristine: [Double],
        _ values: inout [Double]
    ) throws(Problem) {
        let rows = shape.count < 2 ? 1 : shape[0]
        let columns = rows == 0 ? 0 : pristine.count / rows
        let read: ValueReader = { (info) throws(Problem) in
            try TensorValues.doubles(adapter.file.read(info), info.dtype)
        }
        switch change.effect {
        case .delta(let delta, let scale):
            try delta.load(read).add(0..<rows, times: scale * weight, to: &values)
        case .action(let action):
            let loaded = try action.load(shape: (rows, columns), read) { (range) throws(Problem) in
                Array(pristine[range.lowerBound * columns..<range.upperBound * columns])
            }
            var new = pristine
            loaded.apply(0..<rows, to: &new)
            for at in new.indices { values[at] += new[at] - pristine[at] }
        }
    }

    private static func delta(_ adapter: Adapter, _ term: LowRankTerm, _ weight: Double) throws(Problem) -> [Double] {
        let left = try TensorValues.doubles(adapter.file.read(term.left.tensor), term.left.tensor.dtype)
        let right = try TensorValues.doubles(adapter.file.read(term.right.tensor), term.right.tensor.dtype)
        let (view, scale) = (term.view, weight * term.scale)
        var result = [Double](repeating: 0, count: view.batches * view.rows * view.columns)
        for e in 0..<view.batches {
            for i in 0..<view.rows {
                let target = (e * view.rows + i) * view.columns
                for k in 0..<term.rank {
                    let b = left[
                        term.left.offset + e * term.left.batchStride + i * term.left.rowStride + k
                            * term.left.columnStride]
                    let row = term.right.offset + e * term.right.batchStride + k * term.right.rowStride
                    for j in 0..<view.columns {
                        result[target + j] += scale * b * right[row + j * term.right.columnStride]
                    }
                }
            }
        }
        return result
    }

    /// W' = (m/‖W + D‖)·(W + D), added as its difference to W.
    private static func applyDoRA(
        _ values: inout [Double], _ pristine: [Double], _ delta: [Double], _ m: [Double], _ term: LowRankTerm
    ) {
        let (rows, columns) = (term.view.rows, term.view.columns)
        let (perRow, epsilon) = (term.magnitude?.isPerRow == true, term.magnitude?.epsilon ?? 0)
        var sums = [Double](repeating: 0, count: perRow ? rows : columns)
        for i in 0..<rows {
            for j in 0..<columns {
                let v = pristine[i * columns + j] + delta[i * columns + j]
                sums[perRow ? i : j] += v * v
            }
        }
        for i in 0..<rows {
            for j in 0..<columns {
                let at = i * columns + j
                let output = perRow ? i : j
                let v = pristine[at] + delta[at]
                values[at] += m[output] / (sums[output].squareRoot() + epsilon) * v - pristine[at]
            }
        }
    }
}
