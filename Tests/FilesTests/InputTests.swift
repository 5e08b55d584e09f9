import CPosix
import Digests
import Fixtures
import Foundation
import Problems
import Testing

@testable import Files

@Suite struct InputTests {
    private let scratch: Scratch

    init() throws { scratch = try Scratch() }

    @Test func reads() throws {
        let file = try InputFile(path: try scratch.write("f", Array(0..<200)))
        #expect(file.size == 200)
        #expect(try file.read(at: 10, count: 3) == [10, 11, 12])
        #expect(try file.read(at: 200, count: 0) == [])
        #expect(try file.readAll(limit: 200).count == 200)
        #expect(throws: Problem.self) { try file.readAll(limit: 199) }
        let problem = #expect(throws: Problem.self) { try file.read(at: 199, count: 2) }
        #expect(problem?.kind == .io && problem?.code == "short-read" && problem?.offset == 200)
    }

    @Test func whatIsNoFile() throws {
        #expect(mkfifo(scratch("fifo"), 0o600) == 0)
        try scratch.directory("d")
        try scratch.link("loop", to: "loop")
        let table: [(String, Problem.Kind)] = [("fifo", .missing), ("d", .missing), ("none", .missing), ("loop", .io)]
        for (name, kind) in table {
            let problem = #expect(throws: Problem.self) { _ = try InputFile(path: scratch(name)) }
            #expect(problem?.kind == kind && problem?.file == scratch(name), "\(name)")
        }
        #expect(throws: Problem.self) { _ = try InputFile(path: "/dev/null") }
    }

    @Test func aFileThatShrinksIsAnError() throws {
        let path = try scratch.write("f", [UInt8](repeating: 1, count: 100))
        let file = try InputFile(path: path)
        #expect(truncate(path, 50) == 0)
        let problem = #expect(throws: Problem.self) { try file.readAll(limit: 1000) }
        #expect(problem?.code == "short-read" && problem?.offset == 50)
        let output = try StagedOutput(path: scratch("out"), shape: .file, replacing: false)
        let target = try output.create("out", size: 100)
        #expect(throws: Problem.self) { try target.copy(from: file, at: 0, count: 100, to: 0) }
    }

    @Test func copies() throws {
        var random = SeededRandom(test: "copies")
        let data = (0..<5_000_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        let file = try InputFile(path: try scratch.write("f", data))
        let output = try StagedOutput(path: scratch("out"), shape: .file, replacing: false)
        let target = try output.create("out", size: 4_000_005)
        try target.copy(from: file, at: 999, count: 4_000_000, to: 5)
        target.startWriteback(at: 0, count: 100)
        try target.finish()
        try output.commit()
        #expect(try bytes(of: scratch("out")) == [0, 0, 0, 0, 0] + data[999..<4_000_999])
    }

    @Test func directoriesListSortedByBytes() throws {
        for name in ["b", "a", "Z", "é", "e\u{301}", ".hidden"] { try scratch.write(name, "x") }
        try scratch.directory("dir")
        try scratch.link("dangling", to: "gone")
        let directory = try Directory(path: scratch.path + "/")
        let names = try directory.entries().map(\.name)
        #expect(
            names.map { Array($0.utf8) } == names.map { Array($0.utf8) }.sorted { $0.lexicographicallyPrecedes($1) })
        #expect(names.count == 8)
        #expect(try directory.entries().first { $0.name == "dir" }?.kind == .directory)
        #expect(try directory.entries().first { $0.name == "dangling" }?.kind == .other)
        #expect(directory.path == scratch.path)
        for name in ["../x", "", ".", "..", "a/b", "a\u{0}"] {
            #expect(throws: Problem.self) { _ = try directory.openFile(name) }
            #expect(throws: Problem.self) { _ = try directory.openDirectory(name) }
        }
    }

