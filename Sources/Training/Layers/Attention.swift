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

    /// Queries of a block.
    private static var height: Int { 128 }

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

    /// One head of one sequence, and some of its queries.
    private struct Block {
        /// Rows of queries, as rows of the pass.
        let rows: Range<Int>
        /// Rows of keys that they see among them.
        let keys: Range<Int>
        let queryColumns: Range<Int>
        let keyColumns: Range<Int>
        let head: Int
        /// The first row of the sequence.
        let start: Int
    }

    private func eachBlock(_ segments: [Segment], _ body: (Block) -> Void) {
        for segment in segments {
            for head in 0..<heads {
                let shared = head / (heads / keyValueHeads)
                for first in stride(from: 0, to: segment.count, by: Self.height) {
                    let end = min(segment.count, first + Self.height)
                    let seen = window.map { max(0, first + 1 - $0) } ?? 0
                    body(
                        Block(
                            rows: segment.start + first..<segment.start + end,
                            keys: segment.start + seen..<segment.start + end,
                            queryColumns: head * size..<(head + 1) * size,
                            keyColumns: shared * size..<(shared + 1) * size, head: head, start: segment.start))
                }
            }
        }
    }

    /// The columns of a block's scores that its query `row` sees.
    private func columns(_ block: Block, _ row: Int) -> Range<Int> {
        let first = window.map { max(block.keys.lowerBound, row + 1 - $0) } ?? block.keys.lowerBound
        let start = first - block.keys.lowerBound
        // With a prefix there is no window, so that what a query sees is one run.
        return start..<row + 1 - block.keys.lowerBound + prefixCount
    }

    /// q · kᵀ of a block (its rows × prefix and keys), not scaled yet.
    private func scores(_ block: Block, _ queries: Matrix<T>, _ keys: Matrix<T>, _ arena: Arena<T>) -> Matrix<T> {
        let scores = arena.matrix(block.rows.count, prefixCount + block.keys.count)
        let q = queries.rows(block.rows).columns(block.queryColumns)
        let k = keys.rows(block.keys).columns(block.keyColumns)
        scores.columns(prefixCount..<scores.columns).setProduct(q, k, transposingB: true)
        if let prefix {
            let own = prefix.keys.value.columns(block.keyColumns)
            scores.columns(0..<prefixCount).setProduct(q, own, transposingB: true)
        }
        return scores
    }

    /// Makes a row's scores shares, where `body` does that to those it sees, and zero elsewhere.
    private func eachRow(
        _ block: Block, _ scores: Matrix<T>, _ body: (Int, UnsafeMutablePointer<T>, Int) -> Void
    ) {
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
        let y = pass.arena.matrix(queries.rows, queries.columns)
        let logSums = pass.arena.matrix(queries.rows, heads)
        eachBlock(pass.segments) { block in
            let mark = pass.arena.mark
            let shares = scores(block, queries, keys, pass.arena)
            unsafe eachRow(block, shares) { row, seen, count in
                unsafe logSums[row, block.head] = T.softmax(seen, count, scale)
            }
            let answer = y.rows(block.rows).columns(block.queryColumns)
            let own = values.rows(block.keys).columns(block.keyColumns)
            answer.setProduct(shares.columns(prefixCount..<shares.columns), own)
            if let prefix {
                let other = prefix.values.value.columns(block.keyColumns)
                answer.setProduct(shares.columns(0..<prefixCount), other, adding: true)
            }
            pass.arena.rewind(to: mark)
        }
        return (y, Saved(queries: queries, keys: keys, values: values, logSums: logSums))
    }

    /// Gradients by queries, keys and values, of their shapes, from dy (n × heads · d); adds those of the prefix.
    ///
    /// - Parameter needs: which of them are wanted; the others are nil.
    func backward(
        _ dy: Matrix<T>, _ saved: Saved, needs: (queries: Bool, keys: Bool, values: Bool), _ pass: Pass<T>
    ) -> (queries: Matrix<T>?, keys: Matrix<T>?, values: Matrix<T>?) {
        let arena = pass.arena
        let dq = needs.queries ? arena.matrix(saved.queries.rows, saved.queries.columns) : nil
        let dk = needs.keys ? arena.zeros(saved.keys.rows, saved.keys.columns) : nil
        let dv = needs.values ? arena.zeros(saved.values.rows, saved.values.columns) : nil
        eachBlock(pass.segments) { block in
            let mark = arena.mark
            let shares = scores(block, saved.queries, saved.keys, arena)
            unsafe eachRow(block, shares) { row, seen, count in
                unsafe T.softmaxAgain(seen, count, scale, saved.logSums[row, block.head])
            }
            let own = prefixCount..<shares.columns
            let dAnswer = dy.rows(block.rows).columns(block.queryColumns)
            dv?.rows(block.keys).columns(block.keyColumns).setProduct(
                shares.columns(own), dAnswer, transposingA: true, adding: true)
            if dq != nil || dk != nil || prefix != nil {
                let dScores = scoreGradients(block, shares, dAnswer, saved, arena)
                let q = saved.queries.rows(block.rows).columns(block.queryColumns)
                let k = saved.keys.rows(block.keys).columns(block.keyColumns)
                let dQueries = dq?.rows(block.rows).columns(block.queryColumns)
                dQueries?.setProduct(dScores.columns(own), k)
                dk?.rows(block.keys).columns(block.keyColumns).setProduct(
                    dScores.columns(own), q, transposingA: true, adding: true)
                if let prefix { backward(prefix, block, shares, dScores, dAnswer, q, dQueries, pass) }
            }
            arena.rewind(to: mark)
        }
        return (dq, dk, dv)
    }

    /// The gradient by a block's scores, from that by its answers.
    private func scoreGradients(
        _ block: Block, _ shares: Matrix<T>, _ dAnswer: Matrix<T>, _ saved: Saved, _ arena: Arena<T>
    ) -> Matrix<T> {
        let dScores = arena.matrix(shares.rows, shares.columns)
        dScores.columns(prefixCount..<shares.columns).setProduct(
            dAnswer, saved.values.rows(block.keys).columns(block.keyColumns), transposingB: true)
        if let prefix {
            dScores.columns(0..<prefixCount).setProduct(
                dAnswer, prefix.values.value.columns(block.keyColumns), transposingB: true)
        }
        for row in 0..<shares.rows { unsafe T.softmaxBack(shares.row(row), dScores.row(row), shares.columns, scale) }
        return dScores
    }

    /// What of the way back the prefix has part in.
    private func backward(
        _ prefix: (keys: Parameter<T>, values: Parameter<T>), _ block: Block, _ shares: Matrix<T>,
        _ dShares: Matrix<T>, _ dAnswer: Matrix<T>, _ queries: Matrix<T>, _ dQueries: Matrix<T>?, _ pass: Pass<T>
    ) {
        let range = 0..<prefixCount
        dQueries?.setProduct(dShares.columns(range), prefix.keys.value.columns(block.keyColumns), adding: true)
        if let gradient = pass.gradients?[prefix.keys] {
            gradient.columns(block.keyColumns).setProduct(
                dShares.columns(range), queries, transposingA: true, adding: true)
        }
        if let gradient = pass.gradients?[prefix.values] {
            gradient.columns(block.keyColumns).setProduct(
                shares.columns(range), dAnswer, transposingA: true, adding: true)
        }
    }
}
