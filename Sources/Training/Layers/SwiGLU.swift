/// h = gate · sigmoid(gate) · up, element by element (Shazeer, arXiv:2002.05202).
enum SwiGLU<T: Real> {
    /// h (n × intermediate) from gate and up (n × intermediate).
    static func forward(gate: Matrix<T>, up: Matrix<T>, _ pass: Pass<T>) -> Matrix<T> {
        let h = pass.arena.matrix(gate.rows, gate.columns)
        precondition(up.rows == gate.rows && up.columns == gate.columns, "two halves of one shape")
        for row in 0..<h.rows { unsafe T.swiglu(gate.row(row), up.row(row), h.row(row), h.columns) }
        return h
    }

    /// Writes the gradients by gate and up (n × intermediate each), from dh (n × intermediate).
    static func backward(_ dh: Matrix<T>, gate: Matrix<T>, up: Matrix<T>, into d: (gate: Matrix<T>, up: Matrix<T>)) {
        for other in [gate, up, d.gate, d.up] {
            precondition(other.rows == dh.rows && other.columns == dh.columns, "a gradient of another shape")
        }
        for row in 0..<dh.rows {
            unsafe T.swigluBack(
                gate.row(row), up.row(row), dh.row(row), d.gate.row(row), d.up.row(row), dh.columns)
        }
    }
}
