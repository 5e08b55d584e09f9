import Fixtures
import Testing

@testable import Merging

/// Merges of kinds other than pairs, and back.
@Suite struct KindUndoTests {
    private func base(_ scratch: Scratch) throws -> (path: String, weight: [Double], size: Int) {
        var random = SeededRandom(3)
        let weight = TensorFile.Tensor("fc.weight", "BF16", [300, 40], random.numbers(12_000))
        try scratch.write("base/model.safetensors", TensorFile([weight]).encoded)
        return (scratch("base"), weight.values, weight.bytes.count)
    }

    @Test(arguments: ["delta", "action"]) func thereAndBack(_ kind: String) throws {
        let scratch = try Scratch()
        let (base, weight, size) = try base(scratch)
        var random = SeededRandom(4)
        let (parts, config): ([TensorFile.Tensor], String) =
            kind == "delta"
            ? (
                [
                    TensorFile.Tensor("base_model.model.fc.lokr_w1", "F32", [30, 4], random.numbers(120)),
                    TensorFile.Tensor("base_model.model.fc.lokr_w2", "F32", [10, 10], random.numbers(100)),
                ], #"{"peft_type":"LOKR","r":8,"alpha":1,"target_modules":["fc"]}"#
            )
            : (
                [TensorFile.Tensor("base_model.model.fc.ia3_l", "F32", [300, 1], random.numbers(300))],
                #"{"peft_type":"IA3","target_modules":["fc"]}"#
            )
        try scratch.write("adapter/adapter_model.safetensors", TensorFile(parts).encoded)
        try scratch.write("adapter/adapter_config.json", config)
        let made = try UndoMade(base, [scratch("adapter")], in: scratch)
        let merged = try #require(TensorFile(path: made.merged + "/model.safetensors")["fc.weight"])
        let (one, two) = (parts[0].values, parts.count > 1 ? parts[1].values : [])
        let expected = weight.indices.map { at -> Double in
            let (row, column) = (at / 40, at % 40)
            return kind == "delta"
                ? weight[at] + 0.125 * one[row / 10 * 4 + column / 10] * two[row % 10 * 10 + column % 10]
                : weight[at] * one[row]
        }
        #expect(merged.bytes == TensorFile.Tensor("", "BF16", [300, 40], expected).bytes)
        #expect(try made.restored(made.record) == made.base)
        // A delta is taken out again; an action's old weights have to be kept.
        #expect(kind == "delta" ? made.record.count < size / 2 : made.record.count > size / 2)
    }
}
