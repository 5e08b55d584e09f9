import Fixtures
import Foundation
import Testing

/// Where an archive and what is unpacked may go, and what may be replaced.
@Suite struct PackOutputTests {
    private func refused(_ answer: Answer, _ message: String, hint: String? = nil, status: Int32 = 73) {
        #expect(answer.status == status, "\(answer.err)")
        #expect(answer.errors.count == 1, "\(answer.err)")
        #expect(answer.errors.first?.hasSuffix(": error: " + message) == true, "\(answer.err)")
        if let hint { #expect(answer.hints == ["hint: " + hint]) }
        #expect(answer.out.isEmpty)
    }

    /// A directory and its archive.
    private func sample(_ scratch: Scratch) throws {
        try scratch.write("in/a", "new a")
        try scratch.write("in/d/b", "new b")
        try scratch.directory("in/e")
        #expect(Tools.pack(scratch("in"), scratch("packed")).status == 0)
    }

    private static let other = "choose another name, or replace it with --force"

    @Test func packReplacesOnlyWithForceAndOnlyFiles() throws {
        let scratch = try Scratch()
        try sample(scratch)
        let packed = try bytes(of: scratch("packed"))
        try scratch.write("old", "something else")
        refused(Tools.pack(scratch("in"), scratch("old")), "\(scratch("old")): exists already", hint: Self.other)
        #expect(try bytes(of: scratch("old")) == Array("something else".utf8))
        #expect(Tools.pack(scratch("in"), scratch("old"), "--force").status == 0)
        #expect(try bytes(of: scratch("old")) == packed)
        try scratch.directory("empty")
        refused(
            Tools.pack(scratch("in"), scratch("empty"), "-f"),
            "\(scratch("empty")): exists and is a directory, so --force does not replace it")
        try scratch.link("dangling", to: "nothing")
        refused(
            Tools.pack(scratch("in"), scratch("dangling")),
            "\(scratch("dangling")): is a symbolic link that leads nowhere")
        #expect(scratch.names == ["dangling", "empty", "in", "old", "packed"])
    }

    /// A link in the output's place is replaced itself; what it leads to stays.
    @Test func linksInTheOutputsPlace() throws {
        let scratch = try Scratch()
        try sample(scratch)
        try scratch.write("precious", "p")
        try scratch.write("tree/a", "old a")
        try scratch.link("link", to: "precious")
        try scratch.link("linked-tree", to: "tree")
        #expect(Tools.pack(scratch("in"), scratch("link"), "--force").status == 0)
        #expect(try bytes(of: scratch("precious")) == [UInt8(ascii: "p")])
        #expect(try bytes(of: scratch("link")) == bytes(of: scratch("packed")))
        #expect(Tools.unpack(scratch("packed"), scratch("linked-tree"), "--force").status == 0)
        #expect(contents(of: scratch("tree")) == ["a": Array("old a".utf8)])
        #expect(contents(of: scratch("linked-tree")) == contents(of: scratch("in")))
        #expect(scratch.names == ["in", "link", "linked-tree", "packed", "precious", "tree"])
    }

    @Test func anInputIsNeverTheOutput() throws {
        let scratch = try Scratch()
        try sample(scratch)
        let base = try scratch.copy(Golden.path("linear-qv-bf16") + "/base", as: "base")
        let adapter = try scratch.copy(Golden.path("linear-qv-bf16") + "/adapter", as: "adapter")
        try scratch.link("hard", to: "in/a")
        let before = contents(of: scratch.path)
        let never = "inputs are never changed"
        for (input, output) in [
            ("in", "in"), ("in", "in/new"), ("in", "in/a"), ("in", "in/d/new"), ("in", "in/../in"), ("in", "hard"),
            ("in/a", "in/a"),
        ] {
            let answer = Tools.pack(scratch(input), scratch(output), "--force")
            #expect(answer.status == 73 && answer.errors.first?.hasSuffix(never) == true, "\(output): \(answer.err)")
        }
        for output in ["base/new", "base/config.json", "base"] {
            for option in ["--base", "--bind"] {
                let answer = Tools.pack(adapter, scratch(output), "--force", option, base)
                #expect(
                    answer.status == 73 && answer.errors.first?.hasSuffix(never) == true, "\(output): \(answer.err)")
            }
        }
        for output in ["adapter/new", "adapter/adapter_config.json"] {
            let answer = Tools.pack(scratch("in"), scratch(output), "--force", "--base", base, "--adapter", adapter)
            #expect(answer.status == 73 && answer.errors.first?.hasSuffix(never) == true, "\(output): \(answer.err)")
        }
        for output in ["packed", "."] {
            let answer = Tools.unpack(scratch("packed"), scratch(output), "--force")
            #expect([64, 73].contains(answer.status), "\(output): \(answer.err)")
        }
        #expect(contents(of: scratch.path) == before)
    }

