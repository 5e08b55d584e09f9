/// A bottleneck adapter (Houlsby et al., arXiv:1902.00751): y = x + (swish(xDᵀ + c))Uᵀ + b.
///
/// D is size × hidden, U hidden × size; with U and b zero it changes nothing.
final class Bottleneck<T: Real>: Sendable {
    let down: Linear<T>
    let up: Linear<T>

    init(down: Linear<T>, up: Linear<T>) { (self.down, self.up) = (down, up) }

    /// What the way back needs.
    struct Saved {
        var down: Linear<T>.Saved
        /// What goes into swish, and ones for the kernel's second factor (n × size).
        var inner: Matrix<T>
        var ones: Matrix<T>
        var up: Linear<T>.Saved
    }

    /// y (n × hidden) from x (n × hidden).
    func forward(_ x: Matrix<T>, _ pass: Pass<T>) -> (y: Matrix<T>, saved: Saved) {
        let (inner, downSaved) = down.forward(x, pass)
        let ones = pass.arena.matrix(inner.rows, inner.columns)
        ones.fill(1)
        let active = SwiGLU.forward(gate: inner, up: ones, pass)
        let (y, upSaved) = up.forward(active, pass)
        y.add(x)
        return (y, Saved(down: downSaved, inner: inner, ones: ones, up: upSaved))
    }

    /// Adds the gradients of D, c, U and b; returns dx (n × hidden) from dy (n × hidden).
    func backward(_ dy: Matrix<T>, _ saved: Saved, _ pass: Pass<T>) -> Matrix<T> {
        guard let dactive = up.backward(dy, saved.up, needsInput: true, pass) else { return dy }
        let dinner = pass.arena.matrix(dactive.rows, dactive.columns)
        let dones = pass.arena.matrix(dactive.rows, dactive.columns)
        SwiGLU.backward(dactive, gate: saved.inner, up: saved.ones, into: (dinner, dones))
        guard let dx = down.backward(dinner, saved.down, needsInput: true, pass) else { return dy }
        dx.add(dy)
        return dx
    }
}
