import Adapters
import Fixtures
import Safetensors
import Testing

@Suite struct InspectionNormTests {
    @Test(arguments: [(1, 1, 1), (5, 7, 3), (300, 40, 4), (16, 600, 8), (70, 90, 64), (6, 5, 8)])
    func normsAreThoseOfTheDenseDelta(out: Int, into: Int, rank: Int) throws {
        var random = SeededRandom(test: "normsAreThoseOfTheDenseDelta")
        let directory = try Scratch()
        var sample = InspectionSample()
        sample.config["r"] = rank
        let (b, a) = (random.numbers(out * rank), random.numbers(rank * into))
        sample.add("layers.0.linear", b: b, a: a, rank: rank)
        let facts = try sample.facts(in: directory)
        let norm = try #require(try DeltaNorm(of: facts.modules[0], in: facts.adapter))
        let dense = denseProduct(b, a, inner: rank).map { $0 * 8 / Double(rank) }
        #expect(near(norm.frobenius, denseNorm(dense)))
        let spectral = denseSpectralNorm(dense, columns: into)
        #expect(near(norm.spectral, spectral, 1e-6), "\(norm.spectral) \(spectral)")
        #expect(near(norm.stableRank ?? 0, denseNorm(dense) * denseNorm(dense) / spectral / spectral, 1e-5))
    }

    @Test(arguments: ["F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"]) func everyDtypeIsRead(dtype: String) throws {
        var random = SeededRandom(test: "everyDtypeIsRead")
        let directory = try Scratch()
        var sample = InspectionSample()
        sample.add("linear", b: random.numbers(20 * 4), a: random.numbers(4 * 30), rank: 4, dtype: dtype)
        let facts = try sample.facts(in: directory)
        let norm = try #require(try DeltaNorm(of: facts.modules[0], in: facts.adapter))
        let dense = denseProduct(sample.tensors[1].values, sample.tensors[0].values, inner: 4)
        #expect(near(norm.frobenius, 2 * denseNorm(dense)))
    }

    @Test func embeddingsAndConvolutionsAreMatricesToo() throws {
        var random = SeededRandom(test: "embeddingsAndConvolutionsAreMatricesToo")
        let directory = try Scratch()
        var sample = InspectionSample()
        let prefix = InspectionSample.prefix
        let (b, a, d, c) = (random.numbers(48), random.numbers(400), random.numbers(24), random.numbers(180))
        sample.tensors = [
            .init("\(prefix)embed.lora_embedding_A", "F64", [4, 100], a),
            .init("\(prefix)embed.lora_embedding_B", "F64", [12, 4], b),
            .init("\(prefix)conv.lora_A.weight", "F64", [4, 5, 3, 3], c),
            .init("\(prefix)conv.lora_B.weight", "F64", [6, 4, 1, 1], d),
        ]
        let facts = try sample.facts(in: directory)
        #expect(facts.modules.map(\.kind) == [.convolution, .embedding])
        for (module, dense) in zip(facts.modules, [denseProduct(d, c, inner: 4), denseProduct(b, a, inner: 4)]) {
            let norm = try #require(try DeltaNorm(of: module, in: facts.adapter))
            #expect(near(norm.frobenius, 2 * denseNorm(dense)))
        }
    }

    /// A: rows e·r + k belong to expert e; B: columns k·E + e do.
    @Test func expertsAreTakenApart() throws {
        var random = SeededRandom(test: "expertsAreTakenApart")
        let directory = try Scratch()
        let (experts, rank, into, out) = (3, 4, 10, 300)
        var sample = InspectionSample()
        sample.config["target_parameters"] = ["mlp.experts.down_proj"]
        let (a, b) = (random.numbers(experts * rank * into), random.numbers(out * rank * experts))
        sample.add("layers.2.mlp.experts", b: b, a: a, rank: experts * rank)
        let facts = try sample.facts(in: directory)
        #expect(facts.modules[0].path == "layers.2.mlp.experts.down_proj")
        #expect(facts.modules[0].experts == 3 && facts.modules[0].rank == 4 && facts.modules[0].scale == 2)
        let norm = try #require(try DeltaNorm(of: facts.modules[0], in: facts.adapter))
        var all = 0.0
        for expert in 0..<experts {
            let down = Array(a[expert * rank * into..<(expert + 1) * rank * into])
            let up = (0..<out * rank).map { b[$0 / rank * rank * experts + $0 % rank * experts + expert] }
            let dense = denseProduct(up, down, inner: rank).map { $0 * 2 }
            #expect(near(norm.matrices[expert].frobenius, denseNorm(dense)))
            #expect(near(norm.matrices[expert].spectral, denseSpectralNorm(dense, columns: into), 1e-6))
            all += denseNorm(dense) * denseNorm(dense)
        }
        #expect(near(norm.frobenius, all.squareRoot()))
        #expect(norm.spectral == norm.matrices.map(\.spectral).max())
    }

