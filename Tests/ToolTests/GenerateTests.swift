import Fixtures
import Foundation
import Testing

/// `adapter-generate` on the example's model: texts, exit codes, what is said, and what is left behind.
@Suite struct GenerateTests {
    private static let data = "\(Golden.root)/examples/data"
    private static let base = "\(data)/base"
    private static let law = "\(data)/adapter-law"
    private static let scripture = "\(data)/adapter-scripture"

    private func generate(_ arguments: String...) -> Answer { Tools.run("adapter-generate", arguments) }

    private func ids(_ arguments: [String]) throws -> [Int] {
        let answer = Tools.run("adapter-generate", arguments + ["--json", "-p", "The law", "-n", "24"])
        #expect(answer.status == 0, "\(answer.err)")
        return try #require(try answer.json()["ids"] as? [Int])
    }

    @Test func makesText() throws {
        let answer = generate(Self.base, Self.law, "-p", "The law", "-n", "40")
        #expect(answer.status == 0, "\(answer.err)")
        #expect(answer.out.hasSuffix("\n") && answer.out.utf8.count > 20)
        #expect(answer.err.contains("note: 40 tokens ("))
        let document = try generate(Self.base, Self.law, "-p", "The law", "-n", "40", "--json").json()
        #expect(document["schema"] as? String == "adapterkit.generate")
        #expect(document["text"] as? String == String(answer.out.dropLast()))
        #expect(document["finish_reason"] as? String == "length")
        #expect((document["prompt_ids"] as? [Int])?.count == 7)
        let fromFile = try Scratch()
        let file = try fromFile.write("prompt.txt", "The law")
        #expect(generate(Self.base, Self.law, "--prompt-file", file, "-n", "40").out == answer.out)
        let piped = Tools.shell(
            "printf 'The law' | adapter-generate \"$1\" \"$2\" -n 40 --quiet", Self.base, Self.law)
        #expect(piped.out == answer.out && piped.err.isEmpty)
    }

