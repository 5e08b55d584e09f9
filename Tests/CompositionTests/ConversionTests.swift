import Adapters
import Files
import Fixtures
import Foundation
import GGUF
import Problems
import Testing

@testable import Composition

/// Random adapters converted to every dialect: what each dialect's own formula makes of the file is the source's delta, or the
/// conversion is refused and nothing is there.
@Suite struct ConversionTests {
    /// A random adapter of PEFT's, and what it means, worked out here.
    struct Source {
        struct Module {
            let path: String
            let rank: Int
            let scale: Double
            let a: [Double]
            let b: [Double]
            let into: Int
            let out: Int
            var magnitude: [Double]?
            var hasBias = false
        }

        let path: String
        let base: String
        var modules: [Module] = []
        var hasDoRA = false
        var hasBias = false
        var isFolded = false

        init(_ scratch: Scratch, seed: UInt64) throws {
            var random = SeededRandom(seed)
            path = try scratch.directory("source")
            base = try scratch.directory("base")
            let dtype = ["F32", "BF16", "F16"].randomElement(using: &random) ?? "F32"
            let kind = Int.random(in: 0..<6, using: &random)
            (hasDoRA, hasBias) = (kind == 4, kind == 5)
            let isRS = Bool.random(using: &random)
            let sizes: [(String, Int, Int)] = [
                ("self_attn.q_proj", 16, 16), ("self_attn.k_proj", 8, 16), ("mlp.up_proj", 24, 16),
                ("mlp.down_proj", 16, 24),
            ]
            var tensors: [TensorFile.Tensor] = []
            var weights: [TensorFile.Tensor] = []
            var (ranks, alphas): ([String: Int], [String: Double]) = ([:], [:])
            for layer in 0..<2 {
                for (name, out, into) in sizes {
                    let module = "model.layers.\(layer).\(name)"
                    weights.append(.init(module + ".weight", "F32", [out, into], random.numbers(out * into)))
                    let rank = Bool.random(using: &random) ? 4 : Int.random(in: 1...6, using: &random)
                    let alpha = Bool.random(using: &random) ? 8.0 : Double(Int.random(in: 1...20, using: &random))
                    if rank != 4 { ranks[module] = rank }
                    if alpha != 8 { alphas[module] = alpha }
                    let stem = "base_model.model." + module
                    let a = TensorFile.Tensor(
                        stem + ".lora_A.weight", dtype, [rank, into], random.numbers(rank * into))
                    let b = TensorFile.Tensor(stem + ".lora_B.weight", dtype, [out, rank], random.numbers(out * rank))
                    tensors += [a, b]
                    let scale = isRS ? alpha / Double(rank).squareRoot() : alpha / Double(rank)
                    var own = Module(
                        path: module, rank: rank, scale: scale, a: a.values, b: b.values, into: into, out: out)
                    if hasDoRA {
                        let m = TensorFile.Tensor(
                            stem + ".lora_magnitude_vector", "F32", [out], random.numbers(out).map { abs($0) + 1 })
                        own.magnitude = m.values
                        tensors.append(m)
                    }
                    if hasBias {
                        tensors.append(.init(stem + ".lora_B.bias", "F32", [out], random.numbers(out)))
                        weights.append(.init(module + ".bias", "F32", [out], random.numbers(out)))
                    }
                    modules.append(own)
                }
            }
            isFolded = !ranks.isEmpty || !alphas.isEmpty || isRS
            let config: [String: Any] = [
                "peft_type": "LORA", "r": 4, "lora_alpha": 8, "rank_pattern": ranks, "alpha_pattern": alphas,
                "use_rslora": isRS, "use_dora": hasDoRA, "lora_bias": hasBias, "bias": "none",
                "target_modules": ["q_proj", "k_proj", "up_proj", "down_proj"],
            ]
            try write([UInt8](JSONSerialization.data(withJSONObject: config)), to: path + "/adapter_config.json")
            try write(TensorFile(tensors).reference(), to: path + "/adapter_model.safetensors")
            try write(TensorFile(weights).reference(), to: base + "/model.safetensors")
            let model = #"{"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 2}"#
            try write(Array(model.utf8), to: base + "/config.json")
        }

