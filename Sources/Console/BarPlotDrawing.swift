/// A bar plot with everything at its place.
struct BarPlotDrawing {
    private let plot: BarPlot
    private let names: [String]
    private let left: Double
    private let width: Double
    private let title: [String]
    private let notes: [String]
    private let panels: [BarPanel]

    private static let margin = 16.0
    private static let longestName = 200.0
    private static let gap = 28.0

    init(_ plot: BarPlot) {
        self.plot = plot
        names = plot.groups.map { SVG.fitting($0, pixels: Self.longestName) }
        left = (Self.margin + (names.map { SVG.pixels($0) }.max() ?? 0) + 8).rounded(.up)
        let beside = Double(max(1, min(plot.panelsPerRow, plot.panels.count)))
        let width = (left + beside * (BarPanel.width + Self.gap)).rounded(.up)
        self.width = width
        title = SVG.wrapped(plot.title, pixels: width - 2 * Self.margin, size: 16, isBold: true)
        notes = plot.notes.flatMap { SVG.wrapped($0, pixels: width - 2 * Self.margin) }
        panels = plot.panels.map { BarPanel($0, groups: plot.groups) }
    }

    /// The lines of the picture.
    var lines: [String] {
        var body = SVG.lines(title, x: Self.margin, y: 28, pitch: 20, style: "font-size=\"16\" font-weight=\"bold\"")
        var top = 32 + 20 * Double(max(1, title.count))
        if panels.isEmpty || names.isEmpty {
            body.append(SVG.label("no values", x: Self.margin, y: top, style: "fill=\"#555555\""))
            top += 14
        } else {
            for start in stride(from: 0, to: panels.count, by: plot.panelsPerRow) {
                let row = panels[start..<min(panels.count, start + plot.panelsPerRow)]
                let bars = top + (row.map(\.headingHeight).max() ?? 0)
                body += rowLines(Array(row), bars: bars)
                top = bars + BarPanel.pitch * Double(names.count) + 44
            }
        }
        body += SVG.lines(notes, x: Self.margin, y: top, pitch: 16, style: "fill=\"#555555\"")
        let height = top + 16 * Double(notes.count)
        let opening = SVG.opening(title: plot.title, width: Int(width), height: Int(height.rounded(.up)))
        return opening + body + ["</svg>"]
    }

    private func rowLines(_ row: [BarPanel], bars: Double) -> [String] {
        let labels = names.enumerated().map { index, name in
            let y = bars + BarPanel.pitch * (Double(index) + 0.5) + 4
            return SVG.label(name, x: left - 8, y: y, style: "text-anchor=\"end\"")
        }
        return labels
            + row.enumerated().flatMap { index, panel in
                panel.lines(left: left + Double(index) * (BarPanel.width + Self.gap), bars: bars)
            }
    }
}

/// One panel of a bar plot.
struct BarPanel {
    private let panel: BarPlot.Panel
    private let groups: [String]
    private let heading: [String]
    private let axis: PlotAxis
    /// The values in words.
    private let told: [String]
    /// The pixels that values need before and after the bars.
    private let before: Double
    private let after: Double

    static let width = 250.0
    static let pitch = 22.0
    private static let barHeight = 14.0
    private static let colour = "#5a9bc9"
    private static let ink = "#1d3d57"
    private static let referenceStyle = "stroke=\"#d55e00\" stroke-width=\"1.4\" stroke-dasharray=\"5 3\""

    init(_ panel: BarPlot.Panel, groups: [String]) {
        self.panel = panel
        self.groups = groups
        heading = SVG.wrapped(panel.name, pixels: Self.width, size: 12, isBold: true)
        let shown = panel.bars.flatMap(Self.values) + (panel.reference.map { [$0] } ?? [])
        // Bars that are all zero have an axis to the right.
        let ends: [Double] = panel.startsAtZero ? [0] + (shown.allSatisfy { $0 == 0 } ? [1] : []) : []
        axis = PlotAxis(shown + ends, count: 4, extends: true)
        told = Self.told(panel.bars)
        let labels = zip(panel.bars, told)
        let pixels = { (isLeft: Bool) in
            labels.filter { Self.isLeft($0.0, panel) == isLeft }.map { SVG.pixels($0.1) + 8 }.max() ?? 0
        }
        (before, after) = (pixels(true), pixels(false))
    }

    /// The pixels above the bars.
    var headingHeight: Double { Double(heading.count) * 15 + (panel.reference == nil ? 0 : 16) + 4 }

    /// The panel, with its heading ending and its bars beginning at `bars`.
    func lines(left: Double, bars: Double) -> [String] {
        let top = bars - headingHeight
        let area = PlotArea(
            left: left + before, top: bars, width: Self.width - before - after,
            height: Self.pitch * Double(groups.count))
        let heading = SVG.lines(
            heading, x: left, y: top + 10, pitch: 15, style: "font-size=\"12\" font-weight=\"bold\"")
        return heading + axisLines(area) + bodies(area) + referenceLines(area, left: left, top: top)
            + groups.indices.flatMap { barLines($0, area) }
    }

    /// What is finite of a bar.
    private static func values(_ bar: BarPlot.Bar) -> [Double] {
        ([bar.value, bar.low, bar.high].compactMap { $0 } + bar.samples).filter(\.isFinite)
    }

    private static func isLeft(_ bar: BarPlot.Bar, _ panel: BarPlot.Panel) -> Bool {
        panel.startsAtZero && (bar.value.map { $0 < 0 && $0.isFinite } ?? false)
    }

