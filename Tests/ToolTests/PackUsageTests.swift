import Fixtures
import Foundation
import Testing

/// Command lines of adapter-pack and adapter-unpack: what is refused, and what is said of it.
@Suite struct PackUsageTests {
    private static let golden = Golden.path("linear-qv-bf16")

    /// Words that stand for paths of a test.
    private func place(_ word: String, _ scratch: Scratch) -> String {
        word.replacingOccurrences(of: "BASE", with: Self.golden + "/base")
            .replacingOccurrences(of: "ADAPTER", with: Self.golden + "/adapter")
            .replacingOccurrences(of: "PACKED", with: scratch("packed")).replacingOccurrences(
                of: "OUT", with: scratch("out")
            )
            .replacingOccurrences(of: "NOWHERE", with: scratch("nowhere"))
    }

    private func check(_ tool: String, _ line: [String], _ status: Int32, _ message: String, _ hint: String?) throws {
        let scratch = try Scratch()
        #expect(Tools.pack(Self.golden + "/adapter", scratch("packed")).status == 0)
        let answer = Tools.run(tool, line.map { place($0, scratch) })
        #expect(answer.status == status, "\(answer.err)")
        #expect(answer.errors == ["\(tool): error: " + place(message, scratch)])
        let hints = hint.map { ["hint: " + $0.replacingOccurrences(of: "NOWHERE", with: scratch("nowhere"))] }
        #expect(answer.hints == hints ?? [])
        #expect(answer.out.isEmpty)
        #expect(scratch.names == ["packed"])
    }

    private static let empty = "is a variable of your shell not set?"
    private static let levels = "must be one of: fast, default, best"

    @Test(
        arguments: [
            ([], 64, "IN is missing", "usage: adapter-pack IN -o FILE"),
            (["ADAPTER"], 64, "there is no output", "name it with -o FILE"),
            (["ADAPTER", "-o"], 64, "option '-o' needs a value (FILE)", "'adapter-pack --help' lists the options"),
            (["ADAPTER", "-o", ""], 64, "option '-o' needs a value (FILE), but an empty text was given", empty),
            (
                ["ADAPTER", "BASE", "-o", "OUT"], 64, "'BASE' is one operand too many",
                "'adapter-pack --help' lists the options"
            ),
            (["ADAPTER", "-o", "OUT", "--bnd", "BASE"], 64, "there is no option '--bnd'", "did you mean '--bind'?"),
            (
                ["ADAPTER", "-o", "OUT", "--level", "bes"], 64, "option '--level' is 'bes', but \(levels)",
                "did you mean 'best'?"
            ),
            (
                ["ADAPTER", "-o", "OUT", "-t", "1025"], 64,
                "option '--threads' is '1025', but must be a whole number from 1 to 1024", nil
            ),
            (
                ["ADAPTER", "-o", "OUT", "--adapter", "ADAPTER"], 64,
                "--adapter needs the base that it was merged into", "add --base BASE"
            ),
            (["ADAPTER", "-o", "OUT", "-o", "-"], 64, "option '-o' is given twice: 'OUT' and '-'", "give it once"),
            (["-", "-o", "OUT", "--name", "a/b"], 64, "'a/b' is no name for a file", "write a plain name"),
            (["-", "-o", "OUT", "--name", ".."], 64, "'..' is no name for a file", "write a plain name"),
            (
                ["-", "-o", "OUT", "--name", ""], 64,
                "option '--name' needs a value (NAME), but an empty text was given", empty
            ),
            (["NOWHERE", "-o", "OUT"], 66, "NOWHERE: does not exist", "name a directory or a file to pack"),
            (
                ["ADAPTER", "-o", "OUT", "--base", "NOWHERE"], 66, "NOWHERE: does not exist",
                "name the base's directory or file"
            ),
            (
                ["ADAPTER", "-o", "OUT", "--bind", "NOWHERE"], 66, "NOWHERE: does not exist",
                "name a model's directory, or a .safetensors file"
            ),
            (
                ["BASE", "-o", "OUT", "--base", "BASE", "--adapter", "ADAPTER:half"], 64,
                "'half' in 'ADAPTER:half' is no number, but a weight was needed",
                "write PATH:WEIGHT, as in style:0.5 or style:-1"
            ),
            (
                ["ADAPTER", "-o", "NOWHERE/out"], 73,
                "NOWHERE/out: cannot be made: the directory 'NOWHERE' cannot be opened",
                "make it first: mkdir -p 'NOWHERE'"
            ),
            (
                ["ADAPTER", "-o", "PACKED/.."], 64, "PACKED/..: is no name for an output",
                "name a new directory or file"
            ),
        ] as [([String], Int32, String, String?)])
    func packing(_ line: [String], _ status: Int32, _ message: String, _ hint: String?) throws {
        try check("adapter-pack", line, status, message, hint)
    }

