import Adapters
import Merging
import Problems
import Safetensors

/// A model with one set of adapters that does not change any more, whatever is attached to the model meanwhile.
///
/// Layers that come from one snapshot belong together: take one for each pass over the model.
public struct ModelSnapshot: Sendable {
    let base: ServedBase
    /// What is attached, in the order in which deltas are summed.
    public let attachments: [Attachment]
    /// The tensors that the adapters change or bring.
    private let changed: [String: ServedTensor]

    init(_ base: ServedBase, attachments: [Attachment], changed: [ServedTensor]) {
        self.base = base
        self.attachments = attachments
        self.changed = Dictionary(changed.map { ($0.name, $0) }) { first, _ in first }
    }

    /// The names of all parameters: the base's, tied ones included, and those that only adapters have.
    public var parameterNames: [String] {
        let known = base.names
        let set = Set(known)
        return known + changed.keys.filter { !set.contains($0) }.sorted()
    }

    /// Names of the parameters that the adapters change or bring, sorted.
    public var changedNames: [String] { changed.keys.sorted() }

    /// The parameter of that name, or the module's `weight`.
    private func find(_ name: String) throws(Problem) -> ServedTensor {
        if let found = try parameter(name) { return found }
        if let found = try parameter(name + ".weight") { return found }
        throw Problem(
            .incompatible, "no-tensor", file: base.checkpoint.path, tensor: name,
            attachments.isEmpty ? "is not in the base" : "is neither in the base nor brought by an adapter",
            hint: "adapter-inspect --tensors lists what the base has")
    }

    private func parameter(_ name: String) throws(Problem) -> ServedTensor? {
        if let found = changed[name] { return found }
        if let found = try base.tensor(name) { return found }
        guard let stored = base.stored(name) else { return nil }
        if let found = changed[stored] { return found }
        return try base.tensor(stored)
    }

    /// The name by which a weight was asked for, as a parameter's: it decides about bias and layout.
    private func fullName(_ name: String) throws(Problem) -> String {
        try parameter(name) == nil ? name + ".weight" : name
    }

    /// A linear layer y = xW'ᵀ + b'; reads its weight if that was not done before.
    ///
    /// - Parameters:
    ///   - name: the module's path or the weight's name, as the checkpoint has it: `model.layers.0.self_attn.q_proj`. Any
    ///     matrix will do: a head that is tied, an embedding that serves as a head, `in_proj_weight`. A convolution's weight
    ///     (out × in × kernel...) is the matrix (out × in·kernel...), for patches that are laid out like that.
    ///   - expert: which one, for experts that are stored in one tensor (experts × out × in).
    ///   - layout: how the weight lies in the file; `nil` takes what the architecture says.
    /// - Throws: `no-tensor`, `no-matrix`, `no-expert`, `bad-dtype` (integers), `quantized-base` (8 bits whose scales are not
    ///   understood), `shape-mismatch` (a bias that does not fit), or what reading met.
    public func linear(_ name: String, expert: Int? = nil, layout: WeightLayout? = nil) throws(Problem) -> LinearLayer {
        let tensor = try find(name)
        let full = try fullName(name)
        let view = try tensor.view(experts: expert != nil)
        let matrix = try tensor.matrix(view, batch: expert ?? 0, threads: base.threads)
        let isTransposed =
            layout.map { $0 == .inByOut }
            ?? (base.traits.isStoredTransposed(ParameterName.module(of: full), isExperts: expert != nil)
                && (expert != nil || tensor.shape.count == 2))
        let outputs = isTransposed ? matrix.columns : matrix.rows
        let bias = try bias(of: full, outputs: outputs, expert: expert)
        return LinearLayer(name: full, matrix: matrix, isTransposed: isTransposed, bias: bias)
    }

    private func bias(of weight: String, outputs: Int, expert: Int?) throws(Problem) -> [Double]? {
        let name = weight.hasSuffix("weight") ? weight.dropLast("weight".utf8.count) + "bias" : weight + "_bias"
        guard let tensor = try parameter(String(name)) else { return nil }
        let values = try tensor.vector()
        let start = (expert ?? 0) * outputs
        guard values.count == (expert == nil ? outputs : (tensor.shape.first ?? 0) * outputs),
            start + outputs <= values.count
        else {
            throw Problem(
                .incompatible, "shape-mismatch", tensor: tensor.name,
                "shape \(tensor.shape) is no bias for \(outputs) outputs of '\(weight)'",
                hint: "does the weight lie the other way round? Say so with 'layout'")
        }
        return Array(values[start..<start + outputs])
    }

    /// An embedding: rows of W' by token; reads its weight if that was not done before.
    ///
    /// - Parameter name: the module's path or the weight's name.
    public func embedding(_ name: String) throws(Problem) -> EmbeddingLayer {
        let tensor = try find(name)
        let matrix = try tensor.matrix(try tensor.view(experts: false), batch: 0)
        return EmbeddingLayer(name: tensor.name, matrix: matrix)
    }

    /// All values of any parameter under the adapters: of a norm, a bias, a buffer; of a matrix W' itself.
    ///
    /// - Returns: the shape, and the values row-major, computed in float64 and rounded once.
    public func tensor(_ name: String) throws(Problem) -> (shape: [Int], values: [Float]) {
        let tensor = try find(name)
        guard tensor.shape.count >= 2, !tensor.shape.contains(0) else {
            return (tensor.shape, try tensor.vector().map { Float($0) })
        }
        let view = try tensor.view()
        var values: [Float] = []
        values.reserveCapacity(tensor.shape.reduce(1, *))
        let height = max(1, ServedWeight.blockElements / max(1, view.columns))
        for batch in 0..<view.batches {
            let matrix = try tensor.matrix(view, batch: batch)
            for first in stride(from: 0, to: view.rows, by: height) {
                let part = Array(first..<min(view.rows, first + height))
                for value in matrix.values(part) { values.append(Float(value)) }
            }
        }
        return (tensor.shape, values)
    }
}
