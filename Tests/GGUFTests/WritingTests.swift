import Files
import Fixtures
import Foundation
import Problems
import Testing

@testable import GGUF

@Suite struct WritingTests {
    /// The files of the reference, read and written again, are the same bytes.
    @Test(arguments: ["sample.gguf", "aligned.gguf", "numbers.gguf", "adapter.gguf"])
    func rewritesAreTheReferencesBytes(_ name: String) throws {
        let file = try GGUFFile(path: goldenPath(name))
        let writer = try GGUFWriter(
            metadata: file.metadata, tensors: file.tensors.map { GGUFWriter.Entry($0.name, $0.shape, $0.type) })
        let expected = try bytes(of: goldenPath(name))
        #expect(writer.tensors == file.tensors && writer.size == expected.count)
        #expect(try writer.encoded(try file.tensors.map { try file.read($0) }) == expected)
    }

    /// The file on the page about the format.
    @Test func theExampleOfThePage() throws {
        let page = String(decoding: try bytes(of: TestFiles.root + "/../formats/gguf-lora.md"), as: UTF8.self)
        let start = try #require(page.range(of: "```hex\n")).upperBound
        let end = try #require(page.range(of: "```", range: start..<page.endIndex)).lowerBound
        let expected = page[start..<end].split(whereSeparator: \.isWhitespace).compactMap { UInt8($0, radix: 16) }
        let writer = try GGUFWriter(
            metadata: [
                ("general.architecture", .string("llama")), ("general.type", .string("adapter")),
                ("adapter.type", .string("lora")), ("adapter.lora.alpha", .float32(2)),
            ],
            tensors: [.init("output.weight.lora_a", [1, 3], .f32), .init("output.weight.lora_b", [2, 1], .f32)])
        let data = [[1, -2, 0.5], [1, 0.25]].map { GGUFNumbers.bytes($0, .f32) }
        #expect(try writer.encoded(data) == expected)
    }

    @Test func piecesComeInOrderWithoutGaps() throws {
        let writer = try GGUFWriter(
            metadata: [], tensors: [.init("a", [3], .f32), .init("b", [2, 32], .q8v0), .init("c", [8], .f32)])
        var end = 0
        var asked: [Int] = []
        try writer.write(
            { (at) throws(Problem) in
                asked.append(at)
                return [UInt8](repeating: 9, count: writer.tensors[at].byteCount)
            },
            to: { (bytes, offset) throws(Problem) in
                #expect(offset == end)
                end += bytes.count
            })
        #expect(asked == [0, 1, 2] && end == writer.size)
        #expect(writer.tensors.map(\.begin) == [0, 32, 128])
        #expect(writer.size == writer.header.count + 160)
        let wrong = #expect(throws: Problem.self) { try writer.encoded([[], [], []]) }
        #expect(wrong?.message == "comes with 0 bytes, not 12" && wrong?.kind == .internalFault)
    }

    @Test func whatIsNotWritten() throws {
        func code(_ entries: [GGUFWriter.Entry], _ metadata: [(key: String, value: GGUFValue)] = []) -> String? {
            #expect(throws: Problem.self) { try GGUFWriter(metadata: metadata, tensors: entries) }?.code
        }
        #expect(code([.init("a", [1], .f32), .init("a", [1], .f32)]) == "duplicate-tensor")
        #expect(code([.init("a", [], .f32)]) == "bad-shape")
        #expect(code([.init("a", [1, 1, 1, 1, 1], .f32)]) == "bad-shape")
        #expect(code([.init("a", [0], .f32)]) == "bad-shape")
        #expect(code([.init("a", [33], .q8v0)]) == "bad-shape")
        #expect(code([.init("a", [.max], .f32)]) == "bad-shape")
        #expect(code([.init("", [1], .f32)]) == "bad-name")
        #expect(code([], [("k", .uint8(1)), ("k", .uint8(1))]) == "bad-metadata")
        #expect(code([], [("", .uint8(1))]) == "bad-metadata")
        #expect(code([], [("general.alignment", .uint32(24))]) == "bad-alignment")
        let long = String(repeating: "n", count: 64)
        let problem = #expect(throws: Problem.self) { try GGUFWriter(metadata: [], tensors: [.init(long, [1], .f32)]) }
        #expect(problem?.code == "gguf-name" && problem?.kind == .incompatible)
        #expect(problem?.message == "has a name of 64 bytes, but llama.cpp accepts at most 63")
        #expect(try GGUFWriter(metadata: [], tensors: [.init(String(long.dropLast()), [1], .f32)]).tensors.count == 1)
    }

    @Test func randomFilesComeBack() throws {
        var random = SeededRandom(test: "randomFilesComeBack")
        for _ in 0..<60 {
            var metadata: [(key: String, value: GGUFValue)] = (0..<random.below(6)).map {
                ("key.\($0)", Self.value(&random))
            }
            if random.below(3) == 0 {
                metadata.append(("general.alignment", .uint32(1 << UInt32(3 + random.below(6)))))
            }
            let entries = (0..<random.below(6)).map { at in
                let type = random.pick(GGMLType.allCases)
                let shape = (0..<random.below(4)).map { _ in 1 + random.below(4) }
                return GGUFWriter.Entry("t\(at)é\u{1}", shape + [type.blockElements * (1 + random.below(3))], type)
            }
            let writer = try GGUFWriter(metadata: metadata, tensors: entries)
            let data = writer.tensors.map { tensor in
                (0..<tensor.byteCount).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            }
            let file = try open(try writer.encoded(data))
            #expect(file.tensors == writer.tensors && file.header.alignment == writer.alignment)
            #expect(file.tensors.map(\.shape) == entries.map(\.shape))
            #expect(file.metadata.map(\.key) == metadata.map(\.key))
            #expect(file.metadata.map(\.value) == metadata.map(\.value))
            for (tensor, bytes) in zip(file.tensors, data) { #expect(try file.read(tensor) == bytes) }
        }
    }

    private static func value(_ random: inout SeededRandom) -> GGUFValue {
        let bits = random.next()
        switch random.below(9) {
        case 0: return .uint8(UInt8(truncatingIfNeeded: bits))
        case 1: return .int16(Int16(truncatingIfNeeded: bits))
        case 2: return .int64(Int64(bitPattern: bits))
        case 3: return .float32(Float(random.below(1_000)) / 8)
        case 4: return .bool(bits & 1 == 1)
        case 5: return .string(random.pick(["", "a", "\0\u{1B}", "é\u{1F600}", String(repeating: "x", count: 70_000)]))
        case 6: return .array(.string((0..<random.below(4)).map { "word \($0)" }))
        case 7: return .array(.uint32((0..<random.below(12_000)).map { UInt32($0) }))
        default: return .array(.array([.bool([true, false]), .array([.float64([0.5])]), .int8([])]))
        }
    }

    /// What a row of 32 loses in Q8_0: at most half a step of its largest number's 127th.
    @Test func quantizedRowsAreNear() throws {
        var random = SeededRandom(test: "quantizedRowsAreNear")
        for _ in 0..<200 {
            let values = random.numbers(32, size: Double(1 + random.below(1_000))).map { Float($0) }
            let read = GGUFNumbers.floats(GGUFNumbers.bytes(values, .q8v0), .q8v0)
            let most = values.map(\.magnitude).max() ?? 0
            #expect(zip(values, read).allSatisfy { abs($0 - $1) <= most / 127 * 0.57 })
        }
    }
}
