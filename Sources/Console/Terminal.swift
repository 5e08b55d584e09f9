import CPosix
import Problems
import Synchronization

/// Where a tool speaks: its answer to stdout, everything else to stderr, each line whole.
///
/// Writing never fails at once: an error on stdout is kept and thrown by `flush()`, which `Tool.run` calls at the end.
/// Once the reader of a pipe has gone, output is dropped in silence, so that work under way still ends well.
public final class Terminal: Sendable {
    /// The name that diagnostics begin with.
    public let tool: String
    /// Whether only errors are wanted.
    public let quiet: Bool
    /// Whether the answer is to be one JSON document.
    public let json: Bool
    /// Whether progress is shown.
    public let showsProgress: Bool
    let streams: Streams
    private let outputIsTerminal: Bool
    private let colours: Bool
    private let state = Mutex(State())

    /// The surroundings of a tool; tests use others.
    struct Streams: Sendable {
        var output: Int32 = 1
        var diagnostics: Int32 = 2
        var environment: @Sendable (String) -> String? = Posix.environment
    }

    private struct State {
        var pending: [UInt8] = []
        var failure: Int32 = 0
        var isFailureTold = false
        var hasOutput = false
        var progress = ""
    }

    /// Speaks for the tool of that name.
    public convenience init(tool: String, quiet: Bool = false, json: Bool = false, progress: Bool = true) {
        self.init(tool: tool, quiet: quiet, json: json, progress: progress, streams: Streams())
    }

    init(tool: String, quiet: Bool, json: Bool, progress: Bool, streams: Streams) {
        self.tool = tool
        self.quiet = quiet
        self.json = json
        self.streams = streams
        outputIsTerminal = Posix.isTerminal(streams.output)
        let plain = !Posix.isTerminal(streams.diagnostics) || streams.environment("TERM") == "dumb"
        colours = !plain && (streams.environment("NO_COLOR") ?? "").isEmpty
        let drawable =
            switch streams.environment("ADAPTERKIT_PROGRESS") {
            case "always": true
            case "never": false
            default: !plain
            }
        showsProgress = drawable && progress && !quiet && !json
    }

    /// Writes a line of the answer.
    ///
    /// Names from files go through `escaped(_:)` first; tables and JSON do that themselves.
    public func print(_ line: String = "") { write(line + "\n") }

    /// Writes a JSON document and a newline.
    public func print(json: JSON) { print(json.pretty) }

    /// Writes a table, shortened to the width of the terminal if stdout is one.
    public func print(_ table: Table) { write(table.rendered(width: outputWidth)) }

    /// Writes a part of the answer.
    public func write(_ text: String) {
        guard !text.isEmpty else { return }
        state.withLock { state in
            state.hasOutput = true
            guard state.failure == 0 else { return }
            state.pending += text.utf8
            if outputIsTerminal || state.pending.count >= 1 << 16 { send(&state) }
        }
    }

    /// Writes out what is buffered, and throws if any of the answer could not be written; once, however often it is called.
    public func flush() throws(Problem) {
        let failure = state.withLock { state in
            send(&state)
            defer { state.isFailureTold = state.failure != 0 }
            return state.isFailureTold ? 0 : state.failure
        }
        guard failure != 0, failure != Posix.brokenPipe else { return }
        throw Problem(
            .io, "stdout-failed", "cannot write to standard output: \(Posix.reason(failure))",
            hint: "what was printed is incomplete; files that were written are not affected")
    }

    /// Whether nobody reads stdout any more: a tool that only prints may stop.
    public var outputIsClosed: Bool { state.withLock { $0.failure == Posix.brokenPipe } }

    /// The width of the terminal that stdout is, nil if it is none.
    public var outputWidth: Int? {
        guard outputIsTerminal else { return nil }
        let columns = Int(ak_terminal_columns(streams.output))
        return columns > 0 ? columns : nil
    }

    /// Says that something was done, unless quiet; names from files are made safe.
    public func note(_ text: String) { report(Problem(.note, .usage, "note", text)) }

    /// Tells a problem on stderr, with its hint; with `--quiet`, errors only and no hints.
    public func report(_ problem: Problem) {
        diagnose(Diagnostics.lines([problem], tool: tool, cap: 1, quiet: quiet, json: json, colours: colours))
    }

    /// Tells all problems on stderr, up to `cap` of each severity, and how many more there are.
    public func report(_ problems: [Problem], cap: Int = 50) {
        diagnose(Diagnostics.lines(problems, tool: tool, cap: cap, quiet: quiet, json: json, colours: colours))
    }

    /// Tells all problems of a list on stderr, up to `cap` of each severity.
    public func report(_ list: ProblemList, cap: Int = 50) { report(list.problems, cap: cap) }

    /// Shows a table on stderr, unless quiet: figures beside the answer.
    public func aside(_ table: Table) {
        guard !quiet else { return }
        let columns = Int(ak_terminal_columns(streams.diagnostics))
        var text = table.rendered(width: columns > 0 ? columns : nil)
        if text.hasSuffix("\n") { text.removeLast() }
        diagnose([text])
    }

    /// Whether anything was written to stdout.
    var hasOutput: Bool { state.withLock { $0.hasOutput } }

    private func diagnose(_ lines: [String]) {
        guard !lines.isEmpty else { return }
        state.withLock { state in
            // On one terminal, the answer so far comes before what is said about it.
            if outputIsTerminal { send(&state) }
            let text = lines.joined(separator: "\n") + "\n"
            // One call, so that lines of several processes do not mix; the progress line is drawn again below.
            let drawn = state.progress
            _ = Posix.write(Array((drawn.isEmpty ? text : "\r\u{1B}[K" + text + drawn).utf8), to: streams.diagnostics)
        }
    }

    /// Puts a line in the place of the progress line, unless another thread is writing.
    func drawProgress(_ line: () -> String?) {
        _ = state.withLockIfAvailable { state in line().map { draw($0, &state) } }
    }

    /// Takes the progress line away, waiting for the lock.
    func clearProgress() { state.withLock { draw("", &$0) } }

    private func draw(_ line: String, _ state: inout State) {
        guard line != state.progress else { return }
        state.progress = line
        _ = Posix.write(Array("\r\(line)\u{1B}[K".utf8), to: streams.diagnostics)
    }

    private func send(_ state: inout State) {
        guard !state.pending.isEmpty else { return }
        if outputIsTerminal && !state.progress.isEmpty { draw("", &state) }
        if state.failure == 0 { state.failure = Posix.write(state.pending, to: streams.output) }
        state.pending.removeAll(keepingCapacity: true)
    }

    /// The width of the terminal that stderr is, 80 if it is none.
    var progressWidth: Int {
        let columns = Int(ak_terminal_columns(streams.diagnostics))
        return columns > 0 ? columns : 80
    }
}
