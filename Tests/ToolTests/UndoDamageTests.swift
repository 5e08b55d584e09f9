import Fixtures
import Foundation
import Testing

/// Damage to a merged model, its record or an adapter has a name, and nothing wrong is ever written.
@Suite struct UndoDamageTests {
    private static let merged = "not what the merge wrote"

    /// Every 97th bit of a small record, as all tools see it; the library's own walk takes more of them.
    @Test func flippedBits() throws {
        let sample = try UndoSample(pair: Pair(modules: ["layers.0.q_proj"]))
        let record = try bytes(of: sample.scratch("undo"))
        var refused = 0
        let bits = Array(stride(from: 5, to: 8 * record.count, by: 97))
        for bit in bits {
            var damaged = record
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            try sample.scratch.write("damaged", damaged)
            let answer = try sample.refused(sample.scratch("merged"), sample.scratch("damaged"), "bit \(bit)")
            if answer.status != 0 {
                refused += 1
                let begin = "adapter-unmerge: error: \(sample.scratch("damaged")): "
                #expect(answer.errors.first?.hasPrefix(begin) == true, "bit \(bit): \(answer.err)")
                #expect(answer.status == 65, "bit \(bit): \(answer.err)")
            }
        }
        // At the end of a deflate stream there may be bits that mean nothing, fewer than the step.
        #expect(refused >= bits.count - 1, "hardly a bit is without effect: \(refused) of \(bits.count)")
    }

    @Test func cuts() throws {
        let sample = try UndoSample(pair: Pair(modules: ["layers.0.q_proj"]))
        let record = try bytes(of: sample.scratch("undo"))
        for length in Array(0...9) + Array(stride(from: 10, to: record.count, by: 61)) + [record.count - 1] {
            try sample.scratch.write("damaged", Array(record[..<length]))
            let answer = try sample.refused(sample.scratch("merged"), sample.scratch("damaged"), "\(length) bytes")
            #expect(answer.status == 65, "\(length) bytes: \(answer.err)")
        }
        try sample.scratch.write("damaged", record + [0])
        let answer = try sample.refused(sample.scratch("merged"), sample.scratch("damaged"), "a byte more")
        #expect(answer.status == 65, "\(answer.err)")
    }

    /// A flipped bit in any tensor of the merged model is an error that names the tensor, with exit code 1.
    @Test(arguments: ["dora-linear-bf16", "fp8-block", "tied-resized-bf16"])
    func flippedWeights(_ name: String) throws {
        let golden = try Golden.Case(name)
        let sample = try UndoSample(golden.base, golden.adapters)
        var random = SeededRandom(test: "flippedWeights \(name)")
        let known = try tensors(in: golden.base)
        var (named, free) = (0, 0)
        for file in Golden.names(in: sample.scratch("merged")) where file.hasSuffix(".safetensors") {
            let path = sample.scratch("merged/\(file)")
            let whole = try bytes(of: path)
            var at = whole.count - (try TensorFile(path: path).tensors.reduce(0) { $0 + $1.bytes.count })
            for tensor in try TensorFile(path: path).tensors {
                var damaged = whole
                damaged[at + random.below(tensor.bytes.count)] ^= 1 << UInt8(random.below(8))
                at += tensor.bytes.count
                try sample.scratch.write("merged/\(file)", damaged)
                let answer = try sample.refused(sample.scratch("merged"), sample.scratch("undo"), tensor.name)
                if answer.status == 0 {
                    // Nothing of it is needed: the adapter brought it, or its old bytes are in the record.
                    free += 1
                    continue
                }
                named += 1
                #expect(answer.status == 1, "\(answer.err)")
                let begin = "adapter-unmerge: error: \(path): tensor '\(tensor.name)': is \(Self.merged)"
                #expect(answer.errors.first?.hasPrefix(begin) == true, "\(answer.err)")
                #expect(known[tensor.name] != nil)
            }
            try sample.scratch.write("merged/\(file)", whole)
        }
        #expect(named > 0 && (free == 0 || name == "tied-resized-bf16"), "\(named) \(free)")
        try sample.check("put right again")
    }

