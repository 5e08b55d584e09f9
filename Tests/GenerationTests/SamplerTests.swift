import Foundation
import Generation
import Testing

/// Choices follow the distributions that transformers' definitions give, computed here by hand.
@Suite struct SamplerTests {
    private func chances(_ logits: [Float], _ sampling: Sampling) throws -> [Int: Double] {
        Dictionary(uniqueKeysWithValues: try Sampler.chances(logits, sampling).map { ($0.id, $0.chance) })
    }

    private func close(_ a: [Int: Double], _ b: [Int: Double]) -> Bool {
        Set(a.keys) == Set(b.keys) && a.allSatisfy { abs($0.value - (b[$0.key] ?? 9)) < 1e-7 }
    }

    /// Logits whose softmax is 0.5, 0.25, 0.15, 0.1.
    private let logits = [0.5, 0.25, 0.15, 0.1].map { Float(log($0)) }

    @Test func distributions() throws {
        let all = try chances(logits, Sampling(temperature: 1))
        #expect(close(all, [0: 0.5, 1: 0.25, 2: 0.15, 3: 0.1]))
        // At a temperature of 0.5, probabilities are squared: 0.25, 0.0625, 0.0225, 0.01 of 0.345.
        let cold = try chances(logits, Sampling(temperature: 0.5))
        #expect(close(cold, [0: 0.25 / 0.345, 1: 0.0625 / 0.345, 2: 0.0225 / 0.345, 3: 0.01 / 0.345]))
        let two = try chances(logits, Sampling(temperature: 1, topK: 2))
        #expect(close(two, [0: 2.0 / 3, 1: 1.0 / 3]))
        #expect(close(try chances(logits, Sampling(temperature: 1, topK: 9)), all))
        // 0.5 does not reach 0.6, 0.5 + 0.25 does.
        #expect(close(try chances(logits, Sampling(temperature: 1, topP: 0.6)), [0: 2.0 / 3, 1: 1.0 / 3]))
        #expect(close(try chances(logits, Sampling(temperature: 1, topP: 0.8)), [0: 5.0 / 9, 1: 2.5 / 9, 2: 1.5 / 9]))
        #expect(close(try chances(logits, Sampling(temperature: 1, topP: 0.01)), [0: 1]))
        #expect(close(try chances(logits, Sampling(temperature: 1, topP: 1)), all))
        // top-p after top-k: of 2/3 and 1/3, the first reaches 0.6 by itself.
        #expect(close(try chances(logits, Sampling(temperature: 1, topK: 2, topP: 0.6)), [0: 1]))
    }

    @Test func tiesOfTheKthStay() throws {
        let found = try chances([1, 2, 1, 0], Sampling(temperature: 1, topK: 2))
        #expect(Set(found.keys) == [0, 1, 2])
    }

    @Test func greedyTakesTheFirstOfTheLargest() throws {
        var sampler = Sampler(Sampling(), seed: 7)
        #expect(try sampler.choose([0, 3, -1, 3]) == 1)
    }

    @Test func noNumberIsAnError() {
        var sampler = Sampler(Sampling(), seed: 7)
        #expect(code { _ = try sampler.choose([0, .nan, 1]) } == "non-finite")
        #expect(code { _ = try sampler.choose([-.infinity, -.infinity]) } == "non-finite")
        #expect(code { _ = try Sampler.chances([0, .infinity], Sampling(temperature: 1)) } == "non-finite")
    }

    @Test func drawsFollowTheDistribution() throws {
        var sampler = Sampler(Sampling(temperature: 1), seed: 11)
        var counts = [0, 0, 0, 0]
        let draws = 20_000
        for _ in 0..<draws { counts[try sampler.choose(logits)] += 1 }
        for (count, chance) in zip(counts, [0.5, 0.25, 0.15, 0.1]) {
            // Five standard deviations.
            let deviation = (chance * (1 - chance) * Double(draws)).squareRoot()
            #expect(abs(Double(count) - chance * Double(draws)) < 5 * deviation)
        }
    }

    @Test func theSeedDecides() throws {
        func draw(_ seed: UInt64) throws -> [Int] {
            var sampler = Sampler(Sampling(temperature: 1), seed: seed)
            return try (0..<50).map { _ in try sampler.choose(logits) }
        }
        #expect(try draw(1) == draw(1))
        #expect(try draw(1) != draw(2))
    }
}
