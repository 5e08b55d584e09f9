import Adapters
import Console

/// The norms as a picture: a row for each layer, a column for each kind of module.
struct NormPicture {
    let map: HeatMap

    init(_ facts: AdapterFacts, norms: ModuleNorms, path: String) {
        let places = facts.modules.map { NamePlace($0.path) }
        let stacks = Set(places.compactMap { $0.layer == nil ? nil : $0.stack })
        var rows: [NamePlace.Row: Int] = [:]
        for row in Set(places.map(\.row)).sorted() { rows[row] = rows.count }
        let kinds = Set(places.map(\.kind)).sorted { Self.order($0) < Self.order($1) }
        let columns = Dictionary(uniqueKeysWithValues: kinds.enumerated().map { ($1, $0) })
        let leaves = kinds.map { kind in NamePlace("x.0." + kind).leaf }
        let isUnique = Set(leaves).count == leaves.count
        let blank = [(delta: Double, weight: Double)?](repeating: nil, count: kinds.count)
        var squares = [[(delta: Double, weight: Double)?]](repeating: blank, count: rows.count)
        for (index, place) in places.enumerated() {
            guard let delta = norms.deltas[index], let row = rows[place.row], let column = columns[place.kind] else {
                continue
            }
            var weight = 1.0
            if norms.hasWeights {
                guard let norm = norms.weights[index], norm > 0 else { continue }
                weight = norm
            }
            let old = squares[row][column] ?? (0, 0)
            // Several modules of one cell, such as experts: all together.
            squares[row][column] = (
                old.delta + delta.frobenius * delta.frobenius, norms.hasWeights ? old.weight + weight * weight : 1
            )
        }
        let names = rows.sorted { $0.value < $1.value }.map { row in
            row.key.layer.map { stacks.count > 1 ? "\(row.key.stack) \($0)" : "layer \($0)" } ?? "no layer"
        }
        map = HeatMap(
            title: path.split(separator: "/").last { $0 != "." && $0 != ".." }.map(String.init) ?? path, rows: names,
            columns: isUnique ? leaves : kinds,
            values: squares.map { $0.map { $0.map { ($0.delta / $0.weight).squareRoot() } } },
            legend: norms.hasWeights ? "norm of the delta relative to the weight" : "Frobenius norm of the delta")
    }

    /// Attention, then MLP, each in the order of computation; then what goes by other names.
    private static func order(_ kind: String) -> (Int, String) {
        let known = [
            "q_proj", "k_proj", "v_proj", "qkv_proj", "o_proj", "gate_proj", "up_proj", "gate_up_proj", "down_proj",
        ]
        return (known.firstIndex(of: NamePlace("x.0." + kind).leaf) ?? known.count, kind)
    }
}

extension NamePlace {
    /// A layer of a stack, in the order of the picture: stack by stack, what has no layer at the end.
    struct Row: Hashable, Comparable {
        let stack: String
        let layer: Int?

        static func < (a: Row, b: Row) -> Bool {
            guard let own = a.layer, let other = b.layer else { return a.layer != nil && b.layer == nil }
            return a.stack != b.stack ? a.stack < b.stack : own < other
        }
    }

    var row: Row { Row(stack: stack, layer: layer) }
}
