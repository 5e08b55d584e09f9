import CPosix
import Glibc
import Problems

extension Tool {
    /// Runs the tool on the command line of this process, and ends the process.
    ///
    /// Answers `--help`, `--version` and `--generate` itself. SIGINT, SIGTERM and SIGHUP only set the flag of
    /// `ak_signal_seen()`; a second one kills. What `body` throws is told on stderr and decides the exit code; with
    /// `--json` and nothing printed yet, it is also printed as a document `adapterkit.problems`.
    public func run(_ body: (Arguments, Terminal) throws -> Int32) -> Never {
        Posix.prepare()
        if let place = Posix.firstInvalidArgument() {
            let terminal = Terminal(tool: name)
            let problem = Problem(
                .usage, "bad-encoding", "argument \(place) is no UTF-8, so it would name another file than you mean",
                hint: "rename the file, or make a link to it with another name")
            exit(Self.close(terminal, Self.tell(problem, terminal)))
        }
        exit(outcome(of: Array(CommandLine.arguments.dropFirst()), body: body))
    }

    /// The exit code of the tool for these arguments.
    func outcome(
        of line: [String], streams: Terminal.Streams = .init(), body: (Arguments, Terminal) throws -> Int32
    ) -> Int32 {
        let arguments: Arguments
        do {
            arguments = try parse(line)
        } catch {
            return refuse(line, error, streams)
        }
        let terminal = Terminal(
            tool: name, quiet: arguments.flag("quiet"), json: arguments.flag("json"),
            progress: !arguments.flag("no-progress"), streams: streams)
        var status: Int32 = 0
        if let text = information(arguments) {
            terminal.write(text)
        } else {
            do {
                status = try body(arguments, terminal)
            } catch {
                status = Self.tell(error, terminal)
            }
        }
        return Self.close(terminal, status)
    }

    /// A line that makes no sense, yet asks for help, gets help.
    private func refuse(_ line: [String], _ problem: Problem, _ streams: Terminal.Streams) -> Int32 {
        let words = line.prefix { $0 != "--" }
        let isQuiet = words.contains("--quiet") || words.contains("-q")
        let terminal = Terminal(
            tool: name, quiet: isQuiet, json: words.contains("--json"), progress: false, streams: streams)
        if words.contains("--help") || words.contains("-h") {
            terminal.write(words.contains("--help") ? longHelp : shortHelp)
            return Self.close(terminal, 0)
        }
        return Self.close(terminal, Self.tell(problem, terminal))
    }

    private func information(_ arguments: Arguments) -> String? {
        if arguments.flag("help") { return arguments.asksForShortHelp ? shortHelp : longHelp }
        if arguments.flag("version") { return versionText + "\n" }
        switch arguments.value("generate") {
        case "man": return manPage
        case "bash": return bashCompletion
        case "zsh": return zshCompletion
        case "fish": return fishCompletion
        default: return nil
        }
    }

    /// Tells what a body threw, and gives the exit code for it.
    private static func tell(_ error: any Error, _ terminal: Terminal) -> Int32 {
        terminal.clearProgress()
        let problems: [Problem]
        let kind: Problem.Kind
        switch error {
        case let problem as Problem:
            problems = [problem]
            kind = problem.kind
        case let list as ProblemList:
            problems = list.problems
            kind = list.decidingKind ?? .internalFault
        default:
            kind = .internalFault
            problems = [Problem(kind, "internal-fault", "unexpected: \(error)", hint: "please report this")]
        }
        terminal.report(problems)
        if terminal.json && !terminal.hasOutput {
            terminal.print(json: [
                "schema": "adapterkit.problems", "version": 1, "tool": .string(terminal.tool),
                "problems": .array(problems.map(\.json)),
            ])
        }
        let signal = ak_signal_seen()
        return kind == .interrupted && signal != 0 ? 128 + signal : kind.exitCode
    }

    private static func close(_ terminal: Terminal, _ status: Int32) -> Int32 {
        terminal.clearProgress()
        do {
            try terminal.flush()
            return status
        } catch {
            terminal.report(error)
            return error.kind.exitCode
        }
    }
}
