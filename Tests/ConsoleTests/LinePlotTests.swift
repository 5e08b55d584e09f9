import Testing

@testable import Console

@Suite struct LinePlotTests {
    private func plot(
        _ points: [(Double, Double)], title: String = "t", name: String = "s", isLogarithmic: Bool = false
    ) -> String {
        let points = points.map { LinePlot.Point(x: $0.0, y: $0.1) }
        return LinePlot(
            title: title, xLabel: "step", yLabel: "loss (nats)", series: [.init(name: name, points: points)],
            isYLogarithmic: isLogarithmic
        ).svg
    }

    /// The outlines of the curves.
    private func curves(_ svg: String) -> [String] {
        svg.split(separator: "\n").filter { $0.hasPrefix("<path d=\"M") && $0.contains("fill=\"none\"") }
            .map { String($0.split(separator: "\"")[1]) }
    }

    @Test func placesOfKnownPoints() {
        // The plot is 600 × 360 pixels; its left edge is right of labels of three characters.
        let svg = plot([(0, 1), (5, 2), (10, 4)])
        #expect(svg.contains("<rect x=\"43\" y=\"64\" width=\"600\" height=\"360\" fill=\"none\""))
        #expect(curves(svg) == ["M43 424L343 304L643 64"])
        #expect(svg.contains("<circle cx=\"343\" cy=\"304\" r=\"5\"><title>s: 5, 2</title></circle>"))
        #expect(svg.contains("<title>s: 3 points, least 1 at 0, greatest 4 at 10, last 4 at 10</title>"))
        #expect(svg.contains(">loss (nats)</text>") && svg.contains(">step</text>"))
        #expect(svg == plot([(0, 1), (5, 2), (10, 4)]))
    }

    @Test func logarithmicPlaces() {
        let svg = plot([(0, 1), (5, 10), (7, 0), (10, 10_000)], isLogarithmic: true)
        let d = curves(svg)[0]
        #expect(d.hasSuffix("64h0.1") && d.contains(" 424L") && d.contains(" 334M"), "\(d)")
        #expect(svg.contains(">loss (nats) (log scale)</text>") && svg.contains(">10k</text>"))
        #expect(svg.contains("Gaps: points that are not positive, on a logarithmic axis: s (1)."))
    }

    @Test func gaps() {
        let svg = plot([(0, .nan), (1, 1), (2, 2), (3, .infinity), (.nan, 2), (4, 2), (5, .nan), (6, 1), (7, 1)])
        #expect(curves(svg)[0].split(separator: "M").count == 3)
        #expect(curves(svg)[0].contains("h0.1M"))
        #expect(svg.contains("Gaps: points that are not finite: s (4)."))
        #expect(!svg.contains("nan") && !svg.contains("inf"))
    }

    @Test func textIsEscaped() {
        let svg = plot([(0, 1)], title: "a < b & \"c\"\u{1B}\u{0}", name: "<x>\u{7}&")
        #expect(svg.contains("<title>a &lt; b &amp; &quot;c&quot;\\u{1B}\\u{0}</title>"))
        #expect(svg.contains(">&lt;x&gt;\\u{7}&amp;</text>"))
        #expect(svg.unicodeScalars.allSatisfy { $0 == "\n" || $0.value >= 0x20 })
    }

    @Test func longTextFits() {
        let name = String(repeating: "w", count: 100)
        let words = String(repeating: "a sentence of words ", count: 30)
        let svg = LinePlot(
            title: words, xLabel: name + name, yLabel: name + name, series: [.init(name: name, points: [])],
            notes: [words]
        ).svg
        let width = svg.split(separator: "\"").dropFirst(3).first.flatMap { Double($0) } ?? 0
        #expect((800...960).contains(width))
        for line in svg.split(separator: "\n") where line.hasPrefix("<text") {
            let parts = line.split(separator: ">")
            let isTitle = parts[0].contains("bold")
            let words = String(parts[1].split(separator: "<")[0])
            #expect(SVG.pixels(words, size: isTitle ? 16 : 11, isBold: isTitle) <= width - 16, "\(words)")
        }
        #expect(svg.split(separator: "\n").count { $0.contains("a sentence") && $0.contains("<text") } > 5)
    }

