import Fixtures
import Testing

/// Packing or unpacking that fails or dies at any change of the file system leaves its output absent or whole.
@Suite struct PackFaultTests {
    /// What is asked for.
    enum Way: String, CaseIterable { case pack, packForce, packRecipe, unpack, unpackForce, unpackFile, unpackRecipe }

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

        func runAgain() -> Answer { Tools.run(tool, arguments + ["-o", output, "--force"]) }

        var changes: [String] {
            ["mkdir", "create", "write", "sync", "rename"] + (tool == "adapter-unpack" ? ["allocate"] : [])
        }
    }

    @Test(arguments: Way.allCases, faultWords.keys.sorted()) func failure(_ way: Way, _ name: String) throws {
        try Subject(way).walkFailures(name, faultWords[name] ?? "")
    }

    @Test(arguments: Way.allCases) func killed(_ way: Way) throws { try Subject(way).walkKills() }

    @Test(arguments: Way.allCases) func terminated(_ way: Way) throws { try Subject(way).walkSignals(least: 3) }

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
