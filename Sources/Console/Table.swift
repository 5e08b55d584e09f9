/// Rows of text in columns, with a header line and two spaces between columns.
public struct Table: Sendable {
    /// On which side the cells of a column stand.
    public enum Alignment: Sendable {
        case left, right
        /// On the left; a name that must stay recognisable, so that where room is short its beginning goes.
        case name
    }

    /// Names of a layer's module mean nothing in fewer columns; lines that wrap are better then.
    private static let shortestName = 56

    private let titles: [String]
    private let alignments: [Alignment]
    private var rows: [[String]] = []

    /// Starts an empty table.
    public init(columns: [(title: String, align: Alignment)]) {
        titles = columns.map { escaped($0.title) }
        alignments = columns.map(\.align)
    }

    /// Adds a row, one cell for each column; cells are made safe to show.
    public mutating func add(_ cells: [String]) {
        precondition(cells.count == titles.count, "a row has \(cells.count) cells for \(titles.count) columns")
        rows.append(cells.map(escaped))
    }

    /// Whether it has no rows.
    public var isEmpty: Bool { rows.isEmpty }

    /// The table as lines, each with its newline.
    ///
    /// - Parameter width: where the table is wider, the widest left-aligned column gives way, its cells shortened in
    ///   the middle. Nil for no limit.
    public func rendered(width: Int? = nil) -> String {
        var text = ""
        let widths = columnWidths(within: width)
        for row in [titles] + rows {
            var line = ""
            for (column, cell) in row.enumerated() {
                let width = widths[column]
                let isName = alignments[column] == .name
                let shown = isName ? cell.shortenedAtStart(to: width) : cell.shortened(to: width)
                line += (column > 0 ? "  " : "")
                line += alignments[column] == .right ? shown.aligned(to: width) : shown.padded(to: width)
            }
            while line.last == " " { line.removeLast() }
            text += line + "\n"
        }
        return text
    }

    private func columnWidths(within limit: Int?) -> [Int] {
        var widths = titles.map(\.columns)
        for row in rows {
            for (column, cell) in row.enumerated() { widths[column] = max(widths[column], cell.columns) }
        }
        guard let limit else { return widths }
        let excess = widths.reduce(0, +) + 2 * (widths.count - 1) - limit
        let lefts = widths.indices.filter { alignments[$0] != .right }
        if excess > 0, let widest = lefts.max(by: { widths[$0] < widths[$1] }) {
            let least = alignments[widest] == .name ? Self.shortestName : 12
            widths[widest] = max(min(least, widths[widest]), titles[widest].columns, widths[widest] - excess)
        }
        return widths
    }
}
