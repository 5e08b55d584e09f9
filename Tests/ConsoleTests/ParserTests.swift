import Problems
import Testing

@testable import Console

@Suite struct ParserTests {
    @Test(arguments: [
        ["--output", "d", "base", "a"], ["--output=d", "base", "a"], ["-o", "d", "base", "a"], ["-od", "base", "a"],
        ["-o=d", "base", "a"], ["base", "-fod", "a"], ["base", "a", "-fo", "d"], ["-o", "d", "--", "base", "a"],
    ])
    func spellings(of line: [String]) throws {
        let arguments = try sample.parse(line)
        #expect(arguments.value("output") == "d")
        #expect(arguments.operands == ["base", "a"])
        #expect(arguments.flag("force") == line.joined().contains("-fo"))
    }

    @Test func operandsMayLookLikeOptions() throws {
        #expect(try sample.parse(["base", "path:-1", "-", "--", "-f"]).operands == ["base", "path:-1", "-", "-f"])
    }

    @Test func aValueMayBeginWithADash() throws {
        #expect(try sample.parse(["b", "a", "-t", "-3", "--skip=--force"]).value("threads") == "-3")
        #expect(try sample.parse(["b", "a", "--skip=--force"]).values("skip") == ["--force"])
    }

    @Test func repeatingOptionsKeepTheirOrder() throws {
        #expect(try sample.parse(["b", "a", "--skip", "x", "--skip=y"]).values("skip") == ["x", "y"])
    }

    @Test func theLastWordOnANegatableFlagCounts() throws {
        #expect(try sample.parse(["b", "a", "--cache", "--no-cache"]).flag("cache", otherwise: true) == false)
        #expect(try sample.parse(["b", "a", "--no-cache", "--cache"]).flag("cache"))
        #expect(try sample.parse(["b", "a"]).flag("cache", otherwise: true))
        #expect(try sample.parse(["b", "a", "--no-progress"]).flag("no-progress"))
    }

    @Test func helpNeedsNoOperands() throws {
        #expect(try sample.parse(["-h"]).asksForShortHelp)
        #expect(try sample.parse(["--help"]).asksForShortHelp == false)
        #expect(try sample.parse(["--generate", "man"]).asksForInformation)
    }

    @Test(arguments: [
        (["--out", "x"], "there is no option '--out'", "did you mean '--output'?"),
        (["--ouptut"], "there is no option '--ouptut'", "did you mean '--output'?"),
        (["--Force"], "there is no option '--Force'", "did you mean '--force'?"),
        (["-output", "x"], "there is no option '-output'", "did you mean '--output'?"),
        (["--no-cahce"], "there is no option '--no-cahce'", "did you mean '--no-cache'?"),
        (["--no-force"], "there is no option '--no-force'", "'adapter-sample --help' lists the options"),
        (["--tracx"], "there is no option '--tracx'", "'adapter-sample --help' lists the options"),
        (["-fz"], "there is no option '-z'", "'adapter-sample --help' lists the options"),
        (["--output"], "option '--output' needs a value (DIR)", "'adapter-sample --help' lists the options"),
        (
            ["-o", "--force"], "option '-o' needs a value (DIR), but '--force' follows",
            "if that is the value, write '-o--force'"
        ),
        (
            ["--output", "-f"], "option '--output' needs a value (DIR), but '-f' follows",
            "if that is the value, write '--output=-f'"
        ),
        (
            ["--output="], "option '--output' needs a value (DIR), but an empty text was given",
            "is a variable of your shell not set?"
        ),
        (["-o", "a", "-o", "b"], "option '-o' is given twice: 'a' and 'b'", "give it once"),
        (["--force=1"], "option '--force' takes no value", "write '--force' alone"),
        (["-f=1"], "option '-f' takes no value", "write '-f' alone"),
        (["--no-cache=1"], "option '--no-cache' takes no value", "write '--no-cache' alone"),
        (["--dtype", "fp16"], "option '--dtype' is 'fp16', but must be one of: f32, f16, bf16", "did you mean 'f16'?"),
        (["base"], "ADAPTER is missing", "usage: adapter-sample BASE ADAPTER[:WEIGHT]... -o DIR"),
        (["base", ""], "operand 2 is an empty text, but a name was needed", "is a variable of your shell not set?"),
    ])
    func refusals(of line: [String], message: String, hint: String) {
        let problem = #expect(throws: Problem.self) { try sample.parse(line) }
        #expect(problem?.message == message)
        #expect(problem?.hint == hint)
        #expect(problem?.kind == .usage)
    }

