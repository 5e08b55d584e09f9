import Fixtures
import Foundation
import Safetensors
import Testing

/// What was packed comes back byte for byte.
@Suite struct PackRoundTripTests {
    @Test func nestedDirectory() throws {
        let scratch = try Scratch()
        for (name, text) in [
            ("a.txt", "hello, hello, hello\n"), (".hidden", "h"), ("none", ""), ("sub/.git/config", "[core]"),
            ("sub/deep/er/x", "x"), ("with space/-rf", "-"), ("é/日本", "語"), ("__metadata__", "m"), ("..dots", "."),
            (String(repeating: "n", count: 255), "long"), ("CON", "c"), ("%41", "%"), ("*?", "glob"),
            ("\"quoted\"", "q"),
            (Array(repeating: "d", count: 63).joined(separator: "/") + "/end", "deep"),
        ] { try scratch.write("in/\(name)", text) }
        for name in ["e", "sub/empty", "f/g/h"] { try scratch.directory("in/\(name)") }
        try checkTrip(scratch("in"), in: scratch)
        #expect(scratch.names == ["in"])
    }

    @Test func emptyDirectory() throws {
        let scratch = try Scratch()
        try scratch.directory("in")
        let answer = Tools.pack(scratch("in"), scratch("archive"))
        #expect(answer.status == 0, "\(answer.err)")
        #expect(answer.out.hasPrefix("\(scratch("archive")): 0 files, 0 B in "))
        #expect(Tools.unpack(scratch("archive"), scratch("out")).status == 0)
        #expect(Golden.names(in: scratch("out")).isEmpty && exists(scratch("out")))
    }

