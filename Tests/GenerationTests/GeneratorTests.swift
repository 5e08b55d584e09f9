import Adapters
import Fixtures
import Foundation
import Problems
import Testing
import Tokenization

@testable import Generation

/// Texts, sessions, batches, perplexities and files of logits, on a small model whose tokens are bytes.
@Suite struct GeneratorTests {
    private func options(_ count: Int = 12, _ change: (inout GenerationOptions) -> Void = { _ in }) -> GenerationOptions
    {
        var options = GenerationOptions()
        options.maxTokens = count
        change(&options)
        return options
    }

    private func generator(_ shelf: AdapterShelf) throws -> Generator {
        Generator(try shelf.decoder(), ByteTokenizer(vocabularySize: 256))
    }

    private func shelf(_ scratch: Scratch, _ change: (inout TinyModel) -> Void = { _ in }) throws -> AdapterShelf {
        var model = TinyModel()
        change(&model)
        return try AdapterShelf(path: model.write(in: scratch), threads: 1)
    }

    @Test func endsForTheReasonItGives() throws {
        let scratch = try Scratch()
        let first = try generator(shelf(scratch)).run([1, 2, 3], options())
        #expect(first.ids.count == 12 && first.reason == .length)
        let ids = first.ids
        let end = ids[5]
        let ended = try generator(shelf(scratch) { $0.config["eos_token_id"] = [999, end] })
        let place = try #require(ids.firstIndex(of: end))
        let text = try ended.run([1, 2, 3], options())
        #expect(text.ids == Array(ids[...place]) && text.reason == .end)
        #expect(try ended.run([1, 2, 3], options { $0.ignoresEnd = true }).ids == ids)
        let long = try generator(shelf(scratch)).run([1, 2, 3], options(100))
        #expect(long.reason == .positions && long.ids.count == 64 - 3 + 1)
        var left = 4
        let cut = try generator(shelf(scratch)).run(
            [1, 2, 3], options(),
            isCancelled: {
                left -= 1; return left == 0
            })
        #expect(cut.reason == .interrupted && cut.ids == Array(ids[..<4]))
        #expect(code { _ = try generator(shelf(scratch)).run([], options()) } == "empty-prompt")
        #expect(try generator(shelf(scratch)).run([1], options(0)).ids == [])
    }

    /// However many tokens are guessed, and however the next is chosen, the text is the same.
    @Test func guessesChangeNothing() throws {
        var random = SeededRandom(test: "guessesChangeNothing")
        let scratch = try Scratch()
        let maker = try generator(shelf(scratch))
        for _ in 0..<20 {
            // Few different tokens, so that much of it has been there before.
            let prompt = (0..<Int.random(in: 1...20, using: &random)).map { _ in Int.random(in: 0..<3, using: &random) }
            let wanted = options(Int.random(in: 1...70, using: &random)) {
                $0.sampling = Sampling(temperature: Bool.random(using: &random) ? 0 : 0.05, topK: 4)
                $0.seed = random.next()
            }
            var alone = wanted
            alone.lookahead = 0
            let plain = try maker.run(prompt, alone)
            for count in [1, 3, 10] {
                var guessing = wanted
                guessing.lookahead = count
                let text = try maker.run(prompt, guessing)
                #expect(text.ids == plain.ids && text.reason == plain.reason && text.text == plain.text)
            }
        }
    }

    /// What followed the last three tokens before is guessed; wrong guesses are followed by pauses.
    @Test func guessesWhatWasThereBefore() {
        var ahead = Lookahead(limit: 3, [1, 2, 3, 4, 5, 6, 1, 2])
        #expect(ahead.guess(most: 9) == [])
        ahead.add(3)
        #expect(ahead.guess(most: 9) == [4, 5, 6])
        #expect(ahead.guess(most: 2) == [4, 5])
        #expect(ahead.guess(most: 0) == [])
        ahead.learn(right: 0, of: 3)
        #expect(ahead.guess(most: 9) == [])
        #expect(ahead.guess(most: 9) == [4, 5, 6])
        ahead.learn(right: 0, of: 3)
        #expect((0..<3).map { _ in ahead.guess(most: 1) } == [[], [], [4]])
        ahead.learn(right: 1, of: 1)
        ahead.learn(right: 0, of: 1)
        #expect((0..<2).map { _ in ahead.guess(most: 1) } == [[], [4]])
        var none = Lookahead(limit: 0, [1, 2, 3, 1, 2, 3])
        #expect(none.guess(most: 9) == [])
    }