    @Test func operandsAreCounted() throws {
        let tool = Tool(
            name: "t", summary: "", usage: [], description: [], options: [], operands: [("A", ""), ("[B]", "")],
            examples: [])
        #expect(try tool.parse(["1"]).operands == ["1"])
        let problem = #expect(throws: Problem.self) { try tool.parse(["1", "2", "3"]) }
        #expect(problem?.message == "'3' is one operand too many")
    }

    @Test func nearbyNames() {
        #expect(Suggestions.distance("output", "ouptut") == 1)
        #expect(Suggestions.distance("abc", "") == 3)
        #expect(Suggestions.distance("kitten", "sitting") == 3)
        #expect(
            Suggestions.question(for: "--s", among: ["--skip", "--size", "--sum", "--to"])
                == "did you mean '--skip', '--size' or '--sum'?")
        #expect(Suggestions.question(for: "--zzzzzz", among: ["--skip"]) == nil)
    }
}

@Suite struct ValueTests {
    private func arguments(_ name: String, _ value: String) throws -> Arguments {
        try sample.parse(["b", "a", "--\(name)=\(value)"])
    }

    @Test(arguments: [
        ("0", 0), ("5000", 5000), ("12B", 12), ("5GB", 5_000_000_000), ("500MB", 500_000_000), ("1kB", 1000),
        ("1KB", 1000), ("5GiB", 5_368_709_120), ("1.5KiB", 1536), ("0.1GB", 100_000_000), ("2TiB", 2_199_023_255_552),
    ])
    func sizes(_ text: String, _ bytes: Int) { #expect(parseSize(text) == bytes) }

    @Test(arguments: [
        "", "GB", "5G", "5Gb", "5gb", "-1", "1.5", "1.5.5GB", "5 GB", "9223372036854775808", "9999999999TB", ".5GB",
        "1.GB", "1.1234567GB", "8388608.5TiB",
    ])
    func notSizes(_ text: String) { #expect(parseSize(text) == nil) }

    @Test func sizesAreChecked() throws {
        #expect(try arguments("max-shard-size", "5GB").bytes("max-shard-size") == 5_000_000_000)
        #expect(try sample.parse(["b", "a"]).bytes("max-shard-size") == nil)
        let wrong = #expect(throws: Problem.self) { try arguments("max-shard-size", "5G").bytes("max-shard-size") }
        #expect(wrong?.message == "option '--max-shard-size' is '5G', but must be a size")
        #expect(wrong?.hint == "write 5000, 500MB or 5GB (powers of 1000), or 5GiB (of 1024)")
        let zero = #expect(throws: Problem.self) { try arguments("max-shard-size", "0").bytes("max-shard-size") }
        #expect(zero?.message == "option '--max-shard-size' is '0', but must be a size of at least 1 B")
    }

    @Test(arguments: ["0", "1025", "x", "1.0", "99999999999999999999"])
    func numbersAreChecked(_ text: String) throws {
        #expect(try arguments("threads", "8").int("threads", in: 1...1024) == 8)
        let problem = #expect(throws: Problem.self) { try arguments("threads", text).int("threads", in: 1...1024) }
        #expect(problem?.message == "option '--threads' is '\(text)', but must be a whole number from 1 to 1024")
    }

    @Test(arguments: ["nan", "inf", "0x1p0", "1.5", "-0.1", "1e999", " 1"])
    func fractionsAreChecked(_ text: String) throws {
        #expect(try arguments("threads", "2.5e-1").number("threads", in: 0...1) == 0.25)
        let problem = #expect(throws: Problem.self) { try arguments("threads", text).number("threads", in: 0...1) }
        #expect(problem?.message == "option '--threads' is '\(text)', but must be a number from 0.0 to 1.0")
    }
}
