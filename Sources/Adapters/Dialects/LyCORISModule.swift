import Problems
import Safetensors
import Tensors

/// The tensors of one module in a kohya or LyCORIS file, and the kind that they make together.
struct LyCORISModule {
    let path: String
    let parts: [String: TensorInfo]
    let file: SafetensorsFile

    /// Adds what it is to `reading`.
    func add(to reading: inout DialectReading) {
        let hasWeights = parts.keys.contains { part in Self.stems.contains { part.hasPrefix($0) } }
        if hasWeights { return LyCORISKinds.add(self, to: &reading) }
        problem(
            "foreign-tensor", parts.values.min { $0.name < $1.name },
            "belongs to a module without weights: no lora_down, hada, lokr, diff or other part of it is in the file",
            hint: "the file is incomplete: save the adapter again, or download it again", &reading)
    }

    /// How the parts begin that hold weights.
    private static let stems = [
        "hada_", "lokr_", "oft_", "diff", "w_norm", "b_norm", "weight", "on_input", "a1", "a2", "b1", "b2", "lora_",
    ]

    /// The value of `alpha`, if it is there and a number.
    func alpha(_ reading: inout DialectReading) -> Double? {
        guard let tensor = parts["alpha"] else { return nil }
        guard tensor.elementCount == 1, tensor.dtype.kernel != nil || TensorValues.integers([], tensor.dtype) != nil,
            let bytes = try? file.read(tensor)
        else {
            problem(
                "bad-alpha", tensor, "is \(tensor.dtype.rawValue) \(tensor.shape), but an alpha is one number", &reading
            )
            return nil
        }
        let value =
            (try? TensorValues.doubles(bytes, tensor.dtype))?.first
            ?? TensorValues.integers(bytes, tensor.dtype)?.first.map(Double.init)
        guard let value, value.isFinite else {
            problem(
                "bad-alpha", tensor, "is not finite, so the scale is unknown",
                hint: "save the adapter again, or download it again", &reading)
            return nil
        }
        return value
    }

    func problem(
        _ code: String, _ tensor: TensorInfo?, _ message: String, hint: String? = nil, _ reading: inout DialectReading
    ) {
        reading.problems.append(
            Problem(.incompatible, code, file: file.path, tensor: tensor?.name, message, hint: hint))
    }

    /// Announces the tensors of parts that something else is computed from.
    func addParts(_ names: [String], to reading: inout DialectReading) {
        for name in names { if let tensor = parts[name] { reading.add(TranslatedTensor(tensor), path, .changed) } }
    }

    // MARK: Pairs

    /// lora_down (rank × in × kernel...), lora_up (out × rank × 1...), with Tucker's lora_mid (rank × rank × kernel...).
    func addPair(_ reading: inout DialectReading) {
        guard let down = parts["lora_down.weight"], let up = parts["lora_up.weight"] else {
            let (missing, other) =
                parts["lora_down.weight"] == nil ? ("lora_down", "lora_up.weight") : ("lora_up", "lora_down.weight")
            return problem(
                "missing-half", parts[other] ?? parts.values.first, "has no matching '\(missing).weight' in the file",
                hint: "the file is incomplete: save the adapter again, or download it again", &reading)
        }
        for tensor in [down, up] where tensor.shape.count < 2 || tensor.shape.contains(0) || tensor.dtype.kernel == nil
        {
            return problem(
                "bad-factor", tensor, "is \(tensor.dtype.rawValue) \(tensor.shape), which is no factor",
                hint: "a factor is a matrix of floating-point numbers", &reading)
        }
        let rank = down.shape[0]
        let alpha = alpha(&reading)
        if parts["alpha"] != nil, alpha == nil { return }
        var scale = ModuleScale(rank: rank, alpha: alpha ?? Double(rank))
        if let scalar = parts["scalar"] {
            guard let value = LyCORISKinds.scalar(scalar, file) else {
                return problem("bad-alpha", scalar, "is no single finite number", &reading)
            }
            scale.alpha *= value
        }
        if addByInput(down, &reading) { return }
        reading.scales[path] = scale
        addFactors(down, up, &reading)
        addDoRA(&reading)
    }

    /// Factors of linear layers may have the shape of 1×1 convolutions, and the other way round; the base decides.
    private func addFactors(_ down: TensorInfo, _ up: TensorInfo, _ reading: inout DialectReading) {
        if let middle = parts["lora_mid.weight"] {
            guard let merged = LyCORISKinds.tucker(down, middle, up, file) else {
                return problem(
                    "bad-factor", middle,
                    "\(middle.shape) does not go with lora_down \(down.shape) and lora_up \(up.shape)",
                    &reading)
            }
            reading.add(merged, path, .down)
            reading.add(
                TranslatedTensor(up, shape: [up.shape[0], up.shape[1]] + middle.shape.dropFirst(2).map { _ in 1 }),
                path, .up)
            return
        }
        reading.add(TranslatedTensor(down), path, .down)
        reading.add(TranslatedTensor(up), path, .up)
    }

    /// Magnitudes for each input of a convolution, whose norms are over outputs and kernel, are no DoRA of pairs.
    private func addByInput(_ down: TensorInfo, _ reading: inout DialectReading) -> Bool {
        guard let magnitudes = parts["dora_scale"], down.shape.dropFirst(2).contains(where: { $0 != 1 }),
            magnitudes.shape.count > 1, magnitudes.shape[0] == 1, magnitudes.elementCount == down.shape[1]
        else { return false }
        let own = ModuleParts(
            path: path, tensors: parts.filter { ["lora_down.weight", "lora_up.weight"].contains($0.key) },
            file: file.path)
        LyCORISKinds.addDelta(self, own, "LoRA", &reading) { (parts) throws(Problem) in
            let delta = try LowRankDelta(parts)
            return (delta, delta.rank)
        }
        return true
    }

    /// LyCORIS's DoRA: one magnitude for each output, (out, 1...), or for each input, (1, in, 1...).
    private func addDoRA(_ reading: inout DialectReading) {
        guard let scale = parts["dora_scale"] else { return }
        reading.config.useDoRA = true
        reading.add(TranslatedTensor(scale), path, .magnitude)
    }
}
