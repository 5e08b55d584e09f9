/// How llama.cpp's converters reorder the rows of a weight, and so of a LoRA's B.
///
/// Columns, and so a LoRA's A, stay as they are.
public enum RowPermutation: Sendable, Equatable {
    /// Rows stay in their order.
    case none
    /// Hugging Face rotates the first half of a head's rows with the second half, ggml even rows with odd ones: row
    /// `h * size / 2 + i` of a head of `size` rows becomes row `2 * i + h`.
    case halves(heads: Int)
    /// For each group the queries of `heads / groups` heads, a key and a value; they become all queries, all keys, all
    /// values.
    case fused(heads: Int, groups: Int)

    /// How a tensor's rows are reordered in files of an architecture.
    ///
    /// - Parameters:
    ///   - ggufName: its name in the GGUF file.
    ///   - heads: attention heads of the model (`num_attention_heads`).
    ///   - keyValueHeads: heads of keys and values (`num_key_value_heads`); as many as heads where the config has none,
    ///     but in a Falcon 1.
    public init(_ ggufName: String, architecture: String, heads: Int, keyValueHeads: Int) {
        let module = ggufName.split(separator: ".").first { $0.hasPrefix("attn_") }
        switch (architecture, module) {
        case ("llama", "attn_q"), ("olmo", "attn_q"): self = .halves(heads: heads)
        case ("llama", "attn_k"), ("olmo", "attn_k"): self = .halves(heads: keyValueHeads)
        case ("falcon", "attn_qkv"): self = .fused(heads: heads, groups: keyValueHeads)
        case ("gptneox", "attn_qkv"): self = .fused(heads: heads, groups: heads)
        default: self = .none
        }
    }

    /// For each row in the GGUF file, which of the model's it is; `nil` if so many rows cannot be of so many heads.
    public func order(rows: Int) -> [Int]? {
        switch self {
        case .none: return Array(0..<rows)
        case .halves(let heads):
            guard heads > 0, rows % heads == 0, rows / heads % 2 == 0 else { return nil }
            let size = rows / heads
            return (0..<rows).map { $0 / size * size + $0 % 2 * (size / 2) + $0 % size / 2 }
        case .fused(let heads, let groups):
            guard groups > 0, heads > 0, heads % groups == 0, rows % (heads + 2 * groups) == 0 else { return nil }
            return Self.fused(queries: heads / groups, groups: groups, size: rows / (heads + 2 * groups))
        }
    }

    private static func fused(queries: Int, groups: Int, size: Int) -> [Int] {
        let group = (queries + 2) * size
        var order: [Int] = []
        for part in [0..<queries * size, queries * size..<(queries + 1) * size, (queries + 1) * size..<group] {
            for at in 0..<groups { order += part.map { at * group + $0 } }
        }
        return order
    }

    /// A matrix with its rows in the order of the GGUF file; `nil` if so many rows cannot be of so many heads.
    ///
    /// - Parameter matrix: row-major, `rows` rows of equally many numbers or bytes.
    public func applied<T>(to matrix: [T], rows: Int) -> [T]? {
        moved(matrix, rows) { new, old in (from: old, to: new) }
    }

    /// A matrix from a GGUF file with its rows in the model's order: the inverse of `applied(to:rows:)`.
    public func undone<T>(on matrix: [T], rows: Int) -> [T]? {
        moved(matrix, rows) { new, old in (from: new, to: old) }
    }

    private func moved<T>(_ matrix: [T], _ rows: Int, _ way: (Int, Int) -> (from: Int, to: Int)) -> [T]? {
        guard rows > 0, matrix.count % rows == 0, let order = order(rows: rows) else { return nil }
        if self == .none { return matrix }
        let width = matrix.count / rows
        var sources = order
        for (new, old) in order.enumerated() {
            let (from, to) = way(new, old)
            sources[to] = from
        }
        var result: [T] = []
        result.reserveCapacity(matrix.count)
        for from in sources { result += matrix[from * width..<(from + 1) * width] }
        return result
    }
}