    /// What cancels in the product must not leave the square root of a rounding error.
    @Test func cancellingRanksGiveZero() throws {
        var random = SeededRandom(test: "cancellingRanksGiveZero")
        let directory = try Scratch()
        var sample = InspectionSample()
        let (column, row) = (random.numbers(50), random.numbers(60))
        sample.add("linear", b: column.flatMap { [$0, $0] }, a: row + row.map { -$0 }, rank: 2)
        sample.config["r"] = 2
        let facts = try sample.facts(in: directory)
        let norm = try #require(try DeltaNorm(of: facts.modules[0], in: facts.adapter))
        #expect(norm.frobenius < 1e-11 * denseNorm(column) * denseNorm(row))
    }

    @Test func zeroAndNaN() throws {
        let directory = try Scratch()
        var sample = InspectionSample()
        let ones = [Double](repeating: 1, count: 40)
        sample.add("a", b: ones.map { _ in 0 }, a: ones, rank: 4)
        sample.add("b", b: ones, a: [.nan] + ones.dropFirst(), rank: 4)
        sample.add("c", b: [.infinity] + ones.dropFirst(), a: ones, rank: 4)
        let facts = try sample.facts(in: directory)
        let norms = try facts.modules.map { try DeltaNorm(of: $0, in: facts.adapter) }
        #expect(norms[0]?.frobenius == 0 && norms[0]?.isFinite == true && norms[0]?.stableRank == nil)
        for norm in norms[1...] {
            #expect(norm?.isFinite == false && norm?.stableRank == nil && norm?.frobenius.isNaN == true)
        }
    }

    /// Against W as the fixtures read it; FP8 weights count with their scales.
    @Test(arguments: ["linear-qv-bf16", "gpt2-f32", "fp8-block", "fp8-tensor", "fp8-e4m3", "mixtral-both-bf16"])
    func weightNorms(name: String) throws {
        let path = "\(TestFiles.golden)/cases/\(name)"
        let facts = AdapterFacts(try Adapter(path: path + "/adapter"))
        let base = try Checkpoint.open(path: path + "/base")
        let resolution = Resolution(adapter: facts.adapter, base: base)
        var norms = WeightNorms(base: base, resolution: resolution)
        let files = try TestFiles.names(path + "/base").filter { $0.hasSuffix(".safetensors") }.map {
            try TensorFile(path: "\(path)/base/\($0)")
        }
        let weight = { (name: String) in files.lazy.compactMap { $0[name] }.first }
        for module in facts.modules {
            let sources = resolution.updates.filter { $0.terms.contains { $0.module == module.path } }
            var sum = 0.0
            for source in try sources.map({ try #require($0.source) }) {
                var values = try #require(weight(source)).values
                let columns = try #require(weight(source)).shape[1]
                if let scale = weight(source + "_scale_inv") ?? weight(source + "_scale") {
                    // The golden model's blocks are as its config says.
                    let size = resolution.traits.scaleBlock ?? (128, 128)
                    let perRow = scale.shape.count == 2 ? scale.shape[1] : 1
                    for at in values.indices {
                        let block = at / columns / size.rows * perRow + at % columns / size.columns
                        values[at] *= scale.values.count == 1 ? scale.values[0] : scale.values[block]
                    }
                }
                sum += values.reduce(0) { $0 + $1 * $1 }
            }
            let found = try #require(try norms.norm(of: module) { _ in })
            #expect(near(found, sum.squareRoot()) && found > 0, "\(module.path)")
        }
    }
}
