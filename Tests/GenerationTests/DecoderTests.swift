import Adapters
import Files
import Fixtures
import Foundation
import Generation
import Problems
import Testing

/// A decoder gives the same bits with a cache as without, and follows the definitions of what it is made of.
@Suite struct DecoderTests {
    private static let ids = (0..<40).map { ($0 * 37 + 11) % 256 }

    private func shelf(
        _ scratch: Scratch, threads: Int = 1, _ change: (inout TinyModel) -> Void = { _ in }
    ) throws -> AdapterShelf {
        var model = TinyModel()
        change(&model)
        let path = try model.write(in: scratch)
        return try AdapterShelf(path: path, threads: threads)
    }

    /// The last position's logits, of ids that come in pieces.
    private func last(_ decoder: Decoder, _ pieces: [[Int]]) throws -> [UInt32] {
        var cache = decoder.newCache()
        var logits: [Float] = []
        for piece in pieces { logits = try decoder.next(piece, &cache) }
        return logits.map(\.bitPattern)
    }

    private func logits(_ decoder: Decoder, _ ids: [Int]) throws -> [Float] {
        var all: [Float] = []
        var cache = decoder.newCache()
        try decoder.forEachLogits(ids, &cache) { (_, values) throws(Problem) in all += values }
        return all
    }

    @Test(arguments: ["F32", "BF16", "F16"], [nil, 5])
    func theCacheDoesNotShow(_ dtype: String, _ window: Int?) throws {
        let scratch = try Scratch()
        var random = SeededRandom(test: "theCacheDoesNotShow")
        let shelf = try shelf(scratch) {
            $0 = TinyModel(seed: random.next(), dtype: dtype)
            if let window {
                $0.config["model_type"] = "mistral"
                $0.config["sliding_window"] = window
            }
        }
        let lora = try TinyModel.lora(as: "lora", seed: random.next(), in: scratch)
        let prefix = try TinyModel.prefix(as: "prefix", seed: random.next(), in: scratch)
        let bottleneck = try TinyModel.bottleneck(as: "bottleneck", seed: random.next(), in: scratch)
        for adapters in [[], [lora], [lora, prefix, bottleneck]] {
            try shelf.use(adapters.map { AdapterOperand(path: $0) })
            let decoder = try shelf.decoder()
            let whole = try logits(decoder, Self.ids)
            #expect(whole.count == 40 * 256 && whole.allSatisfy(\.isFinite))
            for count in [1, 2, 7, 39, 40] {
                let wanted = whole[(count - 1) * 256..<count * 256].map(\.bitPattern)
                let ids = Array(Self.ids[..<count])
                #expect(try last(decoder, [ids]) == wanted)
                #expect(try last(decoder, ids.map { [$0] }) == wanted)
                #expect(try last(decoder, [Array(ids[..<(count / 2)]), Array(ids[(count / 2)...])]) == wanted)
            }
        }
    }

    @Test func longTextsComeInSteps() throws {
        let scratch = try Scratch()
        let decoder = try shelf(scratch) { $0.config["max_position_embeddings"] = 400 }.decoder()
        let ids = (0..<300).map { ($0 * 53 + 7) % 256 }
        let whole = try logits(decoder, ids).suffix(256).map(\.bitPattern)
        #expect(try last(decoder, [ids]) == whole)
        #expect(try last(decoder, [Array(ids[..<150]), Array(ids[150...])]) == whole)
        #expect(try last(decoder, ids.map { [$0] }) == whole)
    }

    @Test func threadsDoNotShow() throws {
        let scratch = try Scratch()
        let one = try shelf(scratch).decoder()
        let path = scratch("base")
        let wanted = try logits(one, Self.ids).map(\.bitPattern)
        for threads in [2, 3, 7] {
            let decoder = try AdapterShelf(path: path, threads: threads).decoder()
            #expect(try logits(decoder, Self.ids).map(\.bitPattern) == wanted)
        }
    }

    @Test func whatIsDetachedLeavesNothing() throws {
        let scratch = try Scratch()
        let shelf = try shelf(scratch)
        let before = try logits(shelf.decoder(), Self.ids).map(\.bitPattern)
        let lora = try TinyModel.lora(as: "lora", seed: 3, in: scratch)
        let other = try TinyModel.lora(as: "other", seed: 4, in: scratch)
        var seen: [[UInt32]] = [before]
        for operands in [[lora], [other], [lora, other], [lora + ":0.5"]] {
            try shelf.use(operands.map { try AdapterOperand($0) })
            let now = try logits(shelf.decoder(), Self.ids).map(\.bitPattern)
            #expect(!seen.contains(now))
            seen.append(now)
        }
        try shelf.use([])
        #expect(try logits(shelf.decoder(), Self.ids).map(\.bitPattern) == before)
        try shelf.use([AdapterOperand(path: lora)])
        #expect(try logits(shelf.decoder(), Self.ids).map(\.bitPattern) == seen[1])
    }

    @Test func aWindowForgets() throws {
        let scratch = try Scratch()
        // One layer: what is outside of its window cannot come in by way of another.
        let shelf = try shelf(scratch) {
            $0.config["model_type"] = "mistral"
            $0.config["sliding_window"] = 4
            $0.config["num_hidden_layers"] = 1
            $0.tensors.removeAll { $0.name.hasPrefix("model.layers.1.") }
        }
        let decoder = try shelf.decoder()
        var other = Array(Self.ids[..<10])
        other[5] = 200
        let (a, b) = (try logits(decoder, Array(Self.ids[..<10])), try logits(decoder, other))
        for position in 0..<10 {
            let range = position * 256..<(position + 1) * 256
            // The query at 9 sees 6 to 9; the one at 8 sees 5 to 8.
            let isSame = a[range].map(\.bitPattern) == b[range].map(\.bitPattern)
            #expect(isSame == !(5...8).contains(position), "position \(position)")
        }
    }

