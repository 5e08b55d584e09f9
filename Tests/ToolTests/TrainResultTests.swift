import Fixtures
import Foundation
import Testing

/// What `adapter-train` says of its results is true of what it stores, and only of the base that it was trained on.
@Suite struct TrainResultTests {
    private static let base = Golden.path("linear-qv-bf16") + "/base"

    private func train(
        _ scratch: Scratch, _ output: String, base: String = base, _ options: [String], json: Bool = true,
        environment: [String: String] = [:]
    ) throws -> Answer {
        if !exists(scratch("data.jsonl")) { try scratch.write("data.jsonl", TrainTests.examples) }
        let words = [base, "--data", scratch("data.jsonl"), "-o", scratch(output), "--threads", "1"]
        return Tools.run(
            "adapter-train", words + options + (json ? ["--json"] : []), environment: environment)
    }

    /// The loss on the training text as `adapter-generate` measures it.
    private func loss(_ scratch: Scratch, _ model: String...) throws -> Double {
        let answer = Tools.run("adapter-generate", model + ["--perplexity", scratch("data.jsonl"), "--json"])
        #expect(answer.status == 0, "\(answer.err)")
        return try #require(try answer.json()["loss"] as? Double)
    }

    private func near(_ a: Any?, _ b: Double) -> Bool { (a as? Double).map { abs($0 - b) < 1e-5 * b } ?? false }

    @Test(arguments: ["lora", "prefix", "bottleneck", "adapter", "model", "archive", "float16"])
    func lossesAreOfWhatIsStored(_ kind: String) throws {
        let scratch = try Scratch()
        let options =
            switch kind {
            case "lora", "prefix", "bottleneck": ["--method", kind]
            case "float16": ["--method", "full", "--save-as", "model", "--dtype", "float16"]
            case "adapter": ["--method", "full", "--save-as", kind, "--rank", "1"]
            default: ["--method", "full", "--save-as", kind]
            }
        let common = ["--steps", "8", "--learning-rate", "0.02", "--retain", scratch("data.jsonl")]
        let answer = try train(scratch, "out", options + common + ["--validation", scratch("data.jsonl")])
        #expect(answer.status == 0, "\(answer.err)")
        let report = try answer.json()
        var stored = [Self.base, scratch("out")]
        if ["model", "float16"].contains(kind) { stored = [scratch("out")] }
        if kind == "archive" {
            let unpacked = Tools.run(
                "adapter-unpack", [scratch("out"), "--base", Self.base, "-o", scratch("model")])
            #expect(unpacked.status == 0, "\(unpacked.err)")
            stored = [scratch("model")]
        }
        let (before, after) = (
            try loss(scratch, Self.base),
            try stored.count == 1 ? loss(scratch, stored[0]) : loss(scratch, stored[0], stored[1])
        )
        // A prefix that is not trained yet is there all the same.
        let isOwn = kind == "prefix"
        #expect(isOwn || after < 0.99 * before)
        for text in ["training", "validation", "retained"] {
            #expect(isOwn || near(report["\(text)_before"], before), "\(text) \(before) \(report)")
            #expect(near(report["\(text)_after"], after), "\(text) \(after) \(report)")
        }
        if kind != "archive" {
            let record = try object(in: scratch("out/training.json"))["result"] as? [String: Any]
            #expect(near(record?["training_after"], after) && near(record?["validation_after"], after))
        }
    }

    /// What early stopping keeps is measured, not the last step; and where that is the base, it is said.
    @Test func aTrainingThatCameToNothing() throws {
        let scratch = try Scratch()
        let other = (0..<3).map { number in
            "{\"input_ids\": [\((0..<9).map { String(($0 * 5 + 3 * number) % 24) }.joined(separator: ", "))]}\n"
        }
        try scratch.write("held.jsonl", other.joined())
        let answer = try train(
            scratch, "out",
            [
                "--steps", "40", "--learning-rate", "1", "--warmup", "0", "--patience", "2",
                "--validate-every", "1", "--validation", scratch("held.jsonl"),
            ])
        #expect(answer.status == 0, "\(answer.err)")
        let report = try answer.json()
        #expect(report["best_step"] as? Int == 0)
        #expect(report["training_after"] as? Double == report["training_before"] as? Double)
        #expect(answer.warnings.contains { $0.contains("so the output changes nothing") }, "\(answer.err)")
    }

