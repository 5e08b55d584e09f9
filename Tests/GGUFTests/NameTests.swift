import Fixtures
import Testing

@testable import GGUF

@Suite struct NameTests {
    /// Lines of a golden file, split at spaces.
    private func lines(_ name: String) throws -> [[String]] {
        String(decoding: try bytes(of: goldenPath(name)), as: UTF8.self).split(separator: "\n").map {
            $0.split(separator: " ").map(String.init)
        }
    }

    @Test func namesAreThoseOfTheReference() throws {
        var seen: Set<String> = []
        for line in try lines("names.txt") {
            let (architecture, parameter, expected) = (line[0], line[1], line[2] == "None" ? nil : line[2])
            seen.insert(architecture)
            #expect(GGUFNames.ggufName(of: parameter, architecture: architecture) == expected, "\(line)")
            guard let expected else { continue }
            let candidates = GGUFNames.candidates(for: expected, architecture: architecture)
            #expect(candidates.contains(parameter), "\(line): \(candidates)")
            for other in candidates {
                #expect(
                    GGUFNames.ggufName(of: other, architecture: architecture) == expected, "\(architecture) \(other)")
            }
        }
        #expect(seen.sorted() == GGUFNames.architectures)
    }

    @Test func architecturesOfModels() {
        let expected = [
            ("llama", "llama"), ("mistral", "llama"), ("mixtral", "llama"), ("qwen2_moe", "qwen2moe"), ("phi", "phi2"),
            ("cohere", "command-r"), ("gpt_neox", "gptneox"), ("gemma3_text", "gemma3"), ("rwkv", nil), ("", nil),
        ]
        for (type, architecture) in expected { #expect(GGUFNames.architecture(modelType: type) == architecture) }
    }

    @Test func experts() {
        let parameter = "model.layers.3.block_sparse_moe.experts.7.w2.weight"
        let place = GGUFNames.place(of: parameter, architecture: "llama")
        #expect(place == GGUFNames.Place(name: "blk.3.ffn_down_exps.weight", expert: 7))
        let names = GGUFNames.candidates(for: "blk.3.ffn_down_exps.weight", architecture: "llama", expert: 7)
        #expect(names.contains(parameter) && names.allSatisfy { $0.contains(".experts.7.") }, "\(names)")
        let qwen = "model.layers.11.mlp.experts.63.gate_proj.weight"
        #expect(
            GGUFNames.place(of: qwen, architecture: "qwen3moe")
                == GGUFNames.Place(name: "blk.11.ffn_gate_exps.weight", expert: 63))
        #expect(GGUFNames.candidates(for: "blk.0.attn_q.weight", architecture: "llama", expert: 1).isEmpty)
    }

    @Test func wrappedAndUnknownNames() {
        for (name, architecture) in [
            ("model.language_model.layers.0.self_attn.q_proj.weight", "gemma3"),
            ("language_model.model.layers.0.self_attn.q_proj.weight", "gemma3"),
            ("bert.encoder.layer.0.attention.self.query.weight", "bert"),
        ] {
            #expect(GGUFNames.ggufName(of: name, architecture: architecture) == "blk.0.attn_q.weight")
        }
        for name in [
            "", ".", "model.layers.00.self_attn.q_proj.weight", "model.layers.#.self_attn.q_proj.weight",
            "model.layers.-1.self_attn.q_proj.weight", "model.layers.99999999999999999999.self_attn.q_proj.weight",
        ] { #expect(GGUFNames.ggufName(of: name, architecture: "llama") == nil, "\(name)") }
        #expect(GGUFNames.ggufName(of: "model.norm.weight", architecture: "none") == nil)
        #expect(GGUFNames.candidates(for: "model.norm.weight", architecture: "none").isEmpty)
        #expect(GGUFNames.candidates(for: "blk.0.nothing.weight", architecture: "llama").isEmpty)
    }

    @Test func rowsAreThoseOfTheReference() throws {
        for line in try lines("rows.txt") {
            let (heads, groups) = (try #require(Int(line[1])), try #require(Int(line[2])))
            let expected = line[3...].compactMap { Int($0) }
            let permutation: RowPermutation =
                line[0] == "halves" ? .halves(heads: heads) : .fused(heads: heads, groups: groups)
            #expect(permutation.order(rows: expected.count) == expected, "\(line)")
        }
    }

    @Test func rowsComeBack() throws {
        var random = SeededRandom(test: "rowsComeBack")
        for _ in 0..<200 {
            let (queries, groups, size, width) = (
                1 + random.below(4), 1 + random.below(4), 2 * (1 + random.below(5)), 1 + random.below(4)
            )
            let heads = queries * groups
            for (permutation, rows) in [
                (RowPermutation.none, 5), (.halves(heads: heads), heads * size),
                (.fused(heads: heads, groups: groups), (heads + 2 * groups) * size),
            ] {
                let matrix = Array(0..<rows * width)
                let moved = try #require(permutation.applied(to: matrix, rows: rows))
                let order = try #require(permutation.order(rows: rows))
                for row in 0..<rows {
                    #expect(
                        moved[row * width..<(row + 1) * width].elementsEqual(
                            matrix[order[row] * width..<(order[row] + 1) * width]))
                }
                #expect(permutation.undone(on: moved, rows: rows) == matrix)
            }
        }
    }

    @Test func whichRowsAreMoved() {
        func found(_ name: String, _ architecture: String) -> RowPermutation {
            RowPermutation(name, architecture: architecture, heads: 8, keyValueHeads: 2)
        }
        #expect(found("blk.0.attn_q.weight", "llama") == .halves(heads: 8))
        #expect(found("blk.11.attn_k.bias", "llama") == .halves(heads: 2))
        #expect(found("blk.0.attn_k.weight.lora_b", "olmo") == .halves(heads: 2))
        #expect(found("blk.0.attn_qkv.weight", "falcon") == .fused(heads: 8, groups: 2))
        #expect(found("blk.0.attn_qkv.weight", "gptneox") == .fused(heads: 8, groups: 8))
        for name in [
            "blk.0.attn_v.weight", "blk.0.attn_output.weight", "blk.0.ffn_up.weight", "blk.0.attn_q_norm.weight",
        ] {
            #expect(found(name, "llama") == .none)
        }
        for architecture in ["qwen2", "qwen3", "gemma", "gemma3", "phi3", "command-r", "olmo2", "stablelm", "gpt2"] {
            for name in ["blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_qkv.weight"] {
                #expect(found(name, architecture) == .none)
            }
        }
        #expect(RowPermutation.halves(heads: 3).order(rows: 9) == nil)
        #expect(RowPermutation.halves(heads: 0).order(rows: 8) == nil)
        #expect(RowPermutation.fused(heads: 4, groups: 3).order(rows: 10) == nil)
        #expect(RowPermutation.halves(heads: 2).applied(to: [1, 2, 3], rows: 2) == nil)
    }
}
