import Fixtures
import Foundation
import Testing

/// Parts of an archive by their names, and standard streams.
@Suite struct PackSelectionTests {
    private static let first = TensorFile([
        .init("a", "BF16", [4, 3], (0..<12).map { Double($0) / 4 }), .init("same", "F32", [2], [1, 2]),
        .init("scalar", "F64", [], [7]), .init("none", "I8", [0, 5], bytes: []),
        .init("a/b.txt", "U8", [2], bytes: [1, 2]),
    ])
    private static let second = TensorFile([
        .init("b", "I16", [3, 2, 1], bytes: Array(0..<12)), .init("same", "F32", [1], [3]),
    ])

    private func sample(_ scratch: Scratch) throws -> String {
        try scratch.write("in/one.safetensors", Self.first.encoded)
        try scratch.write("in/d/two.safetensors", Self.second.encoded)
        try scratch.write("in/d/sub/x.txt", "x")
        try scratch.write("in/d2/y.txt", "y")
        try scratch.write("in/notes", "notes\n")
        try scratch.directory("in/d/empty")
        #expect(Tools.pack(scratch("in"), scratch("packed")).status == 0)
        return scratch("packed")
    }

    private func unpack(_ scratch: Scratch, _ names: [String], _ options: String...) -> Answer {
        _ = Tools.shell("rm -rf \"$1\"", scratch("out"))
        return Tools.run("adapter-unpack", [scratch("packed")] + names + ["-o", scratch("out")] + options)
    }

    @Test func filesAndDirectories() throws {
        let scratch = try Scratch()
        _ = try sample(scratch)
        let all = contents(of: scratch("in"))
        for (names, wanted) in [
            (["notes"], [".": "notes"]), (["d/sub/x.txt"], [".": "d/sub/x.txt"]),
            (["one.safetensors"], [".": "one.safetensors"]),
            (["d/sub"], ["d/": "", "d/sub/": "", "d/sub/x.txt": "d/sub/x.txt"]),
            (["d/sub/"], ["d/": "", "d/sub/": "", "d/sub/x.txt": "d/sub/x.txt"]),
            (["notes", "d2"], ["notes": "notes", "d2/": "", "d2/y.txt": "d2/y.txt"]),
            (["d2/y.txt", "d2/y.txt"], ["d2/": "", "d2/y.txt": "d2/y.txt"]),
            (
                ["d"],
                [
                    "d/": "", "d/sub/": "", "d/sub/x.txt": "d/sub/x.txt", "d/two.safetensors": "d/two.safetensors",
                ]
            ),
        ] as [([String], [String: String])] {
            let answer = unpack(scratch, names)
            #expect(answer.status == 0, "\(names): \(answer.err)")
            #expect(contents(of: scratch("out")) == wanted.mapValues { $0.isEmpty ? [] : all[$0] ?? [] }, "\(names)")
        }
        #expect(unpack(scratch, ["notes", "d/sub", "d2"]).out.hasPrefix("\(scratch("out")): 3 files, 8 B in "))
    }

