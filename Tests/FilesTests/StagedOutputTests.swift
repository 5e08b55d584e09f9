import Fixtures
import Foundation
import Problems
import Testing

@testable import Files

@Suite struct StagedOutputTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func refusal(_ path: String, _ shape: StagedOutput.Shape, replacing: Bool) throws -> Problem {
        try #require(throws: Problem.self) { _ = try StagedOutput(path: path, shape: shape, replacing: replacing) }
    }

    private func model(_ name: String, _ text: String = "old") throws -> String {
        try scratch.write(name + "/model.safetensors", text)
        try scratch.write(name + "/config.json", "{}")
        return scratch(name)
    }

    @Test(arguments: ["out", "out/", "out//", "weird name \u{301}é:1", "-o"])
    func directoryAppearsWhole(_ name: String) throws {
        let output = try StagedOutput(path: scratch(name), shape: .directory, replacing: false)
        #expect(try output.freeSpace() > 0)
        try output.write("model.safetensors", [1, 2, 3])
        let file = try output.create("big", size: 10)
        try file.write([9], at: 9)
        try file.write([1, 2], at: 0)
        #expect(try file.read(at: 0, count: 10) == [1, 2, 0, 0, 0, 0, 0, 0, 0, 9])
        try file.finish()
        #expect(scratch.names.count == 1 && scratch.names[0].hasSuffix(".partial"))
        try output.commit()
        let final = lastComponent(of: name)
        #expect(scratch.names == [final])
        #expect(
            contents(of: scratch(final)) == ["model.safetensors": [1, 2, 3], "big": [1, 2, 0, 0, 0, 0, 0, 0, 0, 9]])
        output.discard()
        #expect(scratch.names == [final])
    }

    @Test func fileAppearsWhole() throws {
        let output = try StagedOutput(path: scratch("f.json"), shape: .file, replacing: false)
        try output.write("f.json", [7])
        #expect(!exists(scratch("f.json")))
        try output.commit()
        #expect(scratch.names == ["f.json"])
        try writeFile([8], to: scratch("f.json"), replacing: true)
        #expect(try bytes(of: scratch("f.json")) == [8])
        #expect(throws: Problem.self) { try writeFile([9], to: scratch("f.json"), replacing: false) }
        #expect(try bytes(of: scratch("f.json")) == [8])
        #expect(scratch.names == ["f.json"])
    }

    @Test func discardAndDeinitLeaveNothing() throws {
        do {
            let output = try StagedOutput(path: scratch("out"), shape: .directory, replacing: false)
            try output.write("a", [1])
        }
        #expect(scratch.names.isEmpty)
        let output = try StagedOutput(path: scratch("out"), shape: .directory, replacing: false)
        try output.write("a", [1])
        output.discard()
        output.discard()
        #expect(scratch.names.isEmpty)
    }

    @Test func existingIsRefused() throws {
        let path = try model("out")
        let problem = try refusal(path, .directory, replacing: false)
        #expect(problem.kind == .output && problem.code == "exists" && problem.hint?.contains("--force") == true)
        try scratch.write("file", "x")
        #expect(try refusal(scratch("file"), .file, replacing: false).code == "exists")
        #expect(try refusal(scratch("file"), .directory, replacing: true).message.contains("not a directory"))
        #expect(try refusal(path, .file, replacing: true).message.contains("is a directory"))
        #expect(scratch.names == ["file", "out"])
    }

    @Test func whatAppearsMeanwhileIsNotReplaced() throws {
        for shape in [StagedOutput.Shape.directory, .file] {
            let output = try StagedOutput(path: scratch("out"), shape: shape, replacing: false)
            try output.write("out", [1])
            try scratch.write("out", "theirs")
            #expect(throws: Problem.self) { try output.commit() }
            #expect(try bytes(of: scratch("out")) == Array("theirs".utf8))
            output.discard()
            #expect(scratch.names == ["out"])
            try FileManager.default.removeItem(atPath: scratch("out"))
        }
    }

    @Test func forceReplacesAModel() throws {
        let path = try model("out")
        let output = try StagedOutput(path: path, shape: .directory, replacing: true)
        try output.write("new.safetensors", [1])
        #expect(try bytes(of: path + "/model.safetensors") == Array("old".utf8))
        try output.commit()
        #expect(contents(of: path) == ["new.safetensors": [1]])
        #expect(scratch.names == ["out"])
    }

    /// `--force` must not be a way to lose what is no model: source code, photographs, a directory with directories.
    @Test func forceReplacesNothingElse() throws {
        try scratch.write("photos/1.jpg", "x")
        try scratch.write("project/tsconfig.json", "{}")
        try scratch.write("project/index.ts", "x")
        try scratch.write("app/config.json", "{}")
        try scratch.write("deep/model.safetensors", "x")
        try scratch.write("deep/sub/y", "x")
        for name in ["photos", "project", "app", "deep"] {
            #expect(try refusal(scratch(name), .directory, replacing: true).code == "exists", "\(name)")
        }
        let all = contents(of: scratch.path)
        // What becomes something else while the output is made is looked at again.
        let path = try model("out")
        let output = try StagedOutput(path: path, shape: .directory, replacing: true)
        try output.write("new.safetensors", [1])
        try scratch.write("out/thesis/chapter", "x")
        #expect(throws: Problem.self) { try output.commit() }
        output.discard()
        #expect(exists(path + "/thesis/chapter"))
        try FileManager.default.removeItem(atPath: path)
        #expect(contents(of: scratch.path) == all)
        let empty = try scratch.directory("empty")
        try StagedOutput(path: empty, shape: .directory, replacing: true).commit()
    }

    @Test func linksAsOutput() throws {
        let target = try model("target")
        try scratch.link("link", to: "target")
        let output = try StagedOutput(path: scratch("link"), shape: .directory, replacing: true)
        try output.write("new.safetensors", [1])
        try output.commit()
        #expect(contents(of: scratch("link")) == ["new.safetensors": [1]])
        #expect(try bytes(of: target + "/model.safetensors") == Array("old".utf8))
        #expect(scratch.names == ["link", "target"])
        try scratch.link("nowhere", to: "gone")
        for replacing in [false, true] {
            for shape in [StagedOutput.Shape.directory, .file] {
                let problem = try refusal(scratch("nowhere"), shape, replacing: replacing)
                #expect(problem.code == "exists" && problem.message.contains("leads nowhere"))
            }
        }
    }

    @Test func staleStagesGoAndLiveOnesStay() throws {
        try scratch.write(".out.adapterkit-0123456789abcdef.partial/model.safetensors", "x")
        try scratch.directory(".out.adapterkit-0000000000000000.partial")
        // What has no such name is not ours.
        let others = [
            ".other.adapterkit-0123456789abcdef.partial/x", ".out.adapterkit-0123456789abcdeg.partial/x",
            ".out.adapterkit-123.partial/x", ".out.my-notes.partial/thesis.txt",
        ]
        for name in others { try scratch.write(name, "x") }
        try scratch.write(".out.adapterkit-1111111111111111.partial", "a file of this name is not ours")
        let live = try StagedOutput(path: scratch("out"), shape: .directory, replacing: false)
        #expect(scratch.names.count == 6)
        try live.write("a", [1])
        let second = try StagedOutput(path: scratch("out"), shape: .directory, replacing: false)
        try second.write("b", [2])
        try live.write("c", [3])
        try live.commit()
        #expect(throws: Problem.self) { try second.commit() }
        second.discard()
        #expect(contents(of: scratch("out")) == ["a": [1], "c": [3]])
        let left = others.map { String($0.prefix { $0 != "/" }) } + [".out.adapterkit-1111111111111111.partial", "out"]
        #expect(scratch.names.sorted() == left.sorted())
    }

    /// Runs for one output that begin at the same moment do not remove each other's stages.
    @Test func concurrentRunsDoNotDisturbEachOther() async throws {
        let path = scratch("out")
        await withTaskGroup { group in
            for number in 0..<8 {
                group.addTask {
                    for _ in 0..<50 {
                        do {
                            let output = try StagedOutput(path: path, shape: .directory, replacing: false)
                            try output.write("a", [UInt8(number)])
                            try output.write("b", [UInt8(number)])
                            output.discard()
                        } catch {
                            Issue.record(error)
                        }
                    }
                }
            }
        }
        #expect(scratch.names.isEmpty)
    }

    @Test(arguments: ["", ".", "..", "/", "//", "a/..", "a\u{0}b"])
    func badNames(_ name: String) throws {
        let problem = try refusal(name, .directory, replacing: true)
        #expect(problem.kind == .usage && problem.code == "bad-output")
    }

    @Test func badParents() throws {
        #expect(try refusal(scratch("none/out"), .directory, replacing: false).kind == .output)
        try scratch.write("file", "x")
        #expect(try refusal(scratch("file/out"), .directory, replacing: false).kind == .output)
        #expect(try refusal(scratch(String(repeating: "n", count: 201)), .file, replacing: false).code == "bad-output")
    }

    @Test func namesInsideAreChecked() throws {
        let output = try StagedOutput(path: scratch("out"), shape: .directory, replacing: false)
        for name in ["../x", "a/b", "", ".", "..", "/x", "a\u{0}b", String(repeating: "n", count: 256)] {
            let problem = #expect(throws: Problem.self) { _ = try output.create(name, size: 1) }
            #expect(problem?.code == "unsafe-name")
        }
        _ = try output.create("twice", size: 1)
        #expect(throws: Problem.self) { _ = try output.create("twice", size: 1) }
    }

    @Test func wrongLengthIsADefect() throws {
        let output = try StagedOutput(path: scratch("out"), shape: .directory, replacing: false)
        let file = try output.create("a", size: 4)
        try file.write([1, 2, 3, 4, 5], at: 0)
        #expect(throws: Problem.self) { try file.finish() }
    }
}
