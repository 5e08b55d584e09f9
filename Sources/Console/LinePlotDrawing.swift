/// A line plot with everything at its place.
struct LinePlotDrawing {
    private let plot: LinePlot
    private let x: PlotAxis
    private let y: PlotAxis
    private let area: PlotArea
    private let curves: [PlotCurve]
    private let names: [String]
    private let title: [String]
    private let notes: [String]
    private let width: Double

    private static let margin = 16.0
    private static let plotWidth = 600.0
    private static let plotHeight = 360.0
    private static let longestName = 220.0
    private static let legendPitch = 18.0
    /// How many places all lines together have at most: some 120 kB.
    private static let mostPlaces = 10_000
    /// How many places all curves together have at most that tell their values.
    private static let mostStops = 480

    init(_ plot: LinePlot) {
        self.plot = plot
        let (x, y) = Self.axes(plot)
        (self.x, self.y) = (x, y)
        names = plot.series.map { SVG.fitting($0.name, pixels: Self.longestName) }
        let left = (Self.margin + (y.ticks.map { SVG.pixels($0.label) }.max() ?? 0) + 8).rounded(.up)
        let legend = names.isEmpty ? 0 : 46 + (names.map { SVG.pixels($0) }.max() ?? 0)
        let width = (left + Self.plotWidth + 20 + legend + Self.margin).rounded(.up)
        self.width = width
        title = SVG.wrapped(plot.title, pixels: width - 2 * Self.margin, size: 16, isBold: true)
        let top = 44 + 20 * Double(max(1, title.count))
        let area = PlotArea(left: left, top: top, width: Self.plotWidth, height: Self.plotHeight)
        self.area = area
        let curves = plot.series.map { PlotCurve($0.points, x: x, y: y, in: area) }
        self.curves = curves
        notes = (plot.notes + Self.gaps(plot.series, curves)).flatMap {
            SVG.wrapped($0, pixels: width - 2 * Self.margin)
        }
    }

    /// The lines of the picture.
    var lines: [String] {
        let legendEnd = area.top + Double(names.count) * Self.legendPitch
        let foot = max(area.bottom + 42, legendEnd)
        let height = foot + Double(notes.count) * 16 + 12
        var lines = SVG.opening(title: plot.title, width: Int(width), height: Int(height.rounded(.up)))
        lines += SVG.lines(title, x: Self.margin, y: 28, pitch: 20, style: "font-size=\"16\" font-weight=\"bold\"")
        lines += axisLines + curveLines + legendLines
        lines += SVG.lines(notes, x: Self.margin, y: foot + 14, pitch: 16, style: "fill=\"#555555\"")
        return lines + ["</svg>"]
    }

    private static func axes(_ plot: LinePlot) -> (PlotAxis, PlotAxis) {
        // Only points that are drawn count: one whose height is not finite does not widen the picture.
        let shown = plot.series.flatMap(\.points).filter {
            $0.x.isFinite && $0.y.isFinite && (!plot.isXLogarithmic || $0.x > 0) && (!plot.isYLogarithmic || $0.y > 0)
        }
        let y = PlotAxis(shown.map(\.y), isLogarithmic: plot.isYLogarithmic, count: 7, extends: true)
        // As many ticks as there is room for their labels.
        let tries = (2...8).reversed().map {
            PlotAxis(shown.map(\.x), isLogarithmic: plot.isXLogarithmic, count: $0, extends: false)
        }
        return (tries.first(where: hasRoom) ?? tries[tries.count - 1], y)
    }

    private static func hasRoom(_ axis: PlotAxis) -> Bool {
        zip(axis.ticks, axis.ticks.dropFirst()).allSatisfy { a, b in
            let distance = (axis.place(b.value) - axis.place(a.value)) * plotWidth
            return distance >= (SVG.pixels(a.label) + SVG.pixels(b.label)) / 2 + 10
        }
    }

