import Fixtures
import Foundation
import Testing

/// `adapter-inspect` where it reads the data: comparing and drawing.
@Suite struct InspectCompareTests {
    /// Rank 2 with the columns of B and the rows of A scaled by powers of two and exchanged: the same product.
    private func turned(_ pair: Pair, sign: Double = 1) -> Pair {
        var result = pair
        for (name, out, into) in Pair.modules {
            result.change(Pair.key(name, "B")) { b in
                let old = b.values
                b = .init(b.name, "F32", [out, 2], (0..<out * 2).map { old[$0 ^ 1] * ($0 % 2 == 0 ? 4 : 0.5) * sign })
            }
            result.change(Pair.key(name, "A")) { a in
                let old = a.values
                a = .init(
                    a.name, "F32", [2, into],
                    (0..<2 * into).map { at in
                        at < into ? old[at + into] / 4 : old[at - into] * 2
                    })
            }
        }
        return result
    }

    @Test func sameFunction() throws {
        let scratch = try Scratch()
        let one = try Pair().writeAdapter(as: "one", in: scratch)
        let two = try turned(Pair()).writeAdapter(as: "two", in: scratch)
        let same = Tools.inspect([one, "--compare", one])
        #expect(same.status == 0 && same.err.isEmpty)
        #expect(same.out == "the same function: 8 modules with the same factors\n")
        let answer = Tools.inspect([one, "--compare", two])
        #expect(answer.status == 0 && answer.err.isEmpty)
        #expect(
            answer.out.hasPrefix(
                "the same function: 8 modules, 8 of them with other factors; largest relative distance "))
        let found = try #require(
            try Tools.inspect([one, "--compare", two, "--json"]).json()["comparison"] as? [String: Any])
        #expect(found["same"] as? Bool == true && found["largest_distance"] as? Double ?? 1 < 1e-12)
    }

    @Test func otherSignIsAnotherFunction() throws {
        let scratch = try Scratch()
        let one = try Pair().writeAdapter(as: "one", in: scratch)
        let answer = try Tools.inspect([
            one, "--compare", turned(Pair(), sign: -1).writeAdapter(as: "two", in: scratch),
        ])
        #expect(answer.status == 1 && answer.err.isEmpty)
        #expect(answer.out.hasSuffix("different: 8 of 8 modules differ, relative distance up to 2.00\n"))
        #expect(answer.out.contains("  -1.0000  "))
    }

    @Test func whatOnlyOneHas() throws {
        let scratch = try Scratch()
        let one = try Pair().writeAdapter(as: "one", in: scratch)
        let names = Pair.modules.map(\.name).filter { $0 != "layers.1.q_proj" }
        var less = Pair()
        less.adapter.removeAll { tensor in !names.contains { tensor.name.contains($0 + ".") } }
        let two = try less.writeAdapter(as: "two", in: scratch)
        let answer = Tools.inspect([one, "--compare", two])
        #expect(answer.status == 1)
        #expect(answer.out == "only in \(one): layers.1.q_proj\ndifferent: 1 only in one\n")
    }

    @Test func whatCannotBeCompared() {
        let adapter = Golden.path("linear-qv-f32") + "/adapter"
        let cases: [([String], Int32)] = [
            ([adapter, "--compare", Golden.path("linear-qv-f32") + "/base"], 64),
            ([adapter, "--compare", "\(Golden.directory)/refused/prefix-tuning/adapter"], 64),
            ([adapter, "--compare", "/does/not/exist"], 66), ([adapter, adapter, "--compare", adapter], 64),
            ([adapter, "--compare", adapter, "--norms"], 64), ([adapter, "--base", adapter], 64),
            ([adapter, adapter, "--plot", "/tmp/x.svg"], 64), ([Golden.path("linear-qv-f32") + "/base", "--norms"], 0),
            ([adapter, "--norms", "--base", "/does/not/exist"], 66),
            ([adapter, "--norms", "--base", Golden.path("conv2d-bf16") + "/base"], 1), ([], 64),
        ]
        for (arguments, status) in cases {
            let answer = Tools.inspect(arguments)
            #expect(answer.status == status, "\(arguments): \(answer.err)")
        }
    }

    /// An adapter is the same function as itself, and no other one, for each kind that there is.
    @Test(arguments: Golden.cases) func everyCaseIsItself(_ golden: Golden.Case) throws {
        let scratch = try Scratch()
        let adapter = golden.path + "/adapter"
        #expect(Tools.inspect([adapter, "--compare", adapter]).status == 0)
        let copy = try scratch.copy(adapter, as: "copy")
        var file = try TensorFile(path: copy + "/adapter_model.safetensors")
        // The last tensor of the file is a factor, a magnitude, a bias or a new row.
        let last = try #require(file.tensors.indices.last)
        let tensor = file.tensors[last]
        file.tensors[last] = .init(tensor.name, tensor.dtype, tensor.shape, tensor.values.map { $0 * 2 + 1 })
        try file.write(to: copy + "/adapter_model.safetensors")
        let answer = Tools.inspect([adapter, "--compare", copy])
        #expect(answer.status == 1, "\(answer.out)\(answer.err)")
        #expect(answer.out.contains("different: "))
    }

    @Test func picture() throws {
        let scratch = try Scratch()
        let (base, adapter) = try Pair().write(in: scratch)
        let file = scratch("norms.svg")
        let drawn = Tools.inspect([adapter, "--plot", file])
        #expect(drawn.status == 0 && drawn.err == "adapter-inspect: note: the picture is in '\(file)'\n")
        let svg = String(decoding: try bytes(of: file), as: UTF8.self)
        for text in ["layer 0", "layer 1", "q_proj", "o_proj", "Frobenius norm of the delta"] {
            #expect(svg.contains(">\(text)</text>"), "\(text)")
        }
        #expect(!svg.contains("no value"))
        let again = Tools.inspect([adapter, "--plot", file])
        #expect(again.status == 73 && again.out.isEmpty && again.err.contains("exists already"))
        #expect(Tools.inspect([adapter, "--plot", file, "--force", "--base", base]).status == 0)
        #expect(String(decoding: try bytes(of: file), as: UTF8.self).contains("relative to the weight"))
        #expect(Tools.inspect([adapter, "--plot", adapter + "/adapter_config.json", "--force"]).status == 64)
        #expect(Tools.inspect([adapter, "--plot", adapter + "/norms.svg"]).status == 73)
        #expect(Tools.inspect([base, "--plot", scratch("b.svg")]).status == 64)
        #expect(scratch.names == ["adapter", "base", "norms.svg"])
    }
}
