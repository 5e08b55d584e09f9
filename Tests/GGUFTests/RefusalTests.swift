import Fixtures
import Problems
import Testing

@testable import GGUF

@Suite struct RefusalTests {
    /// A file of one tensor of eight numbers, made by `change`.
    private func file(_ change: (inout Raw) -> Void, tensors: UInt64 = 0, pairs: UInt64 = 0, data: Int = 0) -> [UInt8] {
        var raw = Raw(tensors: tensors, pairs: pairs)
        change(&raw)
        return raw.file(data: data)
    }

    private func tensor(name: String = "t", _ ne: [UInt64], _ type: UInt32 = 0, at offset: UInt64 = 0) throws
        -> Problem
    {
        try refusal(file({ $0.tensor(name, ne, type, offset) }, tensors: 1, data: 32))
    }

    private func pair(key: String = "k", _ type: UInt32, _ value: [UInt8]) throws -> Problem {
        try refusal(file({ $0.pair(key, type, value + [UInt8](repeating: 0, count: 16)) }, pairs: 1))
    }

    private func little(_ value: UInt64, _ count: Int = 8) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
    }

    @Test func whatIsNoGGUF() throws {
        #expect(try refusal([]).message == "needs at least 4 bytes for the magic number, but only 0 follow")
        #expect(try refusal(Array("PK\u{3}\u{4}----".utf8)).message == "does not begin with 'GGUF'")
        let big = try refusal(Array("GGUF\0\0\0\u{3}".utf8) + [UInt8](repeating: 0, count: 64))
        #expect(big.message == "is a big-endian GGUF file, and only little-endian ones are read")
        #expect(big.hint == "convert it with gguf_convert_endian.py of gguf-py" && big.offset == 4)
        for version in [0, 1, 4, .max] as [UInt32] {
            let problem = try refusal(Raw(version: version, tensors: 0, pairs: 0).file(data: 0))
            #expect(problem.message == "has GGUF version \(version), and only versions 2 and 3 are read")
        }
    }

    @Test func counts() throws {
        let many = try refusal(Raw(tensors: 1 << 61, pairs: 0).file(data: 0))
        #expect(
            many.message
                == "needs more bytes than can be counted for 2305843009213693952 tensors, but only 8 follow")
        #expect(
            try refusal(Raw(tensors: 0, pairs: 2).file(data: 0)).message
                == "needs at least 28 bytes for 2 pairs of metadata, but only 8 follow")
        #expect(
            try refusal(Raw(tensors: 2, pairs: 0).file(data: 0)).message
                == "needs at least 66 bytes for 2 tensors, but only 8 follow")
    }

    @Test func metadata() throws {
        #expect(try pair(key: "", 0, []).message == "has metadata with an empty name")
        #expect(try pair(key: "a\0b", 0, []).message == "has metadata with a zero byte in its name")
        #expect(try pair(13, []).message == "has metadata 'k' of the unknown type 13")
        #expect(try pair(7, [2]).message == "has 2 for a truth value in 'k', but 0 or 1 was needed")
        #expect(
            try pair(8, little(.max)).message
                == "needs at least 18446744073709551615 bytes for the value of 'k', but only 19 follow")
        #expect(try pair(8, little(2) + [0xC3, 0x28]).message == "has text that is no UTF-8 in the value of 'k'")
        // A surrogate, and a zero in more bytes than it needs.
        #expect(try pair(8, little(3) + [0xED, 0xA0, 0x80]).message.contains("no UTF-8"))
        #expect(try pair(8, little(2) + [0xC0, 0x80]).message.contains("no UTF-8"))
        let long = String(repeating: "k", count: 70_000)
        #expect(
            try pair(key: long, 0, []).message
                == "has metadata with a name of 70000 bytes, but at most 65535 make sense")
        let twice = file(
            {
                $0.pair("k", 0, [1])
                $0.pair("k", 0, [1])
            }, pairs: 2)
        #expect(try refusal(twice).message == "has the metadata key 'k' twice")
        // Two spellings of one letter are two keys.
        let spellings = file(
            {
                $0.pair("\u{E9}", 0, [1])
                $0.pair("e\u{301}", 0, [2])
            }, pairs: 2)
        #expect(try open(spellings).header["\u{E9}"] == .uint8(1))
        #expect(try open(spellings).header["e\u{301}"] == .uint8(2))
    }

    @Test func arrays() throws {
        #expect(
            try pair(9, little(4, 4) + little(1 << 62)).message
                == "needs more bytes than can be counted for the 4611686018427387904 elements of 'k', but only 47 follow"
        )
        #expect(
            try pair(9, little(8, 4) + little(9)).message
                == "needs at least 72 bytes for the 9 elements of 'k', but only 47 follow")
        let nested = (0..<4).flatMap { _ in little(9, 4) + little(1) }
        #expect(
            try pair(9, nested + little(0, 4) + little(1) + [5]).message
                == "has arrays in 'k' nested more than 4 deep")
        let deep = (0..<3).flatMap { _ in little(9, 4) + little(1) } + little(0, 4) + little(1) + [5]
        let found = try open(file({ $0.pair("k", 9, deep) }, pairs: 1)).header["k"]
        #expect(found == .array(.array([.array([.array([.uint8([5])])])])))
        let empty = try open(file({ $0.pair("k", 9, little(8, 4) + little(0)) }, pairs: 1)).header["k"]
        #expect(empty == .array(.string([])))
    }

    @Test func alignments() throws {
        for said in [0, 4, 24, 33, 1 << 21, UInt64(UInt32.max)] {
            #expect(
                try pair(key: "general.alignment", 4, little(said, 4)).message
                    == "has the alignment \(said), but a power of two from 8 to 1048576 was needed")
        }
        #expect(
            try pair(key: "general.alignment", 10, little(32)).message
                == "has 'general.alignment' of type u64, but u32 was needed")
    }

    @Test func tensors() throws {
        #expect(try tensor([]).message == "has 0 sizes, but 1 to 4 were needed")
        #expect(try tensor([1, 1, 1, 1, 1]).message == "has 5 sizes, but 1 to 4 were needed")
        #expect(try tensor([0]).message == "has a size of 0, which no tensor can have")
        #expect(try tensor([1 << 63]).message == "has a size of 9223372036854775808, which no tensor can have")
        #expect(
            try tensor([1 << 32, 1 << 31]).message
                == "has the sizes [4294967296, 2147483648] of F32, which are too large to be counted")
        #expect(
            try tensor([1 << 62]).message
                == "has the sizes [4611686018427387904] of F32, which are too large to be counted")
        for type in [4, 5, 31, 36, 42, UInt32.max] {
            #expect(try tensor([8], type).message == "has the type \(type), whose size is not known")
        }
        #expect(try tensor([33], 8).message == "has rows of 33 elements, but Q8_0 has blocks of 32")
        #expect(
            try tensor([8], at: 8).message
                == "begins at byte 8 of the data, which is no multiple of the alignment 32")
        #expect(
            try tensor([8], at: 1 << 40).message
                == "begins at byte 1099511627776 of the data, but byte 0 is the next free one, so 1099511627776 bytes "
                + "belong to no tensor")
        #expect(
            try tensor([8], at: 1 << 63).message
                == "has 32 bytes from byte 9223372036854775808 of the data, which is beyond any file")
        #expect(
            try tensor([1 << 60]).message
                == "has 4611686018427387904 bytes from byte 0 of the data, which is beyond any file")
        #expect(try tensor([1 << 20]).message == "has 96 bytes, but its header describes 4194368")
        #expect(try tensor(name: "", [8]).message == "has a tensor with an empty name")
        #expect(try tensor(name: "a\0b", [8]).message == "has a tensor with a zero byte in its name")
        #expect(try tensor(name: "t", [8], at: 1 << 40).tensor == "t")
    }

    @Test func layouts() throws {
        func two(_ first: UInt64, _ second: UInt64, data: Int, names: (String, String) = ("a", "b")) -> [UInt8] {
            file(
                {
                    $0.tensor(names.0, [6], 0, first)
                    $0.tensor(names.1, [8], 0, second)
                }, tensors: 2, data: data)
        }
        #expect(try open(two(0, 32, data: 64)).tensors.map(\.begin) == [0, 32])
        #expect(try open(two(32, 0, data: 56)).tensors.map(\.begin) == [32, 0])
        #expect(
            try refusal(two(0, 32, data: 64, names: ("a", "a"))).message == "is described twice, so its meaning is open"
        )
        #expect(
            try refusal(two(0, 0, data: 64)).message
                == "begins at byte 0 of the data, but byte 32 is the next free one, so it overlaps another tensor")
        #expect(
            try refusal(two(0, 64, data: 96)).message
                == "begins at byte 64 of the data, but byte 32 is the next free one, so 32 bytes belong to no tensor"
        )
        let long = try refusal(two(0, 32, data: 65))
        #expect(long.message == "has 1 bytes after the last tensor and its padding" && long.offset == 160)
        let short = try refusal(two(0, 32, data: 63))
        #expect(short.message == "has 159 bytes, but its header describes 160" && short.offset == 159)
        #expect(short.hint == "the file ends 1 bytes early: download it again")
        // Without tensors, the padding behind the header may be missing.
        #expect(try open(Raw(tensors: 0, pairs: 0).bytes).tensors.isEmpty)
        #expect(try open(file({ _ in })).tensors.isEmpty)
        #expect(try refusal(file({ _ in }, data: 1)).message.contains("after the last tensor"))
    }

    @Test func truncationAtEveryByteIsRefused() throws {
        let sound = try bytes(of: goldenPath("adapter.gguf"))
        let file = try GGUFFile(path: goldenPath("adapter.gguf"))
        for count in sound.indices {
            let problem = try refusal(Array(sound[..<count]))
            if count >= file.header.dataStart { #expect(problem.message.contains("has \(count) bytes"), "\(problem)") }
        }
        // Padding at the end may be missing.
        let aligned = try bytes(of: goldenPath("aligned.gguf"))
        #expect(try open(Array(aligned.dropLast(40))).tensors == GGUFFile(path: goldenPath("aligned.gguf")).tensors)
        try refusal(Array(aligned.dropLast(41)))
        let sample = try bytes(of: goldenPath("sample.gguf"))
        for count in 0..<1_100 { #expect(throws: Problem.self) { try open(Array(sample[..<count])) } }
    }

    @Test(arguments: [("adapter.gguf", 1), ("sample.gguf", 7)])
    func bitFlipsOfTheHeaderAreReadOrRefused(_ name: String, _ step: Int) throws {
        let sound = try bytes(of: goldenPath(name))
        let start = try GGUFFile(path: goldenPath(name)).header.dataStart
        for at in stride(from: 0, to: start * 8, by: step) {
            var bytes = sound
            bytes[at / 8] ^= 1 << UInt8(at % 8)
            try checkSafe(bytes)
        }
    }

    @Test func noiseIsReadOrRefused() throws {
        var random = SeededRandom(test: "noiseIsReadOrRefused")
        let sound = try bytes(of: goldenPath("sample.gguf"))
        for _ in 0..<1_500 {
            var bytes = sound
            for _ in 0...random.below(3) {
                let at = random.below(1_200)
                switch random.below(4) {
                case 0: bytes[at] = UInt8(random.below(256))
                case 1: bytes.remove(at: at)
                case 2: bytes.insert(UInt8(random.below(14)), at: at)
                default:
                    let value = random.pick([0, 1, 1 << 31, 1 << 32, 1 << 62, 1 << 63, .max]) as UInt64
                    bytes.replaceSubrange(at..<at + 8, with: little(value))
                }
            }
            try checkSafe(bytes)
        }
    }

    /// Whatever the bytes are: they are a sound file, or one problem; and no read is larger than the file.
    private func checkSafe(_ bytes: [UInt8]) throws {
        let source = try MeasuredSource(bytes)
        do throws(Problem) {
            let file = try GGUFFile(source)
            for tensor in file.tensors where tensor.type.hasReadableValues { _ = try file.floats(of: tensor) }
        } catch {
            #expect(error.kind == .malformed && error.code == "bad-gguf", "\(error)")
        }
        #expect(source.largestRead <= bytes.count)
    }
}