    /// What the notes say about points that are not drawn.
    private static func gaps(_ series: [LinePlot.Series], _ curves: [PlotCurve]) -> [String] {
        let told = { (why: String, count: (PlotCurve) -> Int) -> [String] in
            let parts = zip(series, curves).filter { count($1) > 0 }.map { series, curve in
                "\(series.name.shortened(to: 32)) (\(Humane.count(count(curve))))"
            }
            return parts.isEmpty ? [] : ["Gaps: points that are \(why): \(parts.joined(separator: ", "))."]
        }
        return told("not finite", \.notFinite) + told("not positive, on a logarithmic axis", \.notPositive)
    }

    private var axisLines: [String] {
        let kind = { (isLogarithmic: Bool) in isLogarithmic ? " (log scale)" : "" }
        let room = width - 2 * Self.margin - 70
        var lines = [
            SVG.label(
                SVG.fitting(plot.yLabel, pixels: room) + kind(plot.isYLogarithmic), x: Self.margin, y: area.top - 16)
        ]
        for tick in y.ticks {
            let at = area.bottom - area.height * y.place(tick.value)
            lines.append(SVG.line(area.left, at, area.right, at, style: PlotStyle.grid))
            lines.append(SVG.label(tick.label, x: area.left - 6, y: at + 4, style: "text-anchor=\"end\""))
        }
        for tick in x.ticks {
            let at = area.left + area.width * x.place(tick.value)
            lines.append(SVG.line(at, area.top, at, area.bottom, style: PlotStyle.grid))
            lines.append(SVG.label(tick.label, x: at, y: area.bottom + 16, style: "text-anchor=\"middle\""))
        }
        let label = SVG.fitting(plot.xLabel, pixels: area.width - 70) + kind(plot.isXLogarithmic)
        let middle = area.left + area.width / 2
        lines.append(SVG.label(label, x: middle, y: area.bottom + 36, style: "text-anchor=\"middle\""))
        lines.append(
            "<rect x=\"\(SVG.number(area.left))\" y=\"\(SVG.number(area.top))\" width=\"\(SVG.number(area.width))\" "
                + "height=\"\(SVG.number(area.height))\" \(PlotStyle.frame)/>")
        guard curves.allSatisfy(\.runs.isEmpty) else { return lines }
        let style = "text-anchor=\"middle\" fill=\"#555555\""
        return lines + [SVG.label("no points", x: middle, y: area.top + area.height / 2 + 4, style: style)]
    }
}

// MARK: - Curves

extension LinePlotDrawing {
    /// How a curve is drawn.
    private struct Look {
        let colour: String
        let mark: Int
        let dash: String?

        init(_ series: [LinePlot.Series], _ index: Int) {
            // Of any whole number, as the caller may give any.
            let style = series[index].style.map { Int($0.magnitude % 1_000_000) } ?? index
            colour = PlotStyle.colours[style % PlotStyle.colours.count]
            mark = style
            let before = series[..<index].count(where: \.isDashed)
            dash = series[index].isDashed ? PlotStyle.dashes[before % PlotStyle.dashes.count] : nil
        }

        /// A line, thinner where it is so dense that it would be an area.
        func stroke(isDense: Bool) -> String {
            "fill=\"none\" stroke=\"\(colour)\" stroke-width=\"\(isDense ? "0.8" : "1.6")\" stroke-linejoin=\"round\""
                + (dash.map { " stroke-dasharray=\"\($0)\"" } ?? " stroke-linecap=\"round\"")
        }

        /// Dashed curves have hollow marks.
        var fill: String {
            dash == nil
                ? "fill=\"\(colour)\" stroke=\"#ffffff\" stroke-width=\"0.8\""
                : "fill=\"#ffffff\" stroke=\"\(colour)\" stroke-width=\"1.2\""
        }
    }

    private var curveLines: [String] {
        let thinned = thinnedRuns
        let looks = curves.indices.map { Look(plot.series, $0) }
        let stops = curves.map { $0.stops(max(1, Self.mostStops / curves.count)) }
        let all = curves.indices.filter { !thinned[$0].isEmpty }
        // Lines first, so that no mark is hidden; what tells values on top of all.
        return all.map { path(thinned[$0], $0, looks[$0]) } + all.map { marks(stops[$0], $0, looks[$0]) }
            + all.flatMap { told(stops[$0], $0) }
    }

