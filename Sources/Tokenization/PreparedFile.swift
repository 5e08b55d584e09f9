import Problems
import Safetensors
import Tensors

/// Token ids that were prepared elsewhere: a safetensors file.
///
/// - `input_ids`, `ids` or `tokens` of shape [n], a stream, or [examples, n]; any integer type.
/// - Beside the latter perhaps `labels` of the same shape, −100 where a label does not count, and `attention_mask`, 0 where
///   an example is padded at its end.
public struct PreparedFile: Sendable {
    /// The tensor that has the ids.
    public let tensor: String
    /// Whether they are one stream, rather than examples.
    public let isStream: Bool
    /// The stream, or the examples without their padding.
    public let sequences: [LabelledIDs]

    /// Reads the file at `path`.
    public init(path: String) throws(Problem) {
        do throws(Problem) {
            let reader = Reader(file: try SafetensorsFile(path: path))
            let info = try reader.ids()
            tensor = info.name
            isStream = info.shape.count == 1
            let ids = try reader.integers(info)
            sequences = isStream ? [LabelledIDs(ids)] : try reader.examples(ids, info)
        } catch {
            throw error.at(file: path)
        }
    }

    private struct Reader {
        let file: SafetensorsFile

        func ids() throws(Problem) -> TensorInfo {
            guard let name = try PreparedNames.only({ file.header[$0] != nil }), let info = file.header[name] else {
                throw Problem(
                    .malformed, "no-ids", "has no tensor 'input_ids', 'ids' or 'tokens'",
                    hint: "token ids are an integer tensor 'input_ids' of shape [n] or [examples, n]")
            }
            guard (1...2).contains(info.shape.count) else {
                throw Problem(
                    .malformed, "bad-shape", tensor: info.name,
                    "has shape \(info.shape), but [n] or [examples, n] was needed")
            }
            return info
        }

        func integers(_ tensor: TensorInfo) throws(Problem) -> [Int] {
            guard let values = TensorValues.integers(try file.read(tensor), tensor.dtype) else {
                throw Problem(
                    .malformed, "bad-dtype", tensor: tensor.name,
                    "is \(tensor.dtype.rawValue), but token ids are integers")
            }
            return values
        }

        func examples(_ ids: [Int], _ info: TensorInfo) throws(Problem) -> [LabelledIDs] {
            let labels = try beside("labels", info).map { (own) throws(Problem) in try integers(own) }
            let (count, width) = (info.shape[0], info.shape[1])
            var lengths = [Int](repeating: width, count: count)
            if let mask = try beside("attention_mask", info) { lengths = try self.lengths(try integers(mask), mask) }
            return lengths.enumerated().map { example, length in
                let range = example * width..<example * width + length
                return LabelledIDs(Array(ids[range]), labels: labels.map { Array($0[range]) })
            }
        }

        private func beside(_ name: String, _ ids: TensorInfo) throws(Problem) -> TensorInfo? {
            guard let tensor = file.header[name] else { return nil }
            guard tensor.shape == ids.shape else {
                throw Problem(
                    .malformed, "bad-shape", tensor: name,
                    "has shape \(tensor.shape), but \(ids.name) has \(ids.shape)")
            }
            return tensor
        }

        /// How many ids each example has before its padding.
        private func lengths(_ mask: [Int], _ info: TensorInfo) throws(Problem) -> [Int] {
            let width = info.shape[1]
            var result: [Int] = []
            for example in 0..<info.shape[0] {
                let row = mask[example * width..<(example + 1) * width]
                let count = row.prefix { $0 != 0 }.count
                guard row.dropFirst(count).allSatisfy({ $0 == 0 }) else {
                    throw Problem(
                        .incompatible, "bad-mask", tensor: info.name,
                        "masks something other than the end of example \(example)", hint: "pad examples on the right")
                }
                result.append(count)
            }
            return result
        }
    }
}
