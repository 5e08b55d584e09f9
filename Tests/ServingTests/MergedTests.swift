import Adapters
import Files
import Fixtures
import Foundation
import Merging
import Safetensors
import Serving
import Testing

/// A model with adapters against the model that they are merged into.
@Suite struct MergedTests {
    private static let root = URL(fileURLWithPath: TestFiles.root).deletingLastPathComponent().path + "/examples/data"

    /// Merges into float32 weights, and compares every tensor, and every linear layer's answers.
    private func compare(_ base: String, _ adapters: [(path: String, weight: Double)], linear: (String) -> Bool) throws
    {
        let scratch = try Scratch()
        let loaded = LoadedInputs(
            base: base, operands: adapters.map { AdapterOperand(path: $0.path, weight: $0.weight) })
        var options = MergeOptions(version: "test")
        options.dtype = .f32
        let plan = try MergePlan(loaded, options: options)
        let output = try StagedOutput(path: scratch("merged"), shape: .directory, replacing: false)
        let result = try Merger(plan: plan, output: output) { _ in }.run(threads: 2)
        _ = try Merger.writeDocuments(of: plan, to: output, digests: result.digests)
        try output.commit()
        let served = try ServedModel(path: base)
        for entry in adapters { try served.attach(path: entry.path, weight: entry.weight) }
        let merged = try ServedModel(path: scratch("merged"))
        let now = served.snapshot()
        var random = SeededRandom(test: "merged with \(adapters)")
        for place in merged.checkpoint.tensors {
            let name = place.info.name
            let (a, b) = (try now.tensor(name).values, try merged.tensor(name).values)
            // Both are the float64 sum rounded once, which the order of the sum can turn at a tie only.
            #expect(zip(a, b).count { abs($0 - $1) > $1.ulp } == 0, "\(name)")
            #expect(zip(a, b).count { $0 != $1 } <= a.count / 1000, "\(name)")
            guard linear(name) else { continue }
            let layer = try now.linear(name)
            let x = random.numbers(2 * layer.inputs).map { Float($0) }
            let (y, z) = (try layer.apply(x), try merged.linear(name).apply(x))
            // W' was rounded to float32 there: half a step for each weight, and for the sum on both sides.
            for row in 0..<2 {
                for out in 0..<layer.outputs {
                    let size = (0..<layer.inputs).reduce(0.0) {
                        $0 + abs(Double(x[row * layer.inputs + $1]) * Double(b[out * layer.inputs + $1]))
                    }
                    let at = row * layer.outputs + out
                    #expect(abs(Double(y[at]) - Double(z[at])) <= size * 0x1p-23, "\(name)")
                }
            }
        }
    }

    @Test func examples() throws {
        let adapters = [("\(Self.root)/adapter-law", 0.5), ("\(Self.root)/adapter-scripture", -0.25)]
        try compare("\(Self.root)/base", adapters) { $0.contains("layers.1.") && $0.hasSuffix("proj.weight") }
    }

    @Test(arguments: ["tied-both-different-bf16", "dora-linear-bf16", "resized-vocabulary-bf16", "two-adapters-bf16"])
    func golden(_ name: String) throws {
        let path = "\(TestFiles.golden)/cases/\(name)"
        let list = try object(in: path + "/case.json")["adapters"] as? [[String: Any]] ?? []
        let adapters = list.map { ("\(path)/\($0["path"] as? String ?? "")", $0["weight"] as? Double ?? 1) }
        try compare(path + "/base", adapters) { $0.hasSuffix("proj.weight") || $0 == "lm_head.weight" }
    }
}