        func delta(_ module: Module) -> [Double] {
            Self.product(module.b, module.a, module.out, module.rank, module.into).map { $0 * module.scale }
        }

        static func product(_ b: [Double], _ a: [Double], _ rows: Int, _ inner: Int, _ columns: Int) -> [Double] {
            var result = [Double](repeating: 0, count: rows * columns)
            for i in 0..<rows {
                for k in 0..<inner {
                    for j in 0..<columns { result[i * columns + j] += b[i * inner + k] * a[k * columns + j] }
                }
            }
            return result
        }
    }

    private static func convert(
        _ source: Source, to target: Dialect, _ out: String, allowsLoss: Bool = false, folds: Bool = false
    ) throws -> ConvertResult {
        var request = ConvertRequest(source.path, to: target, version: "test")
        request.base = source.base
        request.component = target == .diffusers ? "transformer" : nil
        request.allowsLoss = allowsLoss
        request.folds = folds
        let stage = try StagedOutput(path: out, shape: .directory, replacing: false)
        let result = try Converter(ConvertPlan(request)).run(to: stage)
        try stage.commit()
        return result
    }

    /// What the dialect's own formula makes of the pair of `module` in what was written at `path`.
    private static func delta(_ module: Source.Module, _ target: Dialect, _ path: String) throws -> [Double] {
        switch target {
        case .mlx:
            let file = try TensorFile(path: path + "/adapters.safetensors")
            let config = try object(in: path + "/adapter_config.json")
            let fields = try #require(config["lora_parameters"] as? [String: Any])
            let scale = try #require(fields["scale"] as? Double)
            let (a, b) = (try file.tensor(module.path + ".lora_a"), try file.tensor(module.path + ".lora_b"))
            let rank = a.shape[1]
            #expect(rank == fields["rank"] as? Int && a.shape == [module.into, rank] && b.shape == [rank, module.out])
            // (scale * b^T) @ a^T
            let product = Source.product(a.values, b.values, module.into, rank, module.out).map { $0 * scale }
            return (0..<module.out * module.into).map { product[$0 % module.into * module.out + $0 / module.into] }
        case .kohya:
            let file = try TensorFile(path: path + "/adapter.safetensors")
            let name = "lycoris_" + module.path.replacingOccurrences(of: ".", with: "_")
            let (a, b) = (try file.tensor(name + ".lora_down.weight"), try file.tensor(name + ".lora_up.weight"))
            let alpha = try file.tensor(name + ".alpha").values[0]
            return Source.product(b.values, a.values, module.out, a.shape[0], module.into).map {
                $0 * alpha / Double(a.shape[0])
            }
        case .gguf:
            let file = try GGUFFile(path: path + "/adapter.gguf")
            let name = try #require(GGUFNames.ggufName(of: module.path + ".weight", architecture: "llama"))
            let (a, b) = (
                try #require(file.header.tensor(name + ".lora_a")), try #require(file.header.tensor(name + ".lora_b"))
            )
            let alpha = try #require(try file.number("adapter.lora.alpha"))
            let heads = module.path.hasSuffix("q_proj") ? 4 : module.path.hasSuffix("k_proj") ? 2 : nil
            var rows = try file.doubles(of: b)
            if let heads { rows = Self.unpermuted(rows, module.out, b.ne[0], heads) }
            return Source.product(rows, try file.doubles(of: a), module.out, b.ne[0], module.into).map {
                $0 * alpha / Double(b.ne[0])
            }
        default:
            let isPEFT = target == .peft
            let file = try TensorFile(
                path: path + (isPEFT ? "/adapter_model.safetensors" : "/pytorch_lora_weights.safetensors"))
            let stem = (isPEFT ? "base_model.model." : "transformer.") + module.path
            let (a, b) = (try file.tensor(stem + ".lora_A.weight"), try file.tensor(stem + ".lora_B.weight"))
            let scale = try Self.scale(module, a.shape[0], file, isPEFT ? path + "/adapter_config.json" : nil)
            return Source.product(b.values, a.values, module.out, a.shape[0], module.into).map { $0 * scale }
        }
    }

