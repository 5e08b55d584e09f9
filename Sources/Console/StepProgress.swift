import Synchronization

/// How far work in steps has come, as one line on stderr that is drawn again in place:
/// `training  [=====>    ] 45%  step 90/200  loss 1.234  5,120 tokens/s  0:12 left`.
public final class StepProgress: Sendable {
    private let terminal: Terminal
    private let label: String
    private let total: Int
    private let start = Posix.now()
    private let state: Mutex<State>

    private struct State {
        var next: Int
        var first: Int
        var isFinished = false
    }

    private static let interval = 100_000_000

    /// Shows steps towards `total`, the first `done` of which were taken before.
    public init(_ terminal: Terminal, label: String, total: Int, done: Int = 0) {
        (self.terminal, self.label, self.total) = (terminal, label, total)
        state = Mutex(State(next: start, first: done))
    }

    deinit { finish() }

    /// Says that `done` steps are taken, and what is worth knowing about the last one.
    public func update(_ done: Int, _ facts: @autoclosure () -> String) {
        guard terminal.showsProgress else { return }
        let now = Posix.now()
        let first: Int? = state.withLock { state in
            guard !state.isFinished, now >= state.next else { return nil }
            state.next = now + Self.interval
            return state.first
        }
        guard let first else { return }
        let line = Self.line(
            label: label, done: done, total: total, facts: facts(), seconds: Double(now - start) / 1e9, first: first,
            columns: terminal.progressWidth - 1)
        terminal.drawProgress { line }
    }

    /// Takes the line away; it comes back with the next update unless `isLast`.
    public func clear() {
        if terminal.showsProgress { terminal.clearProgress() }
    }

    /// Takes the line away for good.
    public func finish() {
        let was = state.withLock { state in
            defer { state.isFinished = true }
            return state.isFinished
        }
        if !was { clear() }
    }

    /// The line, with as many of its parts as fit into `columns`: the bar gives way first, then the label.
    static func line(
        label: String, done: Int, total: Int, facts: String, seconds: Double, first: Int, columns: Int
    ) -> String {
        let part = total > 0 ? min(1, Double(done) / Double(total)) : 1
        let own = done - first
        let left =
            own > 0 && seconds > 1
            ? "  \(Humane.clock(seconds / Double(own) * Double(max(0, total - done)))) left" : ""
        let percent = "\(Int(part * 100))%"
        let steps = "step \(done)/\(total)"
        let all = "\(percent)  \(steps)  \(facts)\(left)"
        let room = columns - label.columns - all.columns - 5
        if room >= 4 { return "\(label)  [\(Progress.bar(part, min(room, 16)))] \(all)" }
        // What changes is worth more than the words around it.
        let lines = ["\(label)  \(all)", all, "\(steps)  \(facts)\(left)", "\(steps)\(left)", steps, percent]
        return lines.first { $0.columns <= columns } ?? ""
    }
}
