import Fixtures
import Foundation
import Testing

/// Where an output may go, and what it may replace.
@Suite struct OutputTests {
    private static let golden = Golden.path("linear-qv-bf16")
    private static let (base, adapter) = (golden + "/base", golden + "/adapter")

    private func refused(_ answer: Answer, _ status: Int32, _ words: String, hint: String? = nil) {
        #expect(answer.status == status, "\(answer.err)")
        #expect(answer.errors.count == 1, "\(answer.err)")
        #expect(answer.errors.first?.contains(words) == true, "\(answer.err)")
        if let hint { #expect(answer.hints == ["hint: " + hint]) }
    }

    @Test func anExistingOutputStays() throws {
        let scratch = try Scratch()
        #expect(Tools.merge(Self.base, [Self.adapter + ":2"], scratch("out")).status == 0)
        let before = contents(of: scratch("out"))
        refused(
            Tools.merge(Self.base, [Self.adapter], scratch("out")), 73, "\(scratch("out")): exists already",
            hint: "choose another name, or replace it with --force")
        #expect(contents(of: scratch("out")) == before)
        #expect(Tools.merge(Self.base, [Self.adapter], scratch("out/"), "-f").status == 0)
        #expect(contents(of: scratch("out")) != before)
        #expect(scratch.names == ["out"])
    }

    @Test func forceReplacesOnlyWhatIsAlike() throws {
        let scratch = try Scratch()
        let home = try scratch.directory("home")
        try write([1], to: home + "/thesis.txt")
        try write([2], to: scratch("file"))
        let nested = try scratch.directory("nested")
        _ = try scratch.directory("nested/.git")
        try write([3], to: nested + "/model.safetensors")
        let before = contents(of: scratch.path)
        for (name, words) in [
            ("home", "exists and is no model or adapter directory"), ("file", "exists and is not a directory"),
            ("nested", "exists and is no model or adapter directory"),
        ] {
            refused(Tools.merge(Self.base, [Self.adapter], scratch(name), "--force"), 73, words)
        }
        refused(
            Tools.merge(Self.base + "/model.safetensors", [Self.adapter], home + "/thesis.txt/x.safetensors"), 73,
            "cannot be made: the directory '\(home)/thesis.txt' cannot be opened")
        #expect(contents(of: scratch.path) == before)
        _ = try scratch.directory("empty")
        #expect(Tools.merge(Self.base, [Self.adapter], scratch("empty"), "--force").status == 0)
    }

    @Test func anInputIsNeverTheOutput() throws {
        let scratch = try Scratch()
        let base = try scratch.copy(Self.base, as: "base")
        let adapter = try scratch.copy(Self.adapter, as: "adapter")
        try FileManager.default.createSymbolicLink(atPath: scratch("link"), withDestinationPath: "base")
        let before = contents(of: scratch.path)
        let words = "and inputs are never changed"
        refused(
            Tools.merge(base, [adapter], base + "/config.json", "--force", "--report", base + "/config.json"), 73, words
        )
        for output in [base, scratch("link"), adapter, scratch("base/../base"), scratch.path] {
            refused(Tools.merge(base, [adapter], output, "--force"), 73, words)
        }
        refused(Tools.merge(base + "/model.safetensors", [adapter], base + "/model.safetensors", "--force"), 73, words)
        refused(
            Tools.merge(base, [adapter], scratch("out"), "--report", adapter + "/adapter_config.json"), 73, words)
        #expect(contents(of: scratch.path) == before)
    }

    @Test func placesThatCannotBe() throws {
        let scratch = try Scratch()
        refused(
            Tools.merge(Self.base, [Self.adapter], scratch("no/such/out")), 73,
            "cannot be made: the directory '\(scratch("no/such"))' cannot be opened",
            hint: "make it first: mkdir -p '\(scratch("no/such"))'")
        let deep = try scratch.directory("deep")
        refused(Tools.merge(Self.base, [Self.adapter], deep + "/.."), 64, "is no name for an output")
        refused(
            Tools.merge(Self.base, [Self.adapter], scratch(String(repeating: "n", count: 201))), 64, "too long a name")
        #expect(scratch.names == ["deep"])
    }

    @Test func readOnlyInputsAndALinkedBase() throws {
        let scratch = try Scratch()
        let golden = try Golden.Case("all-linear-sharded-bf16")
        let blobs = try scratch.directory("cache/blobs")
        let snapshot = try scratch.directory("cache/snapshots/abc")
        for (at, name) in Golden.names(in: golden.base).enumerated() {
            _ = try scratch.copy("\(golden.base)/\(name)", as: "cache/blobs/\(at)")
            try FileManager.default.createSymbolicLink(
                atPath: "\(snapshot)/\(name)", withDestinationPath: "../../blobs/\(at)")
        }
        _ = Tools.shell("chmod -R a-w \"$1\"", scratch("cache"))
        defer { _ = Tools.shell("chmod -R u+w \"$1\"", scratch("cache")) }
        let before = contents(of: blobs)
        #expect(Tools.verify(snapshot, golden.adapters[0]).status == 0)
        let answer = Tools.merge(snapshot, golden.adapters, scratch("out"))
        #expect(answer.status == 0, "\(answer.err)")
        #expect(Tools.merge(golden.base, golden.adapters, scratch("plain")).status == 0)
        #expect(contents(of: scratch("out")) == contents(of: scratch("plain")))
        #expect(contents(of: blobs) == before)
        for name in Golden.names(in: scratch("out")) {
            let kind =
                try FileManager.default.attributesOfItem(atPath: scratch("out/" + name))[.type] as? FileAttributeType
            #expect(kind == .typeRegular)
        }
        let index = Tools.merge(snapshot + "/model.safetensors.index.json", golden.adapters, scratch("index"))
        #expect(index.status == 0, "\(index.err)")
        #expect(contents(of: scratch("index")) == contents(of: scratch("plain")))
    }

    @Test func singleFiles() throws {
        let scratch = try Scratch()
        let file = Self.base + "/model.safetensors"
        #expect(Tools.merge(Self.base, [Self.adapter], scratch("directory")).status == 0)
        let answer = Tools.merge(file, [Self.adapter + "/adapter_model.safetensors"], scratch("one.safetensors"))
        #expect(answer.status == 0, "\(answer.err)")
        #expect(scratch.names == ["directory", "one.safetensors"])
        let whole = try TensorFile(path: scratch("directory/model.safetensors"))
        let alone = try TensorFile(path: scratch("one.safetensors"))
        #expect(alone.tensors == whole.tensors)
        #expect(Tools.verify(file, Self.adapter, options: ["--merged", scratch("one.safetensors")]).status == 0)
        let sharded = Golden.path("all-linear-sharded-bf16")
        refused(
            Tools.merge(sharded + "/base", [sharded + "/adapter"], scratch("two.safetensors")), 64,
            "two.safetensors: cannot be the output, which has 3 files of weights",
            hint: "name a directory, or pack them into one with --max-shard-size")
        let packed = Tools.merge(
            sharded + "/base", [sharded + "/adapter"], scratch("two.safetensors"), "--max-shard-size", "1GB")
        #expect(packed.status == 0, "\(packed.err)")
        #expect(
            Tools.verify(sharded + "/base", sharded + "/adapter", options: ["--merged", scratch("two.safetensors")])
                .status == 0)
        #expect(scratch.names == ["directory", "one.safetensors", "two.safetensors"])
    }

    @Test func otherFilesComeAlong() throws {
        let scratch = try Scratch()
        let base = try scratch.copy(Self.base, as: "base")
        for name in ["tokenizer.json", "README.md", ".gitattributes", "pytorch_model.bin", "old.safetensors", "x.gguf"]
        {
            try write(Array(name.utf8), to: "\(base)/\(name)")
        }
        _ = try scratch.directory("base/original")
        let answer = Tools.merge(base, [Self.adapter], scratch("out"))
        #expect(answer.status == 0, "\(answer.err)")
        #expect(
            Golden.names(in: scratch("out"))
                == [".gitattributes", "README.md", "config.json", "model.safetensors", "tokenizer.json"])
        #expect(try bytes(of: scratch("out/tokenizer.json")) == Array("tokenizer.json".utf8))
        #expect(answer.lines("note").contains { $0.contains("\(base)/original: is a directory and was not copied") })
        #expect(answer.warnings.contains { $0.contains("old.safetensors") })
    }
}
