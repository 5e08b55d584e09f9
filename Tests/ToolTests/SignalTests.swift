import Fixtures
import Glibc
import Testing

/// Signals while a tool waits for what comes in, and sessions of `adapter-generate` at a terminal.
@Suite struct SignalTests {
    private static let base = "\(Golden.root)/examples/data/base"

    /// A pipe through which nothing comes, ever.
    private func silentPipe() -> (reading: Int32, writing: Int32) {
        var ends: [Int32] = [-1, -1]
        _ = Glibc.pipe(&ends)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (ends[0], ends[1])
    }

    @Test(arguments: [(SIGINT, 130), (SIGTERM, 143), (SIGHUP, 129)] as [(Int32, Int32)])
    func aToolThatWaitsForAPipeEnds(_ signal: Int32, _ status: Int32) throws {
        let scratch = try Scratch()
        let lines: [(String, [String])] = [
            ("adapter-generate", [Self.base]), ("adapter-generate", [Self.base, "--batch", "-"]),
            ("adapter-unpack", ["-", "-o", scratch("out")]),
        ]
        for (tool, arguments) in lines {
            let pipe = silentPipe()
            defer {
                close(pipe.reading)
                close(pipe.writing)
            }
            let running = try #require(Tools.start(tool, arguments, input: .descriptor(pipe.reading)))
            #expect(running.until { running.handlesSignals })
            // Long enough for it to be waiting; if it is not yet, the signal means the same.
            usleep(200_000)
            running.send(signal)
            let answer = try #require(running.waitABit(), "\(tool) went on after the signal \(signal)")
            #expect(answer.status == status && answer.out.isEmpty, "\(tool): \(answer.err)")
            #expect(scratch.names.isEmpty)
        }
    }

    private func session(_ options: String...) throws -> (keyboard: Keyboard, tool: RunningTool) {
        let keyboard = try #require(Keyboard())
        let tool = try #require(
            Tools.start("adapter-generate", [Self.base] + options, input: .terminal(keyboard.path)))
        #expect(tool.until { tool.output.hasSuffix("> ") }, "\(tool.diagnostics)")
        return (keyboard, tool)
    }

    @Test func controlCAtThePromptGivesANewOne() throws {
        let (keyboard, tool) = try session()
        keyboard.type("some text\u{3}")
        #expect(tool.until { tool.output.hasSuffix("> \n> ") }, "\(tool.output)")
        #expect(tool.diagnostics.contains("note: /quit or Ctrl-D ends the session"))
        keyboard.type("/adapters\n")
        #expect(tool.until { tool.output.hasSuffix("base alone\n> ") }, "\(tool.output)")
        keyboard.type("/quit\n")
        #expect(tool.waitABit()?.status == 0)
    }

    @Test(arguments: [(SIGTERM, 143), (SIGHUP, 129)] as [(Int32, Int32)])
    func otherSignalsEndASession(_ signal: Int32, _ status: Int32) throws {
        let (keyboard, tool) = try session()
        keyboard.type("/seed 3\n")
        #expect(tool.until { tool.output.hasSuffix("seed 3\n> ") })
        tool.send(signal)
        #expect(tool.waitABit()?.status == status)
    }

    @Test func aSessionTellsTheSeedThatIsUsed() throws {
        let (keyboard, tool) = try session("--temperature", "1", "-n", "4", "--seed", "5")
        keyboard.type("law\n")
        #expect(tool.until { tool.diagnostics.hasSuffix("ms\n") }, "\(tool.diagnostics)")
        #expect(!tool.diagnostics.contains("seed"))
        keyboard.type("/seed 7\nlaw\n")
        #expect(tool.until { tool.diagnostics.contains(", seed 7\n") }, "\(tool.diagnostics)")
        keyboard.type("\u{4}")
        #expect(tool.waitABit()?.status == 0)
    }
}
