import Safetensors

/// Says in words why a pair of factors does not lie on a weight.
enum FitExplanation {
    /// What is wrong, which tensor shows it, and what may help.
    static func explain(_ module: AdapterModule, base: TensorInfo, rank: Int, baseModel: String?)
        -> (tensor: TensorInfo, message: String, hint: String)
    {
        let (a, b) = (module.down, module.up)
        let names = module.isEmbedding ? ("lora_embedding_A", "lora_embedding_B") : ("lora_A", "lora_B")
        guard a.shape.count >= 2, b.shape.count == a.shape.count else {
            return (a, "shape \(a.shape) does not go with shape \(b.shape) of '\(b.name)'", "save the adapter again")
        }
        let (r, into, out, r2) = (a.shape[0], a.shape[1], b.shape[0], b.shape[1])
        let weight = "the base weight '\(base.name)' \(base.shape)"
        if a.shape.count == 2, base.shape.count == 2, !module.isEmbedding, into == rank, out == rank,
            r != rank || r2 != rank
        {
            return turned(a, b, names: names, weight: weight, base: base)
        }
        if r != r2 {
            return inner(a, b, rank: rank, names: names, weight: weight, base: base)
        }
        let shape = base.shape
        if r == rank || into != rank, shape.count == 2, [out, into] != shape, [into, out] != shape {
            if Set([r, r2]).isDisjoint(with: [rank]) && (into == rank || out == rank) {
                return (a, "shape \(a.shape) looks transposed for \(weight)", "transpose it back")
            }
        }
        let named = baseModel.map { "; its config names '\($0)'" } ?? ""
        return (
            out == shape.first || shape.contains(out) ? a : b,
            "shapes \(a.shape) of \(names.0) and \(b.shape) of \(names.1) need a base weight "
                + "\(needed(module, out: out, into: into)), but \(weight) is not that",
            "the adapter was trained on a different base\(named)"
        )
    }

    /// lora_A is [x, rank] and lora_B [rank, y]: exchanged, or both transposed; where x = y one cannot tell.
    private static func turned(
        _ a: TensorInfo, _ b: TensorInfo, names: (String, String), weight: String, base: TensorInfo
    ) -> (tensor: TensorInfo, message: String, hint: String) {
        let pair = "\(names.0) is \(a.shape) and \(names.1) is \(b.shape) for \(weight)"
        let (x, y) = (a.shape[0], b.shape[1])
        if x == y && base.shape[0] == base.shape[1] {
            return (
                a, "the halves are swapped, or both are transposed: \(pair)",
                "save the adapter again: \(names.0) must be [rank, in] and \(names.1) [out, rank]"
            )
        }
        if [x, y] == [base.shape[1], base.shape[0]] {
            return (
                a, "both halves are transposed: \(pair)",
                "transpose both back: \(names.0) must be [rank, in] and \(names.1) [out, rank]"
            )
        }
        return (a, "the halves are swapped: \(pair)", "exchange \(names.0) and \(names.1), or save the adapter again")
    }

    private static func needed(_ module: AdapterModule, out: Int, into: Int) -> String {
        module.isEmbedding ? "[\(into), \(out)]" : "[\(out), \(into)] or [\(into), \(out)]"
    }

    /// The inner dimensions of A and B differ: swapped, transposed, or of different ranks.
    private static func inner(
        _ a: TensorInfo, _ b: TensorInfo, rank: Int, names: (String, String), weight: String, base: TensorInfo
    ) -> (tensor: TensorInfo, message: String, hint: String) {
        let pair = "\(names.0) is \(a.shape) and \(names.1) is \(b.shape) for \(weight)"
        if a.shape.count == 2, a.shape[1] == b.shape[0], a.shape[1] == rank || base.shape == [a.shape[0], b.shape[1]] {
            return (
                a, "the halves are swapped: \(pair)", "exchange \(names.0) and \(names.1), or save the adapter again"
            )
        }
        if a.shape.count == 2, a.shape[1] == b.shape[1] {
            return (
                a,
                "\(names.0) is transposed: \(pair), but \(names.0) must be [rank, in] = [\(a.shape[1]), \(a.shape[0])]",
                "transpose it back, or save the adapter again"
            )
        }
        if b.shape.count == 2, b.shape[0] == a.shape[0] {
            return (
                b,
                "\(names.1) is transposed: \(pair), but \(names.1) must be [out, rank] = [\(b.shape[1]), \(b.shape[0])]",
                "transpose it back, or save the adapter again"
            )
        }
        return (
            a, "the ranks differ: \(pair), so one has rank \(a.shape[0]) and the other \(b.shape[1])",
            "both must have rank \(rank), as the config says"
        )
    }
}
