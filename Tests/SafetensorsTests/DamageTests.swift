import Fixtures
import Problems
import Testing

@testable import Safetensors

@Suite struct DamageTests {
    @Test func theSampleIsSound() throws {
        #expect(TinyReader.read(sampleFile)?.count == 4)
        #expect(agree(sampleFile))
        #expect(try parse(sampleFile).metadataValue("k") == "v")
    }

    @Test func truncationAtEveryByteIsRefused() throws {
        let directory = try Scratch()
        for count in sampleFile.indices {
            let path = try directory.write("t.safetensors", Array(sampleFile[..<count]))
            let problem = try #require(malformation(path))
            if count >= 8 {
                #expect(problem.code == "truncated" && problem.offset == count, "\(count): \(problem)")
                #expect(problem.hint?.contains("early") == true)
            }
        }
    }

    @Test func everyBitFlipOfTheHeader() {
        var accepted = 0
        for at in 0..<sampleFile.count - 33 {
            for bit in 0..<8 {
                var file = sampleFile
                file[at] ^= 1 << UInt8(bit)
                #expect(agree(file), "byte \(at), bit \(bit)")
                if (try? parse(file)) != nil { accepted += 1 }
            }
        }
        // Only names and metadata can change without a word.
        #expect(accepted > 0 && accepted < 200)
    }

    @Test func bytesBeforeAndBehind() throws {
        let directory = try Scratch()
        for count in [1, 2, 7, 8, 9, 63, 512, 4096] {
            for byte in [0x00, 0x20, 0x7B, 0xFF] as [UInt8] {
                let extra = [UInt8](repeating: byte, count: count)
                let behind = try #require(malformation(try directory.write("b.safetensors", sampleFile + extra)))
                #expect(behind.code == "trailing-bytes")
                #expect(behind.offset == sampleFile.count)
                malformation(try directory.write("a.safetensors", extra + sampleFile))
            }
        }
        malformation(try directory.write("c.safetensors", sampleFile + sampleFile))
    }

