import Fixtures
import Foundation
import Problems
import StrictJSON
import Testing

@testable import Adapters

/// `match-table.json`, which `make_match_table.py` wrote: what Python says.
private struct MatchTable {
    let paths: [String]
    let patterns: [(key: String, matches: [Int]?)]
    let targets: [(config: JSONValue, matches: [Int])]

    static let shared = try? MatchTable()

    init() throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "match-table.json").path
        let table = try JSONValue.parse(bytes(of: path)).object
        let numbers = { (value: JSONValue?) in value?.array?.compactMap { $0.number?.int } }
        paths = table?["paths"]?.array?.compactMap(\.string) ?? []
        patterns = (table?["patterns"]?.array ?? []).map {
            ($0.object?["key"]?.string ?? "", numbers($0.object?["matches"]))
        }
        targets = (table?["targets"]?.array ?? []).map {
            ($0.object?["config"] ?? .null, numbers($0.object?["matches"]) ?? [])
        }
    }
}

@Suite struct PatternTests {
    /// What Python understands and we refuse: what a finite automaton cannot tell.
    private static let refused: Set<String> = [#"(\w)\w*\.\1_proj"#, "q_proj++", "(?>q)_proj", "(?(1)a|b)"]

    @Test func keysMatchAsInPython() throws {
        let table = try #require(MatchTable.shared)
        #expect(table.paths.count > 30 && table.patterns.count > 80)
        for (key, expected) in table.patterns {
            var problems: [Problem] = []
            let pattern = PatternTable([("(no.such)", 0), (key, 1)], file: "f", problems: &problems)
            if let problem = problems.first {
                #expect(expected == nil || Self.refused.contains(key), "\(key) is refused")
                #expect(problem.code == "bad-pattern" && problem.message.contains("'\(key)'") && problem.file == "f")
            } else if let expected {
                let found = table.paths.indices.filter { pattern.value(of: table.paths[$0]) == 1 }
                #expect(
                    found == expected, "\(key): \(Set(found).symmetricDifference(expected).map { table.paths[$0] })")
            }
        }
    }

    @Test func theFirstKeyThatMatchesCounts() throws {
        var problems: [Problem] = []
        let list = [("x.q", 0), ("q", 1), ("1.q", 2), ("(q|v)", 3), ("a.1.q", 4), (".*", 5)]
        let table = PatternTable(list, file: "f", problems: &problems)
        #expect(problems.isEmpty)
        #expect(table.hits("a.1.q") == [1, 2, 3, 4, 5] && table.value(of: "a.1.q") == 1)
        #expect(table.hits("v") == [3, 5] && table.hits("a.x-q") == [0, 5] && table.hits("") == [5])
        let reversed = PatternTable(list.reversed(), file: "f", problems: &problems)
        #expect(reversed.value(of: "a.1.q") == 5)
    }

    @Test func targetsMatchAsInPEFT() throws {
        let table = try #require(MatchTable.shared)
        #expect(table.targets.count > 30)
        for (json, expected) in table.targets {
            let config = try PEFTConfig(json: Array(json.encoded().utf8), file: "adapter_config.json")
            let matcher = try TargetMatcher(config: config)
            let found = table.paths.indices.filter { matcher.targets(table.paths[$0]) == true }
            #expect(
                found == expected,
                "\(json.encoded()): \(Set(found).symmetricDifference(expected).map { table.paths[$0] })")
        }
    }

    @Test func allLinearDependsOnTheClass() throws {
        let config = try PEFTConfig(
            json: Array(#"{"peft_type":"LORA","target_modules":"all-linear","exclude_modules":["lm_head"]}"#.utf8),
            file: "c")
        let matcher = try TargetMatcher(config: config)
        #expect(matcher.targets("model.q_proj") == nil)
        #expect(matcher.targets("lm_head") == false)
    }

    /// Time grows with the lengths of pattern and path, not with the number of ways through.
    @Test(.timeLimit(.minutes(1))) func noPatternTakesForEver() throws {
        let path = String(repeating: "model.layers.0.self_attn.q_proj.", count: 30)
        let slow = [
            String(repeating: ".*", count: 30) + "=", "(?:a+)+=", "(?:(?:.*)*)*=", ".*(?:a?){40}.*=",
            String(repeating: "a?", count: 500) + "=", "(?:.|..|...)*=", "(?=(?:.*.*.*=))", "(?:(?=.*=)|.)*x",
        ]
        for text in slow {
            #expect(try !ModulePattern(whole: text).matches(path))
            #expect(try !ModulePattern(key: text).matches(path))
        }
    }

    /// A pattern of a config is anyone's text: it is refused or works, but never ends the process.
    @Test func hostilePatterns() throws {
        let hostile = [
            String(repeating: "(", count: 100_000),
            String(repeating: "(", count: 50_000) + String(repeating: ")", count: 50_000),
            String(repeating: "[", count: 100_000), String(repeating: "(?:a|", count: 20_000), "a{999999999}",
            "a{0,99999999999999999999}",
            String(repeating: "a?", count: 5_000), String(repeating: "\\", count: 99_999), "\u{0}", "(?<=a)(?<idx>",
            "\\u{110000}",
            String(repeating: "x|", count: 50_000), "[\u{10FFFF}-a]", "[z-a]", "(?#", "\\x{", "\\p{Foo}", "(?(1)a|b)",
            "\\k<a>",
            "a{1000}{1000}{1000}", "\\Q", "(?R)", "(?&x)", "(*FAIL)", "\\C", "[[:foo:]]", "(?{code})", "\\N{DIGIT ONE}",
        ]
        for text in hostile {
            for isKey in [true, false] {
                do throws(Problem) {
                    let pattern = isKey ? try ModulePattern(key: text) : try ModulePattern(whole: text)
                    _ = pattern.matches("model.layers.0.self_attn.q_proj")
                } catch {
                    #expect(error.code == "bad-pattern" && error.message.utf8.count < 1_000)
                }
            }
        }
        var random = SeededRandom(test: "hostilePatterns")
        let pieces = [
            "(", ")", "[", "]", "?", "*", "+", "|", "\\", "{", "}", "^", "$", ".", "a", "1", "-", "<", ">", ":", "!",
            "=", "P", "#", "&", "~",
        ]
        for _ in 0..<3_000 {
            let text = (0..<random.below(12)).map { _ in random.pick(pieces) }.joined()
            _ = (try? ModulePattern(key: text))?.matches("a.1.aa1")
        }
    }
}
