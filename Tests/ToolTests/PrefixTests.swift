import Fixtures
import Foundation
import Testing

/// Prefixes on a base whose layers see a window, as users train and run them.
@Suite struct PrefixTests {
    private let scratch: Scratch

    /// A base that sees 24 of 64 positions.
    init() throws {
        scratch = try Scratch()
        let config = """
            {"model_type": "mistral", "vocab_size": 256, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
             "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "sliding_window": 24}
            """
        try scratch.write("config.json", config)
        try scratch.write("text.txt", String(repeating: "what is small is soon learned. ", count: 20))
        let words = ["pretrain", scratch("config.json"), "--data", scratch("text.txt"), "--length", "16"]
        let made = Tools.run(
            "adapter-train", words + ["-o", scratch("base"), "--steps", "20", "--threads", "1", "-l", "0.01"])
        try #require(made.status == 0, "\(made.err)")
    }

    private func train(_ options: [String]) -> Answer {
        Tools.run(
            "adapter-train",
            [scratch("base"), "--method", "prefix", "--data", scratch("text.txt"), "-o", scratch("out"), "--json"]
                + ["--threads", "1", "--steps", "20", "-l", "0.1", "--validation", scratch("text.txt")] + options)
    }

    /// Within the window, the text behind the prefix is computed as it was trained.
    @Test func whatIsTrainedIsComputed() throws {
        let answer = train(["--prefix-length", "8", "--length", "16"])
        #expect(answer.status == 0, "\(answer.err)")
        let document = try answer.json()
        let after = try #require(document["validation_after"] as? Double)
        let losses = try [[], [scratch("out")]].map { adapters -> Double in
            let words = ["--perplexity", scratch("text.txt"), "--window", "16", "--json"]
            let read = Tools.run("adapter-generate", [scratch("base")] + adapters + words)
            #expect(read.status == 0, "\(read.err)")
            return try #require(try read.json()["loss"] as? Double)
        }
        #expect(abs(losses[1] - after) < 1e-5 && abs(losses[1] - losses[0]) > 1e-3, "\(losses) \(after)")
    }

    @Test func whatLeavesTheWindow() {
        let answer = train(["--prefix-length", "8", "--length", "17"])
        #expect(answer.status == 1 && !exists(scratch("out")))
        #expect(
            answer.errors == [
                "adapter-train: error: \(scratch("base")): sees a window of 24 positions, out of which a prefix would move: "
                    + "--prefix-length 8 and --length 17 are 25"
            ])
        #expect(answer.hints == ["hint: give --length 16 or less, or a shorter prefix"])
        let long = train(["--prefix-length", "65536"])
        #expect(long.status == 1 && long.hints == ["hint: give a shorter --prefix-length"], "\(long.err)")
    }
}
