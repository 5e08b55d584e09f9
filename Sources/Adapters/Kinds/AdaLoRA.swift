import Problems
import Safetensors
import Tensors

/// AdaLoRA: D = B · (E ∘ A) · alpha / (ranknum + 10⁻⁵), which is a plain pair with E in its down factor.
///
/// lora_A (r × in), lora_E (r × 1), lora_B (out × r). ranknum is `init_r` as float32, also where ranks were cut later; an
/// alpha that is not above 0 counts as `init_r` (PEFT 0.21.2, `tuners/adalora/layer.py`).
struct AdaLoRAReader {
    /// What its tensors are called.
    static let parts: Set<String> = ["lora_A", "lora_B", "lora_E"]
    /// Fields of its config beside LoRA's.
    static let fields: Set<String> = [
        "target_r", "init_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step",
    ]

    private let file: SafetensorsFile
    private let configPath: String
    private let alpha: Double
    private let divisor: Double
    private let ranks: [String: Int]

    init(_ file: SafetensorsFile, _ config: PEFTConfig, configPath: String, _ reading: inout DialectReading) {
        self.file = file
        self.configPath = configPath
        let first = config.fields["init_r"]?.number?.int ?? 12
        if let value = config.fields["init_r"], value.number?.int.map({ $0 > 0 && $0 < 1 << 24 }) != true {
            reading.problems.append(
                Problem(.malformed, "bad-config", file: configPath, "'init_r' is no whole number from 1 on"))
        }
        alpha = config.alpha > 0 ? config.alpha : Double(first)
        divisor = Double(Float(first) + Float(1e-5))
        var ranks: [String: Int] = [:]
        for entry in config.fields["rank_pattern"]?.object?.entries ?? [] {
            guard let flags = entry.value.array else { continue }
            ranks[entry.key] = flags.count { $0 == .bool(true) }
        }
        self.ranks = ranks
        reading.config.useRSLoRA = false
    }

    /// Adds a module as a pair.
    func add(_ parts: ModuleParts, to reading: inout DialectReading) {
        do throws(Problem) {
            try read(parts, &reading)
        } catch {
            reading.problems.append(error)
        }
    }

    private func read(_ parts: ModuleParts, _ reading: inout DialectReading) throws(Problem) {
        // Training may have cut a module to nothing.
        if let up = parts["lora_B"], let down = parts["lora_A"], up.shape.last == 0, down.shape.first == 0 {
            for tensor in parts.all { reading.add(TranslatedTensor(tensor), parts.path, .changed) }
            return
        }
        let (down, up, values) = (try parts.need("lora_A"), try parts.need("lora_B"), try parts.need("lora_E"))
        let rank = down.shape[0]
        guard values.shape == [rank, 1] else {
            throw parts.bad(values, "\(values.shape) does not go with '\(down.name)' \(down.shape)")
        }
        if let expected = ranks[parts.path + ".lora_E"], expected != rank {
            throw Problem(
                .incompatible, "rank-mismatch", file: file.path, tensor: values.name,
                "has rank \(rank), but 'rank_pattern' in the config leaves \(expected)",
                hint: "config and weights belong to different moments of training: save both again")
        }
        reading.scales[parts.path] = ModuleScale(rank: rank, alpha: alpha * Double(rank) / divisor)
        let file = file
        reading.add(
            TranslatedTensor(down.name, .f64, down.shape) { () throws(Problem) in
                let factors = try TensorValues.doubles(file.read(values), values.dtype)
                var result = try TensorValues.doubles(file.read(down), down.dtype)
                for at in result.indices { result[at] *= factors[at / down.shape[1]] }
                return try TensorValues.rounded(result, to: .f64)
            }, parts.path, .down)
        reading.add(TranslatedTensor(up), parts.path, .up)
    }
}