    /// llama.cpp's order of rows taken back: row 2i + h of a head was row h·size/2 + i.
    private static func unpermuted(_ rows: [Double], _ count: Int, _ width: Int, _ heads: Int) -> [Double] {
        var result = rows
        let size = count / heads
        for row in 0..<count {
            let (head, at) = (row / size, row % size)
            let old = head * size + at % 2 * (size / 2) + at / 2
            for k in 0..<width { result[old * width + k] = rows[row * width + k] }
        }
        return result
    }

    private static func scale(
        _ module: Source.Module, _ rankOfTensor: Int, _ file: TensorFile, _ path: String?
    ) throws -> Double {
        var config: [String: Any] = [:]
        if let path {
            config = try object(in: path)
        } else {
            let text = try #require(file.metadata["lora_adapter_metadata"])
            let all = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any] ?? [:]
            for (key, value) in all { config[String(key.dropFirst("transformer.".count))] = value }
        }
        #expect(config["use_rslora"] as? Bool != true)
        let number = { (key: String, pattern: String) -> Double? in
            let own = (config[pattern] as? [String: Any])?[module.path]
            return ((own ?? config[key]) as? NSNumber)?.doubleValue
        }
        let (rank, alpha) = (
            try #require(number("r", "rank_pattern")), try #require(number("lora_alpha", "alpha_pattern"))
        )
        #expect(Int(rank) == rankOfTensor)
        return alpha / rank
    }

    private static let targets: [Dialect] = [.peft, .kohya, .diffusers, .mlx, .gguf]

    @Test(arguments: targets) func everyDialectSaysTheSame(_ target: Dialect) throws {
        for number in 0..<12 {
            let seed = UInt64(7_000 + number)
            let scratch = try Scratch()
            let source = try Source(scratch, seed: seed)
            let cannot =
                (source.hasDoRA && target == .gguf) || (source.hasBias && [.gguf, .mlx, .kohya].contains(target))
            if cannot {
                #expect(throws: ProblemList.self, "seed \(seed)") {
                    try Self.convert(source, to: target, scratch("out"))
                }
                #expect(!exists(scratch("out")), "seed \(seed)")
                continue
            }
            let result = try Self.convert(source, to: target, scratch("out"))
            #expect(result.largestDistance < 1e-6, "seed \(seed)")
            for module in source.modules {
                let (own, other) = (source.delta(module), try Self.delta(module, target, scratch("out")))
                let size = own.map(abs).max() ?? 0
                let worst = zip(own, other).map { abs($0 - $1) }.max() ?? 0
                #expect(worst <= 1e-6 * size, "seed \(seed): \(module.path) differs by \(worst / size)")
            }
            try roundTrip(source, scratch, seed)
        }
    }

    /// Back to PEFT: the same file, unless a scale became part of B or ranks were filled up.
    private func roundTrip(_ source: Source, _ scratch: Scratch, _ seed: UInt64) throws {
        var request = ConvertRequest(scratch("out"), to: .peft, version: "test")
        request.base = source.base
        let stage = try StagedOutput(path: scratch("back"), shape: .directory, replacing: false)
        _ = try Converter(ConvertPlan(request)).run(to: stage)
        try stage.commit()
        let (own, other) = (source.path + "/adapter_model.safetensors", scratch("back/adapter_model.safetensors"))
        if !source.isFolded { #expect(try bytes(of: own) == bytes(of: other), "seed \(seed)") }
        for module in source.modules {
            let worst =
                zip(source.delta(module), try backDelta(module, scratch("back"))).map { abs($0 - $1) }.max() ?? 0
            let size = source.delta(module).map(abs).max() ?? 0
            #expect(worst <= 1e-6 * size, "seed \(seed): \(module.path) came back with \(worst / size)")
        }
    }

    private func backDelta(_ module: Source.Module, _ path: String) throws -> [Double] {
        let file = try TensorFile(path: path + "/adapter_model.safetensors")
        let stem = "base_model.model." + module.path
        let (a, b) = (try file.tensor(stem + ".lora_A.weight"), try file.tensor(stem + ".lora_B.weight"))
        let config = try object(in: path + "/adapter_config.json")
        let number = { (key: String, pattern: String) -> Double in
            let own = (config[pattern] as? [String: Any])?[module.path]
            return ((own ?? config[key]) as? NSNumber)?.doubleValue ?? .nan
        }
        #expect(Int(number("r", "rank_pattern")) == a.shape[0])
        let scale = number("lora_alpha", "alpha_pattern") / number("r", "rank_pattern")
        return Source.product(b.values, a.values, module.out, a.shape[0], module.into).map { $0 * scale }
    }

    /// What is lost without a magnitude is what the definition of DoRA says, worked out here.
    @Test func aLeftOutMagnitudeIsMeasured() throws {
        var count = 0
        for seed in UInt64(7_000)..<7_060 where count < 3 {
            let scratch = try Scratch()
            let source = try Source(scratch, seed: seed)
            guard source.hasDoRA else { continue }
            count += 1
            var request = ConvertRequest(source.path, to: .gguf, version: "test")
            request.base = source.base
            request.allowsLoss = true
            let plan = try ConvertPlan(request)
            #expect(plan.dropped.count == source.modules.count)
            let base = try TensorFile(path: source.base + "/model.safetensors")
            for (module, item) in zip(
                source.modules.sorted { $0.path < $1.path }, plan.dropped.sorted { $0.path < $1.path })
            {
                let weight = try base.tensor(module.path + ".weight").values
                let sum = zip(weight, source.delta(module)).map { $0 + $1 }
                let m = try #require(module.magnitude)
                var (lost, total) = (0.0, 0.0)
                for row in 0..<module.out {
                    let range = row * module.into..<(row + 1) * module.into
                    let ratio = m[row] / sum[range].reduce(0) { $0 + $1 * $1 }.squareRoot()
                    for at in range {
                        lost += (ratio * sum[at] - sum[at]) * (ratio * sum[at] - sum[at])
                        total += (ratio * sum[at] - weight[at]) * (ratio * sum[at] - weight[at])
                    }
                }
                #expect(item.path == module.path)
                #expect(abs(item.relative - (lost / total).squareRoot()) < 1e-9, "seed \(seed)")
            }
        }
        #expect(count == 3)
    }

    @Test func foldingLeavesOneScale() throws {
        for seed in UInt64(7_100)..<7_106 {
            let scratch = try Scratch()
            let source = try Source(scratch, seed: seed)
            _ = try Self.convert(source, to: .peft, scratch("out"), folds: true)
            let config = try object(in: scratch("out/adapter_config.json"))
            let (rank, alpha) = (config["r"] as? Double ?? 0, config["lora_alpha"] as? Double ?? 0)
            let (ranks, alphas) = (
                config["rank_pattern"] as? [String: Double] ?? [:], config["alpha_pattern"] as? [String: Double] ?? [:]
            )
            #expect(ranks.isEmpty && alphas.isEmpty && rank > 0 && alpha > 0, "seed \(seed)")
            for module in source.modules {
                let worst =
                    zip(source.delta(module), try Self.delta(module, .peft, scratch("out"))).map { abs($0 - $1) }.max()
                    ?? 0
                #expect(worst <= 1e-6 * (source.delta(module).map(abs).max() ?? 0), "seed \(seed)")
            }
        }
    }
}

extension TensorFile {
    /// The tensor of that name.
    func tensor(_ name: String) throws -> Tensor {
        try #require(tensors.first { $0.name == name }, "\(name) is missing")
    }

    /// The bytes with tensors in the reference writer's order.
    func reference() -> [UInt8] {
        var copy = self
        copy.tensors.sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        let order = ["F32": 0, "BF16": 1, "F16": 2]
        copy.tensors.sort { (order[$0.dtype] ?? 3, $0.name) < (order[$1.dtype] ?? 3, $1.name) }
        return copy.encoded
    }
}
