import Console

/// Bars of all measures, and the held-out loss over the steps.
struct Pictures {
    private let methods: [Method]

    init(_ methods: [Method]) { self.methods = methods }

    private var notes: [String] {
        [
            "Means of \(Humane.count(methods[0].runs.count, "seed")), the single ones as white dots. "
                + "All methods took the same steps. Losses are in nats for each byte."
        ]
    }

    var bars: String {
        let first = methods[0].runs[0]
        let before = first.looks[0].loss
        return BarPlot(
            title: "Little data: what is trained, what it costs, what is learned and what is forgotten",
            groups: methods.map(\.label),
            panels: [
                panel("trained share of the base, %") { $0.share * 100 },
                panel("optimizer memory, kB") { Double($0.optimizerBytes) / 1000 },
                panel("CPU seconds", \.cpu),
                panel("step with the best held-out loss") { Double($0.bestStep) },
                loss("training loss, last epoch", nil, \.training),
                loss("held-out loss, best", before, \.bestLoss),
                loss("held-out loss, end", before, \.end),
                loss("loss on the base's own text, end", first.ownBefore, \.ownAfter),
            ], panelsPerRow: 4, notes: notes
        ).svg
    }

    var curves: String {
        let series = methods.map { method in
            LinePlot.Series(
                name: method.label,
                points: method.runs[0].looks.indices.map { at in
                    LinePlot.Point(
                        x: Double(method.runs[0].looks[at].step), y: mean(method.runs.map { $0.looks[at].loss }))
                })
        }
        return LinePlot(
            title: "Loss on held-out text", xLabel: "step", yLabel: "loss (nats for each byte)", series: series,
            notes: notes
        ).svg
    }

    private func panel(_ name: String, _ measure: (Run) -> Double) -> BarPlot.Panel {
        BarPlot.Panel(
            name: name,
            bars: methods.map { method in
                let values = method.values(measure)
                // What no seed changes needs no dots.
                return Set(values).count > 1 ? BarPlot.Bar(meanOf: values) : BarPlot.Bar(values[0])
            })
    }

    /// Losses as points: their differences are small beside their size.
    private func loss(_ name: String, _ before: Double?, _ measure: (Run) -> Double) -> BarPlot.Panel {
        var result = panel(name, measure)
        result.reference = before
        result.referenceName = "the base"
        result.startsAtZero = false
        return result
    }
}
