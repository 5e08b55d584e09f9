import CPosix
import Console
import Files
import Generation
import Glibc
import Problems

/// A session at a terminal: lines of standard input, texts and answers on standard output.
struct TerminalSession {
    let context: GenerateRun
    var session: Session

    mutating func run() throws -> Int32 {
        let terminal = context.terminal
        terminal.print("A line is continued; /help lists commands, /quit ends.")
        // Made now, so that a base that cannot be used is known before anything is typed.
        _ = try session.decoder()
        var lines = InputLines()
        while true {
            terminal.write("> ")
            try terminal.flush()
            let line: String?
            do throws(Problem) {
                line = try lines.next()
            } catch {
                terminal.print()
                // Ctrl-C takes back what was typed, as shells have it.
                guard error.kind == .interrupted, ak_signal_seen() == SIGINT else { throw error }
                ak_signal_forget()
                terminal.note("/quit or Ctrl-D ends the session")
                continue
            }
            guard let line else {
                terminal.print()
                return 0
            }
            do {
                if try !answer(line) { return 0 }
            } catch let list as ProblemList {
                terminal.report(list.problems.gathered)
            } catch let problem as Problem {
                if problem.kind != .interrupted { terminal.report(problem) }
            }
            // Ctrl-C was meant for the text; whoever sends another signal means the session.
            if ak_signal_seen() != SIGINT { try checkInterrupted() }
            ak_signal_forget()
        }
    }

    /// Does what a line asks for; whether the session goes on.
    private mutating func answer(_ line: String) throws -> Bool {
        let terminal = context.terminal
        let answer = try session.take(line)
        context.tellNotes()
        switch answer {
        case .nothing: break
        case .quit: return false
        case .say(let lines): for line in lines { terminal.print(escaped(line)) }
        case .prompt(let text):
            let generator = context.generator(try session.decoder())
            let ids = try generator.ids(ofPrompt: Array(text.utf8))
            let result = try generator.run(ids, session.options, isCancelled: { context.isStopped }) {
                (text) throws(Problem) in
                terminal.write(context.shown(text))
                try terminal.flush()
            }
            if !result.text.hasSuffix("\n") { terminal.print() }
            try context.tell(result, session.options)
        }
        return true
    }
}