    /// The runs of all curves, in columns just so wide that there are not too many places.
    private var thinnedRuns: [[[PlotCurve.Place]]] {
        func count(_ runs: [[[PlotCurve.Place]]]) -> Int { runs.joined().reduce(0) { $0 + $1.count } }
        let whole = curves.map(\.runs)
        if count(whole) <= 1000 { return whole }
        var column = 1.0
        var thinned = curves.map { $0.thinned(column: column) }
        while count(thinned) > Self.mostPlaces, column < Self.plotWidth * 4 {
            column *= 2
            thinned = curves.map { $0.thinned(column: column) }
        }
        return thinned
    }

    private func path(_ runs: [[PlotCurve.Place]], _ index: Int, _ look: Look) -> String {
        let place = { (place: PlotCurve.Place) in "\(SVG.number(place.x)) \(SVG.number(place.y))" }
        let d = runs.map { run in
            // A run of one place is a dot.
            "M" + run.map(place).joined(separator: "L") + (run.count == 1 ? "h0.1" : "")
        }.joined()
        let isDense = runs.reduce(0) { $0 + $1.count } > Int(area.width)
        return "<path d=\"\(d)\" \(look.stroke(isDense: isDense))>\(summary(index))</path>"
    }

    private func marks(_ stops: [PlotCurve.Place], _ index: Int, _ look: Look) -> String {
        var shown = stops
        if stops.count > 24 {
            // At other places than those of the curves before.
            var next = area.left + area.width / 8 * (0.3 + Double(index * 3 % 8) / 10)
            shown = stops.filter { stop in
                guard stop.x >= next else { return false }
                next += area.width / 8 * max(1, ((stop.x - next) / (area.width / 8)).rounded(.up))
                return true
            }
        }
        let d = shown.map { PlotStyle.mark(look.mark, x: $0.x, y: $0.y) }.joined()
        return "<path d=\"\(d)\" \(look.fill)/>"
    }

    /// Circles that are not seen, but tell the values under the pointer.
    private func told(_ stops: [PlotCurve.Place], _ index: Int) -> [String] {
        let circles = stops.map { stop in
            "<circle cx=\"\(SVG.number(stop.x))\" cy=\"\(SVG.number(stop.y))\" r=\"5\"><title>"
                + SVG.text("\(names[index]): \(Humane.told(stop.point.x)), \(Humane.told(stop.point.y))")
                + "</title></circle>"
        }
        return ["<g fill-opacity=\"0\">"] + circles + ["</g>"]
    }

    /// What a curve says of itself.
    private func summary(_ index: Int) -> String {
        let points = curves[index].runs.joined().map(\.point)
        var text = "\(plot.series[index].name): \(Humane.count(points.count, "point"))"
        if let least = points.min(by: { $0.y < $1.y }), let greatest = points.max(by: { $0.y < $1.y }),
            let last = points.last
        {
            text += ", least \(Humane.told(least.y)) at \(Humane.told(least.x))"
            text += ", greatest \(Humane.told(greatest.y)) at \(Humane.told(greatest.x))"
            text += ", last \(Humane.told(last.y)) at \(Humane.told(last.x))"
        }
        return "<title>\(SVG.text(text))</title>"
    }

    private var legendLines: [String] {
        names.enumerated().flatMap { index, name in
            let look = Look(plot.series, index)
            let (x, y) = (area.right + 20, area.top + 8 + Double(index) * Self.legendPitch)
            return [
                "<g>\(summary(index))", SVG.line(x, y, x + 38, y, style: look.stroke(isDense: false)),
                "<path d=\"\(PlotStyle.mark(look.mark, x: x + 19, y: y))\" \(look.fill)/>",
                SVG.label(name, x: x + 46, y: y + 4), "</g>",
            ]
        }
    }
}
