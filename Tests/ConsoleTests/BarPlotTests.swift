import Testing

@testable import Console

@Suite struct BarPlotTests {
    private func plot(_ bars: [BarPlot.Bar], reference: Double? = nil, startsAtZero: Bool = true) -> String {
        BarPlot(
            title: "t", groups: bars.indices.map { "method \($0)" },
            panels: [
                .init(
                    name: "loss (nats)", bars: bars, reference: reference, referenceName: "base",
                    startsAtZero: startsAtZero)
            ]
        ).svg
    }

    /// The lengths of the bars, in pixels.
    private func lengths(_ svg: String) -> [Double] {
        svg.split(separator: "\n").filter { $0.hasPrefix("<rect") && $0.contains("fill=\"#5a9bc9\"") }.compactMap {
            Double($0.split(separator: "\"")[5])
        }
    }

    @Test func lengthsAreInProportion() {
        let svg = plot([.init(1), .init(2), .init(-0.5)])
        let found = lengths(svg)
        #expect(found.count == 3)
        #expect(abs(found[1] - 2 * found[0]) <= 0.2 && abs(found[0] - 2 * found[2]) <= 0.2)
        for text in [">1.000</text>", ">2.000</text>", ">-0.500</text>", ">method 0</text>", ">loss (nats)</text>"] {
            #expect(svg.contains(text), "\(text)")
        }
        #expect(svg.contains("<title>method 2, loss (nats): -0.50000</title>"))
        #expect(svg == plot([.init(1), .init(2), .init(-0.5)]))
    }

    @Test func rangesAndDots() {
        let bar = BarPlot.Bar(meanOf: [1, 2, 6])
        #expect(bar.value == 3 && bar.low == 1 && bar.high == 6)
        let svg = plot([bar, .init(4, low: 3, high: 5)])
        #expect(svg.components(separatedBy: "<circle") == 3)
        #expect(svg.contains("<title>method 0, loss (nats): 3 (1 to 6); 1, 2, 6</title>"))
        #expect(svg.contains("<title>method 1, loss (nats): 4 (3 to 5)</title>"))
        #expect(BarPlot.Bar(meanOf: []).value == nil)
        #expect(BarPlot.Bar(meanOf: [7]).low == nil)
    }

    @Test func referenceLine() {
        let svg = plot([.init(1), .init(2)], reference: 2)
        #expect(svg.contains(">base: 2</text>"))
        // In the key and through the bars, at the end of the second one.
        let dashed = svg.split(separator: "\n").filter { $0.contains("stroke-dasharray") }
        let bar = svg.split(separator: "\n").filter { $0.contains("fill=\"#5a9bc9\"") }[1].split(separator: "\"")
        let end = (Double(bar[1]) ?? 0) + (Double(bar[5]) ?? 0)
        #expect(dashed.count == 2)
        #expect(dashed.contains { abs((Double($0.split(separator: "\"")[1]) ?? 0) - end) < 0.2 })
        #expect(plot([.init(1)], reference: .nan).contains(">base: not finite</text>"))
        #expect(plot([.init(1)], reference: 5).contains(">4</text>"))
    }

    @Test func pointsOnANarrowAxis() {
        let svg = plot([.init(2.31), .init(2.34)], startsAtZero: false)
        #expect(lengths(svg).isEmpty)
        #expect(svg.components(separatedBy: "<circle") == 2)
        #expect(svg.contains(">2.31</text>") && svg.contains(">2.34</text>") && !svg.contains(">0</text>"))
    }

    @Test func missingValues() {
        let svg = plot([.init(nil), .init(.nan), .init(.infinity, low: 1, high: .infinity, samples: [1, .nan])])
        #expect(lengths(svg).isEmpty)
        #expect(svg.components(separatedBy: ">not finite</text>") == 2)
        #expect(svg.contains(">no value</text>") && svg.contains("method 1, loss (nats): nan</title>"))
    }

    @Test func saneWithoutMuchToShow() {
        #expect(BarPlot(title: "", groups: [], panels: []).svg.contains(">no values</text>"))
        #expect(BarPlot(title: "", groups: ["a"], panels: []).svg.contains(">no values</text>"))
        #expect(lengths(plot([.init(0), .init(0)])) == [0, 0])
        #expect(lengths(plot([.init(.leastNonzeroMagnitude), .init(5)])).count == 2)
        let huge = lengths(plot([.init(1.7e308), .init(-1.7e308)]))
        #expect(huge.count == 2 && abs(huge[0] - huge[1]) < 0.2 && huge[0] > 10)
        #expect(plot([.init(nil)], startsAtZero: false).hasSuffix("</svg>\n"))
    }

    @Test func panelsSideBySideAndBelow() {
        let panel = BarPlot.Panel(name: "a & <b>", bars: [.init(1)])
        let name = String(repeating: "long", count: 30)
        func size(_ count: Int, _ perRow: Int) -> (Int, Int) {
            let plot = BarPlot(
                title: "t", groups: [name], panels: Array(repeating: panel, count: count), panelsPerRow: perRow)
            let parts = plot.svg.split(separator: "\"")
            #expect(plot.svg.contains(">a &amp; &lt;b&gt;</text>"))
            return (Int(parts[3]) ?? 0, Int(parts[5]) ?? 0)
        }
        let one = size(1, 3)
        #expect(one.0 < 520)
        #expect(size(3, 3).0 == one.0 + 2 * 278 && size(3, 3).1 == one.1)
        #expect(size(3, 1).0 == one.0 && size(3, 1).1 > 2 * one.1 - 60)
    }
}

extension String {
    /// How often `mark` occurs.
    fileprivate func components(separatedBy mark: String) -> Int { ranges(of: mark).count }
}
