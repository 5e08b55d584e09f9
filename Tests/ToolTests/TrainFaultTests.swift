import Fixtures
import Testing

/// Training that fails or dies at any change of the file system leaves its output absent or whole.
@Suite struct TrainFaultTests {
    /// What is asked for.
    enum Way: String, CaseIterable { case lora, archive, checkpoints, pretraining }

    private struct Subject: FaultSubject {
        let scratch: Scratch
        let way: Way
        let arguments: [String]
        let inputs: [String: [UInt8]]
        let good: [String: [UInt8]]
        let old: [String: [UInt8]]
        let tool = "adapter-train"
        let speaksFirst = true

        init(_ way: Way) throws {
            self.way = way
            scratch = try Scratch()
            try scratch.directory("inputs")
            let base = try scratch.copy(Golden.path("linear-qv-bf16") + "/base", as: "inputs/base")
            try scratch.write("inputs/data.jsonl", TrainTests.examples)
            let more: [String] =
                switch way {
                case .lora: []
                case .archive: ["--method", "full"]
                case .checkpoints, .pretraining: ["--checkpoint-every", "1"]
                }
            try scratch.write("inputs/config.json", PretrainTests.config)
            let start = way == .pretraining ? ["pretrain", scratch("inputs/config.json")] : [base]
            arguments =
                start + ["--data", scratch("inputs/data.jsonl"), "--steps", "3", "--threads", "1"] + more
            inputs = contents(of: scratch("inputs"))
            let answer = Tools.run(tool, arguments + ["-o", scratch("good")])
            try #require(answer.status == 0, "\(answer.err)")
            good = contents(of: scratch("good"))
            if way == .lora {
                try scratch.write("old/adapter_config.json", "{}")
                try scratch.write("old/adapter_model.safetensors", "old")
            }
            old = contents(of: scratch("old"))
        }

        var output: String { scratch("work/out") }
        var changes: [String] { ["mkdir", "create", "write", "sync", "rename"] }
        /// A state that was kept stays where the run did not end well.
        var ownNames: Set<String> { [.checkpoints, .pretraining].contains(way) ? ["out", "out.checkpoint"] : ["out"] }

        func prepare() throws {
            _ = Tools.shell("rm -rf \"$1\"; mkdir \"$1\"", scratch("work"))
            if !old.isEmpty { _ = try scratch.copy(scratch("old"), as: "work/out") }
        }

        func run(_ fault: String) -> Answer {
            let options = ["-o", output] + (old.isEmpty ? [] : ["--force"])
            return Tools.run(tool, arguments + options, environment: ["ADAPTERKIT_FAULT": fault])
        }

        /// Goes on from the state that was kept, if there is one.
        func runAgain() -> Answer {
            let resumes = exists(scratch("work/out.checkpoint"))
            return Tools.run(tool, arguments + ["-o", output, "--force"] + (resumes ? ["--resume"] : []))
        }
    }

    @Test(arguments: Way.allCases, faultWords.keys.sorted()) func failure(_ way: Way, _ name: String) throws {
        try Subject(way).walkFailures(name, faultWords[name] ?? "")
    }

    @Test(arguments: Way.allCases) func killed(_ way: Way) throws { try Subject(way).walkKills() }

    @Test func whatIsFrozenDoesNotFit() throws {
        let scratch = try Scratch()
        try scratch.write("data.jsonl", TrainTests.examples)
        let answer = Tools.run(
            "adapter-train",
            [Golden.path("linear-qv-bf16") + "/base", "--data", scratch("data.jsonl"), "-o", scratch("out")]
                + ["--cache-limit", "0", "--threads", "1"], environment: ["ADAPTERKIT_FAULT": "write:1:ENOSPC"])
        #expect(answer.status == 74 && answer.errors.count == 1, "\(answer.err)")
        #expect(answer.errors.first?.contains("does not fit into") == true)
        #expect(answer.hints == ["hint: set TMPDIR to a directory with more room"])
        #expect(scratch.names == ["data.jsonl"])
    }

    @Test(arguments: [Way.lora, .archive]) func terminated(_ way: Way) throws { try Subject(way).walkSignals(least: 3) }
}
