import Files
import Fixtures
import Models
import Problems
import Safetensors
import Testing
import Tokenization

@testable import Training

/// Texts as ids and targets.
struct DataTests {
    private func read(
        _ scratch: borrowing Scratch, _ name: String, _ text: String, length: Int = 8, truncates: Bool = false
    ) throws
        -> [TokenSequence]
    {
        let path = scratch(name)
        try writeFile(Array(text.utf8), to: path, replacing: true)
        return try reader(length, truncates).read(path).sequences
    }

    private func reader(_ length: Int, _ truncates: Bool = false, vocabulary: Int = 300) throws -> DataReader {
        var config = try Made.config(vocabulary: vocabulary)
        config.endIDs = [256]
        return DataReader(config: config, length: length, truncates: truncates) { () throws(Problem) in
            ByteTokenizer(vocabularySize: vocabulary)
        }
    }

    private func bytes(_ text: String) -> [Int32] { text.utf8.map { Int32($0) } }

    @Test func plainTextMakesEachByteButTheFirstATargetOnce() throws {
        let scratch = try Scratch()
        let text = "abcdefghijklmnopqrst"
        let found = try read(scratch, "a.txt", text)
        #expect(found.map(\.ids.count) == [8, 8, 3])
        #expect(found.flatMap(\.ids) == Array(bytes(text).dropLast()))
        #expect(found.flatMap(\.targets) == Array(bytes(text).dropFirst()))
    }