    @Test(arguments: [
        ("a", ".", "a"), ("a/b", "a", "b"), ("/a", "/", "a"), ("a/", ".", "a"), ("/a/b//", "/a", "b"),
        ("a//b", "a", "b"),
        ("/", "/", ""), ("", ".", ""), ("./a", ".", "a"), ("d/\u{301}x", "d", "\u{301}x"), ("//a", "/", "a"),
    ])
    func parents(_ path: String, _ parent: String, _ name: String) {
        #expect(parentPath(of: path) == parent)
        #expect(lastComponent(of: path) == name)
    }

    @Test func manifestsAreThoseOfSha256sum() throws {
        #expect(SHA256.hex([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        let digest = SHA256.hex(Array("abc".utf8))
        #expect(digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(try SHA256.hex(of: InputFile(path: scratch.write("abc", "abc"))) == digest)
        let large = [UInt8](repeating: 5, count: (1 << 20) * 2 + 17)
        #expect(try SHA256.hex(of: InputFile(path: scratch.write("large", large))) == SHA256.hex(large))
        var text = ""
        for name in ["plain", "two words", "back\\slash", "line\nend", "both\r\nends", "é", "-dash"] {
            text += manifestLine(digest: digest, name: name)
            try scratch.write(name, "abc")
        }
        #expect(text.hasPrefix(digest + "  plain\n"))
        try scratch.write("MANIFEST", text)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["sha256sum", "--check", "--strict", "--quiet", "MANIFEST"]
        process.currentDirectoryURL = URL(fileURLWithPath: scratch.path)
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
    }

    @Test func aSignalStopsTheWork() async {
        await #expect(processExitsWith: .exitCode(7)) {
            // Whoever runs the tests may have it ignored, and then it would stay so.
            signal(SIGTERM, SIG_DFL)
            ak_watch_signals()
            try checkInterrupted()
            // To the process, not to this thread, which may block signals.
            kill(getpid(), SIGTERM)
            for _ in 0..<1_000 {
                do throws(Problem) {
                    try checkInterrupted()
                    usleep(10_000)
                } catch {
                    exit(error.kind == .interrupted ? 7 : 1)
                }
            }
        }
    }
}

@Suite struct SeparationTests {
    private let scratch: Scratch

    init() throws {
        scratch = try Scratch()
        try scratch.write("base/model.safetensors", "x")
        try scratch.write("adapters/style/adapter_model.safetensors", "x")
        try scratch.write("adapters/style/adapter_config.json", "x")
        try scratch.link("link", to: "base")
        try scratch.link("upper", to: ".")
    }

    /// The last column says whether the output is refused.
    @Test(arguments: [
        ("base", "base", true), ("base/", "base", true), ("./base", "base", true), ("upper/base", "base", true),
        ("link", "base", true), ("base", "link", true), ("adapters", "adapters/style", true), (".", "base", true),
        ("adapters/style", "adapters/style/adapter_model.safetensors", true), ("base", "link/model.safetensors", true),
        ("base/model.safetensors", "base", true), ("link/model.safetensors", "base", true),
        ("adapters/style/adapter_config.json", "adapters/style/adapter_model.safetensors", true),
        ("out", "base", false), ("base/out", "base", true), ("base/deep/out", "link", false),
        ("link/out", "base", true), ("base/out", "base/model.safetensors", false), ("adapters", "base", false),
        ("base", "none", false),
        ("base/model.safetensors", "adapters/style", false), ("none/out", "base", false),
    ])
    func outputsAndInputs(_ output: String, _ input: String, _ isRefused: Bool) throws {
        if isRefused {
            let problem = #expect(throws: Problem.self) {
                try requireSeparate(output: scratch(output), from: [scratch("adapters/style"), scratch(input)])
            }
            #expect(problem?.kind == .output)
            #expect(problem?.code == (output.hasSuffix("out") ? "output-in-input" : "output-is-input"))
        } else {
            try requireSeparate(output: scratch(output), from: [scratch(input)])
        }
    }
}
