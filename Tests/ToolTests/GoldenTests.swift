import Fixtures
import Foundation
import Testing

/// Merges of what the reference libraries wrote.
@Suite struct GoldenTests {
    @Test func everyCaseIsFound() { #expect(Golden.cases.count == 86) }

    @Test(arguments: Golden.cases) func merge(_ golden: Golden.Case) throws {
        let scratch = try Scratch()
        let fits = Tools.run("adapter-verify", [golden.base] + golden.adapters)
        #expect(fits.status == 0, "\(fits.err)")
        #expect(fits.out.contains(": fits: "))
        let merged = Tools.merge(golden.base, golden.adapters, scratch("out"))
        try #require(merged.status == 0, "\(merged.err)")
        #expect(scratch.names == ["out"])
        try compareWeights(golden, scratch("out"))
        try compareDocuments(golden, scratch("out"))
        let again = Tools.run("adapter-verify", [golden.base] + golden.adapters + ["--merged", scratch("out")])
        #expect(again.status == 0, "\(again.err)")
        #expect(again.out.contains("the merged model is the base plus the adapter: "))
        #expect(again.out.contains("largest distance 0 steps"))
    }

    private func compareWeights(_ golden: Golden.Case, _ output: String) throws {
        let base = try tensors(in: golden.base)
        let found = try tensors(in: output)
        let expected = try TensorFile(path: golden.path + "/expected.safetensors")
        let rounded = try? TensorFile(path: golden.path + "/expected-rounded.safetensors")
        #expect(Set(found.keys) == Set(base.keys).union(golden.added))
        #expect(Set(expected.tensors.map(\.name)) == golden.changed.union(golden.added))
        for (name, tensor) in base where !golden.changed.contains(name) {
            #expect(found[name] == tensor, "\(name) must be as it was")
        }
        for exact in expected.tensors {
            let tensor = try #require(found[exact.name], "\(exact.name) is missing")
            #expect(tensor.shape == exact.shape, "\(exact.name)")
            if let own = base[exact.name] { #expect(tensor.dtype == own.dtype, "\(exact.name)") }
            if let rounded {
                #expect(tensor.bytes == rounded[exact.name]?.bytes, "\(exact.name) must have these codes")
            } else {
                compare(tensor, exact.values)
            }
        }
    }

    /// 16-bit values must be the exact ones rounded once; wider ones differ by what the order of a sum may do.
    private func compare(_ tensor: TensorFile.Tensor, _ exact: [Double]) {
        if ["BF16", "F16"].contains(tensor.dtype) {
            let wrong = zip(tensor.values, TensorFile.Tensor("", tensor.dtype, tensor.shape, exact).values).count {
                $0 != $1
            }
            #expect(wrong == 0, "\(tensor.name): \(wrong) of \(exact.count) values are not the exact ones rounded once")
        } else {
            let largest = exact.map(\.magnitude).max() ?? 0
            let distance = zip(tensor.values, exact).map { abs($0 - $1) }.max() ?? 0
            #expect(distance <= 1e-6 * largest, "\(tensor.name) is \(distance) away")
        }
    }

    private func compareDocuments(_ golden: Golden.Case, _ output: String) throws {
        let changes = try golden.changesOfConfig()
        if changes.isEmpty {
            #expect(try bytes(of: output + "/config.json") == bytes(of: golden.base + "/config.json"))
        } else {
            let wanted = try object(in: golden.base + "/config.json").merging(changes) { $1 }
            #expect(same(try object(in: output + "/config.json"), wanted))
        }
        let names = Golden.names(in: golden.base)
        #expect(Golden.names(in: output) == names)
        guard names.contains("model.safetensors.index.json") else { return }
        let index = try object(in: output + "/model.safetensors.index.json")
        var map: [String: String] = [:]
        var size = 0
        for name in names where name.hasSuffix(".safetensors") {
            for tensor in try TensorFile(path: "\(output)/\(name)").tensors {
                map[tensor.name] = name
                size += tensor.bytes.count
            }
        }
        #expect(index["weight_map"] as? [String: String] == map)
        #expect((index["metadata"] as? [String: Any])?["total_size"] as? Int == size)
    }
}