    @Test func aBottleneckAddsWhatItsDefinitionSays() throws {
        let scratch = try Scratch()
        let shelf = try shelf(scratch)
        let path = try TinyModel.bottleneck(
            as: "b", seed: 5, config: ["non_linearity": "relu", "scaling": 2.0], in: scratch)
        let folder = try Directory(path: path)
        let bottleneck = try #require(try Bottleneck(folder, shelf.config))
        let file = try TensorFile(path: path + "/adapter.safetensors")
        let place = "model.layers.1.output_adapters.adapters.style."
        func values(_ name: String) throws -> [Double] { try #require(file[place + name]).values }
        let x = (0..<16).map { Float($0) / 8 - 1 }
        let (down, up) = (try values("adapter_down.0.weight"), try values("adapter_up.weight"))
        let (first, second) = (try values("adapter_down.0.bias"), try values("adapter_up.bias"))
        var inner = first
        for row in 0..<2 {
            for at in 0..<16 { inner[row] += down[row * 16 + at] * Double(x[at]) }
            inner[row] = max(0, inner[row])
        }
        var wanted = x.map { Double($0) }
        for at in 0..<16 {
            let sum = second[at] + up[at * 2] * inner[0] + up[at * 2 + 1] * inner[1]
            wanted[at] += 2 * sum
        }
        let found = try bottleneck.afterMLP(x, residual: x, layer: 1)
        for (a, b) in zip(found, wanted) { #expect(abs(Double(a) - b) < 1e-6) }
        #expect(try bottleneck.afterMLP(x, residual: x, layer: 0) != found)
    }

    @Test func onePrefixAtATime() throws {
        let scratch = try Scratch()
        let shelf = try shelf(scratch)
        let one = try TinyModel.prefix(as: "one", seed: 1, in: scratch)
        let two = try TinyModel.prefix(as: "two", seed: 2, in: scratch)
        try shelf.use([AdapterOperand(path: one)])
        let before = try logits(shelf.decoder(), [1, 2, 3])
        #expect(code { try shelf.use([AdapterOperand(path: one), AdapterOperand(path: two)]) } == "several-prefixes")
        #expect(code { try shelf.use([AdapterOperand(path: one, weight: 0.5)]) } == "weighted-prefix")
        #expect(try logits(shelf.decoder(), [1, 2, 3]) == before)
        let misfit = try TinyModel.prefix(as: "misfit", seed: 3, width: 64, in: scratch)
        #expect(code { try shelf.use([AdapterOperand(path: misfit)]) } == "shape-mismatch")
    }

    @Test func whatDoesNotFitIsRefused() throws {
        let scratch = try Scratch()
        func refusal(_ change: (inout TinyModel) -> Void) throws -> String? {
            var model = TinyModel()
            change(&model)
            let path = try model.write(as: "m\(scratch.names.count)", in: scratch)
            return code { _ = try AdapterShelf(path: path, threads: 1).decoder() }
        }
        #expect(try refusal { _ in } == nil)
        #expect(try refusal { $0.config["model_type"] = "gpt2" } == "not-llama")
        #expect(try refusal { $0.config["hidden_size"] = 32 } == "shape-mismatch")
        #expect(try refusal { $0.config["vocab_size"] = 257 } == "shape-mismatch")
        #expect(try refusal { $0.config["num_hidden_layers"] = 3 } == "no-tensor")
        #expect(try refusal { $0.config["attention_bias"] = true } == "no-tensor")
        #expect(try refusal { $0.tensors.removeAll { $0.name == "lm_head.weight" } } == "no-tensor")
        #expect(
            try refusal {
                $0.tensors.append(
                    .init("model.layers.0.self_attn.q_proj.bias", "F32", [16], Array(repeating: 1, count: 16)))
            }
                == "unexpected-tensor")
        #expect(
            try refusal {
                $0.tensors.append(.init("model.layers.1.self_attn.q_norm.weight", "F32", [4], [1, 1, 1, 1]))
            }
                == "unexpected-tensor")
        #expect(try refusal { $0.config["num_hidden_layers"] = 1 } == "unexpected-tensor")
        #expect(try refusal { $0.tensors.removeAll { $0.name == "model.layers.1.mlp.up_proj.weight" } } == "no-tensor")
        var foreign = TinyModel()
        foreign.tensors.append(.init("model.layers.1.self_attn.q_norm.weight", "F32", [4], [1, 1, 1, 1]))
        let path = try foreign.write(as: "foreign", in: scratch)
        let allowing = try AdapterShelf(path: path, threads: 1, allowing: ["unexpected-tensor"])
        #expect(allowing.notes.map(\.severity) == [.warning] && code { _ = try allowing.decoder() } == nil)
        let decoder = try AdapterShelf(path: TinyModel().write(in: scratch), threads: 1).decoder()
        #expect(code { try decoder.check([1, 256]) } == "no-token")
        #expect(code { try decoder.check([-1]) } == "no-token")
        #expect(code { try decoder.check(Array(repeating: 1, count: 65)) } == "too-long")
        #expect(code { try decoder.check(Array(repeating: 1, count: 64)) } == nil)
    }
}

/// The code of the first problem that `body` throws.
func code(_ body: () throws -> Void) -> String? {
    do {
        try body()
        return nil
    } catch let problem as Problem {
        return problem.code
    } catch let list as ProblemList {
        return list.problems.first { $0.severity == .error }?.code
    } catch {
        return "\(error)"
    }
}
