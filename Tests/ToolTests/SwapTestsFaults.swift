import Fixtures
import Foundation
import Testing

/// A swap that fails or dies at any change of the file system leaves the model as it was, or as it was to be, or what `recover`
/// makes one of the two.
///
/// By default a part of the places is tried, from one that the printed seed tells; `ADAPTERKIT_THOROUGH=1` takes all of them,
/// and after each looks at what every other command does.
@Suite struct SwapTestsFaults {
    /// What is interrupted, after what.
    struct Way: CustomTestStringConvertible, Sendable {
        let name: String
        /// Commands before; `A` and `B` are the adapters.
        let before: [String]
        let command: String
        /// What is in the model before and after.
        let old: String
        let new: String
        /// The state lies in the model, or directories cannot be exchanged.
        var isInside = false
        var isByFile = false

        var testDescription: String { name }
        var isAtOnce: Bool { !isInside && !isByFile }
        var environment: [String: String] { isByFile ? ["ADAPTERKIT_NO_EXCHANGE": "1"] : [:] }
    }

    static let ways = [
        Way(name: "first", before: [], command: "use A", old: "", new: "A"),
        Way(name: "next", before: ["use A"], command: "use B", old: "A", new: "B"),
        Way(name: "keep", before: ["use A"], command: "use B --keep", old: "A", new: "B"),
        Way(name: "back", before: ["use A --keep", "use B --keep"], command: "use A", old: "B", new: "A"),
        Way(name: "base", before: ["use A"], command: "base", old: "A", new: ""),
        Way(name: "kept base", before: ["use A --keep"], command: "base", old: "A", new: ""),
        Way(name: "forget", before: ["use A --keep", "use B --keep"], command: "forget A", old: "B", new: "B"),
        Way(
            name: "limit", before: ["use A --keep", "use B --keep"], command: "base --limit 1", old: "B", new: ""),
        Way(name: "next by file", before: ["use A"], command: "use B", old: "A", new: "B", isByFile: true),
        Way(
            name: "back by file", before: ["use A --keep", "use B --keep"], command: "use A", old: "B", new: "A",
            isByFile: true),
        Way(name: "kept base by file", before: ["use A --keep"], command: "base", old: "A", new: "", isByFile: true),
        Way(name: "first inside", before: [], command: "use A", old: "", new: "A", isInside: true),
        Way(name: "base inside", before: ["use A"], command: "base", old: "A", new: "", isInside: true),
    ]

    /// A model that is put back to where it was before every run.
    private final class Walk {
        let way: Way
        let served: Served
        let old: [String: [UInt8]]
        let new: [String: [UInt8]]
        var state: String { way.isInside ? served.model + "/.adapterkit-swap" : served.statePath }

        init(_ way: Way) throws {
            self.way = way
            let scratch = try Scratch()
            served = try Served(small: scratch)
            if way.isInside {
                try FileManager.default.createDirectory(
                    atPath: served.model + "/.adapterkit-swap", withIntermediateDirectories: false)
            }
            let wanted = { [served] (name: String) in
                try #require(served.wanted(name.isEmpty ? [] : [name == "A" ? served.a : served.b]))
            }
            (old, new) = (try wanted(way.old), try wanted(way.new))
            for command in way.before { try served.demand(words(command), environment: way.environment) }
            try #require(served.found == old)
            _ = Tools.shell("cp -a \"$1/served\" \"$1/ready\"", scratch.path)
        }

        func words(_ command: String) -> [String] {
            command.split(separator: " ").enumerated().map { at, word in
                // Generations that are kept are called by the adapter's name.
                guard word == "A" || word == "B" else { return String(word) }
                let name = word == "A" ? served.a : served.b
                return command.hasPrefix("forget") ? String(name.split(separator: "/").last ?? "") : name
            }
        }

        func prepare() {
            _ = Tools.shell("cd \"$1\" && rm -rf served && cp -a ready served", served.scratch.path)
        }

        func run(_ command: String, _ fault: String? = nil) -> Answer {
            var environment = way.environment
            if let fault { environment["ADAPTERKIT_FAULT"] = fault }
            return Tools.swap(served.model, words(command), environment: environment)
        }

        var isInterrupted: Bool { exists(state + "/journal.json") }

        /// Checks what a run left, and that `recover` and another run put it right.
        func check(_ fault: String, _ answer: Answer, recovering: Bool = false, thoroughly: Bool = false) throws {
            let found = served.found
            let isWhole = found == old || found == new
            #expect(isWhole || (isInterrupted && !way.isAtOnce), "\(fault): a mix: \(answer.err)")
            if answer.status == 0 {
                #expect(
                    (found == new || recovering) && !isInterrupted && isWhole, "\(fault): exit 0 means that it is done")
            }
            if isInterrupted {
                if thoroughly { refuses(fault) }
                let recovered = run("recover")
                #expect(recovered.status == 0, "\(fault): \(recovered.err)")
                let after = served.found
                #expect(after == old || after == new, "\(fault): recover left neither: \(recovered.out)")
                #expect(!way.isAtOnce || after == found, "\(fault): recover changed what was at one stroke")
                let left = try served.strays(in: state)
                #expect(left.isEmpty, "\(fault): \(left)")
            }
            guard thoroughly else { return }
            let isForgotten = way.command.hasPrefix("forget") && run("status").out.contains("base + a") == false
            // Asking changes nothing; what a killed run left goes with the next one that does.
            let again = run(isForgotten ? "recover" : way.command)
            #expect(again.status == 0, "\(fault), again: \(again.err)")
            #expect(served.found == new, "\(fault), again")
            let left = try served.strays(in: state)
            #expect(left.isEmpty, "\(fault), again: \(left)")
            let base = run("base")
            #expect(base.status == 0 && served.found == contents(of: served.pristine), "\(fault), base: \(base.err)")
        }

