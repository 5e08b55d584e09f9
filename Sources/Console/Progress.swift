import Synchronization

/// How far a long piece of work has come, as one line on stderr that is drawn again in place.
///
/// Any thread may call `advance(by:)`; where no progress is shown, that is one atomic addition.
public final class Progress: Sendable {
    private let terminal: Terminal
    private let label: String
    private let total: Int?
    private let start: Int
    private let done = Atomic<Int>(0)
    private let nextDrawing: Atomic<Int>
    private let finished = Atomic<Bool>(false)

    /// At most ten drawings a second.
    private static let interval = 100_000_000

    /// Shows progress towards `totalBytes`, or only how much was done if that is nil.
    public init(_ terminal: Terminal, label: String, totalBytes: Int?) {
        self.terminal = terminal
        self.label = label
        total = totalBytes
        start = Posix.now()
        nextDrawing = Atomic(terminal.showsProgress ? start + Self.interval : .max)
        if terminal.showsProgress { draw(0, start) }
    }

    deinit { finish() }

    /// Counts bytes as done.
    public func advance(by bytes: Int) {
        let now = done.add(bytes, ordering: .relaxed).newValue
        let due = nextDrawing.load(ordering: .relaxed)
        guard due != .max else { return }
        let time = Posix.now()
        // Whoever moves the time of the next drawing draws; nobody waits.
        guard time >= due,
            nextDrawing.compareExchange(expected: due, desired: time + Self.interval, ordering: .relaxed).exchanged
        else { return }
        draw(now, time)
    }

    /// Takes the line away; further progress is not shown.
    public func finish() {
        guard terminal.showsProgress, !finished.exchange(true, ordering: .relaxed) else { return }
        nextDrawing.store(.max, ordering: .relaxed)
        terminal.clearProgress()
    }

    private func draw(_ done: Int, _ time: Int) {
        terminal.drawProgress {
            // Asked under the terminal's lock: after `finish()` nothing may be drawn.
            guard !finished.load(ordering: .relaxed) else { return nil }
            return Self.line(
                label: label, done: done, total: total, seconds: Double(time - start) / 1e9,
                columns: terminal.progressWidth - 1)
        }
    }

    /// The progress line, with as many of its parts as fit into `columns`.
    ///
    /// `merging  [=====>    ] 45%  1.02/2.20 GB  1.4 GB/s  0:03 left`
    static func line(label: String, done: Int, total: Int?, seconds: Double, columns: Int) -> String {
        let label = escaped(label)
        let rate = seconds > 0 ? Double(done) / seconds : 0
        let speed = rate >= 1 && seconds >= 0.5 ? "  " + Humane.bytes(Int(min(rate, 1e18)), digits: 2) + "/s" : ""
        guard let total, total > 0 else {
            return fitting(["\(label)  \(Humane.bytes(done))\(speed)", "\(label)  \(Humane.bytes(done))"], columns)
        }
        let part = min(1, max(0, Double(done) / Double(total)))
        let percent = "\(Int(part * 100))%"
        let amount = "  " + Humane.bytes(done, of: total)
        let left = speed.isEmpty ? "" : "  \(Humane.clock(Double(max(0, total - done)) / rate)) left"
        for tail in [amount + speed + left, amount + speed, amount] {
            let room = columns - label.columns - percent.count - tail.columns - 5
            if room >= 10 { return "\(label)  [\(bar(part, min(room, 24)))] \(percent)\(tail)" }
        }
        return fitting(["\(label)  \(percent)\(amount)", "\(label)  \(percent)"], columns)
    }

    static func bar(_ part: Double, _ width: Int) -> String {
        let full = Int(part * Double(width))
        guard full < width else { return String(repeating: "=", count: width) }
        return String(repeating: "=", count: full) + ">" + String(repeating: " ", count: width - full - 1)
    }

    /// The first of `lines` that fits, or the last one cut.
    private static func fitting(_ lines: [String], _ columns: Int) -> String {
        lines.first { $0.columns <= columns } ?? (lines.last ?? "").shortened(to: columns)
    }
}
