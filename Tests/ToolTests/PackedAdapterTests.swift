import Fixtures
import Foundation
import Testing

/// An adapter's archive is used like its directory.
@Suite struct PackedAdapterTests {
    private static let cases = [
        "linear-qv-bf16", "all-linear-sharded-bf16", "dora-linear-f32", "embedding-bf16", "saved-head-bf16",
        "fp8-block",
        "qwen3-moe-fused-bf16", "tokens-dict-bf16", "gpt-oss-both-bf16",
    ]

    /// Packs an adapter under the name of its directory, since names are recorded.
    private func packed(_ adapter: String, _ scratch: Scratch, _ directory: String = "packed") throws -> String {
        try scratch.directory(directory)
        let name = adapter.split(separator: "/").last.map(String.init) ?? ""
        let answer = Tools.pack(adapter, scratch("\(directory)/\(name)"))
        try #require(answer.status == 0, "\(answer.err)")
        return scratch("\(directory)/\(name)")
    }

    @Test(arguments: cases) func mergeAndVerify(_ name: String) throws {
        let scratch = try Scratch()
        let golden = try Golden.Case(name)
        let adapter = golden.path + "/adapter"
        let archive = try packed(adapter, scratch)
        let plain = Tools.merge(golden.base, [adapter], scratch("plain"))
        let merged = Tools.merge(golden.base, [archive], scratch("merged"))
        try #require(plain.status == 0 && merged.status == 0, "\(plain.err) \(merged.err)")
        #expect(contents(of: scratch("merged")) == contents(of: scratch("plain")))
        for options in [[], ["--deep"], ["--merged", scratch("plain")]] {
            let one = Tools.verify(golden.base, adapter, options: options)
            let two = Tools.verify(golden.base, archive, options: options)
            #expect(two.status == one.status, "\(two.err)")
            #expect(two.out == one.out.replacingOccurrences(of: adapter, with: archive))
        }
        let mixed = Tools.merge(golden.base, [archive + ":0.5", adapter + ":0.25"], scratch("mixed"))
        let both = Tools.merge(golden.base, [adapter + ":0.5", archive + ":0.25"], scratch("both"))
        #expect(mixed.status == both.status)
        #expect(contents(of: scratch("mixed")) == contents(of: scratch("both")))
    }

