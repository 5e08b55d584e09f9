import Problems
import Testing
import Tokenization

@Suite struct ByteTokenizerTests {
    @Test func everyByteIsItself() throws {
        let tokenizer = ByteTokenizer(vocabularySize: 259)
        let bytes = [UInt8](0...255)
        #expect(tokenizer.encode(bytes) == Array(0...255))
        #expect(try tokenizer.decode([104, 256, 105, 258], skipsSpecial: false) == Array("hi".utf8))
        #expect(try tokenizer.decode(Array(0...255), skipsSpecial: true) == bytes)
    }

    @Test func otherIdsAreRefused() {
        let tokenizer = ByteTokenizer(vocabularySize: 259)
        for id in [-1, 259] {
            #expect(
                throws: Problem(
                    .incompatible, "token-id", "has the id \(id), but the vocabulary has the ids 0 to 258")
            ) { try tokenizer.decode([id], skipsSpecial: true) }
        }
    }
}
