import Fixtures
import Foundation
import Testing

/// Command lines of `adapter-unmerge`, and those of `adapter-merge` that have to do with records.
@Suite struct UndoUsageTests {
    private static let golden = Golden.path("linear-qv-bf16")

    private func place(_ word: String, _ scratch: Scratch) -> String {
        [
            ("BASE", Self.golden + "/base"), ("ADAPTER", Self.golden + "/adapter"), ("MERGED", scratch("merged")),
            ("RECORD", scratch("undo")), ("NOWHERE", scratch("nowhere")), ("OUT", scratch("out")),
        ].reduce(word) { text, entry in
            // A plus keeps a word of the tool's own.
            text.replacingOccurrences(of: "(?<![+])" + entry.0, with: entry.1, options: .regularExpression)
        }.replacingOccurrences(of: "+", with: "")
    }

    private func made(_ options: String...) throws -> Scratch {
        let scratch = try Scratch()
        let answer = Tools.run(
            "adapter-merge",
            [Self.golden + "/base", Self.golden + "/adapter", "-o", scratch("merged"), "--undo", scratch("undo")]
                + options)
        try #require(answer.status == 0, "\(answer.err)")
        return scratch
    }

    /// `adapter-inspect` says what a record is, what it takes out and how to use it.
    @Test func inspected() throws {
        let scratch = try made()
        let record = scratch("undo")
        let size = try bytes(of: record).count
        let shown = Tools.run("adapter-inspect", [record])
        #expect(shown.status == 0)
        let lines = shown.out.split(separator: "\n").map(String.init)
        #expect(lines.first == "\(record): undo record of a merge")
        #expect(lines.contains("  takes out     adapter, weight 1 (in the record)"), "\(lines)")
        #expect(
            shown.err.contains("adapter-unmerge MERGED --undo '\(record)' -o OUT gives the base back"), "\(shown.err)")
        let document = Tools.run("adapter-inspect", [record, "--json"]).out
        for member in ["\"type\": \"undo-record\"", "\"size\": \(size)", "\"held\": true"] {
            #expect(document.contains(member), "\(member)")
        }
        let named = try made("--undo-by-name")
        let other = Tools.run("adapter-inspect", [named("undo")]).out
        #expect(other.contains("adapter, weight 1 (not in the record: name it with --adapter)"), "\(other)")
    }

    private func check(_ tool: String, _ line: [String], _ status: Int32, _ message: String, _ hint: String?) throws {
        let scratch = try made()
        let answer = Tools.run(tool, line.map { place($0, scratch) })
        #expect(answer.status == status, "\(answer.err)")
        #expect(answer.errors == ["\(tool): error: " + place(message, scratch)])
        #expect(answer.hints == (hint.map { ["hint: " + place($0, scratch)] } ?? []))
        #expect(answer.out.isEmpty)
        #expect(scratch.names == ["merged", "undo"])
    }

    @Test(
        arguments: [
            (
                ["MERGED", "-o", "OUT"], 64, "there is no undo record",
                "name the one that adapter-merge --undo wrote, with --undo FILE"
            ),
            (["MERGED", "--undo", "RECORD"], 64, "there is no output", "name it with -o +OUT, or only --test"),
            (
                ["MERGED", "--undo", "RECORD", "-o", "OUT", "--test"], 64,
                "--test writes nothing, so there is no output",
                "leave -o or --test out"
            ),
            (
                ["MERGED", "BASE", "--undo", "RECORD", "-o", "OUT"], 64, "'BASE' is one operand too many",
                "'adapter-unmerge --help' lists the options"
            ),
            (
                ["MERGED", "--undo", "RECORD", "-o", "OUT", "-t", "0"], 64,
                "option '--threads' is '0', but must be a whole number from 1 to 1024", nil
            ),
            (
                ["MERGED", "--undo", "NOWHERE", "-o", "OUT"], 66, "NOWHERE: does not exist",
                "adapter-merge --undo FILE writes a record; without one, a merge cannot be taken back exactly"
            ),
            (
                ["MERGED", "--undo", "MERGED/model.safetensors", "-o", "OUT"], 65,
                "MERGED/model.safetensors: is a safetensors file, but no undo record",
                "adapter-merge --undo FILE writes them"
            ),
            (
                ["MERGED", "--undo", "RECORD", "-o", "OUT.safetensors"], 64,
                "OUT.safetensors: is a file, but the base was a directory", "name a directory"
            ),
            (
                ["MERGED", "--undo", "RECORD", "-o", "MERGED"], 73,
                "MERGED: is where the input 'MERGED' is, and inputs are never changed", "choose another output"
            ),
        ] as [([String], Int32, String, String?)])
    func unmerge(_ line: [String], _ status: Int32, _ message: String, _ hint: String?) throws {
        try check("adapter-unmerge", line, status, message, hint)
    }

    @Test(
        arguments: [
            (
                ["BASE", "ADAPTER", "-o", "OUT", "--undo-by-name"], 64,
                "--undo-by-name says what goes into an undo record, but none is written", "add --undo FILE"
            ),
            (
                ["BASE", "ADAPTER", "-o", "OUT", "--undo", "RECORD"], 73, "RECORD: exists already",
                "choose another name, or replace it with --force"
            ),
        ] as [([String], Int32, String, String?)])
    func merge(_ line: [String], _ status: Int32, _ message: String, _ hint: String?) throws {
        try check("adapter-merge", line, status, message, hint)
    }

    @Test func withoutOperands() {
        let answer = Tools.run("adapter-unmerge", [])
        #expect(answer.status == 64 && answer.errors == ["adapter-unmerge: error: MERGED is missing"])
    }

    /// One file cannot be the record and the report.
    @Test(arguments: [[], ["--force"]]) func recordAndReport(_ options: [String]) throws {
        let scratch = try Scratch()
        let answer = Tools.run(
            "adapter-merge",
            [
                Self.golden + "/base", Self.golden + "/adapter", "-o", scratch("out"), "--undo", scratch("file"),
                "--report", scratch("file"),
            ] + options)
        #expect(answer.status == 64 && answer.errors.count == 1, "\(answer.err)")
        #expect(scratch.names.isEmpty)
    }

    /// A record may lie neither in the output nor in an input, and may be neither of them.
    @Test(arguments: ["OUT", "OUT/undo", "BASE/undo", "ADAPTER/undo", "BASE/config.json"])
    func recordsInTheWay(_ place: String) throws {
        let scratch = try made()
        let base = try scratch.copy(Self.golden + "/base", as: "base")
        let adapter = try scratch.copy(Self.golden + "/adapter", as: "adapter")
        let before = contents(of: scratch.path)
        let path = place.replacingOccurrences(of: "BASE", with: base).replacingOccurrences(of: "ADAPTER", with: adapter)
            .replacingOccurrences(of: "OUT", with: scratch("out"))
        for options in [[], ["--force"]] {
            let answer = Tools.run(
                "adapter-merge", [base, adapter, "-o", scratch("out"), "--undo", path] + options)
            #expect([64, 73].contains(answer.status), "\(path): \(answer.status) \(answer.err)")
            #expect(answer.errors.count == 1 && answer.out.isEmpty, "\(answer.err)")
            #expect(contents(of: scratch.path) == before, "\(path)")
        }
    }

    /// The base may not come back over the merged model, its record or an adapter, not even by force.
    @Test(arguments: ["MERGED", "MERGED/inside", "RECORD"]) func outputsInTheWay(_ place: String) throws {
        let scratch = try made()
        let before = contents(of: scratch.path)
        let path = self.place(place, scratch)
        let answer = Tools.unmerge(scratch("merged"), scratch("undo"), path, "--force")
        #expect([64, 73].contains(answer.status), "\(answer.status) \(answer.err)")
        #expect(answer.errors.count == 1 && answer.out.isEmpty, "\(answer.err)")
        #expect(contents(of: scratch.path) == before)
    }

    @Test func force() throws {
        let scratch = try made()
        #expect(Tools.merge(Self.golden + "/base", [Self.golden + "/adapter:2"], scratch("out")).status == 0)
        try scratch.write("foreign/thesis.txt", "mine")
        let foreign = Tools.unmerge(scratch("merged"), scratch("undo"), scratch("foreign"), "--force")
        #expect(foreign.status == 73, "\(foreign.err)")
        #expect(contents(of: scratch("foreign")).keys.sorted() == ["thesis.txt"])
        let answer = Tools.unmerge(scratch("merged"), scratch("undo"), scratch("out"), "--force")
        #expect(answer.status == 0, "\(answer.err)")
        #expect(contents(of: scratch("out")) == contents(of: Self.golden + "/base"))
        #expect(scratch.names == ["foreign", "merged", "out", "undo"])
        // Merge and record are replaced together.
        let again = Tools.run(
            "adapter-merge",
            [
                Self.golden + "/base", Self.golden + "/adapter:3", "-o", scratch("merged"), "--undo", scratch("undo"),
                "--force",
            ])
        #expect(again.status == 0, "\(again.err)")
        #expect(Tools.run("adapter-unmerge", [scratch("merged"), "--undo", scratch("undo"), "--test"]).status == 0)
    }

    @Test func testAndDryRunWriteNothing() throws {
        let scratch = try made()
        let names = ["merged", "undo"]
        let test = Tools.run("adapter-unmerge", [scratch("merged"), "--undo", scratch("undo"), "--test"])
        #expect(test.status == 0, "\(test.err)")
        #expect(test.out.hasPrefix("\(scratch("merged")): the base can be restored: 2 files, "), "\(test.out)")
        #expect(test.out.hasSuffix("; all digests agree\n") && scratch.names == names)
        for output in [["-o", scratch("out")], []] {
            let answer = Tools.run("adapter-unmerge", [scratch("merged"), "--undo", scratch("undo"), "-n"] + output)
            #expect(answer.status == 0, "\(answer.err)")
            #expect(answer.out.contains("config.json") && answer.out.hasSuffix("nothing was written\n"))
            #expect(scratch.names == names)
        }
        let merge = Tools.merge(
            Self.golden + "/base", [Self.golden + "/adapter"], scratch("out"), "--undo", scratch("other"), "--dry-run")
        #expect(merge.status == 0 && scratch.names == names, "\(merge.err)")
    }

    @Test func documents() throws {
        let scratch = try Scratch()
        let merged = try Tools.merge(
            Self.golden + "/base", [Self.golden + "/adapter:0.5"], scratch("merged"), "--undo", scratch("undo"),
            "--json"
        ).json()
        let size = try bytes(of: scratch("undo")).count
        #expect(same(merged["undo"] as? [String: Any] ?? [:], ["path": scratch("undo"), "bytes": size]))
        let without = try Tools.merge(Self.golden + "/base", [Self.golden + "/adapter"], scratch("plain"), "--json")
            .json()
        #expect(without["undo"] is NSNull)
        let answer = Tools.unmerge(scratch("merged"), scratch("undo"), scratch("back"), "--json")
        let document = try answer.json()
        #expect(document["schema"] as? String == "adapterkit.unmerge" && document["version"] as? Int == 1)
        #expect(document["output"] as? String == scratch("back"))
        #expect(document["merged"] as? String == scratch("merged"))
        let adapters = document["adapters"] as? [[String: Any]] ?? []
        #expect(adapters.count == 1 && adapters[0]["name"] as? String == "adapter")
        #expect(adapters.first?["weight"] as? Double == 0.5)
        let files = document["files"] as? [[String: Any]] ?? []
        let wanted = contents(of: Self.golden + "/base")
        #expect(files.map { $0["name"] as? String } == wanted.keys.sorted())
        for file in files { #expect(file["bytes"] as? Int == wanted[file["name"] as? String ?? ""]?.count) }
        #expect(document["bytes"] as? Int == wanted.values.reduce(0) { $0 + $1.count })
        let plan = try Tools.run(
            "adapter-unmerge", [scratch("merged"), "--undo", scratch("undo"), "-n", "--json"]
        ).json()
        #expect(plan["schema"] as? String == "adapterkit.unmerge-plan" && plan["output"] is NSNull)
        let test = try Tools.run(
            "adapter-unmerge", [scratch("merged"), "--undo", scratch("undo"), "--test", "--json"]
        ).json()
        #expect(test["schema"] as? String == "adapterkit.unmerge" && test["output"] is NSNull)
    }
}
