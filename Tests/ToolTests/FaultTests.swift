import Fixtures
import Testing

/// A run that fails or dies at any change of the file system leaves the output absent or whole, and the inputs alone.
@Suite struct FaultTests {
    /// How the merge is asked for.
    enum Way: String, CaseIterable { case fresh, force, file, digests }

    /// One merge whose every system call is made to fail in turn.
    private struct Subject {
        let scratch: Scratch
        let base: String
        let adapter: String
        let way: Way
        let inputs: [String: [UInt8]]
        let good: [String: [UInt8]]
        let old: [String: [UInt8]]

        init(_ way: Way) throws {
            self.way = way
            scratch = try Scratch()
            let inputs = try scratch.directory("inputs")
            let golden = try Golden.Case(way == .file ? "linear-qv-bf16" : "all-linear-sharded-bf16")
            base = try scratch.copy(golden.base, as: "inputs/base") + (way == .file ? "/model.safetensors" : "")
            adapter = try scratch.copy(golden.path + "/adapter", as: "inputs/adapter")
            self.inputs = contents(of: inputs)
            let work = try scratch.directory("work")
            old = way == .force ? try Self.makeOld(golden, scratch) : [:]
            good = try Self.makeGood(base, adapter, way, scratch, work)
        }

        private static func makeOld(_ golden: Golden.Case, _ scratch: Scratch) throws -> [String: [UInt8]] {
            let answer = Tools.merge(golden.base, golden.adapters.map { $0 + ":2" }, scratch("old"))
            try #require(answer.status == 0, "\(answer.err)")
            return contents(of: scratch("old"))
        }

        private static func makeGood(
            _ base: String, _ adapter: String, _ way: Way, _ scratch: Scratch, _ work: String
        ) throws -> [String: [UInt8]] {
            let name = scratch("good" + (way == .file ? ".safetensors" : ""))
            let answer = Tools.run(
                "adapter-merge", [base, adapter, "-o", name] + (way == .digests ? ["--digests"] : []))
            try #require(answer.status == 0, "\(answer.err)")
            return contents(of: name)
        }

        var output: String { scratch("work/out" + (way == .file ? ".safetensors" : "")) }

        /// Puts everything as it is before a run.
        func prepare() throws {
            _ = Tools.shell("rm -rf \"$1\"; mkdir \"$1\"", scratch("work"))
            if way == .force { _ = try scratch.copy(scratch("old"), as: "work/out") }
        }

        func run(_ fault: String) -> Answer {
            var options = ["-o", output]
            if way == .force { options.append("--force") }
            if way == .digests { options.append("--digests") }
            return Tools.run("adapter-merge", [base, adapter] + options, environment: ["ADAPTERKIT_FAULT": fault])
        }

        /// Names besides the output's own.
        var strays: [String] { Golden.names(in: scratch("work")).filter { !$0.hasPrefix("out") } }

        /// Checks that the output is the good one, the old one, or absent.
        func checkOutput(_ fault: String, _ answer: Answer) {
            let found = contents(of: output)
            #expect(found == good || found == old, "\(fault): neither whole nor untouched: \(found.keys.sorted())")
            if answer.status == 0 { #expect(found == good, "\(fault): exit 0 means that it is there") }
        }
    }

    /// Names of errors and what is said of them.
    private static let failures = ["ENOSPC": "no space left on the device", "EIO": "input/output error"]

    @Test(arguments: Way.allCases, ["ENOSPC", "EIO"]) func failure(_ way: Way, _ name: String) throws {
        let subject = try Subject(way)
        let words = try #require(Self.failures[name])
        var counts: [String: Int] = [:]
        for operation in ["mkdir", "create", "allocate", "write", "copy", "sync", "rename", "remove"] {
            for number in 1...500 {
                try subject.prepare()
                let fault = "\(operation):\(number):\(name)"
                let answer = subject.run(fault)
                subject.checkOutput("\(way) \(fault)", answer)
                if answer.status == 0 && (operation != "remove" || subject.strays.isEmpty) {
                    counts[operation] = number - 1
                    break
                }
                try #require(number < 500)
                // What cannot be removed stays; the next run takes it away.
                if operation == "remove" {
                    #expect(subject.strays.allSatisfy { $0.hasPrefix(".out") && $0.hasSuffix(".partial") })
                } else {
                    #expect(answer.status == 74, "\(fault): \(answer.err)")
                    #expect(subject.strays.isEmpty, "\(way) \(fault)")
                    #expect(answer.errors.count == 1, "\(fault): \(answer.err)")
                    #expect(answer.errors.first?.contains(words) == true, "\(fault): \(answer.err)")
                    #expect(answer.out.isEmpty)
                }
            }
        }
        #expect(contents(of: subject.scratch("inputs")) == subject.inputs)
        // Every kind of change was met, so the walk was no empty one.
        for operation in ["mkdir", "create", "allocate", "write", "copy", "sync", "rename"] {
            #expect(counts[operation, default: 0] > 0, "\(way) never did \(operation): is this a release build?")
        }
    }

    @Test(arguments: Way.allCases) func killed(_ way: Way) throws {
        let subject = try Subject(way)
        for number in 1...500 {
            try subject.prepare()
            let answer = subject.run("any:\(number):KILL")
            subject.checkOutput("\(way) any:\(number):KILL", answer)
            if answer.status == 0 { break }
            try #require(answer.status == -9 && number < 500, "\(answer.status) \(answer.err)")
            #expect(subject.strays.allSatisfy { $0.hasPrefix(".out") && $0.hasSuffix(".partial") })
            let next = Tools.merge(subject.base, [subject.adapter], subject.output, "--force")
            #expect(next.status == 0, "\(next.err)")
            #expect(subject.strays.isEmpty, "the next run removes what the killed one left")
        }
        #expect(contents(of: subject.scratch("inputs")) == subject.inputs)
    }

    @Test(arguments: Way.allCases) func terminated(_ way: Way) throws {
        let subject = try Subject(way)
        var stopped = 0
        var late = 0
        for number in 1...500 where late < 12 {
            try subject.prepare()
            let answer = subject.run("any:\(number):TERM")
            subject.checkOutput("\(way) any:\(number):TERM", answer)
            #expect(subject.strays.isEmpty, "\(way) any:\(number):TERM")
            // From the moment on when the output gets its name, the work is done and a signal changes nothing.
            if answer.status == 0 {
                late += 1
                continue
            }
            #expect(late == 0)
            stopped += 1
            #expect(answer.status == 143, "\(answer.err)")
            #expect(contents(of: subject.output) == subject.old)
            #expect(answer.errors == ["adapter-merge: error: stopped by signal 15; nothing was left behind"])
            try #require(number < 500)
        }
        #expect(stopped > 10)
        #expect(contents(of: subject.scratch("inputs")) == subject.inputs)
    }

    @Test func ignoredSignalsStayIgnored() throws {
        let scratch = try Scratch()
        let golden = Golden.path("all-linear-sharded-bf16")
        let script = "trap '' TERM; ADAPTERKIT_FAULT=any:5:TERM exec adapter-merge \"$1/base\" \"$1/adapter\" -o \"$2\""
        let answer = Tools.shell(script, golden, scratch("out"))
        #expect(answer.status == 0, "\(answer.err)")
    }
}