    /// The same weights, but for what an adapter changed: no output of any method is used on them.
    @Test func allAreBound() throws {
        let scratch = try Scratch()
        #expect(try train(scratch, "lora", ["--steps", "2", "--targets", "linear"]).status == 0)
        #expect(Tools.merge(Self.base, [scratch("lora")], scratch("other")).status == 0)
        for (name, options) in [
            ("prefix", ["--method", "prefix"]), ("bottleneck", ["--method", "bottleneck"]),
            ("adapter", ["--method", "full", "--save-as", "adapter", "--layers", "all"]),
        ] {
            let made = try train(scratch, name, options + ["--steps", "2"])
            #expect(made.status == 0, "\(made.err)")
            let own = Tools.run("adapter-generate", [Self.base, scratch(name), "--ids", "1 2 3", "-n", "2"])
            #expect(own.status == 0, "\(own.err)")
            let answer = Tools.run("adapter-generate", [scratch("other"), scratch(name), "--ids", "1 2 3", "-n", "2"])
            #expect(answer.status == 1 && answer.out.isEmpty)
            #expect(answer.errors.first?.contains("differs from the one to which") == true, "\(answer.err)")
            let allowed = Tools.run(
                "adapter-generate",
                [scratch("other"), scratch(name), "--ids", "1 2 3", "-n", "2", "--allow", "bound-tensor"])
            #expect(allowed.status == 0 && !allowed.warnings.isEmpty, "\(allowed.err)")
        }
        #expect(Tools.merge(scratch("other"), [scratch("adapter")], scratch("merged")).status == 1)
        let onward = try train(
            scratch, "more", base: scratch("other"), ["--from", scratch("lora"), "--steps", "2", "--targets", "linear"])
        #expect(onward.status == 1 && !exists(scratch("more")))
        #expect(onward.err.contains("differs from the one to which '\(scratch("lora"))' is bound"), "\(onward.err)")
        let going = try train(scratch, "more", ["--from", scratch("lora"), "--steps", "2", "--targets", "linear"])
        #expect(going.status == 0, "\(going.err)")
    }

    @Test func extractionGivesTheSameBytes() throws {
        let scratch = try Scratch()
        let options = ["--method", "full", "--save-as", "adapter", "--rank", "2", "--steps", "3"]
        #expect(try train(scratch, "a/out", options).status == 73)
        try FileManager.default.createDirectory(atPath: scratch("a"), withIntermediateDirectories: false)
        try FileManager.default.createDirectory(atPath: scratch("b"), withIntermediateDirectories: false)
        #expect(try train(scratch, "a/out", options).status == 0)
        #expect(try train(scratch, "b/out", options).status == 0)
        #expect(contents(of: scratch("a/out")) == contents(of: scratch("b/out")))
        let metadata = try TensorFile(path: scratch("a/out/adapter_model.safetensors")).metadata
        #expect(metadata["adapterkit.method"]?.contains("\"tuned\":\"out\"") == true)
        #expect(metadata["adapterkit.training"]?.contains("\"training_after\"") == true)
    }

    /// What is said before training is there although the run dies.
    @Test func linesDoNotWait() throws {
        let scratch = try Scratch()
        let answer = try train(
            scratch, "out", ["--steps", "4", "--validation", scratch("data.jsonl"), "--checkpoint-every", "2"],
            json: false, environment: ["ADAPTERKIT_FAULT": "rename:1:KILL"])
        #expect(answer.status == -9)
        #expect(answer.out.contains("course ") && answer.out.contains("step 0: held-out "), "\(answer.out)")
    }

    /// What could not be written beside the result does not make it less whole, and is told so.
    @Test func aReportThatCannotBeWritten() throws {
        let scratch = try Scratch()
        let answer = try train(
            scratch, "out", ["--steps", "2", "--report", scratch("report"), "--plot", scratch("loss.svg")],
            json: false, environment: ["ADAPTERKIT_FAULT": "rename:2:ENOSPC"])
        #expect(
            answer.status == 74 && exists(scratch("out/training.json")) && !exists(scratch("loss.svg")), "\(answer.err)"
        )
        #expect(answer.hints == ["hint: the training itself is done: '\(scratch("out"))' is whole"])
    }

    @Test func layersThatAreNeverUnfrozen() throws {
        let scratch = try Scratch()
        let options = ["--method", "full", "--layers", "all", "--steps", "4", "--save-as", "model"]
        let answer = try train(scratch, "out", options + ["--unfreeze-every", "4"])
        #expect(answer.status == 0)
        #expect(
            answer.warnings == [
                "adapter-train: warning: only layer 1 will be trained: the one below would begin with step 5, but there are 4"
            ], "\(answer.err)")
        #expect(try train(scratch, "more", options + ["--unfreeze-every", "3"]).warnings.isEmpty)
    }
}