    /// Links are what they lead to: files and directories, within the input and elsewhere.
    @Test func links() throws {
        let scratch = try Scratch()
        try scratch.write("blobs/0", "weights")
        try scratch.write("blobs/more/1", "more")
        try scratch.write("in/file", "own")
        try scratch.link("in/linked", to: "../blobs/0")
        try scratch.link("in/absolute", to: scratch("blobs/0"))
        try scratch.link("in/again", to: "file")
        try scratch.link("in/tree", to: "../blobs/more")
        try scratch.link("in/tree2", to: "tree")
        try scratch.link("input", to: "in")
        #expect(Tools.pack(scratch("input"), scratch("archive")).status == 0)
        #expect(Tools.unpack(scratch("archive"), scratch("out")).status == 0)
        let wanted: [String: String] = [
            "file": "own", "again": "own", "linked": "weights", "absolute": "weights", "tree/1": "more",
            "tree2/1": "more",
        ]
        var found = contents(of: scratch("out"))
        for name in ["tree/", "tree2/"] { #expect(found.removeValue(forKey: name) != nil) }
        #expect(found == wanted.mapValues { Array($0.utf8) })
        for name in wanted.keys {
            let kind =
                try FileManager.default.attributesOfItem(atPath: scratch("out/" + name))[.type] as? FileAttributeType
            #expect(kind == .typeRegular)
        }
        #expect(Tools.pack(scratch("in/linked"), scratch("one")).status == 0)
        #expect(Tools.unpack(scratch("one"), scratch("one.out")).status == 0)
        #expect(try bytes(of: scratch("one.out")) == Array("weights".utf8))
    }

    @Test func singleFiles() throws {
        let scratch = try Scratch()
        for (name, content) in [
            ("none", []), ("one", [7]), ("a.safetensors", TensorFile([.init("w", "BF16", [3], [1, 2, 3])]).encoded),
            ("zeros", [UInt8](repeating: 0, count: 3_000_000)), ("text", Array("hello ".utf8)),
        ] as [(String, [UInt8])] {
            try scratch.write(name, content)
            try checkTrip(scratch(name), in: scratch, name)
        }
    }

    /// Every type that the format has, with shapes of all kinds; a tensor with bytes is a part of its own.
    @Test(arguments: DType.allCases) func everyDType(_ dtype: DType) throws {
        var random = SeededRandom(test: "everyDType \(dtype)")
        let scratch = try Scratch()
        let shapes = [[], [0], [1], [4, 0], [8], [3, 8], [2, 2, 2, 2], [1000], [0, 0]]
        let tensors = shapes.enumerated().compactMap { at, shape -> TensorFile.Tensor? in
            guard let count = DType.byteCount(shape, dtype) else { return nil }
            let bytes = at % 2 == 0 ? random.bytes(count) : random.bytes(count).map { $0 & 0x81 }
            return TensorFile.Tensor("t\(at)", dtype.rawValue, shape, bytes: bytes)
        }
        try TensorFile(tensors).write(to: scratch("in.safetensors"))
        for level in ["fast", "default", "best"] {
            try checkTrip(scratch("in.safetensors"), in: scratch, options: ["--level", level], "\(dtype) \(level)")
        }
        let answer = Tools.pack(scratch("in.safetensors"), scratch("archive"), "--json")
        let parts = try #require(answer.json()["parts"] as? [String: Int])
        #expect(parts["plain"] == 1 + tensors.filter { !$0.bytes.isEmpty }.count, "the header and each tensor")
    }

    /// Larger tensors, of several chunks, of numbers as weights have them.
    @Test(arguments: ["fast", "default", "best"]) func severalChunks(_ level: String) throws {
        var random = SeededRandom(test: "severalChunks \(level)")
        let scratch = try Scratch()
        let tensors = [("BF16", 300_000), ("F32", 140_001), ("F64", 70_001), ("F16", 140_000)].map { dtype, count in
            TensorFile.Tensor(dtype, dtype, [count], random.numbers(count, size: 0.03))
        }
        try scratch.write("in/model.safetensors", TensorFile(tensors).encoded)
        try scratch.write("in/noise.bin", random.bytes(2_500_000))
        try checkTrip(scratch("in"), in: scratch, options: ["--level", level])
    }

    /// Several hundred files of all kinds, in directories of all shapes.
    @Test(arguments: 0..<40) func randomInputs(_ number: Int) throws {
        var random = SeededRandom(test: "randomInputs \(number)")
        let scratch = try Scratch()
        try scratch.directory("in")
        for file in 0..<random.below(16) {
            let parents = (0..<random.below(4)).map { _ in random.pick(["p", "q q", ".r", "é"]) }
            let name = (parents + ["\(random.pick(["a", "b.safetensors", "c d", "日"]))\(file)"]).joined(separator: "/")
            try scratch.write("in/" + name, random.content())
        }
        for empty in 0..<random.below(3) { try scratch.directory("in/\(random.pick(["p", "x/y", "z"]))/empty\(empty)") }
        let level = random.pick(["fast", "default", "best"])
        let threads = "\(1 + random.below(5))"
        try checkTrip(scratch("in"), in: scratch, options: ["--level", level, "--threads", threads], "\(number)")
        #expect(scratch.names == ["in"])
    }

    /// Everything that lies beside these tests, what is malformed included.
    @Test func goldenData() throws {
        let scratch = try Scratch()
        try checkTrip(Golden.directory, in: scratch, options: ["--level", "fast"])
    }
}

/// Files that are nearly safetensors files, or unusual ones.
@Suite struct PackOddHeaderTests {
    private static func file(_ header: String, _ data: [UInt8], length: Int? = nil) -> [UInt8] {
        let text = Array(header.utf8)
        return (0..<8).map { UInt8(truncatingIfNeeded: (length ?? text.count) >> ($0 * 8)) } + text + data
    }

    private static let data = (0..<16).map { UInt8($0) }
    private static let a = #""a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}"#
    private static let b = #""b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}"#

