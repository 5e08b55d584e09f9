/// How the tensors of a checkpoint are distributed over files of a limited size.
public enum ShardSplit {
    /// Fills files in order; a tensor larger than the limit gets a file of its own.
    ///
    /// - Parameters:
    ///   - sizes: the bytes of each tensor.
    ///   - limit: the most bytes of tensors in a file.
    /// - Returns: the files with the names that transformers gives them, and which tensors are in each; at least one.
    public static func files(sizes: [Int], limit: Int) -> [(name: String, tensors: Range<Int>)] {
        files(sizes: sizes, limit: limit, names: .usual)
    }

    /// The same with names of another stem, or of a variant.
    package static func files(
        sizes: [Int], limit: Int, names: WeightNames
    ) -> [(name: String, tensors: Range<Int>)] {
        var starts = [0]
        var filled = 0
        for (at, size) in sizes.enumerated() {
            if at > starts[starts.count - 1], filled > limit - min(limit, size) {
                starts.append(at)
                filled = 0
            }
            filled += size
        }
        if starts.count == 1 { return [("\(names.start).safetensors", 0..<sizes.count)] }
        let ends = starts.dropFirst() + [sizes.count]
        return zip(starts, ends).enumerated().map { at, ends in
            ("\(names.start)-\(padded(at + 1))-of-\(padded(starts.count)).safetensors", ends.0..<ends.1)
        }
    }

    private static func padded(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }
}
