import Fixtures
import Testing

/// Packing or unpacking that fails or dies at any change of the file system leaves its output absent or whole.
@Suite struct PackFaultTests {
    /// What is asked for.
    enum Way: String, CaseIterable { case pack, packForce, packRecipe, unpack, unpackForce, unpackFile, unpackRecipe }

    /// One run whose every system call is made to fail in turn.
    private struct Subject {
        let scratch: Scratch
        let way: Way
        let arguments: [String]
        let inputs: [String: [UInt8]]
        let good: [String: [UInt8]]
        let old: [String: [UInt8]]

        init(_ way: Way) throws {
            self.way = way
            scratch = try Scratch()
            arguments = try Self.prepareInputs(way, scratch)
            inputs = contents(of: scratch("inputs"))
            let answer = Tools.run(Self.tool(way), arguments + ["-o", scratch("good")])
            try #require(answer.status == 0, "\(answer.err)")
            good = contents(of: scratch("good"))
            try Self.writeOld(way, scratch)
            old = contents(of: scratch("old"))
        }

        private static func prepareInputs(_ way: Way, _ scratch: Scratch) throws -> [String] {
            let golden = try Golden.Case("linear-qv-bf16")
            try scratch.directory("inputs")
            _ = try scratch.copy(golden.base, as: "inputs/base")
            let adapter = try scratch.copy(golden.path + "/adapter", as: "inputs/adapter")
            var (model, options) = (scratch("inputs/tree"), [String]())
            if way == .packRecipe || way == .unpackRecipe {
                model = scratch("inputs/merged")
                options = ["--base", scratch("inputs/base")]
                try #require(Tools.merge(scratch("inputs/base"), [adapter], model).status == 0)
            } else {
                for name in ["a", "d/b", "d/e/c"] { try scratch.write("inputs/tree/\(name)", "text of \(name)") }
                try scratch.directory("inputs/tree/empty")
            }
            let adapters = options.isEmpty ? [] : ["--adapter", adapter]
            if tool(way) == "adapter-pack" { return [model] + options + adapters }
            let packed = Tools.run("adapter-pack", [model, "-o", scratch("inputs/packed")] + options + adapters)
            try #require(packed.status == 0, "\(packed.err)")
            return [scratch("inputs/packed")] + (way == .unpackFile ? ["d/b"] : []) + options
        }

        private static func writeOld(_ way: Way, _ scratch: Scratch) throws {
            if way == .packForce { try scratch.write("old", "an old file") }
            if way == .unpackForce {
                try scratch.write("old/a", "old a")
                try scratch.write("old/d/e/c", "old c")
            }
        }

        static func tool(_ way: Way) -> String {
            way.rawValue.hasPrefix("pack") ? "adapter-pack" : "adapter-unpack"
        }

        var tool: String { Self.tool(way) }
        var output: String { scratch("work/out") }

        /// Puts everything as it is before a run.
        func prepare() throws {
            _ = Tools.shell("rm -rf \"$1\"; mkdir \"$1\"", scratch("work"))
            if !old.isEmpty { _ = try scratch.copy(scratch("old"), as: "work/out") }
        }

        func run(_ fault: String) -> Answer {
            let options = ["-o", output] + (old.isEmpty ? [] : ["--force"])
            return Tools.run(tool, arguments + options, environment: ["ADAPTERKIT_FAULT": fault])
        }

        /// Names besides the output's.
        var strays: [String] { Golden.names(in: scratch("work")).filter { $0 != "out" } }

        /// Whether names are those of stages, which the next run removes.
        func areStages(_ names: [String]) -> Bool {
            names.allSatisfy { $0.hasPrefix(".out") && $0.hasSuffix(".partial") }
        }

        /// Checks that the output is the good one, the old one, or absent.
        func checkOutput(_ fault: String, _ answer: Answer) {
            let found = contents(of: output)
            #expect(found == good || found == old, "\(fault): neither whole nor untouched: \(found.keys.sorted())")
            if answer.status == 0 { #expect(found == good, "\(fault): exit 0 means that it is there") }
        }
    }

    private static let failures = ["ENOSPC": "no space left on the device", "EIO": "input/output error"]

