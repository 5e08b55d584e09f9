/// h = gate · sigmoid(gate) · up, element by element (Shazeer, arXiv:2002.05202).
enum SwiGLU<T: Real> {
    /// h (n × intermediate) from gate and up (n × intermediate).
    static func forward(gate: Matrix<T>, up: Matrix<T>, _ pass: Pass<T>) -> Matrix<T> {
        let h = pass.arena.matrix(gate.rows, gate.columns)
        precondition(up.rows == gate.rows && up.columns == gate.columns && gate.isContiguous && up.isContiguous)
        unsafe T.swiglu(gate.base, up.base, h.base, h.count)
        return h
    }

    /// Gradients by gate and up (n × intermediate each), from dh (n × intermediate).
    static func backward(
        _ dh: Matrix<T>, gate: Matrix<T>, up: Matrix<T>, _ pass: Pass<T>
    ) -> (gate: Matrix<T>, up: Matrix<T>) {
        let dgate = pass.arena.matrix(gate.rows, gate.columns)
        let dup = pass.arena.matrix(gate.rows, gate.columns)
        precondition(dh.rows == gate.rows && dh.columns == gate.columns && dh.isContiguous)
        unsafe T.swigluBack(gate.base, up.base, dh.base, dgate.base, dup.base, dh.count)
        return (dgate, dup)
    }
}
