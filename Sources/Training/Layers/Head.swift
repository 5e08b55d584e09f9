/// The head and its loss: cross entropy of softmax(xWᵀ), in nats, of the positions that have a target.
///
/// Logits are made for some rows at a time, so that a large vocabulary needs little memory.
final class Head<T: Real>: Sendable {
    /// W (vocabulary × hidden), alone or with LoRA.
    let linear: Linear<T>

    init(linear: Linear<T>) { self.linear = linear }

    /// Rows whose logits there are at a time: some 16 MB of them.
    private var height: Int { max(16, (4 << 20) / max(1, linear.weight.value.rows)) }

    /// Σ of the losses of all targets; with gradients, also their derivatives times `factor`.
    ///
    /// - Parameters:
    ///   - x: n × hidden.
    ///   - targets: n ids, or `TokenSequence.ignored`.
    ///   - dx: what comes back is written here (n × hidden), if there is a way back.
    func loss(_ x: Matrix<T>, targets: [Int32], factor: Double, dx: Matrix<T>?, _ pass: Pass<T>) -> Double {
        var sum = 0.0
        for first in stride(from: 0, to: x.rows, by: height) {
            let rows = first..<min(x.rows, first + height)
            let mark = pass.arena.mark
            sum += loss(x.rows(rows), Array(targets[rows]), factor, dx?.rows(rows), inner(pass, rows))
            pass.arena.rewind(to: mark)
        }
        return sum
    }

    /// The same pass for some of its rows; dropout has no part in heads.
    private func inner(_ pass: Pass<T>, _ rows: Range<Int>) -> Pass<T> {
        Pass(
            arena: pass.arena, gradients: pass.gradients, dropout: nil,
            segments: [Segment(start: 0, count: rows.count, key: 0)])
    }

    private func loss(
        _ x: Matrix<T>, _ targets: [Int32], _ factor: Double, _ dx: Matrix<T>?, _ pass: Pass<T>
    ) -> Double {
        let (logits, saved) = linear.forward(x, pass)
        var sum = 0.0
        for (row, target) in targets.enumerated() {
            guard target != TokenSequence.ignored else {
                if pass.gradients != nil { logits.rows(row..<row + 1).fill(0) }
                continue
            }
            let own = logits[row, Int(target)]
            let logSum = unsafe T.softmax(logits.row(row), logits.columns, 1)
            sum += Double(logSum - own)
            guard pass.gradients != nil else { continue }
            // d loss / d logit = p − [it is the target].
            logits[row, Int(target)] -= 1
            logits.rows(row..<row + 1).scale(T(factor))
        }
        if pass.gradients != nil, let back = linear.backward(logits, saved, needsInput: dx != nil, pass) {
            dx?.copy(back)
        }
        return sum
    }
}
