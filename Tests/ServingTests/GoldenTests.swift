import Adapters
import Fixtures
import Foundation
import Problems
import Safetensors
import Serving
import Testing

/// What the reference libraries wrote, served without a merge, against the merge in float64 by plain formulas.
@Suite struct GoldenTests {
    static let cases = TestFiles.names(TestFiles.golden + "/cases")
    static let refused = TestFiles.names(TestFiles.golden + "/refused").filter {
        exists("\(TestFiles.golden)/refused/\($0)/case.json")
    }

    private struct Golden {
        let path: String
        let about: [String: Any]
        let base: [String: TensorFile.Tensor]
        let expected: TensorFile

        init(_ name: String) throws {
            path = "\(TestFiles.golden)/cases/\(name)"
            about = try object(in: path + "/case.json")
            expected = try TensorFile(path: path + "/expected.safetensors")
            var found: [String: TensorFile.Tensor] = [:]
            for file in TestFiles.names(path + "/base") where file.hasSuffix(".safetensors") {
                for tensor in try TensorFile(path: "\(path)/base/\(file)").tensors { found[tensor.name] = tensor }
            }
            base = found
        }

        /// The base with all adapters of the case attached.
        func model() throws -> (ServedModel, [AttachmentID]) {
            let model = try ServedModel(path: path + "/base")
            let list = about["adapters"] as? [[String: Any]] ?? []
            let ids = try list.map { entry in
                try model.attach(
                    path: "\(path)/\(entry["path"] as? String ?? "")", weight: entry["weight"] as? Double ?? 1)
            }
            return (model, ids)
        }

        /// The expected values as weights: those of 8-bit tensors were divided by their scales.
        func weights(_ tensor: TensorFile.Tensor) throws -> [Double] {
            let scales = base[tensor.name + "_scale_inv"] ?? base[tensor.name + "_scale"]
            guard let scales, let own = base[tensor.name], own.dtype.hasPrefix("F8") else { return tensor.values }
            let config = try object(in: path + "/base/config.json")
            let block = (config["quantization_config"] as? [String: Any])?["weight_block_size"] as? [Int]
            let (rows, columns) = (tensor.shape[0], tensor.shape[1])
            let size = scales.values.count == 1 ? [rows, columns] : block ?? [1, columns]
            let perRow = (columns + size[1] - 1) / size[1]
            return tensor.values.enumerated().map { at, value in
                value * scales.values[at / columns / size[0] * perRow + at % columns / size[1]]
            }
        }
    }

