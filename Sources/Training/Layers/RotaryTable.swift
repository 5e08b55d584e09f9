import Models

/// Rotary embeddings (Su et al., arXiv:2104.09864): each pair (i, i + d/2) of a head is turned by position · frequency i.
struct RotaryTable<T: Real>: Sendable {
    /// Positions × d/2.
    private let cosines: Matrix<T>
    private let sines: Matrix<T>
    private let opposite: Matrix<T>

    init(_ rotary: Rotary, positions: Int) {
        let half = rotary.frequencies.count
        cosines = Matrix(rows: positions, columns: half)
        sines = Matrix(rows: positions, columns: half)
        opposite = Matrix(rows: positions, columns: half)
        for position in 0..<positions {
            let (c, s) = rotary.angles(at: position)
            for at in 0..<half {
                cosines[position, at] = T(c[at])
                sines[position, at] = T(s[at])
                opposite[position, at] = T(-s[at])
            }
        }
    }

    /// Turns all heads of `x` (n × heads · d) in place; back again, which is the transpose, on the way back.
    ///
    /// - Parameter offset: the position of a sequence's first row.
    func turn(_ x: Matrix<T>, segments: [Segment], offset: Int, back: Bool = false) {
        let half = cosines.columns
        precondition(x.columns % (2 * half) == 0, "heads of another size")
        for segment in segments {
            precondition(offset + segment.count <= cosines.rows, "a position beyond the table")
            for at in 0..<segment.count {
                let row = unsafe x.row(segment.start + at)
                let (c, s) = unsafe (cosines.row(offset + at), (back ? opposite : sines).row(offset + at))
                for head in stride(from: 0, to: x.columns, by: 2 * half) { unsafe T.turn(row + head, c, s, half) }
            }
        }
    }
}
