import Adapters
import Fixtures
import Foundation
import Problems
import Testing

/// What is wrong with adapters of other dialects and kinds is named, and nothing is written.
@Suite struct DialectDamageTests {
    static let samples = DialectRow.all.filter { $0.cases[0].merges && $0.dialect != "GGUF" }.map(\.sample)

    /// Merges it; there must be an error that names `what`, and nothing else.
    private func refuses(
        _ golden: DialectCase, _ adapter: String, _ what: String, _ damage: String,
        _ scratch: Scratch
    ) {
        let before = Set(scratch.names)
        let answer = Tools.merge(golden.base, [adapter], golden.place("out", in: scratch), "--quiet")
        #expect([1, 65].contains(answer.status), "\(damage): \(answer.status) \(answer.err)")
        #expect(answer.errors.contains { $0.contains(what) }, "\(damage), '\(what)': \(answer.err)")
        #expect(answer.out.isEmpty && Set(scratch.names) == before, "\(damage): something was written")
    }

    @Test(arguments: samples) func damage(_ golden: DialectCase) throws {
        let whole = try DamagedAdapter(golden)
        for damage in DialectDamage.all {
            let scratch = try Scratch()
            var adapter = whole
            guard let what = damage.change(&adapter) else { continue }
            try refuses(golden, adapter.write(in: scratch), what, damage.name, scratch)
        }
    }

    /// Cut in the header and at the last byte; the tools say what this says.
    @Test(arguments: samples) func truncation(_ golden: DialectCase) throws {
        let whole = try DamagedAdapter(golden)
        let bytes = whole.file.encoded
        let header = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        for length in [8 + header / 2, bytes.count - 1] {
            let scratch = try Scratch()
            let path = try whole.write(in: scratch, bytes: Array(bytes[..<length]))
            let problem = #expect(throws: Problem.self, "cut at \(length)") { try Adapter(path: path) }
            #expect(problem?.kind == .malformed && problem?.file?.hasPrefix(path) == true, "\(problem?.message ?? "")")
        }
    }

    /// sd-scripts' files without any alpha have the scale 1, so a merge goes on; the values are those of a golden case.
    @Test(arguments: ["kohya", "lycoris"]) func noAlpha(_ dialect: String) throws {
        let scratch = try Scratch()
        let golden = try #require(Self.samples.first { $0.dialect == dialect })
        var adapter = try DamagedAdapter(golden)
        adapter.file.tensors.removeAll { $0.name.hasSuffix(".alpha") }
        let path = try adapter.write(in: scratch)
        let answer = Tools.merge(golden.base, [path], golden.place("out", in: scratch), "--quiet")
        #expect(answer.status == 0, "\(answer.err)")
    }
}

/// Damage to a GGUF adapter.
@Suite struct GGUFDamageTests {
    private static let golden = try? DialectCase("gguf-llama-f32")

    /// Exchanges the bytes of the first match.
    private func replace(_ old: [UInt8], _ new: [UInt8], in bytes: [UInt8]) throws -> [UInt8] {
        let range = try #require(bytes.firstRange(of: old))
        return Array(bytes[..<range.lowerBound] + new + bytes[range.upperBound...])
    }

    private func refuses(_ bytes: [UInt8], _ what: String) throws {
        let scratch = try Scratch()
        let golden = try #require(Self.golden)
        let adapter = try scratch.write("adapter.gguf", bytes)
        let answer = Tools.merge(golden.base, [adapter], scratch("out"), "--quiet")
        #expect(answer.status == 1, "\(what): \(answer.err)")
        #expect(answer.errors.contains { $0.contains(what) }, "\(what): \(answer.err)")
        #expect(scratch.names == ["adapter.gguf"])
    }

    @Test func damage() throws {
        let whole = try bytes(of: #require(Self.golden).adapter)
        let (alpha, q) = (Array("adapter.lora.alpha".utf8), Array("blk.0.attn_q.weight.lora_a".utf8))
        try refuses(replace(alpha, Array("adapter.lora.alphX".utf8), in: whole), "'adapter.lora.alpha'")
        let number: [UInt8] = [6, 0, 0, 0]
        let nan = alpha + number + [0, 0, 0xC0, 0x7F]
        try refuses(replace(alpha + number + [0, 0, 0xC0, 0x40], nan, in: whole), "'adapter.lora.alpha'")
        try refuses(replace(q, Array("blk.7.attn_q.weight.lora_a".utf8), in: whole), "blk.7.attn_q.weight.lora_a")
        try refuses(replace(q, Array("blk.0.attn_q.weight.lora_x".utf8), in: whole), "blk.0.attn_q.weight.lora_x")
        func size(_ number: UInt8) -> [UInt8] { [number] + [UInt8](repeating: 0, count: 7) }
        let two: [UInt8] = [2, 0, 0, 0]
        try refuses(replace(q + two + size(16) + size(3), q + two + size(3) + size(16), in: whole), "blk.0.attn_q")
        try refuses(replace(Array("lora".utf8), Array("loha".utf8), in: whole), "'adapter.type'")
        let config = #"{"peft_type": "LORA", "r": 3, "lora_alpha": 4, "target_modules": ["q_proj"]}"#
        let scratch = try Scratch()
        try scratch.write("adapter/adapter_model.safetensors", whole)
        try scratch.write("adapter/adapter_config.json", config)
        let answer = Tools.merge(try #require(Self.golden).base, [scratch("adapter")], scratch("out"))
        #expect([0, 1, 65].contains(answer.status), "\(answer.err)")
    }

    /// A file that ends early is malformed, wherever it ends.
    @Test func truncation() throws {
        let scratch = try Scratch()
        let whole = try bytes(of: "\(DialectCase.directory)/gguf-llama-embeddings/adapter.gguf")
        let path = try scratch.write("adapter.gguf", whole)
        _ = try Adapter(path: path)
        for length in stride(from: whole.count - 1, through: 0, by: -1) {
            truncate(path, length)
            let problem = #expect(throws: Problem.self, "\(length) bytes") { try Adapter(path: path) }
            #expect(problem?.kind == .malformed, "\(length) bytes: \(problem?.message ?? "")")
            #expect(problem?.file == path, "\(length) bytes")
        }
    }

    /// One bit that is wrong is a problem with a name, or another adapter; it is never a crash.
    @Test func bitFlips() throws {
        var random = SeededRandom(test: "GGUF bit flips")
        let scratch = try Scratch()
        let whole = try bytes(of: "\(DialectCase.directory)/gguf-llama-embeddings/adapter.gguf")
        for _ in 0..<500 {
            var damaged = whole
            let at = random.below(8 * whole.count)
            damaged[at / 8] ^= 1 << (at % 8)
            let path = try scratch.write("adapter.gguf", damaged)
            do throws(Problem) {
                _ = try Adapter(path: path)
            } catch {
                #expect([.malformed, .incompatible].contains(error.kind), "bit \(at): \(error.message)")
            }
        }
    }
}
