/// Causal attention of grouped heads (Vaswani et al., arXiv:1706.03762; Ainslie et al., arXiv:2305.13245): for each head
/// softmax(qkᵀ / √d) v over the positions up to a query's own.
///
/// Scores are never kept: the way there keeps the logarithm of each query's sum, and the way back computes them again in
/// blocks of rows (Dao et al., arXiv:2205.14135), so that memory grows with the length, not with its square.
struct Attention<T: Real>: Sendable {
    let heads: Int
    /// Heads of keys and values; each serves heads / keyValueHeads heads of queries.
    let keyValueHeads: Int
    /// d.
    let size: Int
    /// How many positions a query sees, its own included; nil for all up to it.
    let window: Int?
    /// Prefix tuning (arXiv:2101.00190): keys and values in front of every sequence, virtual positions × keyValueHeads · d each.
    ///
    /// They are not turned, and every query sees them.
    let prefix: (keys: Parameter<T>, values: Parameter<T>)?

    /// Queries of a block: few, so that little is computed of what they don't see.
    private static var height: Int { 32 }

    private var scale: T { T(1 / Double(size).squareRoot()) }
    private var prefixCount: Int { prefix?.keys.value.rows ?? 0 }

    /// What the way back needs.
    struct Saved {
        var queries: Matrix<T>
        var keys: Matrix<T>
        var values: Matrix<T>
        /// log Σ e^score of each query (n × heads).
        var logSums: Matrix<T>
    }

    /// One head of one sequence.
    private struct Head {
        let number: Int
        /// The sequence's rows.
        let rows: Range<Int>
        /// Columns of queries and answers.
        let columns: Range<Int>
        /// Columns of the keys and values that it looks at.
        let keyColumns: Range<Int>

        /// Its part of queries or answers.
        func own(_ matrix: Matrix<T>) -> Matrix<T> { matrix.rows(rows).columns(columns) }

        /// Its part of keys or values.
        func shared(_ matrix: Matrix<T>) -> Matrix<T> { matrix.rows(rows).columns(keyColumns) }
    }

    /// Some queries of a head and the keys that they see among them, as rows of the sequence.
    private struct Block {
        let rows: Range<Int>
        let keys: Range<Int>
    }

    /// Calls `body` for each head of each sequence; what it takes from the arena is given back.
    private func eachHead(_ pass: Pass<T>, _ body: (Head) -> Void) {
        for segment in pass.segments {
            for head in 0..<heads {
                let mark = pass.arena.mark
                let shared = head / (heads / keyValueHeads)
                body(
                    Head(
                        number: head, rows: segment.range, columns: head * size..<(head + 1) * size,
                        keyColumns: shared * size..<(shared + 1) * size))
                pass.arena.rewind(to: mark)
            }
        }
    }

    /// Calls `body` for each block of a head; what it takes from the arena is given back.
    private func eachBlock(_ head: Head, _ arena: Arena<T>, _ body: (Block) -> Void) {
        for first in stride(from: 0, to: head.rows.count, by: Self.height) {
            let mark = arena.mark
            let end = min(head.rows.count, first + Self.height)
            body(Block(rows: first..<end, keys: (window.map { max(0, first + 1 - $0) } ?? 0)..<end))
            arena.rewind(to: mark)
        }
    }

    /// The columns of a block's scores that its query `row` sees.
    private func columns(_ block: Block, _ row: Int) -> Range<Int> {
        let first = window.map { max(block.keys.lowerBound, row + 1 - $0) } ?? block.keys.lowerBound
        let start = first - block.keys.lowerBound
        // Behind a prefix all fits into the window, so that what a query sees is one run.
        return start..<row + 1 - block.keys.lowerBound + prefixCount
    }

    /// Products of a block's rows of `x` (n × d) with prefix and keys, or values: rows × prefix and keys.
    ///
    /// - Parameters:
    ///   - turned: keys or values of the head, transposed (d × n).
    ///   - front: those of the prefix (virtual positions × keyValueHeads · d).
    private func products(
        _ block: Block, _ x: Matrix<T>, _ turned: Matrix<T>, _ front: Parameter<T>?, _ head: Head, _ arena: Arena<T>
    ) -> Matrix<T> {
        let result = arena.matrix(block.rows.count, prefixCount + block.keys.count)
        let rows = x.rows(block.rows)
        result.columns(prefixCount..<result.columns).setSmallProduct(rows, turned.columns(block.keys))
        if let front {
            result.columns(0..<prefixCount).setProduct(
                rows, front.value.columns(head.keyColumns), transposingB: true)
        }
        return result
    }

