/// Several measures of the same things side by side, as horizontal bars: a standalone SVG picture.
public struct BarPlot: Sendable {
    /// One value, and how far it varies.
    public struct Bar: Sendable {
        /// The length of the bar; nil or not finite where there is none.
        public var value: Double?
        /// The least it was, such as over seeds.
        public var low: Double?
        /// The greatest it was.
        public var high: Double?
        /// The single values, drawn as dots.
        public var samples: [Double]

        /// One value; see the properties.
        public init(_ value: Double?, low: Double? = nil, high: Double? = nil, samples: [Double] = []) {
            self.value = value
            self.low = low
            self.high = high
            self.samples = samples
        }

        /// The mean of values, with their range and each of them as a dot; no value if there are none.
        public init(meanOf samples: [Double]) {
            // Each divided before the sum, which else might overflow.
            let mean = samples.reduce(0) { $0 + $1 / Double(samples.count) }
            self.init(
                samples.isEmpty ? nil : mean, low: samples.count > 1 ? samples.min() : nil,
                high: samples.count > 1 ? samples.max() : nil, samples: samples.count > 1 ? samples : [])
        }
    }

    /// One measure of all things.
    public struct Panel: Sendable {
        /// What is measured, with its unit.
        public var name: String
        /// A value for each group.
        public var bars: [Bar]
        /// A value to compare with, drawn as a dashed line.
        public var reference: Double?
        /// What the value to compare with is.
        public var referenceName: String
        /// Whether lengths count from zero; else values are points, and the axis shows no more than their range.
        public var startsAtZero: Bool

        /// Describes a measure; see the properties.
        public init(
            name: String, bars: [Bar], reference: Double? = nil, referenceName: String = "reference",
            startsAtZero: Bool = true
        ) {
            self.name = name
            self.bars = bars
            self.reference = reference
            self.referenceName = referenceName
            self.startsAtZero = startsAtZero
        }
    }

    /// The line above the picture.
    public var title: String
    /// What is compared, from the top.
    public var groups: [String]
    /// The measures.
    public var panels: [Panel]
    /// How many panels are side by side before the next are below them.
    public var panelsPerRow: Int
    /// Sentences under the picture.
    public var notes: [String]

    /// Describes a picture; see the properties.
    public init(title: String, groups: [String], panels: [Panel], panelsPerRow: Int = 3, notes: [String] = []) {
        precondition(panels.allSatisfy { $0.bars.count == groups.count } && panelsPerRow > 0)
        self.title = title
        self.groups = groups
        self.panels = panels
        self.panelsPerRow = panelsPerRow
        self.notes = notes
    }

    /// The picture.
    public var svg: String { BarPlotDrawing(self).lines.joined(separator: "\n") + "\n" }
}
