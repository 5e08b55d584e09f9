import Fixtures
import Testing

/// Merging with a record, and taking a merge back, fail or die at any change of the file system without leaving half of anything.
@Suite struct UndoFaultTests {
    /// What is asked for.
    enum Way: String { case merge, mergeForce, unmerge, unmergeForce }

    /// One run whose every system call is made to fail in turn.
    private struct Subject: FaultSubject {
        let scratch: Scratch
        let way: Way
        let arguments: [String]
        let inputs: [String: [UInt8]]
        let good: [String: [UInt8]]
        let old: [String: [UInt8]]
        /// The record that belongs to the good output, and the one that was there before.
        let record: [UInt8]
        let oldRecord: [UInt8]

        init(_ way: Way) throws {
            self.way = way
            scratch = try Scratch()
            try scratch.directory("inputs")
            var (base, adapter) = try Pair().write(in: scratch)
            base = try scratch.copy(base, as: "inputs/base")
            adapter = try scratch.copy(adapter, as: "inputs/adapter")
            try scratch.write("inputs/base/deep/file", "x")
            try scratch.directory("inputs/base/deep/nothing")
            let made = way.isMerge ? "good" : "inputs/merged"
            let undo = way.isMerge ? "undo" : "inputs/undo"
            let answer = Tools.run(
                "adapter-merge", [base, adapter, "-o", scratch(made), "--undo", scratch(undo)])
            try #require(answer.status == 0, "\(answer.err)")
            (record, oldRecord) = (try bytes(of: scratch(undo)), Array("an old record".utf8))
            if way.isMerge {
                arguments = [base, adapter]
                good = contents(of: scratch(made))
            } else {
                arguments = [scratch(made), "--undo", scratch(undo)]
                good = contents(of: base)
            }
            inputs = contents(of: scratch("inputs"))
            if way == .mergeForce || way == .unmergeForce {
                let other = Tools.merge(base, [adapter + ":2"], scratch("old"))
                try #require(other.status == 0, "\(other.err)")
            }
            old = contents(of: scratch("old"))
        }

        var tool: String { way.isMerge ? "adapter-merge" : "adapter-unmerge" }
        var output: String { scratch("work/out") }
        var ownNames: Set<String> { ["out", "out.undo"] }
        var changes: [String] {
            ["mkdir", "create", "allocate", "write", "sync", "rename"] + (way.isMerge ? ["copy"] : [])
        }
        private var undo: [String] { way.isMerge ? ["--undo", scratch("work/out.undo")] : [] }

        func prepare() throws {
            _ = Tools.shell("rm -rf \"$1\"; mkdir \"$1\"", scratch("work"))
            guard !old.isEmpty else { return }
            _ = try scratch.copy(scratch("old"), as: "work/out")
            if way.isMerge { try scratch.write("work/out.undo", oldRecord) }
        }

        func run(_ fault: String) -> Answer {
            let options = ["-o", output] + undo + (old.isEmpty ? [] : ["--force"])
            return Tools.run(tool, arguments + options, environment: ["ADAPTERKIT_FAULT": fault])
        }

        func runAgain() -> Answer { Tools.run(tool, arguments + ["-o", output, "--force"] + undo) }

        /// There is never a merge without its record, and a record without its merge only if the run was killed.
        func checkMore(_ fault: String, _ answer: Answer) throws {
            guard way.isMerge else { return }
            let found = exists(scratch("work/out.undo")) ? try bytes(of: scratch("work/out.undo")) : nil
            let isMerged = contents(of: output) == good
            let before = old.isEmpty ? nil : oldRecord
            #expect(found == record || found == before, "\(fault): half a record")
            if isMerged { #expect(found == record, "\(fault): a merge without its record") }
            if !isMerged, answer.status >= 0 {
                #expect(found == before, "\(fault): a record without its merge: \(answer.status) \(answer.err)")
            }
        }
    }

    @Test(arguments: [Way.merge, .mergeForce, .unmerge]) func failure(_ way: Way) throws {
        try Subject(way).walkFailures("ENOSPC", faultWords["ENOSPC"] ?? "")
    }

    @Test(arguments: [Way.mergeForce, .unmergeForce]) func killed(_ way: Way) throws {
        try Subject(way).walkKills()
    }

    @Test(arguments: [Way.mergeForce, .unmerge]) func terminated(_ way: Way) throws {
        try Subject(way).walkSignals(least: 5)
    }
}

extension UndoFaultTests.Way {
    fileprivate var isMerge: Bool { rawValue.hasPrefix("merge") }
}
