import Fixtures
import Foundation
import Testing

/// Disks that are really full, and limits that are really reached.
@Suite struct FullDiskTests {
    private static let golden = Golden.path("all-linear-sharded-bf16")

    @Test(arguments: [(pages: 2, "only 8.19 kB are free there"), (pages: 5, "no space left on the device")])
    func smallFileSystem(_ size: (pages: Int, words: String)) throws {
        let scratch = try Scratch()
        let disk = try scratch.directory("disk")
        let mounted = Tools.shell("mount -t tmpfs -o size=$1 none \"$2\"", String(size.pages * 4096), disk)
        guard mounted.status == 0 else {
            print("SKIPPED: a full disk: file systems cannot be mounted here")
            return
        }
        defer { _ = Tools.shell("umount \"$1\"", disk) }
        let answer = Tools.merge(Self.golden + "/base", [Self.golden + "/adapter"], disk + "/out")
        #expect(answer.status == 74, "\(answer.err)")
        #expect(answer.errors.count == 1)
        #expect(answer.errors.first?.contains(size.words) == true, "\(answer.err)")
        #expect(answer.hints.count == 1)
        #expect(Golden.names(in: disk).isEmpty)
    }

    @Test func fileSizeLimit() throws {
        let scratch = try Scratch()
        let script = "ulimit -f 4; exec adapter-merge \"$1/base\" \"$1/adapter\" -o \"$2\""
        let answer = Tools.shell(script, Self.golden, scratch("out"))
        #expect(answer.status == 74, "\(answer.err)")
        #expect(
            answer.errors.first?.contains("the file would be larger than the file system or a limit allows") == true)
        #expect(answer.hints == ["hint: check ulimit -f"])
        #expect(scratch.names.isEmpty)
    }

    @Test func whatCannotBeReservedIsSaidWithItsHint() throws {
        let scratch = try Scratch()
        let answer = Tools.run(
            "adapter-merge", [Self.golden + "/base", Self.golden + "/adapter", "-o", scratch("out")],
            environment: ["ADAPTERKIT_FAULT": "allocate:1:ENOSPC"])
        #expect(answer.status == 74 && answer.errors.count == 1)
        let words = /: cannot reserve [0-9]{1,3},[0-9]{3} bytes: no space left on the device$/
        #expect(answer.errors.first?.firstMatch(of: words) != nil, "\(answer.err)")
        #expect(answer.hints == ["hint: free space, or choose an output on another disk (df -h)"])
        #expect(scratch.names.isEmpty)
    }

    /// Metrics are written line by line: what has none is not left behind, what has some is.
    @Test(arguments: [(1, false), (2, true)]) func aFileOfLinesWithoutALineGoes(_ line: Int, _ isLeft: Bool) throws {
        let scratch = try Scratch()
        let data = try scratch.write("data.jsonl", TrainTests.examples)
        let answer = Tools.run(
            "adapter-train",
            [
                Golden.path("linear-qv-bf16") + "/base", "--data", data, "-o", scratch("out"), "--steps", "3",
                "--threads", "1", "--metrics", scratch("metrics"),
            ], environment: ["ADAPTERKIT_FAULT": "write:\(line):ENOSPC"])
        #expect(answer.status == 74, "\(answer.err)")
        #expect(answer.errors.first?.hasSuffix("/metrics: cannot write: no space left on the device") == true)
        #expect(scratch.names == (isLeft ? ["data.jsonl", "metrics"] : ["data.jsonl"]))
    }

    @Test func fewOpenFiles() throws {
        let scratch = try Scratch()
        for limit in 4...64 {
            let script = "ulimit -n $1; exec adapter-merge \"$2/base\" \"$2/adapter\" -o \"$3\""
            let answer = Tools.shell(script, String(limit), Self.golden, scratch("out"))
            if answer.status == 0 { return }
            #expect(answer.status == 74, "\(limit) files: \(answer.err)")
            #expect(answer.errors.first?.contains("this process has too many files open") == true, "\(answer.err)")
            #expect(scratch.names.isEmpty)
        }
        Issue.record("64 open files must be enough for three shards")
    }

    @Test func nobodyTakesTheAnswer() throws {
        let scratch = try Scratch()
        let (base, adapter) = (Self.golden + "/base", Self.golden + "/adapter")
        for arguments in [["--help"], ["--version"], [base, adapter]] {
            let answer = Tools.run("adapter-verify", arguments, stdout: "/dev/full")
            #expect(answer.status == 74)
            #expect(
                answer.errors == ["adapter-verify: error: cannot write to standard output: no space left on the device"]
            )
        }
        let merged = Tools.run("adapter-merge", [base, adapter, "-o", scratch("out")], stdout: "/dev/full")
        #expect(merged.status == 74)
        #expect(
            Tools.verify(base, adapter, options: ["--merged", scratch("out")]).status == 0, "the model itself is whole")
    }
}
