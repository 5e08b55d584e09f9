import Fixtures
import Foundation
import Testing

/// Adapters of what differs between two checkpoints.
@Suite struct ExtractTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func extract(_ base: String, _ tuned: String, _ options: String...) throws -> [String: Any] {
        let answer = Tools.run(
            "adapter-extract", [base, tuned, "-o", scratch("out"), "--force", "--json"] + options)
        try #require(answer.status == 0, "\(answer.err)")
        return try answer.json()
    }

    private func expectBack(_ base: String, _ tuned: String) throws {
        let merged = Tools.merge(base, [scratch("out")], scratch("merged"), "--force")
        try #require(merged.status == 0, "\(merged.err)")
        let apart = try farApart(tensors(in: scratch("merged")), tensors(in: tuned))
        #expect(apart.isEmpty, "\(apart)")
    }

    // MARK: There and back

    /// Models in float32 of all architectures: what merging made of them is a change that is known to be of low rank.
    private static let golden = Golden.cases.filter { $0.name.hasSuffix("-f32") }

    @Test(arguments: golden) func goldenModels(_ golden: Golden.Case) throws {
        let tuned = scratch("tuned")
        let merged = Tools.merge(golden.base, golden.adapters, tuned)
        try #require(merged.status == 0, "\(merged.err)")
        let document = try extract(golden.base, tuned, "--rank", golden.name.hasPrefix("dora") ? "24" : "8")
        for module in document["modules"] as? [[String: Any]] ?? [] {
            let error = try #require(module["relative_error"] as? Double)
            #expect(error < 1e-4, "\(module)")
        }
        #expect(document["left_out"] as? [String] == [])
        try expectBack(golden.base, tuned)
    }

    @Test func onlyWhatChanged() throws {
        let base = Model()
        var tuned = base
        tuned.add(
            Matrix(8, 2, (0..<16).map { Double($0 % 5) - 2 }) * Matrix(2, 6, (0..<12).map { Double($0 % 4) - 1 }),
            to: "model.layers.1.self_attn.q_proj")
        tuned.add(Matrix.diagonal(4, 6, [1, 3]), to: "model.layers.0.self_attn.k_proj")
        let paths = try (base.write(as: "base", in: scratch), tuned.write(as: "tuned", in: scratch))
        let document = try extract(paths.0, paths.1, "--rank", "2")
        let changed = ["model.layers.0.self_attn.k_proj", "model.layers.1.self_attn.q_proj"]
        let modules = try #require(document["modules"] as? [[String: Any]])
        #expect(modules.map { $0["path"] as? String } == changed)
        #expect(modules.map { $0["rank_in"] as? Int } == [4, 6])
        #expect(modules.allSatisfy { $0["rank"] as? Int == 2 && ($0["relative_error"] as? Double ?? 1) < 1e-6 })
        #expect(abs((modules[0]["norm"] as? Double ?? 0) - 10.squareRoot()) < 1e-12)
        #expect(document["schema"] as? String == "adapterkit.extract" && document["version"] as? Int == 1)
        #expect(document["saved"] as? [String] == [] && document["unchanged"] as? Int == base.tensors.count - 2)
        let found = try WrittenAdapter(scratch("out"))
        #expect(Set(found.tensors.keys) == Set(changed.flatMap { [Pair.key($0, "A"), Pair.key($0, "B")] }))
        let wanted: [String: Any] = [
            "peft_type": "LORA", "bias": "none", "fan_in_fan_out": false, "inference_mode": true,
            "init_lora_weights": true, "lora_bias": false, "lora_dropout": 0, "use_dora": false, "use_rslora": false,
            "revision": NSNull(), "task_type": "CAUSAL_LM", "modules_to_save": NSNull(),
            "base_model_name_or_path": "base", "r": 2, "lora_alpha": 2, "target_modules": changed,
            "rank_pattern": [String: Any](), "alpha_pattern": [String: Any](),
        ]
        #expect(same(found.config, wanted), "\(found.config)")
        try expectBack(paths.0, paths.1)
        _ = try extract(paths.0, paths.1, "--rank", "2", "--base-name", "meta/llama")
        #expect(try WrittenAdapter(scratch("out")).config["base_model_name_or_path"] as? String == "meta/llama")
    }

    /// All modules of a name are targeted by that name.
    @Test func shortNamesOfTargets() throws {
        let base = Model()
        var tuned = base
        for module in Model.linear where !module.path.hasSuffix("k_proj") {
            tuned.add(.diagonal(module.out, module.into, [2]), to: module.path)
        }
        let paths = try (base.write(as: "base", in: scratch), tuned.write(as: "tuned", in: scratch))
        _ = try extract(paths.0, paths.1, "--rank", "1")
        #expect(try WrittenAdapter(scratch("out")).config["target_modules"] as? [String] == ["o_proj", "q_proj"])
        try expectBack(paths.0, paths.1)
    }

    // MARK: What is no delta

    /// A norm, a bias of an adapted layer and an embedding go whole, and to the head if it is tied.
    @Test(arguments: [false, true]) func wholeTensors(_ isTied: Bool) throws {
        let base = Model(tied: isTied)
        var tuned = base
        let (norm, embedding) = ("model.layers.1.input_layernorm", "model.embed_tokens")
        let module = "model.layers.0.self_attn.q_proj"
        tuned.add(.diagonal(8, 6, [2]), to: module)
        tuned.change(norm + ".weight") { $0[2] += 1 }
        tuned.change(module + ".bias") { $0[0] -= 1 }
        tuned.change(embedding + ".weight") { $0[7] += 2 }
        let paths = try (base.write(as: "base", in: scratch), tuned.write(as: "tuned", in: scratch))
        let document = try extract(paths.0, paths.1, "--rank", "1")
        let found = try WrittenAdapter(scratch("out"))
        var wanted = [
            Pair.prefix + norm + ".weight": norm + ".weight",
            Pair.prefix + module + ".base_layer.bias": module + ".bias",
            Pair.prefix + embedding + ".weight": embedding + ".weight",
        ]
        if isTied { wanted[Pair.prefix + "lm_head.weight"] = embedding + ".weight" }
        #expect(Set(found.tensors.keys) == Set(wanted.keys).union([Pair.key(module, "A"), Pair.key(module, "B")]))
        for (name, source) in wanted {
            let own = try #require(found.tensors[name])
            #expect(own.bytes == tuned[source]?.bytes && own.shape == tuned[source]?.shape, "\(name)")
        }
        let names = wanted.keys.map { String($0.dropFirst(Pair.prefix.count)) }
        #expect(Set(document["saved"] as? [String] ?? []) == Set(names))
        #expect(found.config["bias"] as? String == "lora_only")
        #expect(
            found.config["modules_to_save"] as? [String]
                == (isTied ? ["lm_head", embedding, norm] : [embedding, norm]))
        #expect(found.config["ensure_weight_tying"] as? Bool == (isTied ? true : nil))
        try expectBack(paths.0, paths.1)

        let without = try extract(paths.0, paths.1, "--rank", "1", "--no-full")
        #expect(without["saved"] as? [String] == [])
        #expect(
            Set(without["left_out"] as? [String] ?? [])
                == [norm + ".weight", module + ".bias", embedding + ".weight"])
        let plain = try WrittenAdapter(scratch("out"))
        #expect(Set(plain.tensors.keys) == [Pair.key(module, "A"), Pair.key(module, "B")])
        #expect(plain.config["bias"] as? String == "none" && plain.config["modules_to_save"] is NSNull)
        let told = Tools.extract(paths.0, paths.1, scratch("told"), "--rank", "1", "--no-full")
        #expect(
            told.lines("note") == [
                "adapter-extract: note: left out: \(embedding).weight and 2 other tensors, which no low-rank delta can hold; --report lists all"
            ])
    }

    /// Without any low-rank module the adapter still says what it is, and merges.
    @Test func aBiasAlone() throws {
        let base = Model()
        var tuned = base
        tuned.change("model.layers.1.self_attn.q_proj.bias") { $0[3] = 9 }
        let paths = try (base.write(as: "base", in: scratch), tuned.write(as: "tuned", in: scratch))
        let document = try extract(paths.0, paths.1, "--rank", "4")
        #expect((document["modules"] as? [Any])?.isEmpty == true)
        #expect(document["saved"] as? [String] == ["model.layers.1.self_attn.q_proj.bias"])
        let found = try WrittenAdapter(scratch("out"))
        #expect(found.tensors.keys.sorted() == [Pair.prefix + "model.layers.1.self_attn.q_proj.bias"])
        #expect(found.config["bias"] as? String == "all")
        #expect(found.config["r"] as? Int == 1)
        try expectBack(paths.0, paths.1)
        let answer = Tools.extract(paths.0, paths.1, scratch("none"), "--rank", "4", "--no-full")
        #expect(answer.status == 1)
        #expect(
            answer.errors == [
                "adapter-extract: error: \(paths.1): differs from '\(paths.0)' only in what --no-full leaves out, so there is nothing to extract"
            ])
        #expect(answer.hints == ["hint: leave --no-full out"])
        #expect(!exists(scratch("none")))
    }

    // MARK: How much is kept

    private static let spectra: [(path: String, values: [Double])] = [
        ("model.layers.0.self_attn.k_proj", [8, 4, 2, 1]), ("model.layers.0.self_attn.q_proj", [3, 3, 3, 3, 3]),
        ("model.layers.1.self_attn.o_proj", [100, 1]),
    ]

    @Test(arguments: [
        (["--energy", "0.9"], [2, 5, 1]), (["--energy", "1"], [4, 5, 2]), (["--ratio", "2"], [2, 5, 1]),
        (["--energy", "0.99", "--rank", "3"], [3, 3, 1]),
    ]) func perModule(_ options: [String], _ kept: [Int]) throws {
        let base = Model()
        var tuned = base
        for (path, values) in Self.spectra {
            let shape = try #require(base[path + ".weight"]?.shape)
            tuned.add(.diagonal(shape[0], shape[1], values), to: path)
        }
        let paths = try (base.write(as: "base", in: scratch), tuned.write(as: "tuned", in: scratch))
        for isPerModule in [true, false] {
            let extra = options + (isPerModule ? ["--per-module"] : [])
            let answer = Tools.run(
                "adapter-extract", [paths.0, paths.1, "-o", scratch("out"), "--json", "--force"] + extra)
            #expect(answer.status == 0, "\(answer.err)")
            let found = try WrittenAdapter(scratch("out"))
            for ((path, values), count) in zip(Self.spectra, kept) {
                let entry = facts(try answer.json(), path)
                let squares = values.map { $0 * $0 }
                let (all, lost) = (squares.reduce(0, +), squares.dropFirst(count).reduce(0, +))
                let numbers: [(String, Double)] = [
                    ("norm", all.squareRoot()), ("retained_energy", 1 - lost / all),
                    ("relative_error", (lost / all).squareRoot()),
                    ("largest_error", values.dropFirst(count).first ?? 0),
                ]
                for (key, number) in numbers {
                    let own = try #require(entry[key] as? Double)
                    #expect(abs(own - number) <= 1e-6 * max(1, number), "\(path) \(key): \(own), not \(number)")
                }
                #expect(entry["rank"] as? Int == count)
                let rank = isPerModule ? count : kept.max() ?? 0
                #expect(found.tensors[Pair.key(path, "A")]?.shape[0] == rank)
                #expect(found.delta(path) != nil, "\(path): its patterns say another rank")
            }
        }
    }

    @Test func narrowFactors() throws {
        let base = Model()
        var tuned = base
        tuned.add(.diagonal(8, 6, [4, 1]), to: "model.layers.0.self_attn.q_proj")
        let paths = try (base.write(as: "base", in: scratch), tuned.write(as: "tuned", in: scratch))
        for (word, dtype) in [("bfloat16", "BF16"), ("float16", "F16"), ("float64", "F64")] {
            let document = try extract(paths.0, paths.1, "--rank", "2", "--dtype", word)
            #expect(document["dtype"] as? String == dtype)
            let found = try WrittenAdapter(scratch("out"))
            #expect(found.tensors.values.allSatisfy { $0.dtype == dtype })
            let delta = try #require(found.delta("model.layers.0.self_attn.q_proj"))
            let error = (delta - .diagonal(8, 6, [4, 1])).norm / 17.squareRoot()
            let told = try #require(facts(document, "model.layers.0.self_attn.q_proj")["relative_error"] as? Double)
            #expect(abs(told - error) <= 1e-9, "\(dtype): the report is of the factors as they are stored")
        }
    }
}
