import Fixtures
import Testing

/// A combination or extraction that fails or dies at any change of the file system leaves its output absent or whole.
@Suite struct CombineFaultTests {
    /// What is asked for.
    enum Way: String, CaseIterable { case combine, combineForce, combineReport, extract, extractForce, extractReport }

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
            let directory = try scratch.directory("inputs")
            let golden = try Golden.Case("two-adapters-f32")
            if way.rawValue.hasPrefix("combine") {
                let (scratch, path) = (scratch, golden.path)
                let adapters = try ["adapter", "adapter2"].map { name in
                    try scratch.copy("\(path)/\(name)", as: "inputs/\(name)")
                }
                arguments = ["svd", "--energy", "0.9"] + adapters
            } else {
                let base = try scratch.copy(golden.base, as: "inputs/base")
                let merged = Tools.merge(base, golden.adapters, scratch("inputs/tuned"))
                try #require(merged.status == 0, "\(merged.err)")
                arguments = [base, scratch("inputs/tuned"), "--rank", "4"]
            }
            inputs = contents(of: directory)
            let answer = Tools.run(Self.tool(way), arguments + ["-o", scratch("good")])
            try #require(answer.status == 0, "\(answer.err)")
            good = contents(of: scratch("good"))
            old = way.rawValue.hasSuffix("Force") ? contents(of: Golden.path("rslora-bf16") + "/adapter") : [:]
        }

        static func tool(_ way: Way) -> String {
            way.rawValue.hasPrefix("combine") ? "adapter-combine" : "adapter-extract"
        }

        var tool: String { Self.tool(way) }
        var output: String { scratch("work/out") }
        var report: String { scratch("work/out.json") }

        /// Puts everything as it is before a run.
        func prepare() throws {
            _ = Tools.shell("rm -rf \"$1\"; mkdir \"$1\"", scratch("work"))
            if !old.isEmpty { _ = try scratch.copy(Golden.path("rslora-bf16") + "/adapter", as: "work/out") }
        }

        func run(_ fault: String) -> Answer {
            var options = ["-o", output]
            if !old.isEmpty { options.append("--force") }
            if way.rawValue.hasSuffix("Report") { options += ["--report", report] }
            return Tools.run(tool, arguments + options, environment: ["ADAPTERKIT_FAULT": fault])
        }

        /// Names besides the output's and the report's.
        var strays: [String] { Golden.names(in: scratch("work")).filter { $0 != "out" && $0 != "out.json" } }

        /// Checks that the output is the good one, the old one, or absent, and that a report is whole and not alone.
        func checkOutput(_ fault: String, _ answer: Answer) throws {
            let found = contents(of: output)
            #expect(found == good || found == old, "\(fault): neither whole nor untouched: \(found.keys.sorted())")
            if answer.status == 0 { #expect(found == good, "\(fault): exit 0 means that it is there") }
            if exists(report) {
                #expect(found == good, "\(fault): a report of what is not there")
                #expect(try object(in: report)["modules"] != nil, "\(fault): half of a report")
            } else if way.rawValue.hasSuffix("Report") {
                #expect(answer.status != 0, "\(fault): exit 0 means that the report is there")
            }
        }
    }

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
                try subject.checkOutput("\(way) \(fault)", answer)
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
                    #expect(subject.strays.isEmpty, "\(way) \(fault): \(subject.strays)")
                    #expect(answer.errors.count == 1, "\(fault): \(answer.err)")
                    #expect(answer.errors.first?.contains(words) == true, "\(fault): \(answer.err)")
                    #expect(answer.out.isEmpty)
                }
            }
        }
        #expect(contents(of: subject.scratch("inputs")) == subject.inputs)
        for operation in ["mkdir", "create", "allocate", "write", "sync", "rename"] {
            #expect(counts[operation, default: 0] > 0, "\(way) never did \(operation): is this a release build?")
        }
    }

    @Test(arguments: Way.allCases) func killed(_ way: Way) throws {
        let subject = try Subject(way)
        for number in 1...500 {
            try subject.prepare()
            let answer = subject.run("any:\(number):KILL")
            try subject.checkOutput("\(way) any:\(number):KILL", answer)
            if answer.status == 0 {
                #expect(number > 5, "hardly a system call was met")
                break
            }
            try #require(answer.status == -9 && number < 500, "\(answer.status) \(answer.err)")
            #expect(subject.strays.allSatisfy { $0.hasPrefix(".out") && $0.hasSuffix(".partial") })
            let options = ["-o", subject.output, "--force", "--report", subject.report]
            let next = Tools.run(subject.tool, subject.arguments + options)
            #expect(next.status == 0, "\(next.err)")
            #expect(contents(of: subject.output) == subject.good)
            #expect(subject.strays.isEmpty, "the next run removes what the killed one left: \(subject.strays)")
        }
        #expect(contents(of: subject.scratch("inputs")) == subject.inputs)
    }

    @Test(arguments: Way.allCases) func terminated(_ way: Way) throws {
        let subject = try Subject(way)
        var (stopped, late) = (0, 0)
        for number in 1...500 where late < 12 {
            try subject.prepare()
            let answer = subject.run("any:\(number):TERM")
            try subject.checkOutput("\(way) any:\(number):TERM", answer)
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
            #expect(answer.errors == ["\(subject.tool): error: stopped by signal 15; nothing was left behind"])
        }
        #expect(stopped > 3)
        #expect(contents(of: subject.scratch("inputs")) == subject.inputs)
    }
}
