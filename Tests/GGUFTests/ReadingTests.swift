import Fixtures
import Problems
import Testing

@testable import GGUF

@Suite struct ReadingTests {
    @Test func theSampleOfTheReference() throws {
        let file = try GGUFFile(path: goldenPath("sample.gguf"))
        #expect(file.header.version == 3 && file.header.alignment == 32)
        #expect(file.metadata.count == 25)
        let expected: [(String, GGUFValue)] = [
            ("general.architecture", .string("llama")), ("a.u8", .uint8(200)), ("a.i8", .int8(-100)),
            ("a.u16", .uint16(60_000)), ("a.i16", .int16(-30_000)), ("a.u32", .uint32(4_000_000_000)),
            ("a.i32", .int32(-2_000_000_000)), ("a.f32", .float32(0.1)), ("a.bool", .bool(true)),
            ("a.string", .string("é \u{1F600} text")), ("a.u64", .uint64(.max)), ("a.i64", .int64(.min)),
            ("a.f64", .float64(0.1)), ("l.u8", .array(.uint8([1, 255]))), ("l.i8", .array(.int8([-1, 127]))),
            ("l.u16", .array(.uint16([1, 65_535]))), ("l.i16", .array(.int16([-1]))),
            ("l.u32", .array(.uint32([7, 8, 9]))), ("l.i32", .array(.int32([-7]))),
            ("l.f32", .array(.float32([0.5, -2]))), ("l.bool", .array(.bool([true, false]))),
            ("l.string", .array(.string(["one", "zwei"]))), ("l.u64", .array(.uint64([1 << 63]))),
            ("l.i64", .array(.int64([-1]))), ("l.f64", .array(.float64([1e300]))),
        ]
        for (found, wanted) in zip(file.metadata, expected) {
            #expect(found.key == wanted.0 && found.value == wanted.1)
            #expect(file.header[wanted.0] == wanted.1)
        }
        #expect(file.header["a"] == nil)
    }

    @Test func theTensorsOfTheSample() throws {
        let file = try GGUFFile(path: goldenPath("sample.gguf"))
        #expect(file.tensors.map(\.name) == ["f32", "f16", "bf16", "f64", "q8", "cube", "i32", "q4"])
        #expect(file.tensors.map(\.type) == [.f32, .f16, .bf16, .f64, .q8v0, .f32, .i32, .q4v0])
        let cube = try #require(file.header.tensor("cube"))
        #expect(cube.ne == [4, 3, 2] && cube.shape == [2, 3, 4] && cube.elementCount == 24)
        #expect(try file.floats(of: cube) == (0..<24).map { Float($0) })
        let quarters = (-6..<6).map { Float($0) / 4 }
        for name in ["f32", "f16", "bf16", "f64"] {
            let tensor = try #require(file.header.tensor(name))
            #expect(tensor.shape == [3, 4])
            #expect(try file.floats(of: tensor) == quarters)
            #expect(try file.doubles(of: tensor) == quarters.map { Double($0) })
        }
        let i32 = try #require(file.header.tensor("i32"))
        #expect(try file.read(i32, bytes: 4..<8) == [1, 0, 0, 0])
        let q4 = try #require(file.header.tensor("q4"))
        #expect(q4.byteCount == 36)
        let problem = #expect(throws: Problem.self) { try file.floats(of: q4) }
        #expect(problem?.kind == .incompatible)
        #expect(
            problem?.message
                == "has the type Q4_0, whose values are not read; F32, F16, BF16, F64 and Q8_0 are")
    }

    @Test func typedLookups() throws {
        let file = try GGUFFile(path: goldenPath("sample.gguf"))
        #expect(try file.text("general.architecture") == "llama")
        #expect(try file.text("nothing") == nil)
        #expect(try file.integer("a.i8") == -100 && file.integer("a.u32") == 4_000_000_000)
        #expect(try file.number("a.f32") == Double(Float(0.1)) && file.number("a.f64") == 0.1)
        let problem = #expect(throws: Problem.self) { try file.number("a.string") }
        #expect(
            problem?.message == "has metadata 'a.string' of type str, but a floating-point number was needed")
        // Beyond what a number of this program can be.
        #expect(throws: Problem.self) { try file.integer("a.u64") }
    }

    @Test func otherAlignmentsAndVersionTwo() throws {
        let file = try GGUFFile(path: goldenPath("aligned.gguf"))
        #expect(file.header.alignment == 64 && file.header.dataStart % 64 == 0)
        #expect(file.tensors.map(\.begin) == [0, 64, 128])
        var bytes = try bytes(of: goldenPath("sample.gguf"))
        bytes[4] = 2
        #expect(try open(bytes).header.version == 2)
        #expect(GGUFFile.isGGUF(firstBytes: bytes))
        #expect(!GGUFFile.isGGUF(firstBytes: Array("GGU".utf8)) && !GGUFFile.isGGUF(firstBytes: []))
    }

    @Test func sizesOfAllTypes() throws {
        let lines = String(decoding: try bytes(of: goldenPath("types.txt")), as: UTF8.self).split(separator: "\n")
        let found = GGMLType.allCases.map { "\($0.rawValue) \($0.name) \($0.blockElements) \($0.blockBytes)" }
        #expect(found.sorted() == lines.map(String.init).sorted())
        for type in GGMLType.allCases {
            #expect(type.byteCount(ne: [type.blockElements * 3, 2]) == type.blockBytes * 6)
            #expect((type.byteCount(ne: [type.blockElements * 3 + 1]) == nil) == (type.blockElements > 1))
        }
    }

    /// What the reference made of the same float32 numbers, read and written.
    @Test func numbersAreThoseOfTheReference() throws {
        let file = try GGUFFile(path: goldenPath("numbers.gguf"))
        let values = try file.floats(of: file.tensors[0])
        #expect(values.count > 900)
        for tensor in file.tensors {
            let bytes = try file.read(tensor)
            #expect(GGUFNumbers.bytes(values, tensor.type) == bytes, "\(tensor.name)")
            if tensor.type == .q8v0 { continue }
            let read = GGUFNumbers.floats(bytes, tensor.type)
            #expect(GGUFNumbers.bytes(read, tensor.type) == bytes, "\(tensor.name) read and written again")
        }
    }

    @Test func halvesAndNaNs() {
        let format = Format.named("F16")
        let wrong = (UInt16.min...UInt16.max).filter { bits in
            let value = GGUFNumbers.half(bits)
            if value.isNaN { return GGUFNumbers.halfBits(value) & 0x7E00 != 0x7E00 }
            return GGUFNumbers.halfBits(value) != bits || Double(value) != format.value(of: UInt64(bits))
        }
        #expect(wrong.isEmpty)
        #expect(GGUFNumbers.bytes([.nan, -.infinity], .bf16) == [0xC0, 0x7F, 0x80, 0xFF])
        #expect(
            GGUFNumbers.bytes([Float(bitPattern: 0x7F80_0001), 65_520, 65_519], .f16) == [0, 0x7E, 0, 0x7C, 0xFF, 0x7B])
        var odd = [Float](repeating: 1, count: 32)
        odd[3] = .nan
        #expect(GGUFNumbers.floats(GGUFNumbers.bytes(odd, .q8v0), .q8v0).allSatisfy { $0.isNaN })
    }
}
