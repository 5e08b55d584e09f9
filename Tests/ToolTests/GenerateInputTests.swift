import Fixtures
import Foundation
import Testing

/// What `adapter-generate` reads, and what it says of it where it cannot be used.
@Suite struct GenerateInputTests {
    private static let base = "\(Golden.root)/examples/data/base"
    private static let law = "\(Golden.root)/examples/data/adapter-law"

    private func generate(_ arguments: String...) -> Answer { Tools.run("adapter-generate", arguments) }

    /// The example's base with its config edited.
    private func base(_ scratch: borrowing Scratch, _ edits: [(String, String)]) throws -> String {
        let path = try scratch.copy(Self.base, as: "base")
        var config = String(decoding: try bytes(of: "\(path)/config.json"), as: UTF8.self)
        for (old, new) in edits {
            #expect(config.contains(old))
            config = config.replacingOccurrences(of: old, with: new)
        }
        try scratch.write("base/config.json", config)
        return path
    }

    @Test(
        arguments: [
            ("6", ": layer 4 is missing: config.json says 6 layers", 2),
            ("3", ": has a layer 3, but config.json says 3 layers, which end at layer 2", 1),
            ("999", ": config.json says 999 layers, but the weights have 4", 1),
        ])
    func aBaseIsHeldAgainstItsConfig(_ layers: String, _ message: String, _ count: Int) throws {
        let scratch = try Scratch()
        let path = try base(scratch, [("\"num_hidden_layers\": 4", "\"num_hidden_layers\": \(layers)")])
        let data = try scratch.write("data.txt", "a text to train on")
        for answer in [
            generate(path, "-p", "x", "-n", "1"),
            Tools.run("adapter-train", [path, "--data", data, "-o", scratch("out")]),
        ] {
            #expect(answer.status == 1 && answer.out.isEmpty)
            #expect(
                answer.errors.count == count && answer.errors.first?.hasSuffix(": error: \(path)\(message)") == true,
                "\(answer.err)")
            #expect(
                answer.hints == [
                    "hint: weights and config.json belong to different models: get both again from one place"
                ])
        }
        #expect(scratch.names == ["base", "data.txt"])
    }

    @Test func theSameProblemOfManyTensorsIsSaidOnce() throws {
        let dora = Golden.path("dora-linear-bf16")
        let words = [dora + "/base", dora + "/adapter:0.5", "--ids", "1", "-n", "1"]
        let answer = Tools.run("adapter-generate", words)
        #expect(answer.status == 1)
        #expect(answer.errors.count == 1, "\(answer.err)")
        #expect(answer.errors.first?.contains("is DoRA, which a weight of 0.5 is not defined for; so are ") == true)
        let all = try Tools.run("adapter-generate", words + ["--json"]).json()["problems"] as? [[String: Any]]
        let others = try #require(answer.errors.first?.firstMatch(of: /so are ([0-9]+) others/)?.1)
        #expect(all?.count == Int(others).map { $0 + 1 })
        #expect(Set(all?.compactMap { $0["tensor"] as? String } ?? []).count == all?.count)
    }

    @Test(
        arguments: [
            (#"{"prompt": "x", "adapter": "/nowhere/at/all"}"#, 66, "/nowhere/at/all: does not exist"),
            (#"{"prompt": "LONG"}"#, 1, "the text has 600 tokens, but the model was made for 512"),
            (#"{"prompt": "x", "top_k": 0}"#, 65, "'top_k' should be a whole number of at least 1"),
            (#"{"ids": [256]}"#, 1, "the id 256 is outside of the vocabulary"),
        ] as [(String, Int32, String)])
    func errorsOfABatchNameFileAndLine(_ line: String, _ status: Int32, _ message: String) throws {
        let scratch = try Scratch()
        let long = String(repeating: "abc", count: 200)
        let text = "{\"prompt\": \"y\"}\n\n" + line.replacingOccurrences(of: "LONG", with: long) + "\n"
        let file = try scratch.write("batch.jsonl", text)
        let answer = generate(Self.base, "--batch", file, "-n", "1")
        #expect(answer.status == status && answer.out.isEmpty)
        #expect(answer.errors.count == 1, "\(answer.err)")
        #expect(
            answer.errors.first?.hasPrefix("adapter-generate: error: \(file): line 3: \(message)") == true,
            "\(answer.err)")
        let piped = Tools.shell("adapter-generate \"$1\" --batch - -n 1 < \"$2\"", Self.base, file)
        #expect(piped.status == status)
        #expect(piped.errors.first?.contains(": error: standard input: line 3: \(message)") == true, "\(piped.err)")
    }

    @Test func aBatchWhoseReaderIsGoneStops() throws {
        let scratch = try Scratch()
        let file = try scratch.write("batch.jsonl", String(repeating: "{\"prompt\": \"a\"}\n", count: 60))
        let answer = Tools.shell("adapter-generate \"$1\" --batch \"$2\" -n 3 | head -n 1", Self.base, file)
        #expect(answer.out.split(separator: "\n").count == 1 && answer.err.isEmpty, "\(answer.err)")
        let whole = Tools.shell("adapter-generate \"$1\" --batch \"$2\" -n 3 | cat", Self.base, file)
        #expect(whole.out.split(separator: "\n").count == 60 && whole.err.contains("note: 60 prompts, 180 tokens"))
    }

    @Test func standardInputIsAFileToo() throws {
        let scratch = try Scratch()
        let prompt = try scratch.write("prompt.txt", "The law")
        let batch = try scratch.write("batch.jsonl", "{\"prompt\": \"The law\", \"max_tokens\": 8}\n")
        for (option, file) in [("--prompt-file", prompt), ("--perplexity", prompt)] {
            let plain = Tools.run("adapter-generate", [Self.base, option, file])
            let piped = Tools.shell("cat \"$3\" | adapter-generate \"$1\" $2 -", Self.base, option, file)
            #expect(plain.status == 0 && piped.status == 0, "\(piped.err)")
            #expect(piped.out == plain.out.replacingOccurrences(of: file, with: "standard input"))
        }
        let piped = Tools.shell("cat \"$2\" | adapter-generate \"$1\" --batch -", Self.base, batch)
        #expect(piped.status == 0 && piped.out.hasPrefix("{\"line\":1,"), "\(piped.err)")
        for option in ["--prompt-file", "--perplexity", "--batch"] {
            let fifo = Tools.shell(
                "mkfifo \"$3\"; adapter-generate \"$1\" $2 \"$3\"; code=$?; rm \"$3\"; exit $code", Self.base, option,
                scratch("fifo"))
            #expect(fifo.status == 66 && fifo.errors.count == 1)
            #expect(fifo.hints == ["hint: write - in its place, and send it by a pipe: COMMAND | TOOL ... -"])
        }
    }

    /// The loss of a file as generation and training measure it: the same, whatever form the file has.
    @Test(
        arguments: [
            #"{"prompt": "The law of ", "completion": "the land."}"#, #"{"text": "The law of the land."}"#,
            "[84, 104, 101, 32, 108, 97, 119]", #"{"tokens": [84, 104, 101, 32, 108]}"#,
            #"{"ids": [84, 104, 101, 32], "labels": [-100, -100, 101, 97]}"#,
        ])
    func lossesAreThoseOfTraining(_ line: String) throws {
        let scratch = try Scratch()
        let path = try base(scratch, [("\"eos_token_id\": null", "\"eos_token_id\": 0")])
        let file = try scratch.write("held.jsonl", line + "\n")
        let trained = Tools.run(
            "adapter-train",
            [path, "--data", file, "--validation", file, "--steps", "1", "-o", scratch("out"), "--json"])
        #expect(trained.status == 0, "\(trained.err)")
        let measured = generate(path, "--perplexity", file, "--json")
        #expect(measured.status == 0, "\(measured.err)")
        let losses = try trained.json()["losses"] as? [String: Any] ?? trained.json()
        let held = try #require(losses["validation_before"] as? Double)
        let loss = try #require(try measured.json()["loss"] as? Double)
        #expect(abs(held - loss) < 1e-4, "\(held) in training, \(loss) here")
    }

    @Test func twoNamesOfIdsAreOneTooMany() throws {
        let scratch = try Scratch()
        let tensors = ["ids", "input_ids"].map { TensorFile.Tensor($0, "U8", [3], bytes: [65, 66, 67]) }
        let files = [
            try scratch.write("two.safetensors", TensorFile(tensors).encoded),
            try scratch.write("two.jsonl", #"{"ids": [1, 2], "input_ids": [1, 2]}"#),
        ]
        for file in files {
            for answer in [
                generate(Self.base, "--perplexity", file),
                Tools.run("adapter-train", [Self.base, "--data", file, "-o", scratch("out")]),
            ] {
                #expect(answer.status == 65 && answer.errors.count == 1)
                #expect(
                    answer.errors.first?.hasSuffix(
                        "has both 'input_ids' and 'ids', but only one of them can be the ids") == true,
                    "\(answer.err)")
            }
        }
    }

    @Test func adaptersOfOtherKinds() throws {
        let scratch = try Scratch()
        try scratch.directory("prompt")
        try scratch.write("prompt/adapter_config.json", #"{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2}"#)
        let tensor = TensorFile.Tensor("prompt_embeddings", "F32", [2, 128], Array(repeating: 0.5, count: 256))
        try scratch.write("prompt/adapter_model.safetensors", TensorFile([tensor]).encoded)
        let answer = generate(Self.base, scratch("prompt"), "-p", "x")
        #expect(answer.status == 1 && answer.errors.count == 1)
        #expect(
            answer.errors.first?.hasSuffix("peft_type is PROMPT_TUNING: it is learned input, not a change of weights")
                == true)
        #expect(answer.hints.count == 1 && answer.hints.first?.contains("prefix tuning") == true)
        #expect(!answer.err.contains("merge"), "\(answer.err)")
    }
}
