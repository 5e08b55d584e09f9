import Fixtures
import Foundation
import Testing

/// What the README shows is what the tools say.
@Suite struct ReadmeTests {
    private struct Example {
        let command: String
        let output: [String]
    }

    /// The commands of the README's tour, each with the lines below it.
    private static func examples() throws -> [Example] {
        let path = URL(fileURLWithPath: TestFiles.root).deletingLastPathComponent().appending(path: "README.md").path
        let text = String(decoding: try bytes(of: path), as: UTF8.self)
        var found: [Example] = []
        var command: String?
        var output: [String] = []
        func finish() {
            if let command { found.append(Example(command: command, output: output)) }
            (command, output) = (nil, [])
        }
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("    $ adapter-") {
                finish()
                command = String(line.dropFirst(6))
            } else if line.hasPrefix("    "), command != nil {
                output.append(String(line.dropFirst(4)))
            } else if !line.isEmpty {
                finish()
            }
        }
        finish()
        return found
    }

    /// The adapter of the tour that three things are wrong with.
    private func makeBroken(in scratch: Scratch) throws {
        let adapter = try scratch.copy(scratch("examples/data/adapter-law"), as: "broken")
        var file = try TensorFile(path: adapter + "/adapter_model.safetensors")
        let prefix = "base_model.model.model.layers."
        file.tensors.removeAll { $0.name == prefix + "1.mlp.up_proj.lora_B.weight" }
        let halves = ["A", "B"].compactMap { half in
            file.tensors.firstIndex { $0.name == "\(prefix)3.mlp.down_proj.lora_\(half).weight" }
        }
        try #require(halves.count == 2)
        let (a, b) = (file.tensors[halves[0]], file.tensors[halves[1]])
        file.tensors[halves[0]] = .init(a.name, b.dtype, b.shape, bytes: b.bytes)
        file.tensors[halves[1]] = .init(b.name, a.dtype, a.shape, bytes: a.bytes)
        try scratch.write("broken/adapter_model.safetensors", file.encoded)
        var config = try object(in: adapter + "/adapter_config.json")
        config["rank_pattern"] = ["qproj": 8]
        let text = try JSONSerialization.data(withJSONObject: config)
        try scratch.write("broken/adapter_config.json", [UInt8](text))
    }

    @Test func theTourIsTrue() throws {
        let scratch = try Scratch()
        let root = URL(fileURLWithPath: TestFiles.root).deletingLastPathComponent().path
        try scratch.link("examples", to: root + "/examples")
        try makeBroken(in: scratch)
        _ = try scratch.copy(scratch("examples/data/base"), as: "served")
        let examples = try Self.examples()
        #expect(examples.count >= 6)
        for example in examples {
            let answer = Tools.shell("cd \"$1\" && ADAPTERKIT_THREADS= eval \"$2\"", scratch.path, example.command)
            // Times and the number of CPUs are those of the machine; on a terminal the answer comes before the notes.
            let masked = { (lines: [String]) in
                lines.filter { !$0.isEmpty }.map { line in
                    line.replacing(/in [0-9.]+ (ms|s)\b/, with: "in TIME").replacing(
                        /about .* of memory with \d+ threads/, with: "MEMORY")
                }.sorted()
            }
            let shown = (answer.out + answer.err).split(separator: "\n").map(String.init)
            #expect(masked(shown) == masked(example.output), "\(example.command)")
        }
    }
}
