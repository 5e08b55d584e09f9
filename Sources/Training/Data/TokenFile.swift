import Problems
import Safetensors
import Tensors

/// Token ids that were prepared elsewhere: a safetensors file.
///
/// - `input_ids` of shape [n], a stream, or [examples, n]; any integer type.
/// - Beside the latter perhaps `labels` of the same shape, −100 where a label does not count, and `attention_mask`, 0 where
///   an example is padded at its end.
struct TokenFile {
    private let file: SafetensorsFile
    private let vocabulary: Int

    init(_ path: String, _ vocabulary: Int) throws(Problem) {
        file = try SafetensorsFile(path: path)
        self.vocabulary = vocabulary
    }

    private func tensor(_ names: [String]) -> TensorInfo? {
        names.lazy.compactMap { name in file.header.tensors.first { $0.name == name } }.first
    }

    func sequences(length: Int, truncates: Bool) throws -> [TokenSequence] {
        guard let info = tensor(["input_ids", "ids"]) else {
            throw Problem(
                .malformed, "no-ids", file: file.path, "has no tensor 'input_ids'",
                hint: "token ids are an integer tensor 'input_ids' of shape [n] or [examples, n]")
        }
        let ids = try DataReader.checked(try integers(info), vocabulary, file.path, "tensor '\(info.name)'")
        if info.shape.count == 1 { return TokenSequence.blocks(ids, length: length) }
        guard info.shape.count == 2 else {
            throw Problem(
                .malformed, "bad-shape", file: file.path, tensor: info.name,
                "has shape \(info.shape), but [n] or [examples, n] was needed")
        }
        var labels = ids
        if let own = tensor(["labels"]) {
            try requireShape(own, info)
            let found = try integers(own)
            _ = try DataReader.checked(found.map { $0 == -100 ? 0 : $0 }, vocabulary, file.path, "tensor 'labels'")
            labels = found.map { $0 == -100 ? TokenSequence.ignored : Int32($0) }
        }
        var counts = [Int](repeating: info.shape[1], count: info.shape[0])
        if let mask = tensor(["attention_mask"]) {
            try requireShape(mask, info)
            counts = try self.counts(try integers(mask), mask)
        }
        return try examples(ids, labels, counts, width: info.shape[1], length: length, truncates: truncates)
    }

    private func requireShape(_ tensor: TensorInfo, _ ids: TensorInfo) throws(Problem) {
        guard tensor.shape == ids.shape else {
            throw Problem(
                .malformed, "bad-shape", file: file.path, tensor: tensor.name,
                "has shape \(tensor.shape), but \(ids.name) has \(ids.shape)")
        }
    }

    /// How many ids each example has before its padding.
    private func counts(_ mask: [Int], _ info: TensorInfo) throws(Problem) -> [Int] {
        let width = info.shape[1]
        var result: [Int] = []
        for example in 0..<info.shape[0] {
            let row = mask[example * width..<(example + 1) * width]
            let count = row.prefix { $0 != 0 }.count
            guard row.dropFirst(count).allSatisfy({ $0 == 0 }) else {
                throw Problem(
                    .incompatible, "bad-mask", file: file.path, tensor: info.name,
                    "masks something other than the end of example \(example)", hint: "pad examples on the right")
            }
            result.append(count)
        }
        return result
    }

    private func examples(
        _ ids: [Int32], _ labels: [Int32], _ counts: [Int], width: Int, length: Int, truncates: Bool
    ) throws -> [TokenSequence] {
        var result: [TokenSequence] = []
        for (example, count) in counts.enumerated() {
            let range = example * width..<example * width + count
            let made = try ExampleLines.shifted(
                Array(ids[range]), labels: Array(labels[range]), length: length, truncates: truncates
            ) { count in
                Problem(
                    .malformed, "bad-example", file: file.path,
                    "example \(example) has \(count) tokens, but --length is \(length)",
                    hint: "give a larger --length, or --truncate to cut what is longer")
            }
            if let made { result.append(made) }
        }
        return result
    }

    private func integers(_ tensor: TensorInfo) throws(Problem) -> [Int] {
        guard let values = TensorValues.integers(try file.read(tensor), tensor.dtype) else {
            throw Problem(
                .malformed, "bad-dtype", file: file.path, tensor: tensor.name,
                "is \(tensor.dtype.rawValue), but token ids are integers")
        }
        return values
    }
}