    /// Makes a block's scores shares: by `body` where a query sees the key, zero elsewhere.
    private func eachRow(_ block: Block, _ scores: Matrix<T>, _ body: (Int, UnsafeMutablePointer<T>, Int) -> Void) {
        for (at, row) in block.rows.enumerated() {
            let seen = columns(block, row)
            let start = unsafe scores.row(at)
            for column in 0..<seen.lowerBound { unsafe start[column] = 0 }
            unsafe body(row, start + seen.lowerBound, seen.count)
            for column in seen.upperBound..<max(seen.upperBound, scores.columns) { unsafe start[column] = 0 }
        }
    }

    /// The heads' answers side by side (n × heads · d), from queries (n × heads · d), keys and values
    /// (n × keyValueHeads · d).
    func forward(
        queries: Matrix<T>, keys: Matrix<T>, values: Matrix<T>, _ pass: Pass<T>
    ) -> (y: Matrix<T>, saved: Saved) {
        let arena = pass.arena
        let y = arena.matrix(queries.rows, queries.columns)
        let logSums = arena.matrix(queries.rows, heads)
        eachHead(pass) { head in
            let (q, turned) = (head.own(queries), arena.transposed(head.shared(keys)))
            let v = arena.copy(head.shared(values))
            eachBlock(head, arena) { block in
                let shares = products(block, q, turned, prefix?.keys, head, arena)
                unsafe eachRow(block, shares) { row, seen, count in
                    unsafe logSums[head.rows.lowerBound + row, head.number] = T.softmax(seen, count, scale)
                }
                let answer = head.own(y).rows(block.rows)
                answer.setSmallProduct(shares.columns(prefixCount..<shares.columns), v.rows(block.keys))
                if let prefix {
                    let front = prefix.values.value.columns(head.keyColumns)
                    answer.setProduct(shares.columns(0..<prefixCount), front, adding: true)
                }
            }
        }
        return (y, Saved(queries: queries, keys: keys, values: values, logSums: logSums))
    }

    /// Writes the gradients by queries, keys and values, those that are wanted, from dy (n × heads · d); adds those of
    /// the prefix.
    func backward(
        _ dy: Matrix<T>, _ saved: Saved, queries dq: Matrix<T>?, keys dk: Matrix<T>?, values dv: Matrix<T>?,
        _ pass: Pass<T>
    ) {
        let arena = pass.arena
        dk?.fill(0)
        dv?.fill(0)
        let needsScores = dq != nil || dk != nil || prefix != nil
        eachHead(pass) { head in
            let (q, k) = (arena.copy(head.own(saved.queries)), arena.copy(head.shared(saved.keys)))
            let (turnedKeys, turnedValues) = (arena.transposed(k), arena.transposed(head.shared(saved.values)))
            let dAnswers = arena.copy(head.own(dy))
            eachBlock(head, arena) { block in
                let shares = products(block, q, turnedKeys, prefix?.keys, head, arena)
                unsafe eachRow(block, shares) { row, seen, count in
                    unsafe T.softmaxAgain(
                        seen, count, scale, saved.logSums[head.rows.lowerBound + row, head.number])
                }
                let own = prefixCount..<shares.columns
                let dAnswer = dAnswers.rows(block.rows)
                if let dv {
                    head.shared(dv).rows(block.keys).setSmallProduct(
                        shares.columns(own), dAnswer, transposingA: true, adding: true)
                }
                guard needsScores else { return }
                let dScores = products(block, dAnswers, turnedValues, prefix?.values, head, arena)
                for row in 0..<shares.rows {
                    unsafe T.softmaxBack(shares.row(row), dScores.row(row), shares.columns, scale)
                }
                let dQueries = dq.map { head.own($0).rows(block.rows) }
                dQueries?.setSmallProduct(dScores.columns(own), k.rows(block.keys))
                if let dk {
                    head.shared(dk).rows(block.keys).setSmallProduct(
                        dScores.columns(own), q.rows(block.rows), transposingA: true, adding: true)
                }
                backward(head, shares, dScores, dAnswer, q.rows(block.rows), dQueries, pass)
            }
        }
    }

    /// What of a block's way back the prefix has part in.
    private func backward(
        _ head: Head, _ shares: Matrix<T>, _ dScores: Matrix<T>, _ dAnswer: Matrix<T>, _ queries: Matrix<T>,
        _ dQueries: Matrix<T>?, _ pass: Pass<T>
    ) {
        guard let prefix else { return }
        let range = 0..<prefixCount
        dQueries?.setProduct(dScores.columns(range), prefix.keys.value.columns(head.keyColumns), adding: true)
        if let gradient = pass.gradients?[prefix.keys] {
            gradient.columns(head.keyColumns).setProduct(
                dScores.columns(range), queries, transposingA: true, adding: true)
        }
        if let gradient = pass.gradients?[prefix.values] {
            gradient.columns(head.keyColumns).setProduct(
                shares.columns(range), dAnswer, transposingA: true, adding: true)
        }
    }
}
