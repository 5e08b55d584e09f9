import Fixtures
import Foundation
import Testing

/// Command lines of adapter-combine, its output and its report.
@Suite struct CombineUsageTests {
    private let scratch: Scratch
    private let path: String
    private let other: String

    init() throws {
        scratch = try Scratch()
        var random = SeededRandom(test: "CombineUsageTests")
        let make = { (random: inout SeededRandom) in
            Factors.random(["layers.0.q_proj", "layers.1.q_proj"], out: 8, into: 6, rank: 2, alpha: 4, &random)
        }
        path = try make(&random).write(as: "a", in: scratch)
        other = try make(&random).write(as: "b", in: scratch)
    }

    private func refused(_ answer: Answer, _ status: Int32, _ message: String, hint: String?) {
        #expect(answer.status == status, "\(answer.err)")
        #expect(answer.errors == ["adapter-combine: error: " + message])
        #expect(answer.hints == (hint.map { ["hint: " + $0] } ?? []))
        #expect(answer.out.isEmpty)
        #expect(scratch.names == ["a", "b"])
    }

    static let lines: [(line: String, message: String, hint: String?)] = [
        ("stack", "ADAPTER is missing", "usage: adapter-combine METHOD ADAPTER[:WEIGHT]... -o OUT [options]"),
        ("stack A", "there is no output", "name it with -o OUT"),
        (
            "sum A B -o OUT", "'sum' is no method",
            "the methods are stack, subtract, linear, svd, resize, ties, dare-linear, dare-ties, magnitude-prune, factor-linear; write adapter-combine METHOD ADAPTER... -o OUT"
        ),
        (
            "stack A:half -o OUT", "'half' in 'A:half' is no number, but a weight was needed",
            "write PATH:WEIGHT, as in style:0.5 or style:-1"
        ),
        (
            "stack A:nan -o OUT", "'nan' in 'A:nan' is no number, but a weight was needed",
            "write PATH:WEIGHT, as in style:0.5 or style:-1"
        ),
        (
            "resize A B --rank 1 -o OUT", "resize works on one adapter, but 2 are named",
            "svd does the same for a sum of several"
        ),
        (
            "subtract A -o OUT", "subtract needs something to take away, but only one adapter is named",
            "write adapter-combine subtract FROM WHAT... -o OUT"
        ),
        ("svd A B -o OUT", "svd needs to know what to keep", "say --rank 16, --energy 0.99 or --ratio 100"),
        ("resize A -o OUT", "resize needs to know what to keep", "say --rank 16, --energy 0.99 or --ratio 100"),
        (
            "stack A B --rank 3 -o OUT", "stack keeps all of it, so --rank has no place here",
            "svd is the same sum at a smaller rank"
        ),
        (
            "subtract A B --energy 0.5 -o OUT", "subtract keeps all of it, so --energy has no place here",
            "svd is the same sum at a smaller rank"
        ),
        (
            "factor-linear A B --ratio 5 -o OUT", "factor-linear keeps all of it, so --ratio has no place here",
            "svd is the same sum at a smaller rank"
        ),
        (
            "ties A B -o OUT", "ties needs the part of the changes that it keeps",
            "say --density 0.2, as the TIES paper does, or more; DARE's keep between 0.1 and 0.5"
        ),
        (
            "stack A B --density 0.5 -o OUT", "--density is for ties, dare-linear, dare-ties and magnitude-prune", nil
        ),
        (
            "linear A B --on factors -o OUT", "--on factors is for ties, dare-linear, dare-ties and magnitude-prune",
            "PEFT's linear, which works on factors, is called factor-linear here"
        ),
        (
            "dare-ties A B --density 0.5 --on factors --rank 2 -o OUT",
            "on factors the rank stays what it is, so --rank has no place here", nil
        ),
        (
            "stack A B -o OUT.safetensors",
            "OUT.safetensors: is the name of a file, but an adapter is a directory: its config belongs to it",
            "write -o 'OUT'"
        ),
        ("stack A B -o OUT --report -", "--report needs the name of a file", "--json prints the same on stdout"),
        (
            "stack A B -o OUT --report OUT/report.json",
            "OUT/report.json: is a part of the output 'OUT', but the report is not", "write the report somewhere else"
        ),
    ]

    @Test(arguments: lines) func usage(_ line: String, _ message: String, _ hint: String?) {
        let place = { (text: String) in
            var result = text.replacingOccurrences(of: "OUT", with: scratch("out"))
            for (name, own) in [("A", path), ("B", other)] {
                for (before, after) in [(" ", " "), (" ", ":"), ("'", ":")] {
                    result = result.replacingOccurrences(of: before + name + after, with: before + own + after)
                }
            }
            return result
        }
        // The last word of a hint is upper case too, but names no file.
        let words = place(line + " ").split(separator: " ").map(String.init)
        let hint = hint.map { $0.hasSuffix("'OUT'") ? place($0) : $0 }
        refused(
            Tools.run("adapter-combine", words), 64, message.hasPrefix("ADAPTER") ? message : place(message), hint: hint
        )
    }