    @Test func names() throws {
        let scratch = try Scratch()
        let packed = try sample(scratch)
        for name in [
            "no", "d3", "one.safetensor", "/notes", "./notes", "d/../notes", "notes/", "d/empty", "*",
            "//directory",
        ] {
            let answer = unpack(scratch, [name])
            #expect(answer.status == 66, "\(name): \(answer.err)")
            #expect(answer.errors == ["adapter-unpack: error: \(packed): holds no file and no tensor '\(name)'"])
        }
        let two = unpack(scratch, ["same"])
        #expect(two.status == 64)
        #expect(
            two.errors == [
                "adapter-unpack: error: \(packed): holds tensors 'same' in several files: d/two.safetensors, one.safetensors"
            ])
        #expect(two.hints == ["hint: write FILE//TENSOR"])
        let mixed = unpack(scratch, ["a", "notes"])
        #expect(mixed.status == 64)
        #expect(mixed.errors == ["adapter-unpack: error: files and tensors cannot be unpacked together"])
        #expect(scratch.names == ["in", "packed"])
    }

    private func found(_ scratch: Scratch) throws -> [TensorFile.Tensor] {
        let file = try TensorFile(path: scratch("out"))
        #expect(file.metadata == ["format": "pt"])
        return file.tensors
    }

    @Test func tensors() throws {
        let scratch = try Scratch()
        _ = try sample(scratch)
        for tensor in Self.first.tensors where !["same", "none"].contains(tensor.name) {
            let answer = unpack(scratch, [tensor.name])
            #expect(answer.status == 0, "\(answer.err)")
            #expect(answer.out.hasPrefix("\(scratch("out")): 1 tensor, "))
            #expect(try found(scratch) == [tensor])
        }
        #expect(unpack(scratch, ["one.safetensors//same"]).status == 0)
        #expect(try found(scratch) == [Self.first.tensors[1]])
        #expect(unpack(scratch, ["d/two.safetensors//same"]).status == 0)
        #expect(try found(scratch) == [Self.second.tensors[1]])
        let several = unpack(scratch, ["b", "a", "one.safetensors//same"])
        #expect(several.status == 0, "\(several.err)")
        #expect(several.out.hasPrefix("\(scratch("out")): 3 tensors, "))
        let wanted = [Self.second.tensors[0], Self.first.tensors[0], Self.first.tensors[1]]
        #expect(try found(scratch).sorted { $0.name < $1.name } == wanted.sorted { $0.name < $1.name })
    }

    /// One tensor by two names, and two of one name, which no file can hold: no defect of the program.
    @Test func tensorsThatCannotBeTogether() throws {
        let scratch = try Scratch()
        _ = try sample(scratch)
        for names in [["a", "one.safetensors//a"], ["one.safetensors//same", "d/two.safetensors//same"]] {
            let answer = unpack(scratch, names)
            #expect(answer.errors.count == 1 && !exists(scratch("out")), "\(answer.err)")
            #expect(answer.status == 64, "\(names)")
        }
    }

    /// One that begins where the next tensor does.
    @Test func anEmptyTensor() throws {
        let scratch = try Scratch()
        _ = try sample(scratch)
        let answer = unpack(scratch, ["none"])
        #expect(answer.status == 0, "\(answer.err)")
    }

    @Test func rows() throws {
        let scratch = try Scratch()
        let packed = try sample(scratch)
        for (name, rows, tensor) in [
            ("a", "0:4", Self.first.tensors[0]), ("a", "1:3", Self.first.tensors[0]),
            ("a", "3:4", Self.first.tensors[0]),
            ("b", "0:1", Self.second.tensors[0]), ("b", "1:3", Self.second.tensors[0]),
        ] {
            let answer = unpack(scratch, [name], "--rows", rows)
            #expect(answer.status == 0, "\(answer.err)")
            let ends = rows.split(separator: ":").compactMap { Int($0) }
            let size = tensor.bytes.count / tensor.shape[0]
            var wanted = tensor
            wanted.shape[0] = ends[1] - ends[0]
            wanted.bytes = Array(tensor.bytes[ends[0] * size..<ends[1] * size])
            #expect(try found(scratch) == [wanted], "\(name) \(rows)")
        }
        for (name, rows, count) in [("a", "0:5", 4), ("a", "4:5", 4), ("scalar", "0:1", 0), ("none", "0:1", 0)] {
            let answer = unpack(scratch, [name], "--rows", rows)
            #expect(answer.status == 64)
            #expect(
                answer.errors == [
                    "adapter-unpack: error: \(packed): tensor '\(name)': has \(count) rows, so \(rows) is no part of it"
                ])
            #expect(!exists(scratch("out")))
        }
    }

    // MARK: Standard streams

    @Test func throughPipes() throws {
        let scratch = try Scratch()
        let packed = try sample(scratch)
        let run = { (script: String) in
            Tools.shell("cd \"$1\" && \(script)", scratch.path)
        }
        let cases = [
            "adapter-pack in -o - | cmp - packed", "adapter-unpack packed notes -o - | cmp - in/notes",
            "adapter-unpack - -o out1 < packed && diff -r in out1", "cat packed | adapter-unpack - --test > /dev/null",
            "cat packed | adapter-unpack - d/two.safetensors -o - | cmp - in/d/two.safetensors",
            "adapter-pack - -o - < in/notes | adapter-unpack - -o - | cmp - in/notes",
            "cat in/notes | adapter-pack - -o data.packed --name notes && adapter-pack in/notes -o - | cmp - data.packed",
            "adapter-unpack data.packed -o notes.out && cmp notes.out in/notes",
            "adapter-pack - -o empty.packed < /dev/null && adapter-unpack empty.packed -o - | cmp - /dev/null",
            "adapter-unpack packed a --rows 1:2 -o - > tensor && adapter-unpack packed a --rows 1:2 -o tensor2 && cmp tensor tensor2",
            "adapter-unpack - --manifest < packed > sums && cd in && sha256sum --quiet -c ../sums",
        ]
        for script in cases {
            let answer = run(script)
            #expect(answer.status == 0, "\(script): \(answer.out) \(answer.err)")
        }
        #expect(try Tools.listing(scratch("empty.packed"))["input"] as? String == "file")
        let files = try #require(Tools.listing(scratch("empty.packed"))["files"] as? [[String: Any]])
        #expect(files.first?["path"] as? String == "data")
        let left = scratch.names.filter { $0.hasPrefix(".") }
        #expect(left.isEmpty && exists(packed))
    }

    /// What is said, when an archive goes to standard output, goes to standard error.
    @Test func summariesKeepApart() throws {
        let scratch = try Scratch()
        _ = try sample(scratch)
        let answer = Tools.shell("adapter-pack \"$1\" -o - > /dev/null", scratch("in"))
        #expect(answer.status == 0 && answer.out.isEmpty)
        #expect(answer.lines("note").first?.hasPrefix("adapter-pack: note: -: 5 files, ") == true, "\(answer.err)")
        let quiet = Tools.shell("adapter-pack \"$1\" -o - --quiet > /dev/null", scratch("in"))
        #expect(quiet.status == 0 && quiet.err.isEmpty, "\(quiet.err)")
    }

    @Test func aReaderThatGoesAway() throws {
        let scratch = try Scratch()
        try scratch.write("in/zeros", SeededRandomBytes.megabytes)
        #expect(Tools.pack(scratch("in"), scratch("packed")).status == 0)
        for script in [
            "adapter-pack \"$1/in\" -o - | true", "adapter-unpack \"$1/packed\" zeros -o - | head -c 10 > /dev/null",
        ] {
            let answer = Tools.shell(script + "; test -z \"$(ls -A \"$1\" | grep partial)\"", scratch.path)
            #expect(answer.status == 0, "\(answer.err)")
        }
        let full = Tools.run("adapter-pack", [scratch("in"), "-o", "-"], stdout: "/dev/full")
        #expect(full.status == 74)
        #expect(full.errors == ["adapter-pack: error: standard output: cannot write: no space left on the device"])
        #expect(scratch.names == ["in", "packed"])
    }
}

/// Bytes that no code makes smaller.
private enum SeededRandomBytes {
    static let megabytes: [UInt8] = {
        var random = SeededRandom(11)
        return random.bytes(2_000_000)
    }()
}
