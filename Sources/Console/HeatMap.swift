/// Values by row and column as coloured cells: a standalone SVG picture.
public struct HeatMap: Sendable {
    /// How values become colours.
    public enum Scale: Sendable {
        case linear
        /// Equal ratios are equal steps; what is not positive gets the colour of the least.
        case logarithmic
    }

    /// The line above the picture.
    public var title: String
    /// The names of the rows, from the top.
    public var rows: [String]
    /// The names of the columns, from the left.
    public var columns: [String]
    /// The values, row by row; nil where there is none.
    public var values: [[Double?]]
    /// What the values are, with their unit.
    public var legend: String
    /// How values become colours.
    public var scale: Scale

    /// Describes a picture; see the properties.
    public init(
        title: String, rows: [String], columns: [String], values: [[Double?]], legend: String, scale: Scale = .linear
    ) {
        precondition(values.count == rows.count && values.allSatisfy { $0.count == columns.count })
        self.title = title
        self.rows = rows
        self.columns = columns
        self.values = values
        self.legend = legend
        self.scale = scale
    }

    /// The picture.
    public var svg: String {
        let layout = HeatMapLayout(self)
        let range = ValueRange(values.joined().compactMap { $0 }, logarithmic: scale == .logarithmic)
        var lines = SVG.opening(title: title, width: layout.width, height: layout.height)
        lines.append("<text x=\"16\" y=\"28\" font-size=\"16\" font-weight=\"bold\">\(SVG.text(title))</text>")
        lines += legendLines(range) + labels(layout)
        for (row, line) in values.enumerated() {
            for (column, value) in line.enumerated() { lines.append(cell(row, column, value, range, layout)) }
        }
        return (lines + ["</svg>"]).joined(separator: "\n") + "\n"
    }

    private func cell(
        _ row: Int, _ column: Int, _ value: Double?, _ range: ValueRange?, _ at: HeatMapLayout
    ) -> String {
        let colour =
            switch value {
            case .some(let value) where value.isFinite: ColourScale.colour(range?.place(value) ?? 0)
            case .some: Self.notFinite
            case nil: Self.missing
            }
        let told = value.map { Humane.significant($0, digits: 4) } ?? "no value"
        return "<rect x=\"\(at.left + column * at.cellWidth)\" y=\"\(at.top + row * at.cellHeight)\" "
            + "width=\"\(at.cellWidth - 1)\" height=\"\(at.cellHeight - 1)\" fill=\"\(colour)\">"
            + "<title>\(SVG.text(rows[row])), \(SVG.text(columns[column])): \(told)</title></rect>"
    }

    private func labels(_ at: HeatMapLayout) -> [String] {
        var lines: [String] = []
        for (row, name) in rows.enumerated() {
            let y = at.top + row * at.cellHeight + at.cellHeight / 2 + 4
            lines.append(
                "<text x=\"\(at.left - 6)\" y=\"\(y)\" text-anchor=\"end\">"
                    + "\(SVG.text(name.shortened(to: HeatMapLayout.longestLabel)))</text>")
        }
        for (column, name) in columns.enumerated() {
            let x = at.left + column * at.cellWidth + at.cellWidth / 2 + (at.turnsLabels ? 4 : 0)
            let y = at.top - 6
            let place = at.turnsLabels ? "transform=\"rotate(-60 \(x) \(y))\"" : "text-anchor=\"middle\""
            lines.append(
                "<text x=\"\(x)\" y=\"\(y)\" \(place)>"
                    + "\(SVG.text(name.shortened(to: HeatMapLayout.longestLabel)))</text>")
        }
        return lines
    }

    /// A strip of the colours with the least, middle and greatest value, and what the grey and red cells are.
    private func legendLines(_ range: ValueRange?) -> [String] {
        let kind = scale == .logarithmic ? " (log scale)" : ""
        var lines = ["<text x=\"16\" y=\"50\">\(SVG.text(legend + kind))</text>"]
        if let range {
            let steps = 48
            for step in 0..<steps {
                let colour = ColourScale.colour((Double(step) + 0.5) / Double(steps))
                lines.append("<rect x=\"\(16 + 5 * step)\" y=\"58\" width=\"5.5\" height=\"12\" fill=\"\(colour)\"/>")
            }
            let ends = range.least < range.greatest
            let ticks = ends ? [(0.0, 16, "start"), (0.5, 136, "middle"), (1.0, 256, "end")] : [(0.5, 136, "middle")]
            for (place, x, anchor) in ticks {
                let value = Humane.significant(range.value(place), digits: 3)
                lines.append("<text x=\"\(x)\" y=\"84\" text-anchor=\"\(anchor)\">\(value)</text>")
            }
        }
        let all = values.joined()
        var x = 16
        for (colour, name, isSeen) in [
            (Self.missing, "no value", all.contains { $0 == nil }),
            (Self.notFinite, "not finite", all.contains { $0.map { !$0.isFinite } ?? false }),
        ] where isSeen {
            lines.append("<rect x=\"\(x)\" y=\"94\" width=\"12\" height=\"12\" fill=\"\(colour)\"/>")
            lines.append("<text x=\"\(x + 17)\" y=\"104\">\(name)</text>")
            x += 90
        }
        return lines
    }

    private static let missing = "#dddddd"
    private static let notFinite = "#d81b60"
}

/// Where the parts of a heat map stand, in pixels.
private struct HeatMapLayout {
    let left: Int
    let top: Int
    let cellWidth: Int
    let cellHeight: Int
    let width: Int
    let height: Int
    let turnsLabels: Bool

    static let longestLabel = 32

    init(_ map: HeatMap) {
        let pixels = { (names: [String]) in
            names.map { min(Self.longestLabel, $0.columns) * 13 / 2 }.max() ?? 0
        }
        let names = pixels(map.columns)
        cellWidth = min(72, max(18, 720 / max(1, map.columns.count)))
        cellHeight = min(24, max(13, 800 / max(1, map.rows.count)))
        turnsLabels = names > cellWidth - 4
        left = 16 + pixels(map.rows) + 6
        // Turned by 60°, a name is 7/8 as high as it is long, and leans out to the right by half its length.
        let exceptions = map.values.joined().contains { !($0?.isFinite ?? false) }
        top = (exceptions ? 116 : 92) + (turnsLabels ? names * 7 / 8 + 12 : 20)
        let lean = turnsLabels ? names / 2 + 8 : 0
        let heading = 16 + max(map.title.columns * 10, map.legend.columns * 7 + 80, 256)
        width = max(left + map.columns.count * cellWidth + lean, heading) + 16
        height = top + map.rows.count * cellHeight + 16
    }
}
