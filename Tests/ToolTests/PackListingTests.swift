import Fixtures
import Foundation
import Testing

/// What adapter-pack and adapter-unpack tell of an archive.
@Suite struct PackListingTests {
    private func sample(_ scratch: Scratch) throws -> String {
        try scratch.write("in/a.txt", "hello")
        try scratch.write("in/none", "")
        try scratch.write("in/sub/é b", "123456789012")
        try scratch.directory("in/e/f")
        let answer = Tools.pack(scratch("in"), scratch("packed"))
        #expect(answer.status == 0, "\(answer.err)")
        return scratch("packed")
    }

    private func sum(_ path: String) -> String { String(Tools.shell("sha256sum < \"$1\"", path).out.prefix(64)) }

    /// The size as the tools write it, and its part of the 17 bytes of the sample.
    private func size(_ path: String) throws -> String {
        let count = try bytes(of: path).count
        #expect((100..<1000).contains(count))
        return String(format: "%d B (%.0f%%)", count, Double(count) / 17 * 100)
    }

    @Test func list() throws {
        let scratch = try Scratch()
        let packed = try sample(scratch)
        let manifest = Tools.run("adapter-unpack", [packed, "--manifest"])
        try scratch.write("manifest", manifest.out)
        let answer = Tools.run("adapter-unpack", [packed, "--list"])
        #expect(answer.status == 0 && answer.err.isEmpty)
        #expect(
            answer.out == """
                file     bytes  packed
                a.txt        5       5  100%
                none         0       0
                sub/é b     12      12  100%
                e/f/

                3 files, 17 B in \(try size(packed))
                content  \(sum(scratch("manifest")))

                """)
    }

    @Test func manifest() throws {
        let scratch = try Scratch()
        let packed = try sample(scratch)
        let answer = Tools.run("adapter-unpack", [packed, "--manifest"])
        let lines = ["a.txt", "none", "sub/é b"].map { "\(sum(scratch("in/" + $0)))  \($0)\n" }
        #expect(answer.out == lines.joined())
        #expect(answer.status == 0 && answer.err.isEmpty)
    }

    @Test func test() throws {
        let scratch = try Scratch()
        let packed = try sample(scratch)
        let answer = Tools.run("adapter-unpack", [packed, "--test"])
        #expect(answer.status == 0 && answer.err.isEmpty)
        #expect(answer.out.hasPrefix("\(packed): sound: 3 files, 17 B in "))
        #expect(answer.out.split(separator: "\n").count == 1)
        let document = try Tools.run("adapter-unpack", [packed, "--test", "--json"]).json()
        let content = try Tools.listing(packed)["content"] as? String
        #expect(
            same(
                document,
                [
                    "schema": "adapterkit.archive-test", "version": 1, "path": packed, "sound": true, "complete": true,
                    "content": content ?? "",
                ]))
    }

    @Test func listJSON() throws {
        let scratch = try Scratch()
        let packed = try sample(scratch)
        let document = try Tools.listing(packed)
        try scratch.write("manifest", Tools.run("adapter-unpack", [packed, "--manifest"]).out)
        let files: [[String: Any]] = ["a.txt", "none", "sub/é b"].map { name in
            let count = ["a.txt": 5, "none": 0][name] ?? 12
            return [
                "path": name, "bytes": count, "packed_bytes": count, "sha256": sum(scratch("in/" + name)),
                "input": false,
                "needs_base": false,
            ]
        }
        let wanted: [String: Any] = [
            "schema": "adapterkit.archive", "version": 1, "path": packed, "input": "directory",
            "bytes": try bytes(of: packed).count, "content": sum(scratch("manifest")), "identity": NSNull(),
            "base": NSNull(), "recipe": false, "bound": NSNull(), "files": files, "empty_directories": ["e/f"],
        ]
        #expect(same(document, wanted), "\(document)")
    }

    @Test func packAndUnpackJSON() throws {
        let scratch = try Scratch()
        _ = try sample(scratch)
        var packed = try Tools.pack(scratch("in"), scratch("again"), "--json", "--level", "best").json()
        #expect((packed.removeValue(forKey: "seconds") as? Double).map { $0 > 0 } == true)
        let content = try Tools.listing(scratch("again"))["content"] as? String ?? ""
        let count = try bytes(of: scratch("again")).count
        let wanted: [String: Any] = [
            "schema": "adapterkit.pack", "version": 1, "input": scratch("in"), "output": scratch("again"), "files": 3,
            "input_bytes": 17, "bytes": count, "overhead_bytes": count - 17, "level": "best", "content": content,
            "identity": NSNull(), "base": NSNull(), "bound": false,
            "parts": ["plain": 2, "differences": 0, "copies": 0, "merged": 0],
        ]
        #expect(same(packed, wanted), "\(packed)")
        var unpacked = try Tools.unpack(scratch("again"), scratch("out"), "--json").json()
        #expect((unpacked.removeValue(forKey: "seconds") as? Double).map { $0 > 0 } == true)
        let rest: [String: Any] = [
            "schema": "adapterkit.unpack", "version": 1, "archive": scratch("again"), "output": scratch("out"),
            "files": 3,
            "bytes": 17, "content": content,
        ]
        #expect(same(unpacked, rest), "\(unpacked)")
    }

    @Test func summaries() throws {
        let scratch = try Scratch()
        let adapter = Golden.path("linear-qv-bf16") + "/adapter"
        let answer = Tools.pack(adapter, scratch("packed"))
        let lines = answer.out.split(separator: "\n").map(String.init)
        try #require(lines.count == 3 && answer.err.isEmpty, "\(answer.out) \(answer.err)")
        #expect(lines[0].hasPrefix("\(scratch("packed")): 2 files, 3.99 kB in "), "\(lines[0])")
        #expect(lines[1] == "  content  \(identity(adapter))", "an adapter of two files is its content")
        #expect(lines[2] == "  adapter  \(identity(adapter))")
        #expect(
            Tools.run("adapter-unpack", [scratch("packed"), "--list"]).out.contains("\nadapter  \(identity(adapter))\n")
        )
        let quiet = Tools.pack(adapter, scratch("packed"), "--force", "--quiet")
        #expect(quiet.status == 0 && quiet.err.isEmpty)
        let file = Tools.pack(adapter + "/adapter_config.json", scratch("one"))
        #expect(file.out.hasPrefix("\(scratch("one")): 1.18 kB in "))
        #expect(file.out.split(separator: "\n").count == 2, "a file has no identity")
    }

    private func identity(_ adapter: String) -> String {
        let script = "cd \"$1\" && sha256sum adapter_config.json adapter_model.safetensors | sha256sum | cut -c-64"
        return String(Tools.shell(script, adapter).out.dropLast())
    }

    /// Names from an archive cannot write to the terminal as they like; a path with such a name is refused anyway.
    @Test func namesAreMadeHarmless() throws {
        let scratch = try Scratch()
        try scratch.write("in/\u{202E}gpj.exe", "x")
        #expect(Tools.pack(scratch("in"), scratch("packed")).status == 0)
        let answer = Tools.run("adapter-unpack", [scratch("packed"), "--list"])
        #expect(answer.out.contains("\\u{202E}gpj.exe") && !answer.out.unicodeScalars.contains("\u{202E}"))
        #expect(Tools.unpack(scratch("packed"), scratch("out")).status == 0)
        #expect(contents(of: scratch("out")) == contents(of: scratch("in")))
    }
}
