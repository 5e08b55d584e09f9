import Dispatch
import Glibc
import Testing

@testable import Console

@Suite struct ProgressTests {
    private func line(_ done: Int, _ total: Int?, _ seconds: Double, _ columns: Int) -> String {
        Progress.line(label: "merging", done: done, total: total, seconds: seconds, columns: columns)
    }

    @Test(arguments: [
        (100, "merging  [===========>            ] 46%  1.02/2.20 GB  1.4 GB/s  0:01 left"),
        (60, "merging  [====>     ] 46%  1.02/2.20 GB  1.4 GB/s  0:01 left"),
        (59, "merging  [=========>          ] 46%  1.02/2.20 GB  1.4 GB/s"),
        (39, "merging  [====>     ] 46%  1.02/2.20 GB"),
        (38, "merging  46%  1.02/2.20 GB"), (20, "merging  46%"), (6, "me…46%"),
    ])
    func fitsTheTerminal(_ columns: Int, _ text: String) {
        #expect(line(1_028_000_000, 2_200_000_000, 0.73, columns) == text)
        #expect(text.columns <= columns)
    }

    @Test func beginningAndEnd() {
        #expect(line(0, 2_200_000_000, 0, 79) == "merging  [>                       ] 0%  0.00/2.20 GB")
        #expect(
            line(2_200_000_000, 2_200_000_000, 2, 79)
                == "merging  [========================] 100%  2.20/2.20 GB  1.1 GB/s  0:00 left")
        #expect(line(2_199_999_999, 2_200_000_000, 0.1, 39) == "merging  [=========>] 99%  2.19/2.20 GB")
        #expect(line(5, 12, 0, 79) == "merging  [==========>             ] 41%  5/12 B")
    }

    @Test(arguments: [
        (100, "training  [==========>     ] 62%  step 25/40  loss 1.234  5,120 tokens/s  0:02 left"),
        (79, "training  [=======>    ] 62%  step 25/40  loss 1.234  5,120 tokens/s  0:02 left"),
        (71, "training  [==> ] 62%  step 25/40  loss 1.234  5,120 tokens/s  0:02 left"),
        (70, "training  62%  step 25/40  loss 1.234  5,120 tokens/s  0:02 left"),
        (63, "62%  step 25/40  loss 1.234  5,120 tokens/s  0:02 left"),
        (53, "step 25/40  loss 1.234  5,120 tokens/s  0:02 left"), (48, "step 25/40  0:02 left"), (20, "step 25/40"),
        (9, "62%"), (2, ""),
    ])
    func stepsFitTheTerminal(_ columns: Int, _ text: String) {
        let line = StepProgress.line(
            label: "training", done: 25, total: 40, facts: "loss 1.234  5,120 tokens/s", seconds: 3, first: 0,
            columns: columns)
        #expect(line == text)
        #expect(text.columns <= columns)
    }

    @Test func withoutATotal() {
        #expect(line(1_500_000, nil, 1, 79) == "merging  1.50 MB  1.5 MB/s")
        #expect(line(1_500_000, 0, 1, 20) == "merging  1.50 MB")
    }

    @Test func isShownOnlyWhereItShould() throws {
        let always = ["ADAPTERKIT_PROGRESS": "always"]
        func drawn(
            quiet: Bool = false, json: Bool = false, progress: Bool = true, _ environment: [String: String]
        ) -> Bool {
            !spoken(quiet: quiet, json: json, progress: progress, environment: environment) { terminal in
                Progress(terminal, label: "x", totalBytes: 1).finish()
            }.diagnostics.isEmpty
        }
        #expect(drawn(always))
        #expect(!drawn([:]))
        #expect(!drawn(["ADAPTERKIT_PROGRESS": "never"]))
        #expect(!drawn(quiet: true, always))
        #expect(!drawn(json: true, always))
        #expect(!drawn(progress: false, always))
    }

    @Test func diagnosticsDoNotGarbleIt() {
        let bar = "x  [>                       ] 0%  0/9 B"
        let text = spoken(environment: ["ADAPTERKIT_PROGRESS": "always"]) { terminal in
            let progress = Progress(terminal, label: "x", totalBytes: 9)
            terminal.note("so")
            progress.finish()
            progress.finish()
            progress.advance(by: 9)
        }.diagnostics
        #expect(text == "\r\(bar)\u{1B}[K\r\u{1B}[Kadapter-sample: note: so\n\(bar)\r\u{1B}[K")
    }

    @Test func manyThreadsDrawAtMostTenTimesASecond() {
        let start = Posix.now()
        let text = spoken(environment: ["ADAPTERKIT_PROGRESS": "always"]) { terminal in
            let progress = Progress(terminal, label: "x", totalBytes: 8_000_000)
            DispatchQueue.concurrentPerform(iterations: 8) { _ in
                for _ in 0..<100 {
                    progress.advance(by: 10_000)
                    usleep(3000)
                }
            }
            progress.finish()
        }.diagnostics
        let drawings = text.split(separator: "\r").count
        #expect(drawings >= 3 && drawings <= 3 + (Posix.now() - start) / 100_000_000)
        #expect(text.hasSuffix("\r\u{1B}[K"))
    }
}