    @Test(arguments: Way.allCases, ["ENOSPC", "EIO"]) func failure(_ way: Way, _ name: String) throws {
        let subject = try Subject(way)
        let words = try #require(Self.failures[name])
        var counts: [String: Int] = [:]
        for operation in ["mkdir", "create", "allocate", "write", "copy", "sync", "rename", "remove"] {
            for number in 1...300 {
                try subject.prepare()
                let fault = "\(operation):\(number):\(name)"
                let answer = subject.run(fault)
                subject.checkOutput("\(way) \(fault)", answer)
                if answer.status == 0 && (operation != "remove" || subject.strays.isEmpty) {
                    counts[operation] = number - 1
                    break
                }
                try #require(number < 300)
                // What cannot be removed stays; the next run takes it away.
                if operation == "remove" {
                    #expect(subject.areStages(subject.strays), "\(way) \(fault): \(subject.strays)")
                } else {
                    #expect(answer.status == 74, "\(way) \(fault): \(answer.err)")
                    #expect(subject.strays.isEmpty, "\(way) \(fault): \(subject.strays)")
                    #expect(answer.errors.count == 1, "\(way) \(fault): \(answer.err)")
                    #expect(answer.errors.first?.contains(words) == true, "\(way) \(fault): \(answer.err)")
                    #expect(answer.out.isEmpty)
                }
            }
        }
        #expect(contents(of: subject.scratch("inputs")) == subject.inputs)
        let writes = ["mkdir", "create", "write", "sync", "rename"]
        for operation in writes + (subject.tool == "adapter-unpack" ? ["allocate"] : []) {
            #expect(counts[operation, default: 0] > 0, "\(way) never did \(operation): is this a release build?")
        }
    }

    @Test(arguments: Way.allCases) func killed(_ way: Way) throws {
        let subject = try Subject(way)
        for number in 1...300 {
            try subject.prepare()
            let answer = subject.run("any:\(number):KILL")
            subject.checkOutput("\(way) any:\(number):KILL", answer)
            if answer.status == 0 {
                #expect(number > 5, "hardly a system call was met")
                break
            }
            try #require(answer.status == -9 && number < 300, "\(answer.status) \(answer.err)")
            #expect(subject.areStages(subject.strays), "\(subject.strays)")
            let next = Tools.run(subject.tool, subject.arguments + ["-o", subject.output, "--force"])
            #expect(next.status == 0, "\(next.err)")
            #expect(contents(of: subject.output) == subject.good)
            #expect(subject.strays.isEmpty, "the next run removes what the killed one left: \(subject.strays)")
        }
        #expect(contents(of: subject.scratch("inputs")) == subject.inputs)
    }

    @Test(arguments: Way.allCases) func terminated(_ way: Way) throws {
        let subject = try Subject(way)
        var (stopped, late) = (0, 0)
        for number in 1...300 where late < 8 {
            try subject.prepare()
            let answer = subject.run("any:\(number):TERM")
            subject.checkOutput("\(way) any:\(number):TERM", answer)
            #expect(subject.strays.isEmpty, "\(way) any:\(number):TERM: \(subject.strays)")
            // From the moment on when the output gets its name, the work is done and a signal changes nothing.
            if answer.status == 0 {
                late += 1
                continue
            }
            #expect(late == 0)
            stopped += 1
            #expect(answer.status == 143, "\(answer.err)")
            #expect(contents(of: subject.output) == subject.old)
            #expect(answer.errors == ["\(subject.tool): error: stopped by signal 15; nothing was left behind"])
        }
        #expect(stopped > 2)
        #expect(contents(of: subject.scratch("inputs")) == subject.inputs)
    }

    /// Of many files, the disk is waited for once; a failure there is one all the same.
    @Test func manyFiles() throws {
        let scratch = try Scratch()
        for number in 0..<70 { try scratch.write("in/\(number % 7)/\(number)", "\(number)") }
        try #require(Tools.pack(scratch("in"), scratch("packed")).status == 0)
        let wanted = contents(of: scratch("in"))
        var failures = 0
        let faults = (1...20).map { "sync:\($0):EIO" } + stride(from: 1, to: 400, by: 23).map { "any:\($0):KILL" }
        for fault in faults {
            try scratch.directory("work")
            let answer = Tools.run(
                "adapter-unpack", [scratch("packed"), "-o", scratch("work/out")],
                environment: ["ADAPTERKIT_FAULT": fault])
            let found = contents(of: scratch("work/out"))
            if answer.status != 0 { failures += 1 }
            #expect(found == wanted || (found.isEmpty && answer.status != 0), "\(fault): \(answer.err)")
            let next = Tools.unpack(scratch("packed"), scratch("work/out"), "--force")
            #expect(next.status == 0 && Golden.names(in: scratch("work")) == ["out"], "\(fault): \(next.err)")
            _ = Tools.shell("rm -r \"$1\"", scratch("work"))
        }
        #expect(failures > 5)
    }
}
