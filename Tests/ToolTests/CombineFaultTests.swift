import Fixtures
import Testing

/// A combination or extraction that fails or dies at any change of the file system leaves its output absent or whole.
@Suite struct CombineFaultTests {
    /// What is asked for.
    enum Way: String, CaseIterable { case combine, combineForce, combineReport, extract, extractForce, extractReport }

    /// One run whose every system call is made to fail in turn.
    private struct Subject: FaultSubject {
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

        func runAgain() -> Answer { Tools.run(tool, arguments + ["-o", output, "--force", "--report", report]) }

        var ownNames: Set<String> { ["out", "out.json"] }
        var changes: [String] { ["mkdir", "create", "allocate", "write", "sync", "rename"] }

        /// A report is whole and not alone.
        func checkMore(_ fault: String, _ answer: Answer) throws {
            if exists(report) {
                #expect(contents(of: output) == good, "\(fault): a report of what is not there")
                #expect(try object(in: report)["modules"] != nil, "\(fault): half of a report")
            } else if way.rawValue.hasSuffix("Report") {
                #expect(answer.status != 0, "\(fault): exit 0 means that the report is there")
            }
        }
    }

    @Test(arguments: Way.allCases, faultWords.keys.sorted()) func failure(_ way: Way, _ name: String) throws {
        try Subject(way).walkFailures(name, faultWords[name] ?? "")
    }

    @Test(arguments: Way.allCases) func killed(_ way: Way) throws { try Subject(way).walkKills() }

    @Test(arguments: Way.allCases) func terminated(_ way: Way) throws { try Subject(way).walkSignals(least: 4) }
}
