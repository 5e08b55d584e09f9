/// Several curves over one axis, such as losses over steps: a standalone SVG picture.
public struct LinePlot: Sendable {
    /// A place on a curve.
    public struct Point: Sendable, Equatable {
        /// Where on the horizontal axis.
        public var x: Double
        /// Where on the vertical axis.
        public var y: Double

        /// A place on a curve.
        public init(x: Double, y: Double) {
            self.x = x
            self.y = y
        }
    }

    /// A curve.
    public struct Series: Sendable {
        /// What the legend calls it.
        public var name: String
        /// Its places in the order in which they are joined; what is not finite is a gap.
        public var points: [Point]
        /// Whether the line is dashed, each dashed curve with a pattern of its own.
        public var isDashed: Bool
        /// Which colour and mark of the palette it has, for curves that belong together; else its place among the curves.
        public var style: Int?

        /// Describes a curve; see the properties.
        public init(name: String, points: [Point], isDashed: Bool = false, style: Int? = nil) {
            self.name = name
            self.points = points
            self.isDashed = isDashed
            self.style = style
        }
    }

    /// The line above the picture.
    public var title: String
    /// What the horizontal axis is, with its unit.
    public var xLabel: String
    /// What the vertical axis is, with its unit.
    public var yLabel: String
    /// The curves, in the order of the legend.
    public var series: [Series]
    /// Sentences under the picture.
    public var notes: [String]
    /// Whether equal ratios are equal distances on the horizontal axis; what is not positive is a gap.
    public var isXLogarithmic: Bool
    /// Whether equal ratios are equal distances on the vertical axis; what is not positive is a gap.
    public var isYLogarithmic: Bool

    /// Describes a picture; see the properties.
    public init(
        title: String, xLabel: String, yLabel: String, series: [Series], notes: [String] = [],
        isXLogarithmic: Bool = false, isYLogarithmic: Bool = false
    ) {
        self.title = title
        self.xLabel = xLabel
        self.yLabel = yLabel
        self.series = series
        self.notes = notes
        self.isXLogarithmic = isXLogarithmic
        self.isYLogarithmic = isYLogarithmic
    }

    /// The picture.
    ///
    /// Curves of more points than the picture has pixels keep the least and greatest value of each column of pixels.
    public var svg: String { LinePlotDrawing(self).lines.joined(separator: "\n") + "\n" }
}
