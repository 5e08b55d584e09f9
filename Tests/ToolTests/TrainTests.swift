import Fixtures
import Foundation
import Testing

/// `adapter-train`, as its users call it.
@Suite struct TrainTests {
    private static let base = Golden.path("linear-qv-bf16") + "/base"
    /// Ids of the small golden bases, whose vocabulary has 24.
    static let examples = (0..<5).map { number in
        let ids = (0..<6 + number).map { String(($0 * 7 + number) % 24) }.joined(separator: ", ")
        return "{\"input_ids\": [\(ids)]}\n"
    }.joined()

    private func train(_ scratch: Scratch, _ output: String, _ options: String...) throws -> Answer {
        if !exists(scratch("data.jsonl")) { try scratch.write("data.jsonl", Self.examples) }
        return Tools.run(
            "adapter-train",
            [Self.base, "--data", scratch("data.jsonl"), "-o", scratch(output), "--threads", "1"] + options)
    }

    @Test func whatItSays() throws {
        let scratch = try Scratch()
        let answer = try train(
            scratch, "out", "--steps", "2", "--validation-share", "0.2", "--retain", scratch("data.jsonl"))
        #expect(answer.status == 0, "\(answer.err)")
        let lines = answer.out.split(separator: "\n").map(String.init)
        #expect(lines[0] == "base       base: llama, 2 layers of 16, 4,304 parameters")
        #expect(
            lines[1]
                == "trained    LoRA of rank 8 and scale 2.00 on q_proj, k_proj, v_proj, o_proj, up_proj of layer 1")
        #expect(lines[2] == "           1,184 parameters, 27.5% of the base")
        #expect(lines[3] == "optimizer  9.47 kB; training everything would take 34.4 kB")
        #expect(lines[4].hasPrefix("frozen     layer 0 does not change: computed once for each sequence, "))
        #expect(lines.contains { $0.hasPrefix("base's own text") } && lines.contains { $0.hasPrefix("held-out text") })
        #expect(scratch.names == ["data.jsonl", "out"])
        #expect(
            Set(contents(of: scratch("out")).keys) == [
                "adapter_config.json", "adapter_model.safetensors", "training.json",
            ])
    }

    @Test(
        arguments: [
            (["--method", "full"], 0), (["--method", "prefix"], 0), (["--method", "bottleneck"], 0),
            (["--dora", "--rslora", "--modules-to-save", "lm_head,norm"], 0), (["--rank", "0"], 64),
            (["--targets", "query"], 64), (["--layers", "last:3"], 64), (["--layers", "5"], 64),
            (["--method", "full", "--rank", "4"], 64), (["--dora", "--method", "prefix"], 64),
            (["--method", "prefix", "--layers", "1"], 64), (["--patience", "2"], 64), (["--resume"], 64),
            (["--checkpoint-every", "2", "--resume"], 66), (["--length", "65"], 1), (["--length", "5"], 65),
            (["--steps", "1", "--epochs", "2"], 64), (["--data", "/nowhere/at/all"], 66),
            (
                [
                    "--learning-rate", "1000", "--steps", "60", "--clip", "0", "--schedule", "constant", "--method",
                    "full",
                ], 1
            ),
        ] as [([String], Int32)])
    func exitCodes(_ options: [String], _ status: Int32) throws {
        let scratch = try Scratch()
        try scratch.write("data.jsonl", Self.examples)
        var words = [Self.base, "-o", scratch("out"), "--threads", "1"]
        if !options.contains("--data") { words += ["--data", scratch("data.jsonl")] }
        if !options.contains("--steps") && !options.contains("--epochs") { words += ["--epochs", "1"] }
        let answer = Tools.run("adapter-train", words + options)
        #expect(answer.status == status, "\(options): \(answer.err)")
        #expect(answer.errors.count == (status == 0 ? 0 : 1), "\(answer.err)")
        if status != 0 { #expect(scratch.names == ["data.jsonl"], "something is left") }
    }

    @Test func aBaseOfAnotherFamily() throws {
        let scratch = try Scratch()
        try scratch.write("data.jsonl", Self.examples)
        let base = Golden.path("gpt2-f32") + "/base"
        let answer = Tools.run("adapter-train", [base, "--data", scratch("data.jsonl"), "-o", scratch("out")])
        #expect(answer.status == 1)
        #expect(
            answer.errors == [
                "adapter-train: error: \(base)/config.json: is of model_type 'gpt2', which is not of the Llama family"
            ])
        #expect(answer.hints == ["hint: models of the types llama, mistral, qwen2 can be run and trained"])
    }

    /// What it makes fits its base, merges, and knows any other base.
    @Test func theResultIsBoundToItsBase() throws {
        let scratch = try Scratch()
        #expect(try train(scratch, "out", "--steps", "3", "--layers", "all").status == 0)
        let good = Tools.verify(Self.base, scratch("out"), options: ["--deep"])
        #expect(good.status == 0 && good.err.isEmpty, "\(good.err)")
        #expect(Tools.run("adapter-inspect", [scratch("out")]).out.contains("  saved by      AdapterKit "))
        #expect(Tools.merge(Self.base, [scratch("out")], scratch("merged")).status == 0)
        #expect(Tools.verify(Self.base, scratch("out"), options: ["--merged", scratch("merged")]).status == 0)
        // The merged model has other weights in what the adapter changes.
        let other = Tools.verify(scratch("merged"), scratch("out"))
        #expect(other.status == 1)
        #expect(other.errors.count == 10, "\(other.err)")
        #expect(other.errors.allSatisfy { $0.contains("differs from the one to which '\(scratch("out"))' is bound") })
        let allowed = Tools.verify(scratch("merged"), scratch("out"), options: ["--allow", "bound-tensor"])
        #expect(allowed.status == 0 && allowed.warnings.count >= 10)
    }

    @Test func theSameCommandGivesTheSameBytes() throws {
        let scratch = try Scratch()
        #expect(try train(scratch, "a", "--steps", "5", "--dropout", "0.2", "--seed", "3").status == 0)
        #expect(try train(scratch, "b", "--steps", "5", "--dropout", "0.2", "--seed", "3", "--no-cache").status == 0)
        #expect(try train(scratch, "c", "--steps", "5", "--dropout", "0.2", "--seed", "4").status == 0)
        #expect(contents(of: scratch("a")) == contents(of: scratch("b")))
        #expect(contents(of: scratch("a")) != contents(of: scratch("c")))
    }

    /// Of a run that was told to stop, the next one goes on with the same bits.
    @Test func goingOn() throws {
        let scratch = try Scratch()
        let options = ["--steps", "6", "--checkpoint-every", "2", "--metrics", scratch("metrics")]
        try scratch.write("data.jsonl", Self.examples)
        let words = [Self.base, "--data", scratch("data.jsonl"), "--threads", "1"]
        #expect(Tools.run("adapter-train", words + ["-o", scratch("whole"), "--steps", "6"]).status == 0)
        // It dies when it gives the second checkpoint its name.
        let killed = Tools.run(
            "adapter-train", words + ["-o", scratch("out")] + options,
            environment: ["ADAPTERKIT_FAULT": "rename:2:KILL"])
        #expect(killed.status == -9 && exists(scratch("out.checkpoint")) && !exists(scratch("out")))
        let blocked = Tools.run("adapter-train", words + ["-o", scratch("out")] + options.prefix(4))
        #expect(blocked.status == 73 && blocked.hints == ["hint: go on from it with --resume, or remove it"])
        let other = Tools.run("adapter-train", words + ["-o", scratch("out"), "--resume", "--seed", "1"] + options)
        #expect(other.status == 1 && other.errors[0].contains("is of a run with another seed"), "\(other.err)")
        let resumed = Tools.run("adapter-train", words + ["-o", scratch("out"), "--resume"] + options)
        #expect(resumed.status == 0 && resumed.err.contains("note: going on after step 2"), "\(resumed.err)")
        #expect(contents(of: scratch("out")) == contents(of: scratch("whole")))
        #expect(!exists(scratch("out.checkpoint")))
        let lines = String(decoding: try bytes(of: scratch("metrics")), as: UTF8.self).split(separator: "\n")
        let steps = lines.filter { $0.contains("\"loss\"") }.map { $0.prefix { $0 != "," } }
        #expect(steps == (1...6).map { "{\"step\":\($0)" })
    }

    @Test func aDryRunMakesNothing() throws {
        let scratch = try Scratch()
        let answer = try train(scratch, "out", "--dry-run", "--json")
        #expect(answer.status == 0 && scratch.names == ["data.jsonl"])
        let document = try answer.json()
        #expect(document["schema"] as? String == "adapterkit.train" && document["frozen_layers"] as? Int == 1)
        #expect(document["parameters"] as? Int == 1184 && document["steps_done"] == nil)
    }

    @Test func pretraining() throws {
        let scratch = try Scratch()
        let config = """
            {"model_type": "llama", "vocab_size": 256, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
             "num_attention_heads": 2, "max_position_embeddings": 32, "tie_word_embeddings": true}
            """
        try scratch.write("config.json", config)
        try scratch.write("text.txt", String(repeating: "what is small is soon learned. ", count: 30))
        let words = [
            "pretrain", scratch("config.json"), "--data", scratch("text.txt"), "--length", "16", "--steps", "40",
        ]
        let answer = Tools.run(
            "adapter-train", words + ["-o", scratch("base"), "--learning-rate", "0.01", "--json", "--threads", "1"])
        #expect(answer.status == 0, "\(answer.err)")
        let document = try answer.json()
        let (first, last) = (document["first_loss"] as? Double ?? 0, document["last_loss"] as? Double ?? 9)
        #expect(abs(first - 5.545) < 0.05 && last < 3, "\(first) \(last)")
        let adapted = Tools.run(
            "adapter-train",
            [scratch("base"), "--data", scratch("text.txt"), "-o", scratch("out"), "--length", "16", "--steps", "2"])
        #expect(adapted.status == 0, "\(adapted.err)")
        // The same weights in several files.
        let parts = Tools.run(
            "adapter-train",
            words + [
                "-o", scratch("parts"), "--learning-rate", "0.01", "--threads", "1", "--max-shard-size", "10kB",
            ])
        #expect(parts.status == 0, "\(parts.err)")
        let tensors = try (1...3).flatMap { number in
            try TensorFile(path: scratch("parts/model-0000\(number)-of-00003.safetensors")).tensors
        }
        let whole = try TensorFile(path: scratch("base/model.safetensors")).tensors
        #expect(tensors.sorted { $0.name < $1.name } == whole.sorted { $0.name < $1.name })
        let index = try object(in: scratch("parts/model.safetensors.index.json"))
        #expect((index["weight_map"] as? [String: String])?.count == whole.count)
        let read = Tools.run("adapter-inspect", [scratch("parts")])
        #expect(read.status == 0, "\(read.err)")
        let foreign = Tools.run(
            "adapter-train",
            [scratch("base"), "--data", scratch("text.txt"), "-o", scratch("other"), "--max-shard-size", "1MB"])
        #expect(foreign.status == 64 && foreign.err.contains("belongs to pretrain"), "\(foreign.err)")
        let long = Tools.run("adapter-train", words.map { $0 == "16" ? "33" : $0 } + ["-o", scratch("other")])
        #expect(long.status == 1 && !exists(scratch("other")))
    }
}
