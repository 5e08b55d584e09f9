import Fixtures
import Testing

/// One run of a tool, whose every change of the file system is made to fail or to kill it in turn.
protocol FaultSubject {
    var scratch: Scratch { get }
    /// The program.
    var tool: String { get }
    /// Where the output goes, in `work`.
    var output: String { get }
    /// What is read, in `inputs`; what the output must be; and what was there before, if anything was.
    var inputs: [String: [UInt8]] { get }
    var good: [String: [UInt8]] { get }
    var old: [String: [UInt8]] { get }
    /// Kinds of changes that it makes, so that no walk is an empty one.
    var changes: [String] { get }
    /// Names in `work` that may be there besides stages.
    var ownNames: Set<String> { get }

    /// Whether it says what it will do before it does it.
    var speaksFirst: Bool { get }

    /// Puts everything as it is before a run.
    func prepare() throws
    /// Runs with `fault` as `Sources/Files/FaultSeam.swift` reads it.
    func run(_ fault: String) -> Answer
    /// Runs once more, over whatever is there.
    func runAgain() -> Answer
    /// What else must hold after a run.
    func checkMore(_ fault: String, _ answer: Answer) throws
}

extension FaultSubject {
    var ownNames: Set<String> { ["out"] }
    var speaksFirst: Bool { false }
    func checkMore(_ fault: String, _ answer: Answer) throws {}

    private static var most: Int { 500 }

    /// Names besides the output's own.
    private var strays: [String] { Golden.names(in: scratch("work")).filter { !ownNames.contains($0) } }

    /// Whether names are those of stages, which the next run removes.
    private func areStages(_ names: [String]) -> Bool {
        names.allSatisfy { $0.hasPrefix(".out") && $0.hasSuffix(".partial") }
    }

    /// Checks that the output is the good one, the old one, or absent.
    private func checkOutput(_ fault: String, _ answer: Answer) throws {
        let found = contents(of: output)
        #expect(found == good || found == old, "\(fault): neither whole nor untouched: \(found.keys.sorted())")
        if answer.status == 0 { #expect(found == good, "\(fault): exit 0 means that it is there") }
        try checkMore(fault, answer)
    }

    private func attempt(_ fault: String) throws -> Answer {
        try prepare()
        let answer = run(fault)
        try checkOutput(fault, answer)
        return answer
    }

    /// Each change fails once with the error of that name, which is told in `words`.
    func walkFailures(_ name: String, _ words: String) throws {
        var counts: [String: Int] = [:]
        for operation in ["mkdir", "create", "allocate", "write", "copy", "sync", "rename", "remove"] {
            for number in 1...Self.most {
                let fault = "\(operation):\(number):\(name)"
                let answer = try attempt(fault)
                if answer.status == 0 && (operation != "remove" || strays.isEmpty) {
                    counts[operation] = number - 1
                    break
                }
                try #require(number < Self.most)
                // What cannot be removed stays; the next run takes it away.
                if operation == "remove" {
                    #expect(areStages(strays), "\(fault): \(strays)")
                } else {
                    #expect(answer.status == 74, "\(fault): \(answer.err)")
                    #expect(strays.isEmpty, "\(fault): \(strays)")
                    #expect(answer.errors.count == 1, "\(fault): \(answer.err)")
                    #expect(answer.errors.first?.contains(words) == true, "\(fault): \(answer.err)")
                    #expect(answer.out.isEmpty || speaksFirst)
                }
            }
        }
        #expect(contents(of: scratch("inputs")) == inputs)
        for operation in changes {
            #expect(counts[operation, default: 0] > 0, "never did \(operation): is this a release build?")
        }
    }

    /// The run dies before each change; the next one puts everything right.
    func walkKills() throws {
        for number in 1...Self.most {
            let answer = try attempt("any:\(number):KILL")
            if answer.status == 0 {
                #expect(number > 5, "hardly a system call was met")
                break
            }
            try #require(answer.status == -9 && number < Self.most, "\(answer.status) \(answer.err)")
            #expect(areStages(strays), "\(strays)")
            let next = runAgain()
            #expect(next.status == 0, "\(next.err)")
            #expect(contents(of: output) == good)
            #expect(strays.isEmpty, "the next run removes what the killed one left: \(strays)")
        }
        #expect(contents(of: scratch("inputs")) == inputs)
    }

    /// The run is asked to stop before each change.
    ///
    /// - Parameter least: how often that must have stopped it.
    func walkSignals(least: Int) throws {
        var (stopped, late) = (0, 0)
        for number in 1...Self.most where late < 12 {
            let fault = "any:\(number):TERM"
            let answer = try attempt(fault)
            #expect(strays.isEmpty, "\(fault): \(strays)")
            // From the moment on when the output gets its name, the work is done and a signal changes nothing.
            if answer.status == 0 {
                late += 1
                continue
            }
            try #require(number < Self.most)
            #expect(late == 0)
            stopped += 1
            #expect(answer.status == 143, "\(answer.err)")
            #expect(contents(of: output) == old)
            #expect(answer.errors == ["\(tool): error: stopped by signal 15; nothing was left behind"])
        }
        #expect(stopped >= least)
        #expect(contents(of: scratch("inputs")) == inputs)
    }
}

/// Names of errors, and what is said of them.
let faultWords = ["ENOSPC": "no space left on the device", "EIO": "input/output error"]
