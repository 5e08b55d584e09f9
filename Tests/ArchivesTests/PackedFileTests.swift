import Fixtures
import Problems
import Synchronization
import Tensors
import Testing

@testable import Archives

/// A packed file reads like any other: any bytes of it, by any number of threads.
@Suite struct PackedFileTests {
    /// Some megabytes in several chunks: text, and tensors of every width.
    private static func input(_ random: inout SeededRandom, _ scratch: Scratch) throws -> [UInt8] {
        let tensors = [
            TensorFile.Tensor("f64", "F64", [30_000], bytes: random.structured(240_000)),
            TensorFile.Tensor("u8", "U8", [1 << 20], bytes: random.structured(1 << 20)),
            TensorFile.Tensor("bf16", "BF16", [300_000], bytes: random.structured(600_000)),
            TensorFile.Tensor("f32", "F32", [100_001], bytes: random.structured(400_004)),
        ]
        let bytes = TensorFile(tensors).encoded
        try scratch.write("in/model.safetensors", bytes)
        return bytes
    }

    @Test func anyBytesFromAnyThread() throws {
        var random = SeededRandom(test: "anyBytesFromAnyThread")
        let scratch = try Scratch()
        let bytes = try Self.input(&random, scratch)
        let archive = try opened(packed(scratch("in")))
        let file = try #require(archive.open("model.safetensors"))
        #expect(file.size == bytes.count)
        let seed = random.next()
        let wrong = Mutex(0)
        Workers.run(3) { number in
            var random = SeededRandom(seed &+ UInt64(number))
            for _ in 0..<25 {
                let start = random.below(bytes.count)
                let count = random.below(random.below(4) == 0 ? bytes.count - start + 1 : 5_000)
                let end = min(bytes.count, start + count)
                let read = try? file.read(at: start, count: end - start)
                if read != Array(bytes[start..<end]) { wrong.withLock { $0 += 1 } }
            }
        }
        #expect(wrong.withLock { $0 } == 0)
        #expect(try file.read(at: bytes.count, count: 0).isEmpty)
    }

    @Test func bytesBeyondTheEnd() throws {
        let scratch = try Scratch()
        try scratch.write("in/a", "hello")
        let file = try #require(try opened(packed(scratch("in"))).open("a"))
        for (offset, count) in [(0, 6), (5, 1), (6, 0), (-1, 1), (Int.max, 1)] {
            let found = problem { _ = try file.read(at: offset, count: count) }
            #expect(found?.code == "short-read", "\(count) at \(offset)")
        }
    }

    @Test func archivesByThreadsAndLevels() throws {
        var random = SeededRandom(test: "archivesByThreadsAndLevels")
        let scratch = try Scratch()
        _ = try Self.input(&random, scratch)
        for level in ArchiveLevel.allCases {
            let one = try packed(scratch("in"), level: level, threads: 1)
            for threads in [2, 3, 8] { #expect(try packed(scratch("in"), level: level, threads: threads) == one) }
            try opened(one).test(threads: 3)
        }
    }
}
