import Fixtures
import Testing

@testable import Composition

@Suite struct SparseTests {
    /// Which elements are kept, by sorting all of them.
    @Test func theLargestAreKept() throws {
        var random = SeededRandom(test: "theLargestAreKept")
        for count in [1, 7, 100, 5000] {
            // Few different values, so that many are equal; and zeros.
            let values = (0..<count).map { _ in Double(Int.random(in: -40...40, using: &random)) / 8 }
            for density in [0.0, 0.1, 0.5, 0.93, 1] {
                let wanted = density >= 1 ? count : Int(density * Double(count))
                let order = values.indices.sorted { (abs(values[$0]), $1) > (abs(values[$1]), $0) }
                let kept = Set(order.prefix(wanted))
                // In pieces of odd lengths.
                let sieve = try Sieve.largest(density, of: count) { body in
                    for start in stride(from: 0, to: count, by: 17) {
                        body(Array(values[start..<min(count, start + 17)]), min(17, count - start), start)
                    }
                }
                var sifted = values
                sieve.apply(&sifted, count: count, start: 0)
                for at in values.indices { #expect(sifted[at] == (kept.contains(at) ? values[at] : 0)) }
            }
        }
    }

    @Test func randomNumbersAreTheSameEverywhere() {
        let numbers = NumberedRandom(seed: 7, "dare", "layers.0.q_proj", "0")
        let first = (0..<3).map { numbers.unit($0) }
        #expect(first == randomReference)
        let mean = (0..<100_000).reduce(0) { $0 + numbers.unit($1) } / 100_000
        #expect(abs(mean - 0.5) < 0.005)
        #expect(NumberedRandom(seed: 7, "ab", "c").unit(0) != NumberedRandom(seed: 7, "a", "bc").unit(0))
        #expect(NumberedRandom(seed: 8, "ab", "c").unit(0) != NumberedRandom(seed: 7, "ab", "c").unit(0))
    }

    @Test func signsAreElected() {
        let method = SparseMethod(isRandom: false, elects: true)
        let tensors: [[Double]] = [[3, -1, 0, 1, -2], [-1, -1, 0, 1, 1], [-1, 4, 0, -3, 1]]
        var sum = [Double](repeating: .nan, count: 5)
        method.sum(tensors, weights: [1, 10, 100], election: .total, count: 5, to: &sum)
        // Totals 1, 2, 0, -1, 0: a total of zero elects +.
        let byTotal: [Double] = [3, 400, 0, -300, 55]
        #expect(sum == byTotal)
        method.sum(tensors, weights: [1, 10, 100], election: .frequency, count: 5, to: &sum)
        let byNumber: [Double] = [-55, -5.5, 0, 5.5, 55]
        #expect(sum == byNumber)
    }
}

/// Numbers 0 to 2 of the stream above, worked out by the same definition in Python.
private let randomReference = [0.8716873834285418, 0.5835622310811247, 0.5587070383489086]