        /// Every command but `recover` says that a swap was interrupted, and does nothing.
        func refuses(_ fault: String) {
            let before = contents(of: served.scratch("served"))
            for command in [
                "use A", "use B --keep", "base", "base --dry-run", "forget --all", "status", "status --deep",
            ] {
                let answer = run(command)
                #expect(answer.status == 75, "\(fault), \(command): \(answer.err)")
                #expect(answer.errors.first?.contains("has a swap that was interrupted") == true, "\(answer.err)")
                #expect(answer.hints.first?.contains(" recover") == true, "\(answer.err)")
            }
            #expect(differing(before, contents(of: served.scratch("served"))).allSatisfy { $0.hasSuffix("/lock") })
        }
    }

    private static let most = 600

    @Test(arguments: ways) func killed(_ way: Way) throws {
        var random = SeededRandom(test: "SwapTestsFaults.killed")
        let walk = try Walk(way)
        var count = 0
        for number in Self.places(every: 8, &random) {
            walk.prepare()
            let fault = "any:\(number):KILL"
            let answer = walk.run(way.command, fault)
            count += 1
            try walk.check(fault, answer, thoroughly: thoroughness != nil || count % 4 == 1)
            if answer.status == 0 {
                #expect(number > 4, "hardly a system call was met: is this a release build?")
                return
            }
            try #require(answer.status == -9 && number < Self.most - 10, "\(answer.status) \(answer.err)")
        }
    }

    /// The numbers of changes that are walked through: all, or some.
    private static func places(every step: Int, _ random: inout SeededRandom) -> [Int] {
        let first = thoroughness != nil ? 1 : 1 + random.below(step)
        return Array(stride(from: first, to: most, by: thoroughness != nil ? 1 : step))
    }

    @Test(arguments: ways) func failure(_ way: Way) throws {
        var random = SeededRandom(test: "SwapTestsFaults.failure")
        let walk = try Walk(way)
        let names = thoroughness != nil ? faultWords.keys.sorted() : [random.pick(faultWords.keys.sorted())]
        for name in names {
            var late = 0
            for number in Self.places(every: 16, &random) where late < 12 {
                walk.prepare()
                let fault = "any:\(number):\(name)"
                let answer = walk.run(way.command, fault)
                try walk.check(fault, answer, thoroughly: thoroughness != nil)
                if answer.status == 0 {
                    // What a reservation cannot do is left out, so that not every success is the walk's end.
                    late += thoroughness != nil ? 1 : 6
                    continue
                }
                #expect(answer.status == 74, "\(fault): \(answer.err)")
                #expect(answer.errors.first?.contains(faultWords[name] ?? "") == true, "\(fault): \(answer.err)")
            }
        }
    }

    @Test(arguments: ways) func terminated(_ way: Way) throws {
        var random = SeededRandom(test: "SwapTestsFaults.terminated")
        let walk = try Walk(way)
        var late = 0
        for number in Self.places(every: 20, &random) where late < (thoroughness != nil ? 12 : 1) {
            walk.prepare()
            let fault = "any:\(number):TERM"
            let answer = walk.run(way.command, fault)
            #expect(!walk.isInterrupted, "\(fault): a signal leaves nothing to recover")
            if answer.status == 0 {
                late += 1
            } else {
                #expect(answer.status == 143, "\(fault): \(answer.err)")
                #expect(walk.served.found == walk.old, "\(fault): \(answer.err)")
            }
            try walk.check(fault, answer, thoroughly: thoroughness != nil)
        }
    }

    /// `recover` dies and fails in turn, at every change that it makes, after a swap that died at one of some places.
    @Test(arguments: ways.filter { !$0.command.hasPrefix("forget") }) func recoverFails(_ way: Way) throws {
        var random = SeededRandom(test: "SwapTestsFaults.recover")
        let walk = try Walk(way)
        var met = 0
        let places = thoroughness != nil ? Array(1...Self.most) : (0..<60).map { _ in 1 + random.below(120) }
        for place in places where thoroughness != nil || met == 0 {
            walk.prepare()
            if walk.run(way.command, "any:\(place):KILL").status == 0 {
                if thoroughness != nil { break }
                continue
            }
            guard walk.isInterrupted else { continue }
            met += 1
            for number in Self.places(every: 5, &random) {
                walk.prepare()
                _ = walk.run(way.command, "any:\(place):KILL")
                let fault = "any:\(number):\(random.pick(["KILL", "KILL", "EIO", "ENOSPC"]))"
                let answer = walk.run("recover", fault)
                try walk.check("\(way.command) any:\(place):KILL, recover \(fault)", answer, recovering: true)
                if answer.status == 0 { break }
                try #require(number < Self.most - 10)
            }
        }
        #expect(met > 0, "no place was met where a journal is left")
    }
}

/// Paths at which two directories differ.
func differing(_ a: [String: [UInt8]], _ b: [String: [UInt8]]) -> [String] {
    Set(a.keys).union(b.keys).filter { a[$0] != b[$0] }.sorted()
}