    @Test(
        arguments: [
            (Array("PK\u{3}\u{4}".utf8), "zip"), (Array("%PDF-1.7\n".utf8), nil),
            (Array("GGUF\u{3}\0\0\0".utf8), "GGUF"),
            (Array("version https://git-lfs.github.com/spec/v1\n".utf8), "git lfs pull"),
            ([0x80, 0x02, 0x8A, 0x0A], "pickle"),
            (Array("<!DOCTYPE html><html>".utf8), "web page"), ([0x1F, 0x8B, 0x08, 0x00], "gzip"),
            (Array("#!/bin/sh\n".utf8), nil),
            (Array(#"{"a": 1, "b": 2}"#.utf8), "JSON"), ([0x7F, 0x45, 0x4C, 0x46], nil),
            ([0x28, 0xB5, 0x2F, 0xFD], "Zstandard"),
        ] as [([UInt8], String?)])
    func polyglots(_ magic: [UInt8], _ word: String?) throws {
        let directory = try Scratch()
        for tail in [[], sampleFile, [UInt8](repeating: 0, count: 200)] {
            let problem = try #require(
                malformation(try directory.write("p", magic + [UInt8](repeating: 0x0A, count: 8) + tail)))
            if let word { #expect("\(problem.message) \(problem.hint ?? "")".contains(word), "\(problem)") }
        }
        // Behind the last tensor nothing can hide.
        malformation(try directory.write("q.safetensors", sampleFile + magic))
    }

    /// Valid headers with one to three fields changed: our reader and the tiny one must agree on each.
    @Test func mutantsAgreeWithTheTinyReader() {
        var random = SeededRandom(test: "mutantsAgreeWithTheTinyReader")
        var accepted = 0
        for _ in 0..<3_000 {
            let file = Mutant(&random).file
            #expect(agree(file), "\(String(decoding: file.dropFirst(8).prefix(600), as: UTF8.self))")
            if TinyReader.read(file) != nil { accepted += 1 }
        }
        #expect(accepted > 300 && accepted < 2_500, "\(accepted) mutants were accepted")
    }

    @Test func noiseIsRefusedAlike() {
        var random = SeededRandom(test: "noiseIsRefusedAlike")
        for _ in 0..<4_000 {
            var file = sampleFile
            for _ in 0...random.below(3) {
                let at = random.below(file.count)
                switch random.below(4) {
                case 0: file[at] = UInt8(random.below(256))
                case 1: file.remove(at: at)
                case 2: file.insert(random.pick(Array("\"\\{}[],:0u19 \n".utf8)), at: at)
                default:
                    let end = min(file.count, at + random.below(40))
                    file.insert(contentsOf: file[at..<end], at: random.below(file.count))
                }
            }
            // Most changes move the end of the header; half of them get a length that is right again.
            if random.below(2) == 0, file.count > 50 {
                file = fileOf(header: Array(file[8..<file.count - 33]), data: 33)
            }
            #expect(agree(file), "\(String(decoding: file, as: UTF8.self))")
        }
    }
}

/// A random valid header with up to three fields changed.
private struct Mutant {
    private struct Entry {
        var name: String
        var fields: [(key: String, value: String)]
    }

    private var entries: [Entry] = []
    private var metadata: String?
    private var data = 0
    private static let types: [(name: String, bits: Int)] = [
        ("F32", 32), ("BF16", 16), ("F16", 16), ("U8", 8), ("BOOL", 8), ("F4", 4), ("F6_E2M3", 6), ("I64", 64),
        ("F8_E4M3", 8),
        ("F8_E5M2FNUZ", 8), ("C64", 64),
    ]
    private static let values = [
        "0", "1", "2", "-1", "1.0", "1e0", "01", "\"1\"", "null", "[]", "{}", "true", "9223372036854775807",
        "9223372036854775808",
        "4294967296", "18446744073709551616", "[0,0]", "[1]", "[0,1,2]", "[[0,4]]", "\"F32\"", "\"f32\"",
        "\"F\\u00332\"", "\"\"",
        "[0]", "[2,0,9223372036854775807,9223372036854775807]", "[9223372036854775807,2]", "[3037000500,3037000500]",
        "[0,4]",
        "[ 0 ,\\n4 ]", "[0,4,]", "nul",
    ]

    init(_ random: inout SeededRandom) {
        for at in 0..<random.below(6) {
            let (type, bits) = random.pick(Self.types)
            var shape = (0..<random.below(4)).map { _ in random.below(5) }
            if shape.reduce(bits, *) % 8 != 0 { shape.append(8) }
            let end = data + shape.reduce(bits, *) / 8
            let name =
                random.pick(["t", "layer.0.weight", "é", "e\u{301}", "a\\\"b", "\\u0041", "\\ud83d\\ude00", ""])
                + "\(at)"
            entries.append(
                Entry(
                    name: name,
                    fields: [
                        ("dtype", "\"\(type)\""), ("shape", "[\(shape.map(String.init).joined(separator: ","))]"),
                        ("data_offsets", "[\(data),\(end)]"),
                    ]))
            data = end
        }
        if random.below(3) == 0 {
            metadata = random.pick(["{}", "null", #"{"k":"v"}"#, #"{"k":"v","k":"w"}"#, #"{"k":1}"#])
        }
        if random.below(2) == 0 { entries.shuffle(using: &random) }
        for _ in 0..<random.below(4) { change(&random) }
    }

    private mutating func change(_ random: inout SeededRandom) {
        guard !entries.isEmpty else { return }
        let at = random.below(entries.count)
        let field = entries[at].fields.indices.randomElement(using: &random)
        switch random.below(10) {
        case 0: entries.append(entries[at])
        case 1: entries[at].name = random.pick(entries).name
        case 2: if let field { entries[at].fields.remove(at: field) }
        case 3: if let field { entries[at].fields.append(entries[at].fields[field]) }
        case 4:
            if let field {
                entries[at].fields[field].key = random.pick(["dtype", "Dtype", "extra", "sh\\u0061pe", ""])
            }
        case 5, 6: if let field { entries[at].fields[field].value = random.pick(Self.values) }
        case 7:
            let (begin, end) = (random.below(data + 9), random.below(data + 9))
            if entries[at].fields.count > 2 { entries[at].fields[2].value = "[\(begin),\(end)]" }
        case 8: data += random.pick([-1, 1, 8])
        default: entries[at].fields.shuffle(using: &random)
        }
    }

    var file: [UInt8] {
        var parts = entries.map { entry in
            "\"\(entry.name)\":{" + entry.fields.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",") + "}"
        }
        if let metadata { parts.insert("\"__metadata__\":" + metadata, at: parts.count / 2) }
        return fileOf(header: "{" + parts.joined(separator: ",") + "}", data: max(data, 0))
    }
}
