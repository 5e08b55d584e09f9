import Fixtures
import Problems
import Testing

@testable import Tokenization

@Suite struct PropertyTests {
    private func text(_ random: inout SeededRandom) -> String {
        let pools: [ClosedRange<UInt32>] = [
            0x20...0x7E, 0x09...0x0D, 0xA0...0x24F, 0x300...0x36F, 0x4E00...0x4EFF, 0xAC00...0xACFF, 0x1100...0x11FF,
            0x1F300...0x1F6FF, 0x0...0x10_FFFF,
        ]
        var result = ""
        for _ in 0..<random.below(60) {
            let scalar = Unicode.Scalar(UInt32.random(in: random.pick(pools), using: &random))
            if let scalar { result.unicodeScalars.append(scalar) }
        }
        return result
    }

    @Test(arguments: ["gpt2", "llama3"]) func whatIsEncodedComesBack(_ style: String) throws {
        var random = SeededRandom(test: "round trip")
        let tokenizer = try Golden.tokenizer(style)
        for _ in 0..<500 {
            let bytes = Array(text(&random).utf8)
            let ids = try tokenizer.encode(bytes)
            #expect(ids.allSatisfy { $0 >= 0 && $0 < tokenizer.vocabularySize })
            #expect(try tokenizer.decode(ids, skipsSpecial: true) == bytes)
            // Nor does it matter what was encoded before.
            #expect(try Golden.tokenizer(style).encode(bytes) == ids)
        }
    }

    /// With a normalizer the normalized text comes back; Swift's characters are equal if their normalized forms are.
    @Test func whatIsNormalizedStaysEqual() throws {
        var random = SeededRandom(test: "normalized round trip")
        let tokenizer = try Golden.tokenizer("qwen2")
        for _ in 0..<500 {
            let text = text(&random)
            let bytes = try tokenizer.decode(try tokenizer.encode(Array(text.utf8)), skipsSpecial: true)
            let back = String(decoding: bytes, as: UTF8.self)
            #expect(back == text)
            #expect(Normalization.apply(.composed, to: bytes) == bytes)
            let decomposed = Normalization.apply(.decomposed, to: Array(text.utf8))
            #expect(Normalization.apply(.composed, to: decomposed) == bytes)
        }
    }

    @Test func shortAndLongWordsAreMergedAlike() throws {
        var random = SeededRandom(test: "merges")
        for _ in 0..<200 {
            var merges = MergeTable(count: 60)
            for rank in 0..<60 {
                merges.set(
                    UInt32(random.below(8 + rank / 8)), UInt32(random.below(8 + rank / 8)),
                    MergeTable.Merge(rank: UInt32(rank), product: UInt32(8 + rank)))
            }
            let word = (0..<(2 + random.below(120))).map { _ in UInt32(random.below(8)) }
            var list = MergeList()
            var found: [UInt32] = []
            list.merge(word, by: merges, into: &found)
            #expect(found == plain(word, merges))
        }
    }

    /// The definition: of all pairs the one of lowest rank, of equals the leftmost, again and again.
    private func plain(_ word: [UInt32], _ merges: MergeTable) -> [UInt32] {
        var ids = word
        while ids.count > 1 {
            let ranks = (0..<(ids.count - 1)).map { merges.merge(ids[$0], ids[$0 + 1]).rank }
            guard let best = ranks.min(), best != .max, let place = ranks.firstIndex(of: best) else { break }
            ids[place] = merges.merge(ids[place], ids[place + 1]).product
            ids.remove(at: place + 1)
        }
        return ids
    }

    @Test func threadsDoNotMeet() async throws {
        let tokenizer = try Golden.tokenizer("llama3")
        let cases = try Golden.cases("llama3")
        await withTaskGroup(of: Bool.self) { group in
            for start in 0..<8 {
                group.addTask {
                    (0..<cases.count).allSatisfy { step in
                        let one = cases[(start * 7 + step) % cases.count]
                        return (try? tokenizer.encode(Array(one.text.utf8))) == one.ids
                    }
                }
            }
            for await isRight in group { #expect(isRight) }
        }
    }

    /// Quadratic work on these would take hours.
    @Test(
        .timeLimit(.minutes(2)), arguments: [("a", 200_000), ("中", 50_000), (" ", 100_000), ("e\u{301}", 30_000)])
    func longRuns(_ unit: String, _ count: Int) throws {
        let bytes = Array(String(repeating: unit, count: count).utf8)
        for style in Golden.styles {
            let tokenizer = try Golden.tokenizer(style)
            let ids = try tokenizer.encode(bytes)
            let back = try tokenizer.decode(ids, skipsSpecial: true)
            #expect(
                String(decoding: back, as: UTF8.self).utf8.count
                    == (style == "qwen2" && unit == "e\u{301}" ? 2 : unit.utf8.count) * count)
        }
    }

    @Test(.timeLimit(.minutes(1))) func addedTokensOfSpaceAreFoundOnce() throws {
        let token = Document.added(259, " ", ["rstrip": true, "lstrip": true])
        let document = Document.with("added_tokens", "[\(token)]")
        let tokenizer = try document.tokenizer()
        let ids = try tokenizer.encode(Array(repeating: 32, count: 100_000))
        #expect(ids.allSatisfy { $0 == 259 } && !ids.isEmpty)
    }

    /// Expressions that would never end are given up.
    @Test(.timeLimit(.minutes(2)), arguments: ["(a+)+$x", "(?:a|aa)+[^a]"])
    func catastrophes(_ pattern: String) throws {
        let split = #"{"type":"Split","pattern":{"Regex":"\#(pattern)"},"behavior":"Isolated","invert":false}"#
        let tokenizer = try Document.with(
            "pre_tokenizer", #"{"type":"Sequence","pretokenizers":[\#(split),\#(Document.byteLevel)]}"#
        ).tokenizer()
        #expect {
            try tokenizer.encode(Array(repeating: 97, count: 5000))
        } throws: { error in
            (error as? Problem)?.code == "tokenizer-regex-limit" && (error as? Problem)?.kind == .incompatible
        }
    }
}
