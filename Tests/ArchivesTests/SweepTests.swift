import Digests
import Fixtures
import Problems
import Testing

@testable import Archives

/// A small archive with each bit flipped, and cut at each byte: refused, or it gives the same files.
@Suite struct SweepTests {
    private static let tensors: [UInt8] = {
        let values = (0..<40).map { Double($0 % 7) - 3.25 }
        return TensorFile([.init("w", "BF16", [5, 8], values), .init("n", "I32", [2], bytes: Array(1...8))]).encoded
    }()
    private static let files: [String: [UInt8]] = [
        "a.txt": Array("hello, hello, hello\n".utf8), "d/w.safetensors": tensors, "none": [],
    ]

    private static let whole: [UInt8] = {
        guard let scratch = try? Scratch(), (try? scratch.directory("in/e")) != nil else { return [] }
        for (name, bytes) in files { _ = try? scratch.write("in/\(name)", bytes) }
        return (try? packed(scratch("in"))) ?? []
    }()

    /// What an archive gives once it has passed its test: every file, and the directories.
    private func unpacked(_ bytes: [UInt8]) throws -> (files: [String: [UInt8]], directories: [String]) {
        let archive = try opened(bytes)
        try archive.test(threads: 1)
        var files: [String: [UInt8]] = [:]
        for item in archive.items {
            let file = try #require(archive.open(item.path))
            files[item.path] = try file.readAll(limit: 1 << 20)
            #expect(SHA256.hex(files[item.path] ?? []) == item.digest, "what is read has the digest that is told")
        }
        return (files, archive.emptyDirectories)
    }

    /// Whether damage was refused; what was not must be without effect.
    private func isRefused(_ bytes: [UInt8], _ what: String) -> Bool {
        do {
            let (files, directories) = try unpacked(bytes)
            #expect(files == Self.files && directories == ["e"], "\(what): other files")
            return false
        } catch let problem as Problem {
            #expect([.malformed, .incompatible].contains(problem.kind), "\(what): \(problem)")
            #expect(!problem.message.isEmpty)
        } catch {
            Issue.record("\(what): \(error)")
        }
        return true
    }

    @Test func itIsSmallAndSound() throws {
        #expect((1_000...2_000).contains(Self.whole.count), "\(Self.whole.count) bytes")
        let (files, directories) = try unpacked(Self.whole)
        #expect(files == Self.files && directories == ["e"])
    }

    @Test(arguments: 0..<8) func everyBit(_ bit: Int) {
        var harmless: [Int] = []
        for at in Self.whole.indices {
            var damaged = Self.whole
            damaged[at] ^= 1 << UInt8(bit)
            if !isRefused(damaged, "bit \(bit) of byte \(at)") { harmless.append(at) }
        }
        // Bits that mean nothing: those that fill a stream of zlib's up to a whole byte.
        #expect(harmless.count < 40, "bit \(bit) of the bytes \(harmless)")
    }

    @Test func everyLength() {
        for length in 0..<Self.whole.count { #expect(isRefused(Array(Self.whole[..<length]), "\(length) bytes")) }
        for more in [1, 8, 1000] {
            #expect(isRefused(Self.whole + [UInt8](repeating: 0, count: more), "\(more) bytes more"))
        }
    }

    @Test func severalBytesAtOnce() {
        var random = SeededRandom(test: "severalBytesAtOnce")
        for _ in 0..<1000 {
            var damaged = Self.whole
            switch random.below(4) {
            case 0:
                for _ in 0...random.below(6) { damaged[random.below(damaged.count)] = UInt8(random.below(256)) }
            case 1: damaged.remove(at: random.below(damaged.count))
            case 2: damaged.insert(UInt8(random.below(256)), at: random.below(damaged.count))
            default:
                let start = random.below(damaged.count)
                let end = min(damaged.count, start + 1 + random.below(100))
                damaged.replaceSubrange(start..<end, with: random.bytes(end - start))
            }
            _ = isRefused(damaged, "ADAPTERKIT_SEED")
        }
    }
}
