import Fixtures
import Testing

@testable import Adapters

@Suite struct NaturalOrderTests {
    @Test func numbersCountAsNumbers() {
        let sorted = [
            "", "a", "a.0", "a.1", "a.01", "a.2", "a.2.x", "a.2.x.1", "a.10", "a.10.b", "a.99999999999999999999",
            "a.100000000000000000000", "a.b", "b", "b1", "b1c", "b1.c2", "b02",
        ]
        let shuffled = sorted.reversed().sorted { $0.precedesNaturally($1) }
        #expect(shuffled.filter { $0.hasPrefix("a") } == sorted.filter { $0.hasPrefix("a") })
        #expect("layers.2.q".precedesNaturally("layers.10.k") && !"layers.10.k".precedesNaturally("layers.2.q"))
        #expect("x12".precedesNaturally("x123") && !"x13".precedesNaturally("x13") && "x9".precedesNaturally("x12"))
    }

    /// It is an order: of two different texts just one comes first, and three go round in no circle.
    @Test func itIsAnOrder() {
        var random = SeededRandom(test: "itIsAnOrder")
        let pieces = ["a", "b", ".", "0", "1", "2", "9", "10", "01", "é"]
        let texts = Array(Set((0..<120).map { _ in (0..<random.below(6)).map { _ in random.pick(pieces) }.joined() }))
        for a in texts {
            #expect(!a.precedesNaturally(a))
            for b in texts where a != b {
                #expect(a.precedesNaturally(b) != b.precedesNaturally(a), "\(a) \(b)")
                for c in texts where a.precedesNaturally(b) && b.precedesNaturally(c) {
                    #expect(a.precedesNaturally(c), "\(a) \(b) \(c)")
                }
            }
        }
    }
}
