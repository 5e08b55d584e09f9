import Adapters
import Console
import Files
import Merging
import Problems
import Reports
import Swapping
import Synchronization
import Tensors

/// `adapter-swap`: adapters of a model that is in use, changed at one stroke and exactly.
@main
enum SwapTool {
    static let tool = Tool(
        name: "adapter-swap", summary: "change the adapters of a model that is in use",
        usage: [
            "MODEL use ADAPTER[:WEIGHT]...", "MODEL base", "MODEL status [--deep]", "MODEL recover",
            "MODEL forget GENERATION... | --all",
        ],
        description: [
            "MODEL is a checkpoint's directory that a server loads. 'use' makes it the base with these adapters and no others: "
                + "what was in it is taken out exactly, so that its files are those of a fresh merge onto the pristine base. "
                + "'base' makes it the pristine base again.",
            "No file that is there is ever written to. New files are made beside the model, and the two directories are "
                + "exchanged at one stroke; who has the old files open or mapped keeps them to the end. A swap that is "
                + "interrupted leaves the model as it was, or as it was to be, and 'recover' clears up.",
            "How to get back is kept beside the model, in .NAME.adapterkit-swap: a record of what rounding took, a few per "
                + "cent of the model; or with --keep the base and what was made of it as directories that share what is "
                + "equal, so that changing back takes milliseconds.",
        ],
        options: [
            Option("keep", help: "Keep this generation and the base as directories, for changing back at once."),
            Option(
                "limit", value: "SIZE",
                help:
                    "Let kept generations take at most SIZE besides the base, such as 20GB; the longest unused go first."
            ),
            Option("dry-run", short: "n", help: "Show what would be done, and stop."),
            Option("deep", help: "With status: read all files and hold them against their digests."),
            Option("all", help: "With forget: all generations that nothing needs."),
            Option("wait", help: "If another swap of the model is going on, wait until it is done."),
            Option(
                "allow", value: "CODE", repeats: true, help: "Count this kind of error as a warning.",
                choices: (LoadedInputs.allowableInMerge + [Swapper.foreignChange]).sorted()),
            Option("threads", short: "t", value: "N", help: "Use N threads; by default one for each CPU."),
        ],
        operands: [
            ("MODEL", "The model's directory."), ("COMMAND", "use, base, status, recover or forget."),
            (
                "[ADAPTER[:WEIGHT]...]",
                "For use: directories or files of any dialect, or archives. For forget: generations."
            ),
        ],
        examples: [
            ("adapter-swap llama/ use style/", "put an adapter into a model that is served"),
            ("adapter-swap llama/ use facts:0.5 tone", "other adapters instead, as if onto the pristine base"),
            ("adapter-swap llama/ base", "the pristine base again"),
            ("adapter-swap llama/ status", "what is in it, and what that costs"),
        ],
        exitCodes: Tool.standardExitCodes.flatMap { code -> [Tool.ExitCode] in
            code.code == 130
                ? [(75, "Another swap is going on, or one was interrupted: wait, or recover."), code] : [code]
        })

    private static let commands = ["use", "base", "status", "recover", "forget"]

    static func main() {
        tool.run { arguments, terminal in
            let (path, command) = (arguments.operands[0], arguments.operands[1])
            let rest = Array(arguments.operands.dropFirst(2))
            guard commands.contains(command) else {
                throw Problem(
                    .usage, "bad-command", "'\(command)' is no command",
                    hint: "adapter-swap MODEL \(commands.joined(separator: "|")); see adapter-swap --help")
            }
            try check(command, rest, arguments)
            if command == "status" { return try StatusReport.run(path, arguments, terminal) }
            return try change(path, command, rest, arguments, terminal)
        }
    }