    @Test func thinningKeepsExtremes() {
        var points = (0..<50_000).map { (Double($0), Double($0 % 97)) }
        points[31_234].1 = 700
        points[31_236].1 = -300
        let svg = plot(points)
        let places = curves(svg)[0].dropFirst().split(separator: "L").map { $0.split(separator: " ")[1] }
        // Ticks from -400 to 800: 0.3 pixels for each one.
        #expect(places.count <= 1204 && places.contains("94") && places.contains("394"))
        #expect(svg.utf8.count < 60_000)
        #expect(svg.contains("50,000 points, least -300 at 31236, greatest 700 at 31234"))
    }

    @Test(arguments: [false, true]) func filesStaySmall(isHoley: Bool) {
        let series = (0..<16).map { index in
            LinePlot.Series(
                name: "curve \(index)",
                points: (0..<5000).map { step in
                    let y = isHoley && step % 2 == 0 ? .nan : Double((step + index) * 48_271 % 65_537)
                    // Half of them go to and fro.
                    return .init(x: index < 8 ? Double(step) : Double(step * 7919 % 5000), y: y)
                }, isDashed: index % 2 == 1)
        }
        let svg = LinePlot(title: "t", xLabel: "x", yLabel: "y", series: series).svg
        #expect(svg.utf8.count < 200_000)
        #expect(curves(svg).count == 16)
    }

    @Test func looksAreDistinct() {
        let series = (0..<6).map {
            LinePlot.Series(name: "s\($0)", points: [.init(x: 0, y: 0), .init(x: 1, y: 1)], isDashed: $0 >= 3)
        }
        var plot = LinePlot(title: "t", xLabel: "x", yLabel: "y", series: series)
        let count = { (svg: String, attribute: String) in
            Set(svg.components(after: attribute + "=\"")).filter { $0.hasPrefix("#") || attribute != "stroke" }.count
        }
        #expect(count(plot.svg, "stroke-dasharray") == 3)
        // Grid, frame, the outline of marks, and six colours.
        #expect(count(plot.svg, "stroke") == 9)
        plot.series[5].style = 0
        plot.series[4].style = .min
        #expect(count(plot.svg, "stroke") <= 8)
    }

    @Test func saneWithoutMuchToShow() {
        let empty = LinePlot(title: "", xLabel: "", yLabel: "", series: []).svg
        #expect(empty.contains(">no points</text>") && empty.hasSuffix("</svg>\n"))
        #expect(plot([]).contains(">no points</text>"))
        #expect(plot([(.nan, 1)]).contains(">no points</text>"))
        #expect(curves(plot([(100, 2.5)])) == ["M343 244h0.1"])
        let cases: [[(Double, Double)]] = [
            [(0, 5e-9), (1, 5e-9)], [(0, -1.7e308), (1, 1.7e308)], [(0, .leastNonzeroMagnitude), (1, 0)],
            [(1e300, 1), (1e300, 2)], [(0, 1), (1, 1 + 1e-15)],
        ]
        for points in cases {
            for isLogarithmic in [false, true] {
                let svg = plot(points, isLogarithmic: isLogarithmic)
                #expect(!svg.contains("nan") && !svg.contains("inf\""))
                #expect(svg.contains("text-anchor=\"end\">"), "\(points)")
            }
        }
    }
}

@Suite struct PlotAxisTests {
    private func labels(
        _ low: Double, _ high: Double, isLogarithmic: Bool = false, count: Int = 7, extends: Bool = true
    ) -> [String] {
        PlotAxis([low, high], isLogarithmic: isLogarithmic, count: count, extends: extends).ticks.map(\.label)
    }