    @Test func unpackKeepsWhatItHasNot() throws {
        let scratch = try Scratch()
        try sample(scratch)
        let foreign = { (name: String) in
            "exists and holds '\(name)', which the new one does not have, so --force does not replace it"
        }
        for name in ["thesis.txt", "d/thesis.txt", "d/d/a", ".hidden", "A", "b"] {
            try scratch.write("out/a", "old a")
            try scratch.write("out/\(name)", "years of work")
            let before = contents(of: scratch("out"))
            refused(
                Tools.unpack(scratch("packed"), scratch("out")), "\(scratch("out")): exists already", hint: Self.other)
            refused(
                Tools.unpack(scratch("packed"), scratch("out"), "--force"), "\(scratch("out")): \(foreign(name))",
                hint: "remove it yourself, or choose another name")
            #expect(contents(of: scratch("out")) == before, "\(name)")
            _ = Tools.shell("rm -r \"$1\"", scratch("out"))
        }
        try scratch.write("out/a", "old a")
        try scratch.link("out/d", to: "../in")
        refused(Tools.unpack(scratch("packed"), scratch("out"), "--force"), "\(scratch("out")): \(foreign("d"))")
        _ = Tools.shell("rm -r \"$1\"; mkfifo \"$1\"", scratch("out"))
        refused(
            Tools.unpack(scratch("packed"), scratch("out"), "--force"),
            "\(scratch("out")): exists and is not a directory, so --force does not replace it")
        #expect(scratch.names == ["in", "out", "packed"])
    }

    @Test func unpackReplacesWhatIsAlike() throws {
        let scratch = try Scratch()
        try sample(scratch)
        for old in [[], ["a"], ["d/b"], ["a", "d/b"]] {
            try scratch.directory("out")
            for name in old { try scratch.write("out/\(name)", "old") }
            if old.count == 2 { try scratch.directory("out/x/y") }
            refused(Tools.unpack(scratch("packed"), scratch("out")), "\(scratch("out")): exists already")
            let answer = Tools.unpack(scratch("packed"), scratch("out"), "--force")
            #expect(answer.status == 0, "\(old): \(answer.err)")
            #expect(contents(of: scratch("out")) == contents(of: scratch("in")))
            _ = Tools.shell("rm -r \"$1\"", scratch("out"))
        }
        #expect(scratch.names == ["in", "packed"])
    }

    /// An adapter's directory with a note of its own: the archive has no such file, so it may not go.
    @Test func aNoteInAnAdaptersDirectory() throws {
        let scratch = try Scratch()
        #expect(Tools.pack(Golden.path("rank-1-f32") + "/adapter", scratch("packed")).status == 0)
        #expect(Tools.unpack(scratch("packed"), scratch("out")).status == 0)
        try scratch.write("out/notes.txt", "years of work")
        let before = contents(of: scratch("out"))
        let answer = Tools.unpack(scratch("packed"), scratch("out"), "--force")
        refused(
            answer,
            "\(scratch("out")): exists and holds 'notes.txt', which the new one does not have, so --force does not replace it"
        )
        #expect(contents(of: scratch("out")) == before)
    }

    @Test func aFileIsNoDirectory() throws {
        let scratch = try Scratch()
        try sample(scratch)
        try scratch.write("file", "old")
        try scratch.directory("tree")
        refused(
            Tools.unpack(scratch("packed"), scratch("file"), "--force"),
            "\(scratch("file")): exists and is not a directory, so --force does not replace it")
        let one = { (output: String, options: [String]) in
            Tools.run("adapter-unpack", [scratch("packed"), "a", "-o", scratch(output)] + options)
        }
        refused(one("file", []), "\(scratch("file")): exists already", hint: Self.other)
        #expect(try bytes(of: scratch("file")) == Array("old".utf8))
        #expect(one("file", ["--force"]).status == 0)
        #expect(try bytes(of: scratch("file")) == Array("new a".utf8))
        refused(
            one("tree", ["--force"]), "\(scratch("tree")): exists and is a directory, so --force does not replace it")
        #expect(scratch.names == ["file", "in", "packed", "tree"])
    }

    @Test func nothingOutsideOfTheOutput() throws {
        let scratch = try Scratch()
        try sample(scratch)
        try scratch.write("neighbour", "n")
        try scratch.write("a", "not this one")
        try scratch.write("d/b", "nor this one")
        let before = contents(of: scratch.path)
        #expect(Tools.unpack(scratch("packed"), scratch("out")).status == 0)
        #expect(Tools.unpack(scratch("packed"), scratch("out/"), "--force").status == 0)
        var after = contents(of: scratch.path)
        for name in after.keys where name.hasPrefix("out/") { after[name] = nil }
        #expect(after == before)
        let places = Tools.shell(
            "cd \"$1\" && adapter-unpack packed -o here && cd here && adapter-unpack ../packed a -o b", scratch.path)
        #expect(places.status == 0, "\(places.err)")
        #expect(try bytes(of: scratch("here/b")) == Array("new a".utf8))
    }

    @Test func modesAndOwners() throws {
        let scratch = try Scratch()
        try sample(scratch)
        let script = "umask 027; adapter-unpack \"$1\" -o \"$2\" && adapter-pack \"$2\" -o \"$3\""
        #expect(Tools.shell(script, scratch("packed"), scratch("out"), scratch("again")).status == 0)
        let modes = try ["out", "out/d", "out/a", "again"].map {
            try FileManager.default.attributesOfItem(atPath: scratch($0))[.posixPermissions] as? Int
        }
        #expect(modes[2] == 0o640 && modes[3] == 0o640, "\(modes)")
        #expect(modes[0] == 0o750 && modes[1] == 0o750, "\(modes)")
    }
}