    private static func check(_ command: String, _ rest: [String], _ arguments: Arguments) throws(Problem) {
        let takes = command == "use" || command == "forget"
        guard takes || rest.isEmpty else {
            throw Problem(
                .usage, "operands", "'\(command)' takes nothing more than the model, but '\(rest[0])' was given")
        }
        guard command != "use" || !rest.isEmpty else {
            throw Problem(
                .usage, "operands", "'use' needs adapters",
                hint: "adapter-swap MODEL use ADAPTER; 'base' takes all of them out")
        }
        guard command != "forget" || rest.isEmpty == arguments.flag("all") else {
            throw Problem(
                .usage, "operands", "'forget' needs generations, or --all, and not both",
                hint: "adapter-swap MODEL status lists them")
        }
        for (flag, commands) in [
            ("keep", ["use"]), ("limit", ["use", "base"]), ("deep", ["status"]), ("all", ["forget"]),
            ("dry-run", ["use", "base", "forget"]), ("allow", ["use", "base"]),
        ] where !commands.contains(command) {
            if arguments.flag(flag) || arguments.value(flag) != nil || !arguments.values(flag).isEmpty {
                throw Problem(
                    .usage, "bad-option",
                    "--\(flag) goes with \(commands.joined(separator: " and ")), not with '\(command)'")
            }
        }
    }

    private static func change(
        _ path: String, _ command: String, _ rest: [String], _ arguments: Arguments, _ terminal: Terminal
    ) throws -> Int32 {
        var options = SwapOptions(version: adapterKitVersion)
        options.keeps = arguments.flag("keep")
        options.limit = try arguments.bytes("limit")
        options.allowed = Set(arguments.values("allow"))
        options.isDryRun = arguments.flag("dry-run")
        options.threads = try arguments.int("threads", in: 1...1024) ?? Workers.processors
        let operands = command == "use" ? try rest.map(AdapterOperand.init) : []
        let bar = SwapProgress(terminal)
        defer { bar.finish() }
        var callbacks = SwapCallbacks()
        callbacks.progress = { what, bytes, total in bar.advance(what, bytes, total) }
        callbacks.report = { problems in
            bar.finish()
            terminal.report(problems)
        }
        let allowed = options.allowed
        callbacks.confirm = { (report) throws(ProblemList) in
            bar.finish()
            let problems = ProblemList(MergeWarnings(path: path, report: report, allowed: allowed).all)
            if problems.hasErrors { throw problems }
            terminal.report(problems)
        }
        let started = Clock.now
        let swapper = try open(path, command, options, callbacks, wait: arguments.flag("wait"))
        let report = SwapReport(path: path, started: started, isDryRun: options.isDryRun, terminal: terminal)
        switch command {
        case "use": try report.show(swapper.use(operands), operands, bar)
        case "base": try report.show(swapper.base(), [], bar)
        case "recover": try report.show(recovered: swapper.recover())
        default: try report.show(forgotten: swapper.forget(arguments.flag("all") ? nil : rest))
        }
        return 0
    }

    private static func open(
        _ path: String, _ command: String, _ options: SwapOptions, _ callbacks: SwapCallbacks, wait: Bool
    ) throws(Problem) -> Swapper {
        while true {
            do throws(Problem) {
                return try Swapper(
                    path, command: "adapter-swap \(command)", options: options, callbacks: callbacks,
                    recovering: command == "recover")
            } catch {
                guard wait, error.code == "busy" else { throw error }
                try checkInterrupted()
                Clock.sleep(milliseconds: 50)
            }
        }
    }
}

/// One bar after the other, for what goes on.
final class SwapProgress: Sendable {
    private let terminal: Terminal
    private let current = Mutex<(what: String, progress: Progress)?>(nil)

    init(_ terminal: Terminal) { self.terminal = terminal }

    func advance(_ what: String, _ bytes: Int, _ total: Int) {
        let progress = current.withLock { current -> Progress in
            if let current, current.what == what { return current.progress }
            current?.progress.finish()
            let made = Progress(terminal, label: what, totalBytes: total)
            current = (what, made)
            return made
        }
        progress.advance(by: bytes)
    }

    func finish() {
        current.withLock { current in
            current?.progress.finish()
            current = nil
        }
    }
}
