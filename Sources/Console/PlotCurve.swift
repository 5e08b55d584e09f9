/// A curve in pixels: its places in runs between gaps.
struct PlotCurve {
    /// A point and where it is drawn.
    struct Place {
        let x: Double
        let y: Double
        let point: LinePlot.Point
        /// Which of the places of the curve it is.
        let order: Int
    }

    /// Places that are joined to each other.
    let runs: [[Place]]
    /// Whether the curve goes in one direction only.
    let isForward: Bool
    /// How many points are not finite.
    let notFinite: Int
    /// How many are finite, but not positive where an axis is logarithmic.
    let notPositive: Int

    private let count: Int
    private let area: PlotArea

    /// Lays a curve into a rectangle whose top left corner is `left`, `top`.
    init(_ points: [LinePlot.Point], x: PlotAxis, y: PlotAxis, in area: PlotArea) {
        var runs: [[Place]] = [[]]
        var (notFinite, notPositive, count) = (0, 0, 0)
        for point in points {
            if x.shows(point.x), y.shows(point.y) {
                let place = Place(
                    x: area.left + area.width * x.place(point.x), y: area.bottom - area.height * y.place(point.y),
                    point: point, order: count)
                runs[runs.count - 1].append(place)
                count += 1
                continue
            }
            let isFinite = point.x.isFinite && point.y.isFinite
            if isFinite { notPositive += 1 } else { notFinite += 1 }
            if runs.last?.isEmpty == false { runs.append([]) }
        }
        self.runs = runs.filter { !$0.isEmpty }
        (self.notFinite, self.notPositive) = (notFinite, notPositive)
        (self.count, self.area) = (count, area)
        let all = self.runs.joined()
        let steps = zip(all, all.dropFirst())
        isForward = steps.allSatisfy { $0.x <= $1.x } || steps.allSatisfy { $0.x >= $1.x }
    }

    /// The runs with at most the first, least, greatest and last place of each column, `column` pixels wide.
    ///
    /// Gaps narrower than a column vanish, so that what remains is few, however many gaps there are.
    func thinned(column: Double) -> [[Place]] {
        var joined: [[Place]] = []
        for run in runs {
            if let end = joined.last?.last, self.column(of: end, column) == self.column(of: run[0], column) {
                joined[joined.count - 1] += run
            } else {
                joined.append(run)
            }
        }
        return joined.map { extremes(of: $0, column: column) }
    }

    /// Places to point at: all of them if they are few, else `most`, at equal distances.
    func stops(_ most: Int) -> [Place] {
        let all = Array(runs.joined())
        guard count > most else { return all }
        let block = area.width / Double(most)
        var stops: [Place] = []
        for place in all where stops.last.map({ column(of: $0, block) != column(of: place, block) }) ?? true {
            stops.append(place)
        }
        return stops
    }

    /// The column of a place: of a curve that goes to and fro, as many points after each other as there are in a column.
    private func column(of place: Place, _ width: Double) -> Int {
        let part = isForward ? (place.x - area.left) / area.width : Double(place.order) / Double(count)
        return Int(part * area.width / width)
    }

    private func extremes(of run: [Place], column: Double) -> [Place] {
        var kept: [Int] = [0]
        var start = 0
        while start < run.count {
            let pixel = self.column(of: run[start], column)
            var (end, low, high) = (start, start, start)
            while end < run.count, self.column(of: run[end], column) == pixel {
                if run[end].y < run[low].y { low = end }
                if run[end].y > run[high].y { high = end }
                end += 1
            }
            kept += [min(low, high), max(low, high)]
            start = end
        }
        kept.append(run.count - 1)
        // In their order, each once.
        return kept.indices.filter { $0 == 0 || kept[$0] > kept[$0 - 1] }.map { run[kept[$0]] }
    }
}

/// A rectangle in pixels.
struct PlotArea {
    let left: Double
    let top: Double
    let width: Double
    let height: Double

    var right: Double { left + width }
    var bottom: Double { top + height }
}
