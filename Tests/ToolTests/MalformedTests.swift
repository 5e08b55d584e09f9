import Fixtures
import Foundation
import Testing

/// Files that break the format get one clear error from every tool.
@Suite struct MalformedTests {
    static let directory = Golden.directory + "/malformed"

    /// Names of the files that are to be refused.
    static let refused: [String] = {
        let verdicts = (try? object(in: directory + "/verdicts.json"))?["files"] as? [[String: Any]] ?? []
        return verdicts.filter { $0["ours"] as? String == "refuse" }.compactMap { $0["name"] as? String }
    }()

    @Test func thereAreMany() { #expect(Self.refused.count > 80) }

    @Test(arguments: refused) func asAdapter(_ name: String) throws {
        let scratch = try Scratch()
        let golden = try Golden.Case("rank-1-f32")
        let adapter = try scratch.copy(golden.path + "/adapter", as: "adapter")
        try write(bytes(of: "\(Self.directory)/\(name)"), to: adapter + "/adapter_model.safetensors")
        try refuses("\(adapter)/adapter_model.safetensors", base: golden.base, adapter: adapter, scratch)
    }

    @Test(arguments: refused) func asBase(_ name: String) throws {
        let scratch = try Scratch()
        let golden = try Golden.Case("rank-1-f32")
        let base = try scratch.directory("base")
        try write(bytes(of: "\(Self.directory)/\(name)"), to: base + "/model.safetensors")
        try refuses("\(base)/model.safetensors", base: base, adapter: golden.adapters[0], scratch)
    }

    private func refuses(_ file: String, base: String, adapter: String, _ scratch: Scratch) throws {
        let before = scratch.names
        var answers = [Tools.verify(base, adapter), Tools.merge(base, [adapter], scratch("out"))]
        if Tools.hasInspect { answers.append(Tools.run("adapter-inspect", [file])) }
        for answer in answers {
            #expect(answer.status == 65, "\(answer.err)")
            #expect(answer.errors.count == 1, "\(answer.err)")
            #expect(answer.errors.first?.contains(": error: \(file): ") == true, "\(answer.err)")
            #expect(!answer.err.utf8.contains { $0 < 0x20 && $0 != 0x0A }, "control characters must be made visible")
            #expect(answer.err.utf8.count < 4096)
        }
        #expect(scratch.names == before)
    }
}

/// A file that ends early, at every byte.
@Suite struct TruncationTests {
    private static let pieces = 8

    @Test(arguments: 0..<pieces) func adapter(_ piece: Int) throws {
        let scratch = try Scratch()
        let golden = try Golden.Case("rank-1-f32")
        let adapter = try scratch.copy(golden.path + "/adapter", as: "adapter")
        try cut("\(adapter)/adapter_model.safetensors", piece, base: golden.base, adapter: adapter, scratch)
    }

    @Test(arguments: 0..<pieces) func base(_ piece: Int) throws {
        let scratch = try Scratch()
        var pair = Pair(modules: ["layers.0.q_proj"])
        pair.base = Array(pair.base.prefix(2))
        let (base, adapter) = try pair.write(in: scratch)
        #expect(Tools.verify(base, adapter).status == 0)
        try cut("\(base)/model.safetensors", piece, base: base, adapter: adapter, scratch)
    }

    private func timed<T>(_ run: () -> T) -> (T, Duration) {
        let start = ContinuousClock.now
        let answer = run()
        return (answer, ContinuousClock.now - start)
    }

    /// Cuts `file` at every length that this piece is for, longest first, and asks each tool.
    private func cut(_ file: String, _ piece: Int, base: String, adapter: String, _ scratch: Scratch) throws {
        let before = scratch.names
        let size = try bytes(of: file).count
        for length in stride(from: size - 1 - piece, through: 0, by: -Self.pieces) {
            truncate(file, length)
            var runs = [{ Tools.verify(base, adapter) }, { Tools.merge(base, [adapter], scratch("out")) }]
            if Tools.hasInspect { runs.append { Tools.run("adapter-inspect", [file]) } }
            for run in runs {
                var (answer, seconds) = timed(run)
                // On a busy machine a quick tool may wait for its turn; one that is slow is slow each time.
                for _ in 0..<5 where seconds >= .seconds(1) { (answer, seconds) = timed(run) }
                #expect(answer.status == 65, "\(length) bytes: \(answer.err)")
                #expect(answer.errors.count == 1, "\(length) bytes: \(answer.err)")
                #expect(answer.errors.first?.contains(file) == true, "\(length) bytes: \(answer.err)")
                #expect(seconds < .seconds(1), "\(length) bytes")
            }
        }
        #expect(scratch.names == before)
    }
}
