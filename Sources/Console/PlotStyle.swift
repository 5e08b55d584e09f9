/// The colours, dashes and marks that tell curves apart, on a screen and in print.
enum PlotStyle {
    /// Told apart by colour-blind readers too: Okabe and Ito's colours without their yellow, and a wine red.
    static let colours = [
        "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#882255",
    ]

    /// One less than there are colours, so that it takes long until both repeat together.
    static let marks = ["circle", "square", "triangle", "diamond", "tip", "plus", "cross"]

    /// Patterns of dashed curves.
    static let dashes = ["7 3", "2 3", "10 3 2 3", "13 4", "7 2 2 2 2 2", "4 4"]

    static let grid = "stroke=\"#e4e4e4\""
    static let frame = "fill=\"none\" stroke=\"#999999\""
    static let notFinite = "#d81b60"

    /// The outline of a mark around a place.
    static func mark(_ index: Int, x: Double, y: Double) -> String {
        let d =
            switch marks[index % marks.count] {
            case "circle": "m-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0z"
            case "square": "m-3-3h6v6h-6z"
            case "triangle": "m0-4l3.8 6.6h-7.6z"
            case "diamond": "m0-4.2l4.2 4.2l-4.2 4.2l-4.2-4.2z"
            case "tip": "m0 4l3.8-6.6h-7.6z"
            case "plus": "m-1.2-4h2.4v2.8h2.8v2.4h-2.8v2.8h-2.4v-2.8h-2.8v-2.4h2.8z"
            default: "m-3.7-2l1.7-1.7l2 2l2-2l1.7 1.7l-2 2l2 2l-1.7 1.7l-2-2l-2 2l-1.7-1.7l2-2z"
            }
        return "M\(SVG.number(x)) \(SVG.number(y))" + d
    }
}
