import Testing

@testable import Console

@Suite struct HeatMapTests {
    private let small = HeatMap(
        title: "a < b & c", rows: ["layer 0", "layer\u{1B}"], columns: ["q", "k"], values: [[1, 100], [nil, .nan]],
        legend: "norm", scale: .logarithmic)

    @Test func cellsSayWhatTheyAre() {
        let svg = small.svg
        for fragment in [
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"288\"", "<title>a &lt; b &amp; c</title>",
            "fill=\"#f8f4b1\"><title>layer 0, q: 1.000</title></rect>",
            "fill=\"#271747\"><title>layer 0, k: 100.0</title></rect>",
            "fill=\"#dddddd\"><title>layer\\u{1B}, q: no value</title></rect>",
            "fill=\"#d81b60\"><title>layer\\u{1B}, k: nan</title></rect>",
            "<text x=\"136\" y=\"84\" text-anchor=\"middle\">10.0</text>", ">norm (log scale)</text>",
            ">no value</text>", ">not finite</text>",
        ] {
            #expect(svg.contains(fragment), "\(fragment)")
        }
        #expect(svg.hasSuffix("</svg>\n"))
    }

    @Test func sizes() {
        func map(_ rows: Int, _ columns: Int) -> HeatMap {
            HeatMap(
                title: "t", rows: (0..<rows).map { "layer \($0)" }, columns: (0..<columns).map { "module_\($0)" },
                values: Array(repeating: Array(repeating: 0.5, count: columns), count: rows), legend: "l")
        }
        let one = map(1, 1).svg
        #expect(one.contains(">0.500</text>"))
        #expect(!one.contains("rotate") && !one.contains("no value"))
        let large = map(128, 40).svg
        #expect(large.contains("width=\"853\" height=\"1834\""))
        #expect(large.contains("transform=\"rotate(-60 "))
        #expect(map(0, 0).svg.hasSuffix("</svg>\n"))
    }

    @Test func colours() {
        #expect(ColourScale.colour(0) == "#f8f4b1")
        #expect(ColourScale.colour(0.0625) == "#dbeba1")
        #expect(ColourScale.colour(2) == "#271747")
        // Each colour is darker than the one before, in greys too.
        let greys = (0...100).map { step in
            let digits = Array(ColourScale.colour(Double(step) / 100).dropFirst())
            let channel = { (at: Int) in Double(Int(String(digits[at..<at + 2]), radix: 16) ?? 0) }
            return 0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
        }
        #expect(zip(greys, greys.dropFirst()).allSatisfy { $0 > $1 })
    }

    @Test func ranges() {
        let linear = ValueRange([-1e308, 1e308, .infinity], logarithmic: false)
        #expect(linear?.place(0) == 0.5)
        #expect(linear?.value(0.5) == 0)
        let logarithmic = ValueRange([0, 1, 16], logarithmic: true)
        #expect(logarithmic?.place(0) == 0)
        #expect(logarithmic?.place(4) == 0.5)
        #expect(ValueRange([.nan], logarithmic: false) == nil)
    }
}