    @Test func ofAPromptOnlyTheCompletionIsLearned() throws {
        let scratch = try Scratch()
        let found = try read(scratch, "a.jsonl", #"{"prompt": "ab", "completion": "cd"}"# + "\n\n")
        #expect(found == [TokenSequence(ids: bytes("abcd"), targets: [-1] + bytes("cd") + [256])])
    }

    /// What is cut, and what is left out since nothing of it counts, is counted.
    @Test func whatIsCutIsCounted() throws {
        let scratch = try Scratch()
        let lines =
            #"{"prompt": "0123456789", "completion": "x"}"# + "\n" + #"{"text": "0123456789"}"# + "\n"
            + #"{"text": "01"}"# + "\n[1]\n"
        // A name that ends in .json is that of JSON lines as well.
        for name in ["a.jsonl", "a.json"] {
            try writeFile(Array(lines.utf8), to: scratch(name), replacing: true)
            let data = try reader(8, true).read(scratch(name))
            #expect(data.sequences.map(\.ids.count) == [8, 2])
            #expect(data.cutCount == 2 && data.droppedCount == 2)
        }
        let hidden = #"{"prompt": "0123456789", "completion": "x"}"#
        try writeFile(Array(hidden.utf8), to: scratch("b.jsonl"), replacing: true)
        let problem = #expect(throws: Problem.self) { _ = try reader(8, true).read(scratch("b.jsonl")) }
        #expect(problem?.message.contains("what counts lies behind the 8 tokens") == true)
    }

    @Test func preparedIdsWithLabels() throws {
        let scratch = try Scratch()
        let found = try read(
            scratch, "a.jsonl",
            #"{"input_ids": [1, 2, 3, 4], "labels": [-100, -100, 3, 4]}"# + "\n" + #"{"ids": [5, 6]}"# + "\n"
                + #"{"tokens": [7, 8]}"# + "\n[9, 10]")
        #expect(
            found == [
                TokenSequence(ids: [1, 2, 3], targets: [-1, 3, 4]), TokenSequence(ids: [5], targets: [6]),
                TokenSequence(ids: [7], targets: [8]), TokenSequence(ids: [9], targets: [10]),
            ])
    }

    @Test func aTokenFileOfExamplesWithPadding() throws {
        let scratch = try Scratch()
        let numbers = { (values: [Int32]) in
            values.flatMap { value in (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
        }
        let file = try Header.encode(
            tensors: [
                ("input_ids", .i32, [2, 3], numbers([1, 2, 3, 4, 5, 0])),
                ("attention_mask", .u8, [2, 3], [1, 1, 1, 1, 1, 0]),
            ], metadata: nil)
        try writeFile(file, to: scratch("a.safetensors"), replacing: false)
        let found = try reader(8).read(scratch("a.safetensors")).sequences
        #expect(found == [TokenSequence(ids: [1, 2], targets: [2, 3]), TokenSequence(ids: [4], targets: [5])])
    }

    @Test(arguments: [
        ("a.txt", "", "no-text", Problem.Kind.malformed), ("a.txt", "x", "no-text", .malformed),
        ("a.txt", "ab\0c", "binary-data", .malformed), ("a.jsonl", "{", "bad-example", .malformed),
        ("a.jsonl", "[1, 2.5]", "bad-example", .malformed), ("a.jsonl", "7", "bad-example", .malformed),
        ("a.jsonl", #"{"tokens": [1], "ids": [1]}"#, "two-ids", .malformed),
        ("a.jsonl", #"{"prompt": "a"}"#, "bad-example", .malformed),
        ("a.jsonl", #"{"prompt": "a", "completion": ""}"#, "bad-example", .malformed),
        ("a.jsonl", #"{"input_ids": [1, 300]}"#, "no-token", .incompatible),
        ("a.jsonl", #"{"input_ids": [1, -1]}"#, "no-token", .incompatible),
        ("a.jsonl", #"{"input_ids": [1, 2], "labels": [1]}"#, "bad-example", .malformed),
        ("a.jsonl", #"{"text": "0123456789"}"#, "bad-example", .malformed),
        ("a.safetensors", "garbage", "truncated", .malformed),
    ])
    func refusals(name: String, text: String, code: String, kind: Problem.Kind) throws {
        let scratch = try Scratch()
        let problem = try #require(throws: Problem.self) { try read(scratch, name, text) }
        #expect(problem.kind == kind && problem.file == scratch(name), "\(problem)")
        #expect(name == "a.safetensors" || problem.code == code, "\(problem)")
    }

    @Test func longExamplesAreCutIfThatIsWanted() throws {
        let scratch = try Scratch()
        let found = try read(scratch, "a.jsonl", #"{"text": "0123456789"}"#, truncates: true)
        #expect(found == [TokenSequence(ids: bytes("01234567"), targets: bytes("12345678"))])
    }

    @Test func choicesOfLayers() throws {
        #expect(try LayerChoice("all").layers(of: 3) == [0, 1, 2])
        #expect(try LayerChoice("last:2").layers(of: 5) == [3, 4])
        #expect(try LayerChoice("4,0-1,1").layers(of: 5) == [0, 1, 4])
        for bad in ["", "last:0", "last:x", "3-1", "-1", "1,,2", "first:2"] {
            #expect(throws: Problem.self, "\(bad)") { try LayerChoice(bad) }
        }
        #expect(throws: Problem.self) { try LayerChoice("last:6").layers(of: 5) }
    }

    @Test func everyOrderHasEachSequenceOncePerEpoch() {
        let order = DataOrder(count: 11, perStep: 4, seed: 3, shuffles: true)
        #expect(order.stepsPerEpoch == 3)
        let epochs = (0..<2).map { epoch in (0..<3).flatMap { order.sequences(at: 3 * epoch + $0) } }
        for epoch in epochs { #expect(epoch.sorted() == Array(0..<11)) }
        #expect(epochs[0] != epochs[1])
        let plain = DataOrder(count: 5, perStep: 2, seed: 3, shuffles: false)
        #expect((0..<3).map { plain.sequences(at: $0) } == [[0, 1], [2, 3], [4]])
    }

    @Test func everyWorkerGetsARunOfSequences() {
        for threads in 1...5 {
            for counts in [[1], [5, 5, 5, 5], [100, 1, 1, 1], [1, 1, 1, 100], [3, 9, 2, 7, 7, 1]] {
                let parts = Engine.deal(counts, to: threads)
                #expect(parts.flatMap { Array($0) } == Array(counts.indices))
                #expect(parts.count == min(threads, counts.count) && parts.allSatisfy { !$0.isEmpty })
            }
        }
    }
}
