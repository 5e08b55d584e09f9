import Console
import Training

/// The loss curves of a training.
struct LossPlot {
    private let history: TrainingHistory
    private let title: String

    init(_ history: TrainingHistory, title: String) { (self.history, self.title) = (history, title) }

    var svg: String {
        let losses = history.losses
        var series = [
            LinePlot.Series(
                name: "training, each step", points: points(losses.enumerated().map { ($0 + 1, $1) }))
        ]
        let width = max(1, losses.count / 30)
        if width > 1 {
            let means = losses.indices.map { at in
                let range = losses[max(0, at + 1 - width)...at]
                return (at + 1, range.reduce(0, +) / Double(range.count))
            }
            series.append(LinePlot.Series(name: "mean of \(width) steps", points: points(means)))
        }
        if !history.validations.isEmpty {
            series.append(
                LinePlot.Series(
                    name: "held-out text", points: points(history.validations.map { ($0.step, $0.loss) }),
                    isDashed: true))
        }
        return LinePlot(title: title, xLabel: "step", yLabel: "loss (nats per token)", series: series).svg
    }

    private func points(_ list: [(Int, Double)]) -> [LinePlot.Point] {
        list.map { LinePlot.Point(x: Double($0.0), y: $0.1) }
    }
}