    @Test func roundTicks() {
        #expect(labels(2.03, 4.4) == ["2.0", "2.5", "3.0", "3.5", "4.0", "4.5"])
        #expect(labels(0, 4999, count: 5, extends: false) == ["0", "1000", "2000", "3000", "4000", "5000"])
        #expect(labels(0, 4700, count: 5, extends: false) == ["0", "1000", "2000", "3000", "4000"])
        #expect(labels(0, 12_000) == ["0", "2k", "4k", "6k", "8k", "10k", "12k"])
        #expect(labels(0, 1_500_000, count: 3) == ["0", "0.5M", "1.0M", "1.5M"])
        #expect(labels(-3e9, 3e9, count: 3) == ["-4G", "-2G", "0", "2G", "4G"])
        #expect(labels(1e6, 1_000_040, count: 2) == ["1000000", "1000020", "1000040"])
        #expect(labels(0, 2e-5, count: 2) == ["0", "1e-5", "2e-5"])
        #expect(labels(-0.1, 0.3, count: 4) == ["-0.1", "0", "0.1", "0.2", "0.3"])
        #expect(labels(2.3, 2.300_000_02, count: 2) == ["2.30000000", "2.30000001", "2.30000002"])
        #expect(labels(0, 3e16, count: 3) == ["0", "1e+16", "2e+16", "3e+16"])
    }

    @Test func logarithmicTicks() {
        #expect(labels(1, 90, isLogarithmic: true) == ["1", "2", "5", "10", "20", "50", "100"])
        #expect(labels(1e-6, 1e-2, isLogarithmic: true) == ["1e-6", "1e-5", "1e-4", "0.001", "0.01"])
        #expect(labels(1, 1e12, isLogarithmic: true) == ["1", "100", "10k", "1M", "100M", "10G", "1T"])
        // Less than a power of ten: as on a linear axis.
        #expect(labels(2.1, 2.4, isLogarithmic: true, count: 3) == ["2.1", "2.2", "2.3", "2.4"])
        let axis = PlotAxis([1, 100, -5, .infinity], isLogarithmic: true, count: 3, extends: true)
        #expect(axis.place(10) == 0.5 && axis.place(-1) == 0 && !axis.shows(0))
    }

    @Test func everyRange() {
        // Ticks ascend, are in the range of the axis, are few, and say what they are.
        for exponent in stride(from: -320, through: 304, by: 4) {
            for (low, high) in [(1.0, 9.7), (-3.0, 1.2), (7.0, 7.1), (0, 1), (5, 5)] {
                for isLogarithmic in [false, true] {
                    let power = Double("1e\(exponent)") ?? 0
                    let axis = PlotAxis(
                        [low * power, high * power], isLogarithmic: isLogarithmic, count: 7, extends: true)
                    let ticks = axis.ticks
                    let mayBeEmpty = isLogarithmic && low < 0 || power * low == 0
                    #expect((mayBeEmpty ? 0...17 : 2...17).contains(ticks.count), "\(low) \(high) \(exponent)")
                    #expect(zip(ticks, ticks.dropFirst()).allSatisfy { $0.value < $1.value })
                    #expect(ticks.allSatisfy { (0...1).contains(axis.place($0.value)) && axis.shows($0.value) })
                    #expect(Set(ticks.map(\.label)).count == ticks.count, "\(ticks)")
                    #expect(ticks.allSatisfy { $0.label.count <= 10 }, "\(ticks)")
                }
            }
        }
    }

    @Test func briefNumbers() {
        #expect(Humane.brief(48_231) == "48.23k")
        #expect(Humane.brief(999_999_999) == "1.000G" && Humane.brief(1e20) == "1.000e+20")
        #expect(Humane.brief([0.5, -12, 3.25]) == ["0.50", "-12.00", "3.25"])
        #expect(Humane.brief([0.0001, 12]) == ["0.0001000", "12"])
        #expect(Humane.told(1e6) == "1000000" && Humane.told(2.302_585) == "2.3026")
    }
}

extension String {
    /// What follows each occurrence of `mark`, up to the next quotation mark.
    fileprivate func components(after mark: String) -> [String] {
        var (found, rest): ([String], Substring) = ([], self[...])
        while let range = rest.firstRange(of: mark) {
            rest = rest[range.upperBound...]
            found.append(String(rest.prefix { $0 != "\"" }))
        }
        return found
    }
}