    @Test func places() throws {
        try write([1], to: path + "/notes.txt")
        let before = contents(of: scratch.path)
        refused(
            Tools.combine("stack", [path, other], path, "--force"), 73,
            "\(path): is where the input '\(path)' is, and inputs are never changed", hint: "choose another output")
        refused(
            Tools.combine("stack", [path, other], other + "/new"), 73,
            "\(other)/new: would be inside the input '\(other)', and inputs are never changed",
            hint: "choose another output")
        refused(
            Tools.combine("stack", [path, other], scratch("out"), "--report", other + "/report.json"), 73,
            "\(other)/report.json: would be inside the input '\(other)', and inputs are never changed",
            hint: "choose another output")
        refused(
            Tools.combine("stack", [path], other), 73, "\(other): exists already",
            hint: "choose another name, or replace it with --force")
        refused(
            Tools.combine("stack", [path, other], scratch("no/out")), 73,
            "\(scratch("no/out")): cannot be made: the directory '\(scratch("no"))' cannot be opened",
            hint: "make it first: mkdir -p '\(scratch("no"))'")
        #expect(contents(of: scratch.path) == before)
    }

    @Test func forceReplaces() throws {
        #expect(Tools.combine("stack", [path], scratch("out")).status == 0)
        let first = contents(of: scratch("out"))
        let again = Tools.combine("stack", [path, other], scratch("out"))
        #expect(again.status == 73)
        #expect(contents(of: scratch("out")) == first)
        #expect(Tools.combine("stack", [path, other], scratch("out"), "--force").status == 0)
        #expect(Tools.combine("stack", [path, other], scratch("fresh")).status == 0)
        #expect(contents(of: scratch("out")) == contents(of: scratch("fresh")))
        #expect(scratch.names == ["a", "b", "fresh", "out"])
        let thesis = try scratch.directory("thesis")
        try write([1], to: thesis + "/chapter.txt")
        let kept = Tools.combine("stack", [path], thesis, "--force")
        #expect(kept.status == 73)
        #expect(kept.errors.first?.contains("exists and is no model or adapter directory") == true)
        #expect(contents(of: thesis) == ["chapter.txt": [1]])
    }

    @Test func theReportIsTheDocument() throws {
        let report = scratch("report.json")
        let line = ["svd", path, other + ":-0.5", "--rank", "3", "-o", scratch("out"), "--report", report]
        let answer = Tools.run("adapter-combine", line + ["--json"])
        #expect(answer.status == 0, "\(answer.err)")
        #expect(try bytes(of: report) == Array(answer.out.utf8))
        let document = try answer.json()
        #expect(document["schema"] as? String == "adapterkit.combine" && document["version"] as? Int == 1)
        #expect(document["method"] as? String == "svd" && document["output"] as? String == scratch("out"))
        let adapters = try #require(document["adapters"] as? [[String: Any]])
        #expect(adapters.map { $0["path"] as? String } == [path, other])
        #expect(adapters.map { $0["weight"] as? Double } == [1, -0.5])
        #expect(document["rank"] as? Int == 3 && document["dtype"] as? String == "F32")
        let modules = try #require(document["modules"] as? [[String: Any]])
        #expect(modules.map { $0["path"] as? String } == ["layers.0.q_proj", "layers.1.q_proj"])
        #expect(modules.allSatisfy { $0["rank_in"] as? Int == 4 && $0["rank"] as? Int == 3 })
        let size = try bytes(of: scratch("out/adapter_model.safetensors")).count
        #expect(document["bytes"] as? Int == size)
        #expect(document["parameters"] as? Int == 2 * 3 * (8 + 6))

        let exists = Tools.run("adapter-combine", line)
        #expect(exists.status == 73)
        #expect(exists.errors == ["adapter-combine: error: \(report): exists already"])
        let again = Tools.run("adapter-combine", line + ["--force"])
        #expect(again.status == 0, "\(again.err)")
        #expect(try bytes(of: report) == Array(answer.out.utf8))
        #expect(again.out.hasPrefix("\(scratch("out")): 2 modules, rank 3, "))
        let quiet = Tools.run("adapter-combine", line + ["--force", "--quiet"])
        #expect(quiet.status == 0 && quiet.err.isEmpty, "\(quiet.err)")
    }

    @Test func helpAndVersion() {
        for tool in ["adapter-combine", "adapter-extract"] {
            let help = Tools.run(tool, ["--help"])
            #expect(help.status == 0 && help.err.isEmpty)
            #expect(help.out.hasPrefix(tool + ": "))
            let version = Tools.run(tool, ["--version"])
            #expect(version.status == 0)
            #expect(version.out.hasPrefix(tool + " ") && version.out.contains("CPU level: "))
        }
    }
}