    @Test func adaptersPackedAndMergedSayTheSame() throws {
        let scratch = try Scratch()
        let (plain, law) = (try ids([Self.base]), try ids([Self.base, Self.law]))
        #expect(plain != law)
        #expect(try ids([Self.base, Self.law + ":0"]) == plain)
        #expect(Tools.run("adapter-pack", [Self.law, "-o", scratch("law.adapter")]).status == 0)
        #expect(try ids([Self.base, scratch("law.adapter")]) == law)
        let merged = Tools.merge(Self.base, [Self.law], scratch("merged"), "--dtype", "float32")
        #expect(merged.status == 0, "\(merged.err)")
        #expect(try ids([scratch("merged")]) == law)
        for threads in ["1", "2", "5"] { #expect(try ids([Self.base, Self.law, "--threads", threads]) == law) }
    }

    /// Without a tokenizer there are no texts: ids are the answer.
    @Test func idsOfABaseWithoutATokenizer() throws {
        let base = Golden.path("linear-qv-bf16") + "/base"
        let answer = generate(base, "--ids", "1 2 3", "-n", "4")
        let document = try generate(base, "--ids", "1 2 3", "-n", "4", "--json").json()
        let ids = try #require(document["ids"] as? [Int])
        #expect(answer.status == 0 && answer.out == ids.map(String.init).joined(separator: " ") + "\n")
        let stopped = generate(base, "--ids", "1 2 3", "--stop", "x")
        #expect(stopped.status == 64 && stopped.errors.count == 1 && stopped.out.isEmpty)
    }

    @Test func theSeedDecides() throws {
        let drawn = { (seed: String) in try self.ids([Self.base, "--temperature", "1.5", "--seed", seed]) }
        #expect(try drawn("1") == drawn("1"))
        #expect(try drawn("1") != drawn("2"))
        let told = generate(Self.base, "-p", "x", "-n", "5", "--top-k", "9")
        let seed = try #require(told.err.firstMatch(of: /seed ([0-9]+)/)?.1)
        #expect(generate(Self.base, "-p", "x", "-n", "5", "--top-k", "9", "--seed", String(seed)).out == told.out)
    }

    @Test func batchesGiveALineForEachLine() throws {
        let scratch = try Scratch()
        let lines = [
            #"{"prompt": "The law", "adapter": "\#(Self.law)", "max_tokens": 24}"#,
            #"{"prompt": "The law", "adapter": null, "max_tokens": 24}"#,
            #"{"prompt": "The law", "max_tokens": 24}"#,
        ]
        let file = try scratch.write("batch.jsonl", lines.joined(separator: "\n"))
        let answer = generate(Self.base, Self.scripture, "--batch", file)
        #expect(answer.status == 0, "\(answer.err)")
        let found = try answer.out.split(separator: "\n").map {
            try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] ?? [:]
        }
        #expect(found.count == 3)
        let wanted = [[Self.base, Self.law], [Self.base], [Self.base, Self.scripture]]
        for (line, operands) in zip(found, wanted) { #expect(try line["ids"] as? [Int] == ids(operands)) }
        #expect((found[0]["adapters"] as? [[String: Any]])?.first?["path"] as? String == Self.law)
    }

    @Test func perplexityAndLogits() throws {
        let scratch = try Scratch()
        let text = "\(Self.data)/text/law.txt"
        let losses = try [[], [Self.law]].map { adapters -> Double in
            let answer = Tools.run(
                "adapter-generate", [Self.base] + adapters + ["--perplexity", text, "--window", "128", "--json"])
            #expect(answer.status == 0, "\(answer.err)")
            return try #require(try answer.json()["loss"] as? Double)
        }
        #expect(losses[1] < losses[0])
        let said = generate(Self.base, "--perplexity", text, "--window", "128")
        #expect(said.out.contains("bits per byte") && said.out.hasPrefix("\(text): loss "))
        let out = scratch("logits.safetensors")
        #expect(generate(Self.base, "--ids", "1 2 3", "--logits", out).status == 0)
        #expect(try TensorFile(path: out)["logits"]?.shape == [3, 256])
        #expect(generate(Self.base, "--ids", "1 2 3", "--logits", out).status == 73)
        #expect(generate(Self.base, "--ids", "1 2", "--logits", out, "--force").status == 0)
        #expect(try TensorFile(path: out)["logits"]?.shape == [2, 256])
        #expect(generate(Self.base, "--ids", "1", "--logits", Self.base + "/new.safetensors").status == 73)
        #expect(scratch.names == ["logits.safetensors"])
    }

    @Test(
        arguments: [
            (["BASE", "-p", "x", "--ids", "1"], 64, "--prompt and --ids cannot both be the input"),
            (["BASE", "--ids", "1 x"], 64, "--ids is '1 x', but must be whole numbers"),
            (["BASE", "--ids", "1 256"], 1, "the id 256 is outside of the vocabulary of 256 ids"),
            (["BASE", "--ids", "-1"], 1, "the id -1 is outside of the vocabulary of 256 ids"),
            (["BASE"], 64, "the prompt is empty, and the model has no token that begins a text"),
            (["BASE", "-p", ""], 64, "option '-p' needs a value (TEXT), but an empty text was given"),
            (
                ["BASE", "-p", "LONG"], 1,
                "the text has 600 tokens, but the model was made for 512 (max_position_embeddings)"
            ),
            (["BASE", "-p", "x", "--top-p", "0"], 64, "--top-p must be above 0, and at most 1"),
            (
                ["BASE", "-p", "x", "--top-k", "0"], 64,
                "option '--top-k' is '0', but must be a whole number of at least 1"
            ),
            (["BASE", "-p", "x", "--window", "8"], 64, "--window goes with --perplexity alone"),
            (["BASE", "-p", "x", "--force"], 64, "--force goes with --logits alone"),
            (
                ["BASE", "-p", "x", "--logits", "OUT", "-n", "5"], 64,
                "--max-tokens goes with text, but --logits makes none"
            ),
            (["BASE", "ADAPTER:x", "-p", "x"], 64, "is no number, but a weight was needed"),
            (["BASE", "OUT", "-p", "x"], 66, "does not exist"),
            (["OUT", "-p", "x"], 66, "does not exist"),
            (["ADAPTER", "-p", "x"], 66, "is an adapter, but a model was needed"),
            (["BASE", "--perplexity", "/dev/null"], 66, "is not a regular file, but a file was needed"),
            (["BASE", "--batch", "BASE"], 66, "is a directory, but a file was needed"),
            (["GPT2", "-p", "x"], 1, "is of model_type 'custom', which is not of the Llama family"),
        ] as [([String], Int32, String)])
    func refusals(_ line: [String], _ status: Int32, _ message: String) throws {
        let scratch = try Scratch()
        let words = line.map { word in
            switch word {
            case "BASE": Self.base
            case "OUT": scratch("out.safetensors")
            case "LONG": String(repeating: "abc", count: 200)
            case "GPT2": Golden.path("conv1d-f32") + "/base"
            default: word.replacingOccurrences(of: "ADAPTER", with: Self.law)
            }
        }
        let answer = Tools.run("adapter-generate", words)
        #expect(answer.status == status, "\(answer.err)")
        #expect(answer.errors.count == 1 && answer.errors[0].contains(message), "\(answer.err)")
        #expect(answer.out.isEmpty && scratch.names.isEmpty)
    }

    @Test func aFullDiskLeavesNothing() throws {
        let scratch = try Scratch()
        let out = scratch("logits.safetensors")
        for call in ["create", "allocate", "write", "sync", "rename"] {
            for place in 1...3 {
                let answer = Tools.run(
                    "adapter-generate", [Self.base, "--ids", "1 2 3", "--logits", out],
                    environment: ["ADAPTERKIT_FAULT": "\(call):\(place):ENOSPC"])
                if answer.status != 0 {
                    #expect([73, 74].contains(answer.status) && answer.errors.count == 1, "\(answer.err)")
                }
                // What cannot be made durable after it has its name is there, and whole.
                guard exists(out) else { continue }
                #expect(answer.status == 0 || call == "sync")
                #expect(try TensorFile(path: out)["logits"]?.shape == [3, 256])
                try FileManager.default.removeItem(atPath: out)
                #expect(scratch.names.isEmpty)
            }
        }
        let full = Tools.run("adapter-generate", [Self.base, "-p", "x"], stdout: "/dev/full")
        #expect(full.status == 74 && full.errors.count == 1, "\(full.err)")
    }

    @Test func textsGoOutAsWholeCharacters() throws {
        // The example's model makes bytes; whatever it draws at a high temperature, what is printed is UTF-8.
        let answer = generate(Self.base, "-p", "x", "-n", "200", "--temperature", "9", "--seed", "3", "--json")
        #expect(answer.status == 0 && answer.out.contains("\"text\""))
        let document = try answer.json()
        #expect((document["ids"] as? [Int])?.count == 200)
    }
}
