import Problems
import Safetensors

/// Two factors whose product is part of a delta: left (rows × rank), right (rank × columns).
///
/// Of a convolution with a middle tensor (rank × rank × kernel...), as CP and Tucker decompositions in LyCORIS have it
/// (`lycoris/functional/general.py`), the factors are stored (rank × out) and (rank × in), and
/// right[i, (q, k)] = sum over j of middle[i, j, k] · b[j, q].
struct FactorPair: Sendable {
    let a: TensorInfo
    let b: TensorInfo
    let middle: TensorInfo?
    let rows: Int
    let columns: Int
    let rank: Int

    /// Takes the parts of these names.
    init(_ parts: ModuleParts, a: String, b: String, middle: String) throws(Problem) {
        self.b = try parts.need(b)
        if parts[middle] == nil {
            self.a = try parts.need(a)
            self.middle = nil
            (rows, rank, columns) = (self.a.shape[0], self.a.shape[1], self.b.shape[1])
            guard self.b.shape[0] == rank else {
                throw parts.bad(self.b, "\(self.b.shape) does not go with '\(self.a.name)' \(self.a.shape)")
            }
            return
        }
        let tensor = try parts.need(middle, dimensions: 3...5)
        self.a = try parts.need(a)
        self.middle = tensor
        (rank, rows) = (self.a.shape[0], self.a.shape[1])
        guard tensor.shape[0] == rank, tensor.shape[1] == self.b.shape[0] else {
            throw parts.bad(
                tensor,
                "\(tensor.shape) does not go with '\(self.a.name)' \(self.a.shape) and '\(self.b.name)' "
                    + "\(self.b.shape)")
        }
        columns = try parts.size(self.b.shape[1], tensor.shape.dropFirst(2).reduce(1, *), of: tensor)
    }

    /// Reads both as they are multiplied.
    func load(_ read: ValueReader) throws(Problem) -> (left: [Double], right: [Double]) {
        guard let middle else { return (try read(a), try read(b)) }
        let left = DenseMatrix.transposed(try read(a), rows: rank, columns: rows)
        return (left, Self.joined(try read(middle), middle.shape, try read(b), inputs: b.shape[1]))
    }

    /// right[i, (q, k)] = sum over j of middle[i, j, k] · b[j, q].
    static func joined(_ middle: [Double], _ shape: [Int], _ b: [Double], inputs: Int) -> [Double] {
        let (outer, inner, kernel) = (shape[0], shape[1], shape.dropFirst(2).reduce(1, *))
        var result = [Double](repeating: 0, count: outer * inputs * kernel)
        for i in 0..<outer {
            for j in 0..<inner {
                let start = (i * inner + j) * kernel
                for q in 0..<inputs {
                    let factor = b[j * inputs + q]
                    let place = (i * inputs + q) * kernel
                    for k in 0..<kernel { result[place + k] += middle[start + k] * factor }
                }
            }
        }
        return result
    }
}