    @Test func stopsBeforeAStopText() throws {
        let scratch = try Scratch()
        let maker = try generator(shelf(scratch))
        let whole = try maker.run([65, 66], options(20))
        let bytes = whole.ids.compactMap { UInt8(exactly: $0) }
        let ascii = bytes.indices.first { bytes[$0] < 0x80 && bytes[$0] >= 0x20 }
        guard let at = ascii else { return }
        let stop = String(decoding: [bytes[at]], as: UTF8.self)
        var pieces: [String] = []
        let text = try maker.run([65, 66], options(20) { $0.stops = [stop] }, isCancelled: { false }) {
            (piece) throws(Problem) in pieces.append(piece)
        }
        #expect(text.reason == .stop && text.ids.count == at + 1)
        #expect(pieces.joined() == text.text && !text.text.contains(stop))
    }

    @Test func sessions() throws {
        let scratch = try Scratch()
        let lora = try TinyModel.lora(as: "lora", seed: 3, in: scratch)
        let other = try TinyModel.lora(as: "other", seed: 4, in: scratch)
        var session = Session(try shelf(scratch), options())
        func text() throws -> [Int] {
            try Generator(session.decoder(), ByteTokenizer(vocabularySize: 256)).run([9, 8, 7], session.options).ids
        }
        let base = try text()
        #expect(try session.take("/adapters") == .say(["base alone"]))
        #expect(try session.take("/use \(lora)") == .say(["base + \(lora)"]))
        let tuned = try text()
        #expect(tuned != base)
        #expect(
            try session.take("/use \(other) \(lora):0.5") == .say(["base + \(other)", "base + \(lora), weight 0.5"]))
        #expect(
            try session.take("/weight other 0") == .say(["base + \(other), weight 0.0", "base + \(lora), weight 0.5"]))
        #expect(try session.take("/weight lora 1") == .say(["base + \(other), weight 0.0", "base + \(lora)"]))
        #expect(try text() == tuned)
        #expect(try session.take("/base") == .say(["base alone"]))
        #expect(try text() == base)
        #expect(try session.take("/seed 5") == .say(["seed 5"]) && session.options.seed == 5)
        #expect(try session.take("") == .nothing && session.take("  ") == .nothing)
        #expect(try session.take("hello /base") == .prompt("hello /base"))
        #expect(try session.take("//base") == .prompt("/base"))
        #expect(try session.take("/quit") == .quit)
        let spaced = try TinyModel.lora(as: "a 'b' c", seed: 3, in: scratch)
        let path = scratch.path
        for name in ["'\(path)/a '\\''b'\\'' c'", "\"\(spaced)\"", "\(path)/a\\ \\'b\\'\\ c", "\(path)/\"a 'b' \"c"] {
            #expect(try session.take("/use \(name):0.5") == .say(["base + \(spaced), weight 0.5"]), "\(name)")
        }
        #expect(try session.take("/weight \"a 'b' c\" 1") == .say(["base + \(spaced)"]))
        for line in ["/use 'a", "/use \"a", "/use a\\"] {
            #expect(code { _ = try session.take(line) } == "bad-command", "\(line)")
        }
        #expect(try session.take("don't") == .prompt("don't"))
        #expect(try session.take("/base") == .say(["base alone"]))
        #expect(try session.take("/help") == .say(Session.help))
        for line in ["/use", "/weight lora 1", "/weight x", "/seed", "/seed x", "/bass", "/base x", "/use \(lora):x"] {
            #expect(code { _ = try session.take(line) }?.hasPrefix("bad-") == true, "\(line)")
        }
        #expect(code { _ = try session.take("/use \(scratch("nothing"))") } == "no-adapter")
        #expect(try text() == base)
    }

    @Test func batches() throws {
        let scratch = try Scratch()
        let lora = try TinyModel.lora(as: "lora", seed: 3, in: scratch)
        let prefix = try TinyModel.prefix(as: "prefix", seed: 3, in: scratch)
        let shelf = try shelf(scratch)
        let lines = [
            #"{"prompt": "abc"}"#, #"{"prompt": "abc", "adapter": null}"#, "",
            #"{"prompt": "abc", "adapter": "\#(prefix)", "max_tokens": 3}"#,
            #"{"ids": [97, 98, 99], "adapter": ["\#(lora):0.5", "\#(prefix)"], "temperature": 1, "seed": 4}"#,
            #"{"prompt": "abc", "adapter": null, "max_tokens": 5}"#,
        ]
        let bytes = Array(lines.joined(separator: "\n").utf8)
        let batch = try Batch(bytes, adapters: [AdapterOperand(path: lora)], options())
        var found: [(line: Int, ids: [Int])] = []
        try batch.run(shelf, { (decoder) throws(Problem) in Generator(decoder, ByteTokenizer(vocabularySize: 256)) }) {
            (request, text) throws(Problem) in found.append((request.line, text.ids))
        }
        func alone(_ operands: [String], _ options: GenerationOptions) throws -> [Int] {
            let fresh = try AdapterShelf(path: scratch("base"), threads: 1)
            try fresh.use(operands.map { try AdapterOperand($0) })
            return try generator(fresh).run([97, 98, 99], options).ids
        }
        #expect(found.map(\.line) == [1, 2, 4, 5, 6])
        #expect(found[0].ids == (try alone([lora], options())))
        #expect(found[1].ids == (try alone([], options())))
        #expect(found[2].ids == (try alone([prefix], options(3))))
        let drawn = options {
            $0.sampling.temperature = 1
            $0.seed = 4
        }
        #expect(found[3].ids == (try alone([lora + ":0.5", prefix], drawn)))
        #expect(found[4].ids == Array(found[1].ids[..<5]))
    }

    @Test(arguments: [
        ("[]", "bad-request"), (#"{"prompt": 5}"#, "bad-request"), (#"{"adapter": "x"}"#, "bad-request"),
        (#"{"prompt": "a", "ids": [1]}"#, "bad-request"), (#"{"ids": [1.5]}"#, "bad-request"),
        (#"{"prompt": "a", "tokens": 5}"#, "unknown-field"), (#"{"prompt": "a", "max_tokens": -1}"#, "bad-request"),
        (#"{"prompt": "a", "top_p": 0}"#, "bad-request"), (#"{"prompt": "a", "adapter": 5}"#, "bad-request"),
        (#"{"prompt": "a""#, "json-syntax"), ("", "empty-batch"), ("\n \n", "empty-batch"),
    ])
    func badBatches(_ line: String, _ wanted: String) {
        #expect(code { _ = try Batch(Array(line.utf8), adapters: [], options()) } == wanted)
    }

    @Test func nothingIsMadeWhereALineIsWrong() throws {
        let scratch = try Scratch()
        let shelf = try shelf(scratch)
        let text = "{\"prompt\": \"a\"}\n{\"ids\": [1, 256]}"
        let batch = try Batch(Array(text.utf8), adapters: [], options())
        var count = 0
        let found = code {
            try batch.run(
                shelf, { (decoder) throws(Problem) in Generator(decoder, ByteTokenizer(vocabularySize: 256)) }
            ) {
                (_, _) throws(Problem) in count += 1
            }
        }
        #expect(found == "no-token" && count == 0)
    }

    @Test func perplexityIsItsDefinition() throws {
        let scratch = try Scratch()
        let decoder = try shelf(scratch).decoder()
        let ids = (0..<30).map { ($0 * 91 + 5) % 256 }
        let tokenizer = ByteTokenizer(vocabularySize: 256)
        var cache = decoder.newCache()
        var total = 0.0
        try decoder.forEachLogits(ids, &cache) { (first, logits) throws(Problem) in
            for row in 0..<logits.count / 256 where first + row + 1 < ids.count {
                let own = logits[row * 256..<(row + 1) * 256].map { exp(Double($0)) }
                total -= log(own[ids[first + row + 1]] / own.reduce(0, +))
            }
        }
        let found = try Perplexity(decoder, tokenizer, [LabelledIDs(ids)])
        #expect(abs(found.loss - total / 29) < 1e-9 && found.tokens == 29 && found.bytes == 29)
        #expect(abs(found.perplexity - exp(found.loss)) < 1e-9)
        #expect(abs((found.bitsPerByte ?? 0) - found.loss / log(2)) < 1e-9)
        // With a stride of one, each id but those of the first window has a full window before it.
        let near = try Perplexity(decoder, tokenizer, [LabelledIDs(ids)], window: 8, stride: 1)
        #expect(near.tokens == 29 && near.loss != found.loss)
        #expect(code { _ = try Perplexity(decoder, tokenizer, [LabelledIDs(ids)], window: 65) } == "bad-window")
        #expect(
            code { _ = try Perplexity(decoder, tokenizer, [LabelledIDs(ids)], window: 8, stride: 9) } == "bad-stride")
        #expect(code { _ = try Perplexity(decoder, tokenizer, [LabelledIDs([1, 300])]) } == "no-token")
    }

    @Test func filesOfIds() throws {
        let scratch = try Scratch()
        let tokenizer = ByteTokenizer(vocabularySize: 256)
        func read(_ name: String, _ bytes: [UInt8]) throws -> [[Int]] {
            try TokenFile(path: scratch.write(name, bytes), tokenizer).sequences.map(\.ids)
        }
        #expect(try read("a.txt", [1, 2, 255]) == [[1, 2, 255]])
        #expect(
            try read("a.jsonl", Array("[1, 2]\n{\"ids\": [3]}\n{\"text\": \"ab\"}\n".utf8)) == [
                [1, 2], [3], [97, 98],
            ])
        let ids = TensorFile([
            .init("input_ids", "I32", [2, 2], bytes: [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0, 0])
        ])
        #expect(try read("a.safetensors", ids.encoded) == [[1, 2], [3, 256]])
        #expect(code { _ = try read("empty.txt", []) } == "no-tokens")
        #expect(code { _ = try read("bad.jsonl", Array("[1, 2.5]".utf8)) } == "bad-example")
        let floats = TensorFile([.init("ids", "F32", [2], [1, 2])])
        #expect(code { _ = try read("bad.safetensors", floats.encoded) } == "bad-dtype")
    }

    /// What training learns from is measured, and nothing else.
    @Test func whatDoesNotCountIsContext() throws {
        let scratch = try Scratch()
        let tokenizer = ByteTokenizer(vocabularySize: 256)
        let tensors: [TensorFile.Tensor] = [
            .init("tokens", "U8", [2, 3], bytes: [1, 2, 3, 4, 5, 0]),
            .init("attention_mask", "U8", [2, 3], bytes: [1, 1, 1, 1, 1, 0]),
            .init("labels", "I8", [2, 3], bytes: [156, 156, 3, 156, 5, 156]),
        ]
        let path = try scratch.write("padded.safetensors", TensorFile(tensors).encoded)
        let ignored = LabelledIDs.ignored
        #expect(
            try TokenFile(path: path, tokenizer).sequences == [
                LabelledIDs([1, 2, 3], labels: [ignored, ignored, 3]), LabelledIDs([4, 5], labels: [ignored, 5]),
            ])
        let line = #"{"prompt": "abc", "completion": "de"}"#
        let file = try TokenFile(path: scratch.write("a.jsonl", line), tokenizer, end: 7)
        let decoder = try shelf(scratch).decoder()
        let found = try Perplexity(decoder, tokenizer, file.sequences)
        let (whole, prompt) = (Array("abcde".utf8).map(Int.init) + [7], Array("abc".utf8).map(Int.init))
        let all = try Perplexity(decoder, tokenizer, [LabelledIDs(whole)])
        let before = try Perplexity(decoder, tokenizer, [LabelledIDs(prompt)])
        #expect(found.tokens == 3 && abs(found.total - (all.total - before.total)) < 1e-9)
        #expect(
            code {
                _ = try TokenFile(path: scratch.write("b.jsonl", #"{"ids": [1, 2], "labels": [1, -100]}"#), tokenizer)
            } == "no-tokens")
    }

    @Test func logitsAreWrittenWhole() throws {
        let scratch = try Scratch()
        let decoder = try shelf(scratch).decoder()
        let ids = [5, 6, 7]
        try LogitsFile.write(decoder, ids, to: scratch("out.safetensors"))
        let file = try TensorFile(path: scratch("out.safetensors"))
        let tensor = try #require(file["logits"])
        var all: [Float] = []
        var cache = decoder.newCache()
        try decoder.forEachLogits(ids, &cache) { (_, values) throws(Problem) in all += values }
        #expect(tensor.shape == [3, 256] && tensor.values.map { Float($0) } == all)
        #expect(file["ids"]?.bytes.count == 24 && file["ids"]?.bytes[8] == 6)
        #expect(code { try LogitsFile.write(decoder, ids, to: scratch("out.safetensors")) } != nil)
        #expect(code { try LogitsFile.write(decoder, [256], to: scratch("bad.safetensors")) } == "no-token")
        #expect(scratch.names == ["base", "out.safetensors"])
    }
}
