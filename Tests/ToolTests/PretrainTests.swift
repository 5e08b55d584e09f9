import Fixtures
import Foundation
import Testing

/// `adapter-train pretrain`, as its users call it.
@Suite struct PretrainTests {
    private let scratch: Scratch
    private let words: [String]

    /// A config of a few numbers, whose ids are bytes.
    static let config = """
        {"model_type": "llama", "vocab_size": 256, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
         "num_attention_heads": 2, "max_position_embeddings": 32, "tie_word_embeddings": true}
        """

    init() throws {
        scratch = try Scratch()
        try scratch.write("config.json", Self.config)
        try scratch.write("text.txt", String(repeating: "what is small is soon learned. ", count: 30))
        words = [
            "pretrain", scratch("config.json"), "--data", scratch("text.txt"), "--length", "16", "--threads", "1",
        ]
    }

    private func pretrain(_ output: String, _ options: [String], _ environment: [String: String] = [:]) -> Answer {
        Tools.run("adapter-train", words + ["-o", scratch(output)] + options, environment: environment)
    }

    @Test func whatItSaysAndWrites() throws {
        let answer = pretrain(
            "base",
            [
                "--steps", "4", "--validation-share", "0.2", "--metrics", scratch("metrics"), "--plot",
                scratch("plot.svg"),
            ]
                + ["--report", scratch("report")])
        #expect(answer.status == 0, "\(answer.err)")
        let lines = answer.out.split(separator: "\n").map(String.init)
        #expect(lines[0] == "config     \(scratch("config.json")): llama, 2 layers of 16, 256 ids")
        #expect(lines[1] == "trained    all of it, 8,528 parameters")
        #expect(lines[2] == "optimizer  68.2 kB")
        #expect(lines[3] == "text       752 tokens in 47 sequences; held out: 177")
        #expect(lines[4] == "course     4 steps of 8 sequences, 0.667 times through the text")
        #expect(lines.last?.hasPrefix("\(scratch("base")): llama of 8,528 parameters, ") == true)
        let metrics = String(decoding: try bytes(of: scratch("metrics")), as: UTF8.self).split(separator: "\n")
        #expect(metrics.filter { $0.contains("\"loss\"") }.count == 4)
        #expect(metrics.last?.contains("\"validation_loss\"") == true)
        let plot = String(decoding: try bytes(of: scratch("plot.svg")), as: UTF8.self)
        #expect(plot.contains("Training llama on text.txt") && plot.contains("held-out text"))
        let report = try object(in: scratch("report"))
        #expect(report["schema"] as? String == "adapterkit.pretrain" && report["steps_done"] as? Int == 4)
        #expect(report["parameters"] as? Int == 8528 && report["tokens_seen"] as? Int == 512)
    }

    @Test func aDryRunMakesNothing() throws {
        let answer = pretrain("base", ["--dry-run", "--json"])
        #expect(answer.status == 0 && scratch.names == ["config.json", "text.txt"], "\(answer.err)")
        let document = try answer.json()
        #expect(document["parameters"] as? Int == 8528 && document["steps_done"] == nil)
    }

    @Test(
        arguments: [
            (["--retain", "x"], "--retain does not belong to pretrain: there is no base that could forget"),
            (["--rank", "4"], "--rank does not belong to pretrain"),
            (["--gradients", "x"], "--gradients does not belong to pretrain"),
            (["--resume"], "--resume goes with --checkpoint-every"),
            (["--patience", "2"], "--patience needs held-out text to look at"),
            (
                ["--validation", "/dev/null", "--validation-share", "0.1"],
                "--validation and --validation-share exclude each other"
            ),
        ] as [([String], String)])
    func refused(_ options: [String], _ text: String) {
        let answer = pretrain("base", options)
        #expect(answer.status == 64 && answer.errors == ["adapter-train: error: \(text)"], "\(answer.err)")
    }

    @Test(arguments: [("hidden_size\": 16", "hidden_size\": 3200000"), ("layers\": 2", "layers\": 2147483647")])
    func whatNoMemoryHolds(_ old: String, _ new: String) throws {
        try scratch.write("config.json", Self.config.replacingOccurrences(of: old, with: new))
        let answer = pretrain("base", [])
        #expect(answer.status == 1 && answer.errors.count == 1, "\(answer.err)")
        #expect(answer.errors[0].contains("config.json: needs at least ") && answer.errors[0].hasSuffix(" GB"))
        #expect(answer.hints == ["hint: make the model smaller, or use fewer --threads"])
        #expect(scratch.names == ["config.json", "text.txt"])
    }

    /// Of a run that was killed or told to stop, the next one goes on with the same bits.
    @Test(arguments: ["rename:2:KILL", "rename:2:TERM"]) func goingOn(_ fault: String) throws {
        #expect(pretrain("whole", ["--steps", "6"]).status == 0)
        let options = ["--steps", "6", "--checkpoint-every", "2", "--metrics", scratch("metrics")]
        let stopped = pretrain("base", options, ["ADAPTERKIT_FAULT": fault])
        #expect(stopped.status != 0 && exists(scratch("base.checkpoint")) && !exists(scratch("base")))
        let other = pretrain("base", options + ["--resume", "--seed", "1"])
        #expect(other.status == 1 && other.errors[0].contains("is of a run with another seed"), "\(other.err)")
        let resumed = pretrain("base", options + ["--resume"])
        #expect(resumed.status == 0 && resumed.err.contains("note: going on after step "), "\(resumed.err)")
        #expect(contents(of: scratch("base")) == contents(of: scratch("whole")))
        #expect(!exists(scratch("base.checkpoint")))
        let lines = String(decoding: try bytes(of: scratch("metrics")), as: UTF8.self).split(separator: "\n")
        let steps = lines.filter { $0.contains("\"loss\"") }.map { $0.prefix { $0 != "," } }
        #expect(steps == (1...6).map { "{\"step\":\($0)" })
    }
}