    @Test func everyCaseIsFound() { #expect(Self.cases.count == 86 && Self.refused.count == 15) }

    /// Each tensor that the case changes has the expected values, and all others are the base's.
    @Test(arguments: cases) func values(_ name: String) throws {
        let golden = try Golden(name)
        let (model, _) = try golden.model()
        let snapshot = model.snapshot()
        let added = golden.about["added"] as? [String] ?? []
        let changed = Set((golden.about["changed"] as? [String] ?? []) + added)
        #expect(Set(snapshot.changedNames) == changed)
        #expect(Set(snapshot.parameterNames).isSuperset(of: added))
        for exact in golden.expected.tensors {
            let wanted = try golden.weights(exact)
            let (shape, values) = try snapshot.tensor(exact.name)
            #expect(shape == exact.shape, "\(exact.name)")
            let largest = wanted.map(\.magnitude).max() ?? 0
            let wrong = zip(values, wanted).count {
                !(abs(Double($0) - $1) <= abs($1) * 0x1p-24 + largest * 1e-12)
            }
            #expect(wrong == 0 && values.count == wanted.count, "\(exact.name): \(wrong) of \(wanted.count)")
        }
        for (name, tensor) in golden.base where !changed.contains(name) && !tensor.dtype.hasPrefix("F8") {
            guard ["F64", "F32", "F16", "BF16"].contains(tensor.dtype) else { continue }
            #expect(try snapshot.tensor(name).values == tensor.values.map { Float($0) }, "\(name)")
        }
    }

    /// The same through layers, whichever way the weight lies, with every expert, and token by token.
    @Test(arguments: cases) func layers(_ name: String) throws {
        let golden = try Golden(name)
        let (model, ids) = try golden.model()
        var random = SeededRandom(test: "layers of \(name)")
        for exact in golden.expected.tensors where exact.shape.count >= 2 {
            let wanted = try golden.weights(exact)
            let experts = exact.name.hasSuffix("_proj") && exact.shape.count == 3
            let (count, rows) = experts ? (exact.shape[0], exact.shape[1]) : (1, exact.shape[0])
            let columns = wanted.count / count / rows
            for expert in 0..<count {
                let w = Array(wanted[expert * rows * columns..<(expert + 1) * rows * columns])
                for layout in [WeightLayout.outByIn, .inByOut] {
                    let (into, out) = layout == .outByIn ? (columns, rows) : (rows, columns)
                    let index = experts ? expert : nil
                    guard let bias = bias(exact.name, out, index, golden) else {
                        let error = #expect(throws: Problem.self) {
                            try model.linear(exact.name, expert: index, layout: layout)
                        }
                        #expect(error?.code == "shape-mismatch")
                        continue
                    }
                    let layer = try model.linear(exact.name, expert: index, layout: layout)
                    #expect(layer.inputs == into && layer.outputs == out)
                    let x = random.numbers(3 * into).map { Float($0) }
                    let y = try layer.apply(x)
                    for row in 0..<3 {
                        for o in 0..<out {
                            var (sum, size) = (bias[o], abs(bias[o]))
                            for i in 0..<into {
                                let product =
                                    Double(x[row * into + i]) * w[layout == .outByIn ? o * into + i : i * out + o]
                                sum += product
                                size += abs(product)
                            }
                            let distance = abs(Double(y[row * out + o]) - sum)
                            #expect(distance <= abs(sum) * 0x1p-24 + size * 1e-11, "\(exact.name) \(row) \(o)")
                        }
                    }
                }
            }
            guard !experts else { continue }
            let layer = try model.embedding(exact.name)
            let tokens = (0..<5).map { _ in random.below(rows) }
            let whole = try model.tensor(exact.name).values
            #expect(try layer.rows(of: tokens) == tokens.flatMap { whole[$0 * columns..<($0 + 1) * columns] })
        }
        for id in ids.reversed() { try model.detach(id) }
        #expect(model.snapshot().changedNames.isEmpty)
    }

    /// The bias that belongs to a weight, zeros if there is none; `nil` if it does not fit this way round.
    private func bias(_ weight: String, _ outputs: Int, _ expert: Int?, _ golden: Golden) -> [Double]? {
        let name = weight.hasSuffix("weight") ? weight.dropLast(6) + "bias" : weight + "_bias"
        guard let tensor = golden.expected[String(name)] ?? golden.base[String(name)] else {
            return [Double](repeating: 0, count: outputs)
        }
        let all = tensor.values
        guard tensor.shape.last == outputs else { return nil }
        return Array(all[(expert ?? 0) * outputs..<((expert ?? 0) + 1) * outputs])
    }

    /// What no merge takes, no model takes, for the same reasons.
    @Test(arguments: refused) func refusals(_ name: String) throws {
        let directory = "\(TestFiles.golden)/refused/\(name)"
        let about = try object(in: directory + "/case.json")
        let base = try "\(directory)/" + #require(about["base"] as? String)
        let adapter = try "\(directory)/" + #require(about["adapter"] as? String)
        let loaded = LoadedInputs(base: base, operands: [AdapterOperand(path: adapter)])
        let model = try ServedModel(path: base)
        let error = try #require(throws: ProblemList.self) { try model.attach(path: adapter) }
        let wanted = loaded.problems.filter { $0.severity == .error }
        #expect(!wanted.isEmpty)
        #expect(error.problems.filter { $0.severity == .error }.map(\.code) == wanted.map(\.code))
        // What is said of a merge has no place here.
        let words = wanted.map {
            $0.message.replacing(", so there is nothing to merge", with: "")
                .replacing("no merge is defined", with: "no sum is defined")
        }
        #expect(error.problems.filter { $0.severity == .error }.map(\.message) == words)
        #expect(!words.contains { $0.contains("merge") })
        #expect(!error.problems.contains { $0.hint?.contains("serve it as") == true })
        #expect(model.attachments.isEmpty && model.snapshot().changedNames.isEmpty)
    }
}
