import Fixtures
import Foundation
import Serving
import Testing

/// A whole model on served layers: the example's Llama, against what transformers and PEFT answered in float32.
@Suite struct LlamaTests {
    private static let data = URL(fileURLWithPath: TestFiles.root).deletingLastPathComponent().path + "/examples/data"

    /// The forward pass of transformers' Llama, in float32 with sums in float64.
    private struct Llama {
        let model: ModelSnapshot
        let hidden = 128
        let heads = 4
        let keys = 2
        let width = 32
        let layers = 4

        /// Logits (tokens × vocabulary) of one sequence.
        func logits(_ tokens: [Int]) throws -> [Float] {
            var x = try model.embedding("model.embed_tokens").rows(of: tokens)
            for layer in 0..<layers {
                let name = "model.layers.\(layer)."
                let attended = try attention(normed(x, name + "input_layernorm.weight"), name + "self_attn.")
                x = sum(x, attended)
                let inner = try normed(x, name + "post_attention_layernorm.weight")
                let gate = try model.linear(name + "mlp.gate_proj").apply(inner)
                let up = try model.linear(name + "mlp.up_proj").apply(inner)
                let product = zip(gate, up).map { $0 / (1 + exp(-$0)) * $1 }
                x = sum(x, try model.linear(name + "mlp.down_proj").apply(product))
            }
            return try model.linear("lm_head").apply(normed(x, "model.norm.weight"))
        }

        private func sum(_ a: [Float], _ b: [Float]) -> [Float] { zip(a, b).map { $0 + $1 } }

        private func normed(_ x: [Float], _ name: String) throws -> [Float] {
            let weight = try model.tensor(name).values
            return stride(from: 0, to: x.count, by: hidden).flatMap { start in
                let row = x[start..<start + hidden]
                let mean = row.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(hidden)
                let factor = Float(1 / (mean + 1e-6).squareRoot())
                return zip(row, weight).map { $0 * factor * $1 }
            }
        }

        /// Turns halves of each head against each other by the position.
        private func turned(_ x: [Float], heads: Int) -> [Float] {
            var result = x
            let half = width / 2
            for token in 0..<x.count / (heads * width) {
                for head in 0..<heads {
                    let start = (token * heads + head) * width
                    for i in 0..<half {
                        let angle = Double(token) / pow(10_000, Double(i) / Double(half))
                        let (c, s) = (Float(cos(angle)), Float(sin(angle)))
                        result[start + i] = x[start + i] * c - x[start + half + i] * s
                        result[start + half + i] = x[start + half + i] * c + x[start + i] * s
                    }
                }
            }
            return result
        }

        private func attention(_ x: [Float], _ name: String) throws -> [Float] {
            let q = turned(try model.linear(name + "q_proj").apply(x), heads: heads)
            let k = turned(try model.linear(name + "k_proj").apply(x), heads: keys)
            let v = try model.linear(name + "v_proj").apply(x)
            let count = x.count / hidden
            var mixed = [Float](repeating: 0, count: count * heads * width)
            for token in 0..<count {
                for head in 0..<heads {
                    let (own, shared) = ((token * heads + head) * width, head * keys / heads)
                    let scores = (0...token).map { other in
                        (0..<width).reduce(0.0) {
                            $0 + Double(q[own + $1]) * Double(k[(other * keys + shared) * width + $1])
                        } / Double(width).squareRoot()
                    }
                    let shifted = scores.map { exp($0 - (scores.max() ?? 0)) }
                    let total = shifted.reduce(0, +)
                    for (other, share) in shifted.enumerated() {
                        for i in 0..<width {
                            mixed[own + i] += Float(share / total) * v[(other * keys + shared) * width + i]
                        }
                    }
                }
            }
            return try model.linear(name + "o_proj").apply(mixed)
        }
    }

    @Test func answersOfTheExample() throws {
        let expected = try TensorFile(path: Self.data + "/expected/logits.safetensors")
        let ids = try #require(expected["input_ids"]).bytes
        let tokens = stride(from: 0, to: ids.count, by: 8).map { Int(ids[$0]) }
        let model = try ServedModel(path: Self.data + "/base")
        func check(_ name: String) throws {
            let wanted = try #require(expected["logits." + name]).values
            let llama = Llama(model: model.snapshot())
            let got = try [tokens[..<24], tokens[24...]].flatMap { try llama.logits(Array($0)) }
            let largest = wanted.map(\.magnitude).max() ?? 0
            let distance = zip(got, wanted).map { abs(Double($0) - $1) }.max() ?? .infinity
            #expect(got.count == wanted.count && distance <= 1e-5 * largest, "\(name): \(distance) of \(largest)")
        }
        try check("base")
        let law = try model.attach(path: Self.data + "/adapter-law")
        try check("law")
        // From one to the other without a moment of both.
        try model.setWeight(law, 0)
        try model.attach(path: Self.data + "/adapter-scripture")
        try check("scripture")
        for entry in model.attachments { try model.detach(entry.id) }
        try check("base")
    }
}
