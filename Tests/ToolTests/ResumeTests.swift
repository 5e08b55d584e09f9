import Fixtures
import Foundation
import Testing

/// `adapter-train --resume`: what a checkpoint must be, and what may change.
@Suite struct ResumeTests {
    private static let base = Golden.path("linear-qv-bf16") + "/base"
    private let scratch: Scratch

    init() throws {
        scratch = try Scratch()
        try scratch.write("data.jsonl", TrainTests.examples)
    }

    private func train(_ output: String, _ options: [String], _ environment: [String: String] = [:]) -> Answer {
        let words = [Self.base, "--data", scratch("data.jsonl"), "-o", scratch(output), "--checkpoint-every", "2"]
        let threads = options.contains("--threads") ? [] : ["--threads", "1"]
        return Tools.run("adapter-train", words + threads + options, environment: environment)
    }

    /// Leaves a state after two steps.
    private func stop(_ options: [String]) throws {
        let killed = train("out", options, ["ADAPTERKIT_FAULT": "rename:2:KILL"])
        try #require(killed.status == -9 && exists(scratch("out.checkpoint")), "\(killed.err)")
    }

    /// The learning rates of all steps.
    private func rates(_ name: String) throws -> [Double] {
        String(decoding: try bytes(of: scratch(name)), as: UTF8.self).split(separator: "\n").compactMap { line in
            let fields = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            return fields?["learning_rate"] as? Double
        }
    }

    @Test func damage() throws {
        try stop(["--steps", "6"])
        let whole = try bytes(of: scratch("out.checkpoint"))
        let header = whole.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) } + 8
        let text = String(decoding: whole[..<header], as: UTF8.self)
        func refused(_ damaged: [UInt8], _ what: String) throws {
            try scratch.write("out.checkpoint", damaged)
            let answer = train("out", ["--steps", "6", "--resume"])
            #expect(answer.status == 65 && answer.errors.count == 1, "\(what): \(answer.err)")
            #expect(answer.hints == ["hint: remove it to begin anew"], "\(what): \(answer.err)")
            #expect(try bytes(of: scratch("out.checkpoint")) == damaged && !exists(scratch("out")))
        }
        let digit = try #require(text.range(of: "looks_since_best\\\":")).upperBound
        let inState = text.utf8.distance(from: text.startIndex, to: digit)
        for place in [inState, header, (header + whole.count) / 2, whole.count - 1] {
            var damaged = whole
            damaged[place] ^= 1
            try refused(damaged, "byte \(place) of \(whole.count)")
        }
        for count in [4, header / 2, header, whole.count - 1] { try refused(Array(whole.prefix(count)), "cut") }
        try refused(whole + [0], "longer")
    }

    /// Another rate, and more steps: the schedule goes over all of them, as if it had been so from the beginning.
    @Test func anotherCourse() throws {
        let own = ["--steps", "20", "--schedule", "linear", "--warmup", "0.1"]
        #expect(train("other", own + ["--learning-rate", "0.01", "--metrics", scratch("all")]).status == 0)
        try stop(["--steps", "6", "--metrics", scratch("metrics")])
        let resumed = train(
            "out", own + ["--learning-rate", "0.01", "--clip", "2", "--resume", "--metrics", scratch("metrics")])
        #expect(resumed.status == 0, "\(resumed.err)")
        #expect(
            resumed.err.contains(
                "note: going on after step 2 with another --clip (1.0 before, 2.0 now), "
                    + "--learning-rate (0.001 before, 0.01 now), --schedule (cosine before, linear now), "
                    + "--steps (6 before, 20 now), --warmup (0.03 before, 0.1 now)\n"), "\(resumed.err)")
        let (found, wanted) = (try rates("metrics"), try rates("all"))
        #expect(found.count == 20 && found[2...] == wanted[2...] && found[..<2] != wanted[..<2])
        let result = try object(in: scratch("out/training.json"))["result"] as? [String: Any]
        let changes = try #require(result?["changes"] as? [[String: Any]])
        #expect(changes.map { $0["setting"] as? String } == ["clip", "learning_rate", "schedule", "steps", "warmup"])
        #expect(changes[1]["after"] as? Int == 2 && changes[1]["before"] as? String == "0.001")
        #expect(changes[1]["now"] as? String == "0.01")
    }

    /// What was changed once is the run's own from then on, also over a further pause.
    @Test func aChangeStays() throws {
        try stop(["--steps", "8"])
        let again = train("out", ["--steps", "8", "--clip", "2", "--resume"], ["ADAPTERKIT_FAULT": "rename:2:KILL"])
        #expect(again.status == -9)
        let last = train("out", ["--steps", "8", "--clip", "2", "--resume"])
        #expect(last.status == 0 && last.err.contains("note: going on after step 4\n"), "\(last.err)")
        let result = try object(in: scratch("out/training.json"))["result"] as? [String: Any]
        #expect((result?["changes"] as? [[String: Any]])?.count == 1)
    }

    @Test(
        arguments: [
            (["--threads", "2"], "another number of threads (--threads: 1, not 2)"),
            (["--batch", "4", "--seed", "5"], "another batch size, another seed (--batch: 8, not 4; --seed: 0, "),
            (["--validation-share", "0.2", "--patience", "1"], "another patience, another held-out text, another "),
            (["--retain", "DATA"], "another text of the base's own (--retain)"), (["--rank", "4"], "another scale of"),
            (["--targets", "q_proj"], "another choice of modules (--targets: "),
        ] as [([String], String)])
    func refused(_ options: [String], _ text: String) throws {
        try stop(["--steps", "6"])
        let answer = train(
            "out", ["--steps", "6", "--resume"] + options.map { $0 == "DATA" ? scratch("data.jsonl") : $0 })
        #expect(answer.status == 1 && answer.errors.count == 1, "\(answer.err)")
        #expect(answer.errors[0].contains("out.checkpoint: is of a run with \(text)"), "\(answer.err)")
    }

    @Test func fewerSteps() throws {
        try stop(["--steps", "6"])
        let answer = train("out", ["--steps", "1", "--resume"])
        #expect(answer.status == 1 && answer.errors[0].hasSuffix("has 2 steps done, but only 1 are asked for"))
        let exact = train("out", ["--steps", "2", "--resume"])
        #expect(exact.status == 0 && !exists(scratch("out.checkpoint")), "\(exact.err)")
    }

    /// A run that diverged goes on from what was kept, with a lower rate.
    @Test func afterDivergence() throws {
        let options = ["--method", "full", "--layers", "all", "--steps", "400", "--clip", "0", "--warmup", "1"]
        let diverged = train("out", options + ["--learning-rate", "40"])
        #expect(diverged.status == 1, "\(diverged.err)")
        #expect(diverged.errors[0].hasSuffix("; a state from before that is in \(scratch("out.checkpoint"))"))
        #expect(diverged.hints[0].hasPrefix("hint: go on from it with --resume and a lower --learning-rate"))
        let resumed = train("out", options + ["--learning-rate", "0.001", "--resume"])
        #expect(resumed.status == 0 && resumed.err.contains("another --learning-rate (40.0 before"), "\(resumed.err)")
    }
}