    @Test(
        arguments: [
            ([], 64, "FILE is missing", "usage: adapter-unpack FILE -o OUT"),
            (["PACKED"], 64, "there is no output", "name it with -o OUT, or look inside with --list"),
            (["PACKED", "-o", "OUT", "--list"], 64, modes, nil), (["PACKED", "--test", "--list"], 64, modes, nil),
            (["PACKED", "--test", "--manifest"], 64, modes, nil),
            (["PACKED", "-o", "OUT", "--manifest"], 64, modes, nil),
            (
                ["PACKED", "--test", "adapter_config.json"], 64, "--test reads the whole archive, so it takes no names",
                nil
            ),
            (["PACKED", "-o", "OUT", "--rows", "0:1"], 64, "--rows is for one tensor, but none is named", nil),
            (
                ["PACKED", "adapter_config.json", "-o", "OUT", "--rows", "0:1"], 64,
                "--rows is for tensors, but 'adapter_config.json' is a file", nil
            ),
            (
                ["PACKED", "nothing", "-o", "OUT"], 66, "PACKED: holds no file and no tensor 'nothing'",
                "--list shows the files, and adapter-inspect --tensors the tensors"
            ),
            (
                ["PACKED", "adapter_config.json", tensor, "-o", "OUT"], 64,
                "files and tensors cannot be unpacked together", "unpack them one after the other"
            ),
            (
                ["PACKED", "-o", "-"], 64, "the archive holds a directory, which cannot go to standard output",
                "name one file of it; --list shows them"
            ),
            (["PACKED", tensor, "-o", "OUT", "--rows", "2:1"], 64, "'2:1' is no range of rows", rows),
            (["PACKED", tensor, "-o", "OUT", "--rows", "1:1"], 64, "'1:1' is no range of rows", rows),
            (["PACKED", tensor, "-o", "OUT", "--rows", "-1:1"], 64, "'-1:1' is no range of rows", rows),
            (["PACKED", tensor, "-o", "OUT", "--rows", "0:1:2"], 64, "'0:1:2' is no range of rows", rows),
            (["PACKED", tensor, "-o", "OUT", "--rows", ":"], 64, "':' is no range of rows", rows),
            (
                ["PACKED", tensor, "-o", "OUT", "--rows", "3:5"], 64,
                "PACKED: tensor '\(tensor)': has 4 rows, so 3:5 is no part of it",
                "rows count from 0, and END is left out"
            ),
            (["NOWHERE", "-o", "OUT"], 66, "NOWHERE: does not exist", nil),
            (["ADAPTER", "-o", "OUT"], 66, "ADAPTER: is no file, but an archive is one", nil),
            (
                ["ADAPTER/adapter_model.safetensors", "--list"], 65,
                "ADAPTER/adapter_model.safetensors: is a safetensors file, but no packed archive",
                "adapter-pack makes archives; this one is used as it is"
            ),
            (
                ["ADAPTER/adapter_config.json", "--list"], 65,
                "ADAPTER/adapter_config.json: has a header of 8028899034890504827 bytes, more than archives have",
                "the archive is damaged: get it again"
            ),
            (
                ["PACKED", "-o", "PACKED"], 73, "PACKED: is where the input 'PACKED' is, and inputs are never changed",
                "choose another output"
            ),
            (
                ["PACKED", "-o", "OUT", "--threads", "0"], 64,
                "option '--threads' is '0', but must be a whole number from 1 to 1024", nil
            ),
        ] as [([String], Int32, String, String?)])
    func unpacking(_ line: [String], _ status: Int32, _ message: String, _ hint: String?) throws {
        try check("adapter-unpack", line, status, message, hint)
    }