    /// Valid ones, with the number of tensors that have bytes.
    private static let valid: [(header: String, tensors: Int)] = [
        ("{\(a),\(b)}", 2), ("{\(b),\(a)}", 2), ("{\(a),\(b),\"__metadata__\":{\"format\":\"pt\"}}", 2),
        ("{\(a),\"__metadata__\":{},\(b)}", 2), ("{\"__metadata__\":{\"z\":\"1\",\"a\":\"2\"},\(a),\(b)}        ", 2),
        ("{\(a), \(b)}\n", 2), ("{ \(a) ,\t\(b) }", 2),
        (#"{"a":{"data_offsets":[0,8],"shape":[4],"dtype":"BF16"},\#(b)}"#, 2),
        (#"{"\u0061":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]},\#(b)}"#, 2),
        (#"{"":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]},\#(b)}"#, 2),
        (#"{"é/\n😀":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]},\#(b)}"#, 2),
        (#"{\#(a),\#(b),"empty":{"dtype":"F32","shape":[0],"data_offsets":[16,16]}}"#, 2),
        (#"{\#(a),"empty":{"dtype":"F32","shape":[7,0],"data_offsets":[8,8]},\#(b)}"#, 2),
    ]

    @Test func unusualHeaders() throws {
        let scratch = try Scratch()
        for (at, (header, tensors)) in Self.valid.enumerated() {
            try scratch.write("in.safetensors", Self.file(header, Self.data))
            try checkTrip(scratch("in.safetensors"), in: scratch, header)
            let answer = Tools.pack(scratch("in.safetensors"), scratch("\(at)"), "--json")
            let parts = try #require(answer.json()["parts"] as? [String: Int])
            // A header that is not taken for one costs room, but never a byte.
            #expect([1, tensors + 1].contains(parts["plain"]), "\(header)")
            if at < 2 { #expect(parts["plain"] == tensors + 1, "\(header)") }
        }
    }

    /// What is no safetensors file is packed as it is, whatever it is called.
    @Test func brokenHeaders() throws {
        let scratch = try Scratch()
        let broken: [[UInt8]] = [
            [], [0], Array(repeating: 0, count: 8), Array(repeating: 0xFF, count: 64), Array("{}".utf8),
            Self.file("{\(Self.a),\(Self.b)}", Self.data + [0]),
            Self.file("{\(Self.a),\(Self.b)}", Array(Self.data.dropLast())),
            Self.file("{\(Self.a)}", Self.data), Self.file("{\(Self.b)}", Self.data),
            Self.file("{\(Self.a),\(Self.a)}", Self.data),
            Self.file("{", Self.data), Self.file("[]", []), Self.file("", Self.data),
            Self.file("{}", Self.data, length: 1 << 62),
            Self.file("{}", [], length: 3), Self.file("{}", []), Array("no tensors at all, only text".utf8),
            Self.file(#"{"a":{"dtype":"F99","shape":[16],"data_offsets":[0,16]}}"#, Self.data),
            Self.file(#"{"a":{"dtype":"U8","shape":[17],"data_offsets":[0,16]}}"#, Self.data),
            Self.file(#"{"a":{"dtype":"U8","shape":[-16],"data_offsets":[0,16]}}"#, Self.data),
        ]
        for (at, bytes) in broken.enumerated() {
            try scratch.write("in/\(at).safetensors", bytes)
            try scratch.write("in/\(at)/model.bin", bytes)
            try checkTrip(scratch("in/\(at).safetensors"), in: scratch, "\(at)")
        }
        try checkTrip(scratch("in"), in: scratch)
    }

    /// An archive is a safetensors file itself; archives of archives are no special case.
    @Test func archivesOfArchives() throws {
        let scratch = try Scratch()
        _ = try scratch.copy(Golden.path("rank-1-f32") + "/adapter", as: "in")
        #expect(Tools.pack(scratch("in"), scratch("in/inner")).status == 73, "not into the input")
        #expect(Tools.pack(scratch("in"), scratch("inner")).status == 0)
        let again = Tools.pack(scratch("inner"), scratch("again"))
        #expect(again.status == 1)
        #expect(again.errors == ["adapter-pack: error: \(scratch("inner")): is an archive already"])
        try scratch.directory("outer")
        _ = try scratch.copy(scratch("inner"), as: "outer/inner.safetensors")
        try checkTrip(scratch("outer"), in: scratch)
    }
}