    private static func told(_ bars: [BarPlot.Bar]) -> [String] {
        var numbers = Humane.brief(bars.compactMap(\.value).filter(\.isFinite))[...]
        return bars.map { bar in
            bar.value.map { $0.isFinite ? numbers.removeFirst() : "not finite" } ?? "no value"
        }
    }

    private func axisLines(_ area: PlotArea) -> [String] {
        var end = -Double.infinity
        return axis.ticks.flatMap { tick in
            let x = area.left + area.width * axis.place(tick.value)
            let isZero = tick.value == 0
            var lines = [
                SVG.line(x, area.top, x, area.bottom, style: isZero ? "stroke=\"#999999\"" : PlotStyle.grid)
            ]
            let half = SVG.pixels(tick.label) / 2
            if x - half > end {
                lines.append(SVG.label(tick.label, x: x, y: area.bottom + 14, style: "text-anchor=\"middle\""))
                end = x + half + 6
            }
            return lines
        }
    }

    private func bodies(_ area: PlotArea) -> [String] {
        guard panel.startsAtZero else { return [] }
        let zero = area.left + area.width * axis.place(0)
        return panel.bars.indices.compactMap { index in
            guard let value = panel.bars[index].value, value.isFinite else { return nil }
            let end = area.left + area.width * axis.place(value)
            let y = area.top + Self.pitch * Double(index) + (Self.pitch - Self.barHeight) / 2
            return "<rect x=\"\(SVG.number(min(zero, end)))\" y=\"\(SVG.number(y))\" "
                + "width=\"\(SVG.number(abs(end - zero)))\" height=\"\(SVG.number(Self.barHeight))\" "
                + "fill=\"\(Self.colour)\">\(summary(index))</rect>"
        }
    }

    private func referenceLines(_ area: PlotArea, left: Double, top: Double) -> [String] {
        guard let reference = panel.reference else { return [] }
        let y = top + Double(heading.count) * 15 + 10
        let name = SVG.fitting(panel.referenceName, pixels: Self.width - 100)
        let value = reference.isFinite ? Humane.brief(reference) : "not finite"
        let key = [
            SVG.line(left, y - 4, left + 22, y - 4, style: Self.referenceStyle),
            SVG.label("\(name): \(value)", x: left + 28, y: y),
        ]
        guard reference.isFinite else { return key }
        let x = area.left + area.width * axis.place(reference)
        return key + [SVG.line(x, area.top - 2, x, area.bottom + 2, style: Self.referenceStyle)]
    }

    /// The whisker, the dots and the value of a bar.
    private func barLines(_ index: Int, _ area: PlotArea) -> [String] {
        let bar = panel.bars[index]
        let y = area.top + Self.pitch * (Double(index) + 0.5)
        let x = { (value: Double) in area.left + area.width * axis.place(value) }
        var lines = ["<g>\(summary(index))"]
        if let low = bar.low, let high = bar.high, low.isFinite, high.isFinite {
            let style = "stroke=\"\(Self.ink)\""
            lines.append(SVG.line(x(low), y, x(high), y, style: style))
            // The dots at the ends are its ends.
            for end in [low, high] where bar.samples.isEmpty {
                lines.append(SVG.line(x(end), y - 4, x(end), y + 4, style: style))
            }
        }
        lines += bar.samples.filter(\.isFinite).map { dot(x($0), y, radius: 2, fill: "#ffffff") }
        if !panel.startsAtZero, let value = bar.value, value.isFinite {
            lines.append(dot(x(value), y, radius: 4, fill: Self.colour))
        }
        return lines + [valueLabel(index, area, y), "</g>"]
    }

    private func dot(_ x: Double, _ y: Double, radius: Double, fill: String) -> String {
        "<circle cx=\"\(SVG.number(x))\" cy=\"\(SVG.number(y))\" r=\"\(SVG.number(radius))\" fill=\"\(fill)\" "
            + "stroke=\"\(Self.ink)\"/>"
    }

    /// The value beyond the bar's end and all that is drawn on it, before a patch of white.
    private func valueLabel(_ index: Int, _ area: PlotArea, _ y: Double) -> String {
        let (bar, words) = (panel.bars[index], told[index])
        let isLeft = Self.isLeft(bar, panel)
        let origin = panel.startsAtZero ? axis.place(0) : 0
        let places = Self.values(bar).map { axis.place($0) }
        let end = area.left + area.width * (isLeft ? places.min() ?? origin : places.max() ?? origin)
        let x = isLeft ? end - 6 : end + 6
        let pixels = SVG.pixels(words)
        let style = bar.value?.isFinite == true ? "" : " fill=\"\(bar.value == nil ? "#777777" : PlotStyle.notFinite)\""
        return "<rect x=\"\(SVG.number(isLeft ? x - pixels : x - 1))\" y=\"\(SVG.number(y - 7))\" "
            + "width=\"\(SVG.number(pixels))\" height=\"14\" fill=\"#ffffff\" fill-opacity=\"0.85\"/>"
            + SVG.label(words, x: x, y: y + 4, style: "text-anchor=\"\(isLeft ? "end" : "start")\"" + style)
    }

    private func summary(_ index: Int) -> String {
        let bar = panel.bars[index]
        var text = "\(groups[index]), \(panel.name): \(bar.value.map { Humane.told($0) } ?? "no value")"
        if let low = bar.low, let high = bar.high { text += " (\(Humane.told(low)) to \(Humane.told(high)))" }
        if !bar.samples.isEmpty { text += "; " + bar.samples.map { Humane.told($0) }.joined(separator: ", ") }
        return "<title>\(SVG.text(text))</title>"
    }
}