    private static let tensor = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    private static let modes = "only one of -o, --list, --test and --manifest can be done at a time"
    private static let rows = "write FIRST:END, as in 0:16 for the first 16"

    @Test func outputsThatCannotShareAStream() {
        let answer = Tools.run("adapter-pack", [Self.golden + "/adapter", "-o", "-", "--json"])
        #expect(answer.status == 64)
        #expect(
            answer.errors == ["adapter-pack: error: --json and the archive cannot both go to standard output"])
        #expect((try? answer.json()["schema"]) as? String == "adapterkit.problems")
    }

    /// A tensor that is named twice is a request that makes no sense, not a defect of the program.
    @Test func aTensorNamedTwice() throws {
        let scratch = try Scratch()
        #expect(Tools.pack(Self.golden + "/adapter", scratch("packed")).status == 0)
        let answer = Tools.run("adapter-unpack", [scratch("packed"), Self.tensor, Self.tensor, "-o", scratch("out")])
        #expect(answer.errors.count == 1)
        #expect(scratch.names == ["packed"])
        #expect(answer.status == 64)
    }

    @Test func helpAndVersion() {
        for tool in ["adapter-pack", "adapter-unpack"] {
            let help = Tools.run(tool, ["--help"])
            #expect(help.status == 0 && help.out.hasPrefix(tool + ": ") && help.err.isEmpty)
            let version = Tools.run(tool, ["--version"])
            #expect(version.status == 0 && version.out.hasPrefix(tool + " "))
            #expect(version.out.contains("zlib: 1."))
        }
    }
}

/// Names that would not unpack everywhere, and what is neither file nor directory.
@Suite struct PackNameTests {
    private func refused(_ scratch: Scratch, _ wanted: [String], hint: String) {
        let before = contents(of: scratch("in"))
        let answer = Tools.pack(scratch("in"), scratch("archive"))
        #expect(answer.status == 1, "\(answer.err)")
        #expect(answer.errors == wanted.map { "adapter-pack: error: \(scratch("in"))/" + $0 })
        #expect(answer.hints == ["hint: " + hint])
        #expect(!exists(scratch("archive")) && scratch.names == ["in"])
        #expect(contents(of: scratch("in")) == before)
    }

    private static let everywhere = ", and would not unpack on every system"

    @Test(
        arguments: [
            ("a\\b", "a\\b", "has a backslash"), ("a\tb", "a\\u{9}b", "has a control character"),
            ("a\nb", "a\\u{A}b", "has a control character"), ("a\u{7F}", "a\\u{7F}", "has a control character"),
            ("a\u{85}", "a\\u{85}", "has a control character"),
            ("\u{1B}[31m", "\\u{1B}[31m", "has a control character"),
            ("dot.", "dot.", "has a part that ends in a dot or a space"),
            ("space ", "space ", "has a part that ends in a dot or a space"),
            ("...", "...", "has a part that ends in a dot or a space"),
            ("dir./x", "dir./x", "has a part that ends in a dot or a space"),
        ])
    func names(_ name: String, _ shown: String, _ flaw: String) throws {
        let scratch = try Scratch()
        try scratch.write("in/\(name)", "x")
        try scratch.write("in/fine", "x")
        refused(scratch, ["\(shown): has a name that \(flaw)\(Self.everywhere)"], hint: "rename it")
    }

    @Test(arguments: [("Name", "name"), ("\u{E9}", "e\u{301}"), ("d/X", "d/x"), ("\u{C9}", "e\u{301}")])
    func twins(_ one: String, _ other: String) throws {
        let scratch = try Scratch()
        try scratch.write("in/\(one)", "1")
        try scratch.write("in/\(other)", "2")
        let sorted = [one, other].sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
        refused(
            scratch,
            [
                "\(sorted[1]): has a name that is the same as '\(sorted[0])' but for case or normalisation"
                    + Self.everywhere
            ], hint: "rename it")
    }

