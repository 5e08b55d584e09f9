import Files
import Fixtures
import Problems
import Testing

@testable import Tokenization

@Suite struct LoaderTests {
    @Test func theFileBesideTheModel() throws {
        let scratch = try Scratch()
        try scratch.write("tokenizer.json", Document().text)
        let tokenizer = try TokenizerLoader.load(try Directory(path: scratch.path), vocabularySize: 300, path: "model")
        #expect(tokenizer is BytePairTokenizer && tokenizer.vocabularySize == 259)
        // What is wrong with it is said with its path.
        try scratch.write("tokenizer.json", "{}")
        let problem = Problem(
            .malformed, "bad-tokenizer", file: scratch("tokenizer.json"), "has no 'model', so it is no tokenizer.json")
        #expect(throws: problem) {
            try TokenizerLoader.load(try Directory(path: scratch.path), vocabularySize: 300, path: "model")
        }
    }

    @Test(arguments: [256, 259, 512]) func bytes(_ size: Int) throws {
        let scratch = try Scratch()
        let tokenizer = try TokenizerLoader.load(try Directory(path: scratch.path), vocabularySize: size, path: "model")
        #expect(tokenizer is ByteTokenizer && tokenizer.vocabularySize == size)
        #expect(try TokenizerLoader.load(nil, vocabularySize: size, path: "model") is ByteTokenizer)
    }

    @Test(arguments: [0, 255, 513, 32_000]) func neither(_ size: Int) {
        let problem = Problem(
            .missing, "no-tokenizer", file: "model",
            "has no tokenizer.json, and a vocabulary of \(size) ids is not one of bytes (256 to 512)",
            hint:
                "put the model's tokenizer.json beside it, or make token ids elsewhere and give --data ids.safetensors "
                + "or a .jsonl file with them")
        #expect(throws: problem) { try TokenizerLoader.load(nil, vocabularySize: size, path: "model") }
    }
}
