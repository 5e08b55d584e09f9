import Glibc
import Problems
import Testing

@testable import Console

@Suite struct DiagnosticsTests {
    private let problem = Problem(
        .incompatible, "shape", file: "a\u{1B}.safetensors", tensor: "w\n", "shape [2] needs [3]", hint: "look",
        offset: 8)

    @Test func grammar() {
        #expect(
            spoken { $0.report(problem) }.diagnostics == """
                adapter-sample: error: a\\u{1B}.safetensors: tensor 'w\\u{A}': shape [2] needs [3] (byte 8)
                hint: look

                """)
        #expect(spoken { $0.note("done") }.diagnostics == "adapter-sample: note: done\n")
    }

    @Test func quietMeansErrorsOnly() {
        let text = spoken(quiet: true) {
            $0.report(problem)
            $0.report(Problem(.warning, .malformed, "w", "odd"))
            $0.note("done")
        }.diagnostics
        #expect(
            text == "adapter-sample: error: a\\u{1B}.safetensors: tensor 'w\\u{A}': shape [2] needs [3] (byte 8)\n")
    }

    @Test func listsAreCapped() {
        let errors = (0..<4).map { Problem(.malformed, "e", "bad \($0)", hint: "mend it") }
        let list = ProblemList([Problem(.warning, .malformed, "w", "odd"), Problem(.note, .usage, "n", "so")] + errors)
        let expected = """
            adapter-sample: warning: odd
            adapter-sample: note: so
            adapter-sample: error: bad 0
            adapter-sample: error: bad 1
            hint: mend it
            adapter-sample: error: and 2 more errors; --json lists all

            """
        #expect(spoken { $0.report(list, cap: 2) }.diagnostics == expected)
        #expect(spoken(json: true) { $0.report(list, cap: 3) }.diagnostics.hasSuffix("error: and 1 more error\n"))
    }

    @Test func colours() {
        let lines = Diagnostics.lines([problem], tool: "t", cap: 1, quiet: false, json: false, colours: true)
        #expect(lines[0].hasPrefix("t: \u{1B}[1;31merror:\u{1B}[0m a"))
        #expect(lines[1] == "\u{1B}[32mhint:\u{1B}[0m look")
    }
}

@Suite struct OutputTests {
    @Test func theAnswerGoesToStdout() throws {
        let (output, diagnostics) = spoken {
            $0.print("line")
            $0.print(json: [:])
        }
        #expect(output == "line\n{}\n")
        #expect(diagnostics.isEmpty)
    }

    @Test func aFullDiskIsAnError() throws {
        let full = open("/dev/full", O_WRONLY)
        defer { close(full) }
        let (_, diagnostics) = captured { streams in
            var streams = streams
            streams.output = full
            let code = sample.outcome(of: ["b", "a"], streams: streams) { _, terminal in
                terminal.print("line")
                return 0
            }
            #expect(code == 74)
        }
        #expect(
            diagnostics == """
                adapter-sample: error: cannot write to standard output: no space left on the device
                hint: what was printed is incomplete; files that were written are not affected

                """)
    }

    @Test func aClosedPipeIsNot() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        signal(SIGPIPE, SIG_IGN)
        close(ends[0])
        defer { close(ends[1]) }
        let (_, diagnostics) = captured { streams in
            var streams = streams
            streams.output = ends[1]
            let code = sample.outcome(of: ["b", "a"], streams: streams) { _, terminal in
                terminal.print(String(repeating: "x", count: 1 << 16))
                #expect(terminal.outputIsClosed)
                return 1
            }
            #expect(code == 1)
        }
        #expect(diagnostics.isEmpty)
    }
}

@Suite struct RunTests {
    private func run(_ line: [String], _ body: (Arguments, Terminal) throws -> Int32) -> (Int32, String, String) {
        var code: Int32 = -1
        let (output, diagnostics) = captured { code = sample.outcome(of: line, streams: $0, body: body) }
        return (code, output, diagnostics)
    }

    @Test func informationGoesToStdout() {
        let cases = [
            (["--version"], "adapter-sample 0.1.0 (AdapterKit)\n"), (["-h"], sample.shortHelp),
            (["--help"], sample.longHelp), (["--bogus", "-h"], sample.shortHelp),
            (["--generate", "man"], sample.manPage), (["--generate=bash"], sample.bashCompletion),
            (["--generate=zsh"], sample.zshCompletion), (["--generate=fish"], sample.fishCompletion),
        ]
        for (line, text) in cases {
            let (code, output, diagnostics) = run(line) { _, _ in fatalError("not called") }
            #expect(code == 0 && output == text && diagnostics.isEmpty, "\(line)")
        }
    }

    @Test func aWrongLineEndsIn64() {
        let (code, output, diagnostics) = run(["--bogus"]) { _, _ in 0 }
        #expect(code == 64)
        #expect(output.isEmpty)
        #expect(
            diagnostics == """
                adapter-sample: error: there is no option '--bogus'
                hint: 'adapter-sample --help' lists the options

                """)
    }

    @Test func whatIsThrownDecidesTheCode() {
        let missing = Problem(.missing, "m", "is not there")
        let unfit = Problem(.incompatible, "i", "does not fit")
        #expect(run(["b", "a"]) { _, _ in throw missing }.0 == 66)
        #expect(run(["b", "a"]) { _, _ in throw ProblemList([unfit, missing]) }.0 == 66)
        #expect(run(["b", "a"]) { _, _ in throw ProblemList([unfit]) }.0 == 1)
        #expect(run(["b", "a"]) { _, _ in throw Problem(.interrupted, "i", "stopped") }.0 == 130)
        struct Strange: Error {}
        let (code, _, diagnostics) = run(["b", "a"]) { _, _ in throw Strange() }
        #expect(code == 70)
        #expect(diagnostics == "adapter-sample: error: unexpected: Strange()\nhint: please report this\n")
    }

    @Test func withJSONProblemsAreADocument() {
        let unfit = Problem(.incompatible, "i", "does not fit")
        let (_, output, _) = run(["b", "a", "--json"]) { _, _ in throw unfit }
        let document: JSON = [
            "schema": "adapterkit.problems", "version": 1, "tool": "adapter-sample", "problems": [unfit.json],
        ]
        #expect(output == document.pretty + "\n")
        let (_, partial, _) = run(["b", "a", "--json"]) { _, terminal in
            terminal.print(json: [:])
            throw unfit
        }
        #expect(partial == "{}\n")
    }

    @Test func theProcessEnds() async {
        // The arguments of the test runner make no sense to the sample.
        await #expect(processExitsWith: .exitCode(64)) {
            sample.run { _, _ in 0 }
        }
    }
}