    @Test func directoriesThatAreTwins() throws {
        let scratch = try Scratch()
        try scratch.write("in/D", "a file")
        try scratch.write("in/d/x", "in a directory")
        let answer = Tools.pack(scratch("in"), scratch("archive"))
        #expect(answer.status == 1 && answer.errors.count == 1)
        #expect(
            answer.errors.first?.contains("is the same as 'D' but for case or normalisation") == true, "\(answer.err)")
    }

    @Test func tooDeepAndTooLong() throws {
        let scratch = try Scratch()
        let deep = Array(repeating: "d", count: 64).joined(separator: "/") + "/x"
        try scratch.write("in/\(deep)", "x")
        refused(
            scratch, ["\(deep): has a name that is nested deeper than 64 directories\(Self.everywhere)"],
            hint: "rename it")
    }

    /// A single file by its own name.
    @Test func singleFile() throws {
        let scratch = try Scratch()
        try scratch.write("bad.", "x")
        let answer = Tools.pack(scratch("bad."), scratch("archive"))
        #expect(answer.status == 1)
        #expect(
            answer.errors == [
                "adapter-pack: error: \(scratch("bad.")): has a name that has a part that ends in a dot or a space"
                    + Self.everywhere
            ])
        #expect(scratch.names == ["bad."])
    }

    @Test func pipesAndLinksThatLeadNowhere() throws {
        let scratch = try Scratch()
        try scratch.write("in/fine", "x")
        try scratch.link("in/dangling", to: "nothing")
        try scratch.link("in/itself", to: "itself")
        #expect(Tools.shell("mkfifo \"$1\"", scratch("in/pipe")).status == 0)
        let what = "is neither a file nor a directory, or a link that leads nowhere, and cannot be packed"
        refused(
            scratch, ["dangling", "itself", "pipe"].map { "\($0): \(what)" }, hint: "move it elsewhere")
    }

    @Test func linksThatLeadUp() throws {
        let scratch = try Scratch()
        try scratch.write("in/a/b/file", "x")
        try scratch.link("in/a/b/up", to: "..")
        try scratch.link("in/a/self", to: ".")
        try scratch.link("in/top", to: scratch("in"))
        let what = "is a link to a directory that it lies in"
        refused(scratch, ["a/b/up", "a/self", "top"].map { "\($0): \(what)" }, hint: "remove the link")
    }

    /// All that is wrong is told at once.
    @Test func everythingInOneRun() throws {
        let scratch = try Scratch()
        for name in ["a\\b", "ok", "dot.", "UP", "up"] { try scratch.write("in/\(name)", "x") }
        try scratch.link("in/dangling", to: "nothing")
        let answer = Tools.run("adapter-pack", [scratch("in"), "-o", scratch("archive"), "--json"])
        #expect(answer.status == 1)
        let problems = try #require(answer.json()["problems"] as? [[String: Any]])
        #expect(problems.compactMap { $0["code"] as? String } == ["not-a-file", "bad-name", "bad-name", "bad-name"])
    }

    @Test func aPipeAsTheInput() throws {
        let scratch = try Scratch()
        #expect(Tools.shell("mkfifo \"$1\"", scratch("pipe")).status == 0)
        let answer = Tools.shell("timeout 10 adapter-pack \"$1\" -o \"$2\"", scratch("pipe"), scratch("archive"))
        #expect([1, 64, 66].contains(answer.status), "it must not wait: \(answer.status)")
        #expect(answer.errors.count == 1 && scratch.names == ["pipe"])
        let unpack = Tools.shell("timeout 10 adapter-unpack \"$1\" --list", scratch("pipe"))
        #expect([1, 64, 65, 66].contains(unpack.status), "it must not wait: \(unpack.status)")
    }

    @Test func whatCannotBeRead() throws {
        let scratch = try Scratch()
        try scratch.write("in/secret", "x")
        guard Tools.shell("test \"$(id -u)\" != 0").status == 0 else {
            print("SKIPPED: a file that may not be read: root reads everything")
            return
        }
        _ = Tools.shell("chmod a-r \"$1\"", scratch("in/secret"))
        let answer = Tools.pack(scratch("in"), scratch("archive"))
        #expect(answer.status == 66 && scratch.names == ["in"], "\(answer.err)")
    }
}