    /// Exit code 1 or 66, an error, and a word of it.
    private func expect(_ sample: UndoSample, _ what: String, _ statuses: [Int32], _ words: String...) throws {
        let answer = try sample.refused(sample.scratch("merged"), sample.scratch("undo"), what)
        #expect(statuses.contains(answer.status), "\(what): \(answer.status) \(answer.err)")
        for word in words { #expect(answer.errors.first?.contains(word) == true, "\(what): \(answer.err)") }
    }

    @Test func filesThatWereChanged() throws {
        let golden = try Golden.Case("all-linear-sharded-bf16")
        let sample = try UndoSample(golden.base, golden.adapters)
        let merged = sample.scratch("merged")
        let whole = contents(of: merged)
        let shards = whole.keys.filter { $0.hasSuffix(".safetensors") }.sorted()
        let put = { (name: String) in _ = try sample.scratch.write("merged/\(name)", whole[name] ?? []) }
        for name in shards {
            _ = Tools.shell("rm \"$1\"", "\(merged)/\(name)")
            try expect(sample, "\(name) is missing", [1, 65, 66], name)
            try put(name)
            // A shard put there by hand: the base's own, which has other weights.
            try sample.scratch.write("merged/\(name)", sample.wanted[name] ?? [])
            let answer = try sample.refused(merged, sample.scratch("undo"), "the base's \(name)")
            #expect(answer.status == (sample.wanted[name] == whole[name] ? 0 : 1), "\(answer.err)")
            if answer.status == 1 {
                #expect(answer.errors.first?.contains("\(merged)/\(name): tensor '") == true, "\(answer.err)")
            }
            try put(name)
        }
        // A file that was copied: its bytes are taken from the merged model.
        var config = whole["config.json"] ?? []
        config[config.count / 2] ^= 1
        try sample.scratch.write("merged/config.json", config)
        try expect(sample, "another config", [1], "\(merged)/config.json: is \(Self.merged)")
        try sample.scratch.write("merged/config.json", config + [10])
        try expect(sample, "a longer config", [1], "\(merged)/config.json: has \(config.count + 1) bytes, ")
        _ = Tools.shell("rm \"$1\"", "\(merged)/config.json")
        try expect(sample, "no config", [1, 66], "\(merged)/config.json")
        try put("config.json")
        // What was not there at the merge is nobody's.
        try sample.scratch.write("merged/notes.txt", "mine")
        try sample.check("one file more")
        try sample.scratch.directory("empty")
        let nothing = try sample.refused(sample.scratch("empty"), sample.scratch("undo"), "no model")
        #expect(nothing.status == 66, "\(nothing.err)")
        let missing = try sample.refused(sample.scratch("nowhere"), sample.scratch("undo"), "no model")
        #expect(missing.status == 66, "\(missing.err)")
    }

    @Test func recordsOfOtherMerges() throws {
        let golden = try Golden.Case("linear-qv-bf16")
        let sample = try UndoSample(golden.base, golden.adapters)
        let others: [(String, [String], [String])] = [
            (golden.base, golden.adapters.map { $0 + ":0.5" }, []),
            (golden.base, golden.adapters, ["--dtype", "float32"]),
            (Golden.path("linear-qv-f16") + "/base", [Golden.path("linear-qv-f16") + "/adapter"], []),
            (Golden.path("gpt2-bf16") + "/base", [Golden.path("gpt2-bf16") + "/adapter"], []),
        ]
        for (at, other) in others.enumerated() {
            try sample.merge(other.0, other.1, other.2, to: "other\(at)", record: "undo\(at)")
            for (merged, record) in [("merged", "undo\(at)"), ("other\(at)", "undo")] {
                let answer = try sample.refused(sample.scratch(merged), sample.scratch(record), "\(at)")
                #expect(answer.status == 1, "\(at): \(answer.status) \(answer.err)")
                #expect(answer.hints.first?.contains(sample.scratch(record)) == true, "\(at): \(answer.err)")
            }
        }
    }

    @Test func adaptersByName() throws {
        let golden = try Golden.Case("two-adapters-bf16")
        let sample = try UndoSample(golden.base, golden.adapters, ["--undo-by-name"])
        let paths = golden.adapters.map { $0.split(separator: ":").first.map(String.init) ?? "" }
        let (merged, record) = (sample.scratch("merged"), sample.scratch("undo"))
        let none = try sample.refused(merged, record, "no adapter")
        #expect(none.status == 66, "\(none.err)")
        #expect(
            none.errors.first?.contains("does not hold the adapter 'adapter1', whose SHA-256 begins with ") == true
                || none.errors.first?.contains("does not hold the adapter '") == true, "\(none.err)")
        #expect(none.hints == ["hint: name it with --adapter PATH"])
        let one = try sample.refused(merged, record, "one adapter", ["--adapter", paths[1]])
        #expect(one.status == 1 && one.errors.first?.contains("none of the given ones has that digest") == true)
        try sample.check("in another order", ["--adapter", paths[1], "--adapter", paths[0]])
        // One bit of an adapter makes it another one.
        let copy = try sample.scratch.copy(paths[0], as: "copy")
        let file = try bytes(of: copy + "/adapter_model.safetensors")
        try write(file.dropLast() + [file[file.count - 1] ^ 1], to: copy + "/adapter_model.safetensors")
        let damaged = try sample.refused(merged, record, "damaged", ["--adapter", copy, "--adapter", paths[1]])
        #expect(damaged.status == 1 && damaged.errors.first?.contains("none of the given ones") == true)
        // A record that holds its adapters is larger by about their size.
        try sample.merge(golden.base, golden.adapters, [], to: "other", record: "held")
        let sizes = try (bytes(of: sample.scratch("held")).count, bytes(of: record).count)
        #expect(sizes.0 > sizes.1 + file.count, "\(sizes)")
        let answer = try sample.refused(merged, sample.scratch("held"), "held")
        #expect(answer.status == 0, "\(answer.err)")
    }

    /// `--test` and `--dry-run` on damage: the one finds it, the other looks at headers only.
    @Test func testFindsDamage() throws {
        let sample = try UndoSample()
        var model = try bytes(of: sample.scratch("merged/model.safetensors"))
        model[model.count - 1] ^= 1
        try sample.scratch.write("merged/model.safetensors", model)
        let (merged, record) = (sample.scratch("merged"), sample.scratch("undo"))
        let test = Tools.run("adapter-unmerge", [merged, "--undo", record, "--test"])
        #expect(test.status == 1 && test.out.isEmpty, "\(test.err)")
        #expect(test.errors.first?.contains("tensor 'norm.weight': is \(Self.merged)") == true, "\(test.err)")
        #expect(Tools.run("adapter-unmerge", [merged, "--undo", record, "--dry-run"]).status == 0)
    }
}
