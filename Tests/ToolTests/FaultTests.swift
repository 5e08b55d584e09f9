import Fixtures
import Testing

/// A run that fails or dies at any change of the file system leaves the output absent or whole, and the inputs alone.
@Suite struct FaultTests {
    /// How the merge is asked for.
    enum Way: String, CaseIterable { case fresh, force, file, digests }

    /// One merge whose every system call is made to fail in turn.
    private struct Subject: FaultSubject {
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
            return Tools.run(tool, [base, adapter] + options, environment: ["ADAPTERKIT_FAULT": fault])
        }

        func runAgain() -> Answer {
            Tools.run(
                tool, [base, adapter, "-o", output, "--force"] + (way == .digests ? ["--digests"] : []))
        }

        var tool: String { "adapter-merge" }
        var ownNames: Set<String> { ["out", "out.safetensors"] }
        var changes: [String] { ["mkdir", "create", "allocate", "write", "copy", "sync", "rename"] }
    }

    @Test(arguments: Way.allCases, faultWords.keys.sorted()) func failure(_ way: Way, _ name: String) throws {
        try Subject(way).walkFailures(name, faultWords[name] ?? "")
    }

    @Test(arguments: Way.allCases) func killed(_ way: Way) throws { try Subject(way).walkKills() }

    @Test(arguments: Way.allCases) func terminated(_ way: Way) throws { try Subject(way).walkSignals(least: 11) }

    @Test func ignoredSignalsStayIgnored() throws {
        let scratch = try Scratch()
        let golden = Golden.path("all-linear-sharded-bf16")
        let script = "trap '' TERM; ADAPTERKIT_FAULT=any:5:TERM exec adapter-merge \"$1/base\" \"$1/adapter\" -o \"$2\""
        let answer = Tools.shell(script, golden, scratch("out"))
        #expect(answer.status == 0, "\(answer.err)")
    }
}
