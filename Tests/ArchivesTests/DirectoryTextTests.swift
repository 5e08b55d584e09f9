import Fixtures
import Testing

@testable import Archives

/// The text of a directory says all that it was made of.
@Suite struct DirectoryTextTests {
    @Test func randomDirectoriesComeBack() throws {
        var random = SeededRandom(test: "randomDirectoriesComeBack")
        for _ in 0..<600 {
            let made = RandomDirectory(&random)
            let text = made.directory.encoded()
            let shown = String(decoding: text, as: UTF8.self)
            let (read, streams) = try DirectoryParser.parse(text, archiveSize: made.streams.reduce(0, +))
            #expect(read.encoded() == text, "\(shown)")
            #expect(streams == made.streams, "\(shown)")
            #expect(read.tokens == made.directory.tokens && read.chunks == made.directory.chunks, "\(shown)")
            check(read, made.directory, shown)
        }
    }

    private func check(_ read: ArchiveDirectory, _ made: ArchiveDirectory, _ shown: String) {
        #expect(read.isFile == made.isFile && read.content == made.content)
        #expect(read.directories == made.directories)
        #expect(read.sources == made.sources && read.baseName == made.baseName)
        #expect(read.recipe == made.recipe)
        #expect(read.binding?.config == made.binding?.config)
        #expect(read.binding?.tensors.map(\.name) == made.binding?.tensors.map(\.name))
        #expect(read.binding?.tensors.map(\.digest) == made.binding?.tensors.map(\.digest))
        #expect(read.entries.map(\.path) == made.entries.map(\.path))
        #expect(read.entries.map(\.size) == made.entries.map(\.size))
        #expect(read.entries.map(\.parts) == made.entries.map(\.parts), "\(shown)")
        #expect(read.parts.map(\.code) == made.parts.map(\.code), "\(shown)")
        #expect(read.parts.map(\.start) == made.parts.map(\.start))
        #expect(read.parts.map(\.chunk) == made.parts.map(\.chunk))
        #expect(read.parts.map(\.firstToken) == made.parts.map(\.firstToken))
        #expect(read.parts.map(\.firstChunk) == made.parts.map(\.firstChunk))
    }

    /// Any byte changed: refused, or read as something that has this very text, so that nothing is ever guessed.
    @Test func damagedTextsAreRefusedOrMeanWhatTheySay() {
        var random = SeededRandom(test: "damagedTextsAreRefusedOrMeanWhatTheySay")
        var accepted = 0
        for _ in 0..<100 {
            let made = RandomDirectory(&random)
            let text = made.directory.encoded()
            for _ in 0..<20 {
                var damaged = text
                let at = random.below(text.count)
                switch random.below(3) {
                case 0: damaged[at] ^= 1 << UInt8(random.below(8))
                case 1: damaged.remove(at: at)
                default: damaged.insert(random.pick(Array("0 \n@.=/\"a".utf8)), at: at)
                }
                guard let read = try? DirectoryParser.parse(damaged, archiveSize: 1 << 30) else { continue }
                accepted += 1
                let again = read.directory.encoded()
                let lines = zip(again.split(separator: 0x0A), damaged.split(separator: 0x0A)).filter { $0 != $1 }
                // Only the spelling of a JSON string is free.
                let isFree = !lines.isEmpty && lines.allSatisfy { $0.1.contains(UInt8(ascii: "\"")) }
                #expect(again == damaged || isFree, "\(lines.map { String(decoding: $0.1, as: UTF8.self) })")
            }
        }
        print("damagedTextsAreRefusedOrMeanWhatTheySay: \(accepted) of 2000 still make sense")
    }
}

/// Codes and numbers as a directory writes them.
@Suite struct PartCodeTests {
    private static let known: [(text: String, code: PartCode, planes: Int, width: Int)] = [
        ("bytes", .bytes, 1, 1), ("rotated1", .rotated(width: 1), 1, 1), ("rotated2", .rotated(width: 2), 2, 2),
        ("rotated4", .rotated(width: 4), 4, 4), ("rotated8", .rotated(width: 8), 8, 8),
        ("joint2", .joint(width: 2), 3, 2), ("joint4", .joint(width: 4), 5, 4), ("joint8", .joint(width: 8), 9, 8),
        ("difference2@0", .difference(width: 2, source: 0), 2, 2),
        ("difference8@17", .difference(width: 8, source: 17), 8, 8),
        ("grouped2.7@3", .grouped(width: 2, shift: 7, source: 3), 2, 2),
        ("grouped1.0@0", .grouped(width: 1, shift: 0, source: 0), 1, 1),
        ("grouped8.63@0", .grouped(width: 8, shift: 63, source: 0), 8, 8), ("copy@5", .copy(source: 5), 0, 1),
        ("merged@5", .merged(source: 5), 0, 1),
    ]

    @Test func knownOnes() {
        for (text, code, planes, width) in Self.known {
            #expect(PartCode(text) == code)
            #expect(code.text == text)
            #expect(code.planes == planes && code.width == width, "\(text)")
        }
    }

    @Test(
        arguments: [
            "", " ", "byte", "Bytes", "bytes1", "bytes@0", "bytes.1", "bytes ", "rotated", "rotated3", "rotated0",
            "rotated16", "rotated02", "rotated2@0", "rotated2.7", "rotated2 ", "joint", "joint1", "joint2@0", "joint3",
            "difference2", "difference@0", "difference2@", "difference2@00", "difference2@-1", "difference2@x",
            "difference2@0@0", "difference2@18446744073709551616", "difference2.7@0", "difference3@0", "grouped2@0",
            "grouped2.16@0", "grouped2.07@0", "grouped2.@0", "grouped2.-1@0", "grouped2.7", "grouped2.7.7@0",
            "grouped2.99999999999999999999@0", "copy", "copy@", "copy2@0", "copy@0 ", "merged", "merged2@0", "raw@0",
            "rotated\u{662}", "rotated２",
        ])
    func unknownOnes(_ text: String) { #expect(PartCode(text) == nil) }

    @Test func numbers() {
        for value in [0, 1, 9, 10, 123, 1 << 20, 1 << 53, 288_230_376_151_711_743, 2_882_303_761_517_117_439] {
            #expect(decimal(String(value).utf8) == value)
        }
        for text in [
            "", "00", "01", "+1", "-1", " 1", "1 ", "1.0", "1e3", "0x10", "１", "9223372036854775807",
            "9223372036854775808", "18446744073709551616", "99999999999999999999", "100000000000000000000000000",
        ] { #expect(decimal(text.utf8) == nil, "\(text)") }
    }
}