    @Test(arguments: cases) func inspect(_ name: String) throws {
        let scratch = try Scratch()
        let adapter = Golden.path(name) + "/adapter"
        let archive = try packed(adapter, scratch)
        for options in [["--json"], ["--json", "--norms"]] {
            let one = try item(Tools.run("adapter-inspect", [adapter] + options))
            var two = try item(Tools.run("adapter-inspect", [archive] + options))
            let about = try #require(two["archive"] as? [String: Any])
            let size = try bytes(of: archive).count
            #expect(about["bytes"] as? Int == size)
            #expect(about["bound"] is NSNull && about["base"] is NSNull && about["recipe"] as? Bool == false)
            #expect(
                (two["identity"] as? String)?.count == 64 && two["identity"] as? String == one["identity"] as? String)
            for key in ["path", "files", "archive"] { two[key] = one[key] }
            #expect(same(one, two), "\(name)")
        }
    }

    private func item(_ answer: Answer) throws -> [String: Any] {
        #expect(answer.status == 0, "\(answer.err)")
        return try #require((answer.json()["items"] as? [[String: Any]])?.first)
    }

    @Test func identity() throws {
        let scratch = try Scratch()
        let adapter = Golden.path("linear-qv-bf16") + "/adapter"
        let archive = try packed(adapter, scratch)
        let script = "cd \"$1\" && sha256sum adapter_config.json adapter_model.safetensors | sha256sum | cut -c-64"
        let wanted = String(Tools.shell(script, adapter).out.dropLast())
        #expect(try Tools.listing(archive)["identity"] as? String == wanted)
        for path in [adapter, archive, adapter + "/adapter_model.safetensors"] {
            #expect(Tools.run("adapter-inspect", [path]).out.contains("  identity      \(wanted)\n"), "\(path)")
        }
        // Other files, other levels: the same adapter.
        let copy = try scratch.copy(adapter, as: "copy")
        try scratch.write("copy/README.md", "# About")
        #expect(Tools.pack(copy, scratch("other"), "--level", "best").status == 0)
        #expect(try Tools.listing(scratch("other"))["identity"] as? String == wanted)
        #expect(try Tools.listing(scratch("other"))["content"] as? String != wanted)
    }

    private static let methods: [[String]] = [
        ["stack"], ["linear"], ["svd", "--rank", "3"], ["subtract"], ["ties", "--rank", "3", "--density", "0.5"],
    ]

    @Test(arguments: methods) func combine(_ method: [String]) throws {
        let scratch = try Scratch()
        let golden = Golden.path("two-adapters-f32")
        let adapters = [golden + "/adapter", golden + "/adapter2"]
        let archives = try adapters.map { try packed($0, scratch) }
        let run = { (inputs: [String], output: String) in
            Tools.run("adapter-combine", [method[0]] + inputs + method.dropFirst() + ["-o", scratch(output)])
        }
        let plain = run(adapters, "plain")
        try #require(plain.status == 0, "\(plain.err)")
        for (at, inputs) in [archives, [archives[0], adapters[1]], [adapters[0], archives[1]]].enumerated() {
            let answer = run(inputs, "combined\(at)")
            #expect(answer.status == 0, "\(answer.err)")
            #expect(contents(of: scratch("combined\(at)")) == contents(of: scratch("plain")), "\(inputs)")
        }
    }

    /// The adapter's own file, packed alone, with the config beside the archive.
    @Test func aPackedFileWithItsConfigBeside() throws {
        let scratch = try Scratch()
        let golden = try Golden.Case("linear-qv-bf16")
        try scratch.directory("adapter")
        let file = golden.path + "/adapter/adapter_model.safetensors"
        #expect(Tools.pack(file, scratch("adapter/packed")).status == 0)
        let alone = Tools.verify(golden.base, scratch("adapter/packed"))
        #expect(alone.status == 66)
        #expect(alone.errors.first?.contains("holds no adapter_config.json") == true, "\(alone.err)")
        _ = try scratch.copy(golden.path + "/adapter/adapter_config.json", as: "adapter/adapter_config.json")
        #expect(Tools.merge(golden.base, [scratch("adapter/packed")], scratch("merged")).status == 0)
        #expect(Tools.merge(golden.base, golden.adapters, scratch("plain")).status == 0)
        #expect(try tensors(in: scratch("merged")) == tensors(in: scratch("plain")))
    }

    @Test func packedModels() throws {
        let scratch = try Scratch()
        let golden = try Golden.Case("all-linear-sharded-bf16")
        #expect(Tools.pack(golden.base, scratch("base")).status == 0)
        let answer = Tools.merge(scratch("base"), golden.adapters, scratch("merged"))
        #expect(answer.status == 0, "\(answer.err)")
        #expect(Tools.merge(golden.base, golden.adapters, scratch("plain")).status == 0)
        #expect(try tensors(in: scratch("merged")) == tensors(in: scratch("plain")))
        #expect(Tools.pack(scratch("plain"), scratch("plain.packed")).status == 0)
        let verified = Tools.verify(
            scratch("base"), golden.adapters[0], options: ["--merged", scratch("plain.packed")])
        #expect(verified.status == 0, "\(verified.err)")
    }

    @Test func archivesOfSomethingElse() throws {
        let scratch = try Scratch()
        try scratch.write("in/text", "text")
        #expect(Tools.pack(scratch("in"), scratch("packed")).status == 0)
        let base = Golden.path("linear-qv-bf16") + "/base"
        let merged = Tools.merge(base, [scratch("packed")], scratch("out"))
        #expect(merged.status == 66)
        #expect(merged.errors == ["adapter-merge: error: \(scratch("packed")): holds no adapter_model.safetensors"])
        let inspected = Tools.run("adapter-inspect", [scratch("packed")])
        #expect(inspected.status == 0 && inspected.out.hasPrefix("\(scratch("packed")): packed archive\n"))
        #expect(scratch.names == ["in", "packed"])
    }

    /// Damage anywhere in the archive is found by a deep look; in what is read, by every tool that reads it.
    @Test func damage() throws {
        let scratch = try Scratch()
        let golden = try Golden.Case("linear-qv-bf16")
        let adapter = try scratch.copy(golden.path + "/adapter", as: "adapter")
        try scratch.write("adapter/notes.txt", "nothing that matters to the adapter")
        #expect(Tools.pack(adapter, scratch("packed")).status == 0)
        let whole = try bytes(of: scratch("packed"))
        let sizes = try TensorFile(path: scratch("packed")).tensors.map(\.bytes.count)
        let notes = whole.count - sizes[3] - 1
        var damaged = whole
        damaged[notes] ^= 1
        try scratch.write("damaged", damaged)
        #expect(Tools.verify(golden.base, scratch("damaged")).status == 0)
        let deep = Tools.verify(golden.base, scratch("damaged"), options: ["--deep"])
        #expect(deep.status == 65)
        let what = "has a chunk that "
        #expect(deep.errors.count == 1, "\(deep.err)")
        #expect(deep.errors.first?.contains(": error: \(scratch("damaged")): is damaged: 'notes.txt' \(what)") == true)
        damaged[notes] ^= 1
        damaged[notes - sizes[2] - 3] ^= 1
        try scratch.write("damaged", damaged)
        for answer in [
            Tools.verify(golden.base, scratch("damaged"), options: ["--deep"]),
            Tools.merge(golden.base, [scratch("damaged")], scratch("out")),
            Tools.combine("svd", [scratch("damaged"), adapter], scratch("out"), "--rank", "2"),
        ] {
            #expect(answer.status == 65, "\(answer.err)")
            #expect(
                answer.errors.first?.contains("is damaged: 'adapter_model.safetensors' \(what)") == true,
                "\(answer.err)")
        }
        #expect(scratch.names == ["adapter", "damaged", "packed"])
    }
}
