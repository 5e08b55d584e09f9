import Safetensors
import Testing

@Suite struct ShardSplitTests {
    private func files(_ sizes: [Int], _ limit: Int) -> [String] {
        ShardSplit.files(sizes: sizes, limit: limit).map { "\($0.name) \($0.tensors)" }
    }

    @Test func whatFitsIsOneFile() {
        #expect(files([3, 4, 5], 12) == ["model.safetensors 0..<3"])
        #expect(files([3, 4, 5], .max) == ["model.safetensors 0..<3"])
        #expect(files([], 1) == ["model.safetensors 0..<0"])
        #expect(files([7], 1) == ["model.safetensors 0..<1"])
    }

    @Test func theRestGoesOnInTheNextFile() {
        let two = ["model-00001-of-00002.safetensors 0..<2", "model-00002-of-00002.safetensors 2..<3"]
        #expect(files([3, 4, 5], 11) == two)
        #expect(files([3, 4, 5], 7) == two)
        #expect(files([3, 4, 5], 6).count == 3)
    }

    @Test func aTensorThatIsLargerHasItsOwnFile() {
        let names = files([1, 9, 1, 1], 2)
        #expect(names.map { $0.suffix(5) } == ["0..<1", "1..<2", "2..<4"])
        #expect(files([0, .max, 0], .max).count == 1)
        #expect(files([1, .max, 1], .max).count == 3)
    }

    @Test func everyTensorIsInOneFile() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            let sizes = (0..<Int.random(in: 0...20, using: &random)).map { _ in Int.random(in: 0...9, using: &random) }
            let limit = Int.random(in: 1...30, using: &random)
            let files = ShardSplit.files(sizes: sizes, limit: limit)
            #expect(Array(files.map { Array($0.tensors) }.joined()) == Array(sizes.indices), "\(sizes) \(limit)")
            // What has no bytes may lie beside a tensor that is larger than the limit.
            for file in files where sizes[file.tensors].count(where: { $0 > 0 }) > 1 {
                #expect(sizes[file.tensors].reduce(0, +) <= limit, "\(sizes) \(limit)")
            }
        }
    }
}
