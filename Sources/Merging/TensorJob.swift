import Adapters
import CKernels
import Files
import Problems
import Safetensors
import Synchronization
import Tensors

/// Computes one tensor of the output, block by block; blocks may be computed by several threads in any order.
///
/// The blocks depend on the tensor alone, so the statistics, added in the order of the blocks, do not depend on threads.
final class TensorJob: Sendable {
    /// Rows of one batch.
    struct Block: Sendable {
        let batch: Int
        let rows: Range<Int>
    }

    let tensor: PlannedTensor
    let blocks: [Block]
    private let view: MatrixView
    private let environment: MergeEnvironment
    private let isNarrow: Bool
    private let factors = Mutex<PreparedFactors?>(nil)
    private let batch = Mutex<PreparedBatch?>(nil)
    private let scales = Mutex<[Double]?>(nil)

    init(_ tensor: PlannedTensor, _ environment: MergeEnvironment) {
        self.tensor = tensor
        self.environment = environment
        view = tensor.view
        isNarrow = Self.isNarrow(tensor)
        let rank = tensor.terms.reduce(1) { $0 + $1.term.rank }
        let elements = isNarrow ? BlockBuffers.narrowElements : BlockBuffers.wideElements
        // Narrow matrices of high rank must not make the left factor outgrow the weights.
        let rows = max(1, min(elements / max(1, view.columns), BlockBuffers.wideElements * 4 / rank))
        var list: [Block] = []
        for batch in 0..<view.batches {
            for start in stride(from: 0, to: view.rows, by: rows) {
                list.append(Block(batch: batch, rows: start..<min(view.rows, start + rows)))
            }
        }
        blocks = list
    }

    /// Whether the float32 kernel applies, which gives the same bits faster.
    private static func isNarrow(_ tensor: PlannedTensor) -> Bool {
        guard !tensor.terms.isEmpty, tensor.source.info.dtype == tensor.dtype else { return false }
        guard tensor.dtype == .bf16 || tensor.dtype == .f16 else { return false }
        let rank = tensor.terms.reduce(0) { $0 + $1.term.rank }
        let isExact = tensor.terms.allSatisfy {
            $0.term.left.tensor.dtype != .f64 && $0.term.right.tensor.dtype != .f64
        }
        // Beyond this rank its error bound sends too many elements to the slow path.
        return isExact && rank <= 256 && tensor.magnitude == nil && tensor.rows.isEmpty && tensor.additions.isEmpty
    }

    /// Bytes of the output that a block makes.
    func byteCount(_ block: Block) -> Int { block.rows.count * view.columns * tensor.dtype.bits / 8 }

    private func firstElement(_ block: Block) -> Int {
        (block.batch * view.rows + block.rows.lowerBound) * view.columns
    }

    /// Computes `block` and writes it into `output`, where the tensor begins at `start`.
    func run(_ block: Block, _ buffers: BlockBuffers, into output: OutputFile, at start: Int) throws(Problem)
        -> ak_stats
    {
        let source = tensor.source.info
        let size = source.dtype.bits / 8
        let count = block.rows.count * view.columns
        let weights = unsafe buffers.weights(count * size)
        let first = firstElement(block)
        try unsafe environment.read(tensor.source, first * size..<(first + count) * size, into: weights)
        try unsafe replaceRows(block, in: weights)
        var stats = ak_stats()
        let result = unsafe isNarrow ? weights : buffers.output(count * tensor.dtype.bits / 8)
        if isNarrow {
            try unsafe narrow(block, buffers, weights, &stats)
        } else {
            try unsafe wide(block, buffers, weights, result, &stats)
        }
        let offset = start + first * tensor.dtype.bits / 8
        try unsafe output.write(UnsafeRawBufferPointer(result), at: offset)
        output.startWriteback(at: offset, count: byteCount(block))
        return stats
    }

    /// Forgets the factors when the last block is done.
    func release() {
        factors.withLock { $0 = nil }
        batch.withLock { $0 = nil }
        scales.withLock { $0 = nil }
    }

    // MARK: Factors

    private func prepared() throws(Problem) -> PreparedFactors {
        try factors.withLock { (kept) throws(Problem) in
            if let kept { return kept }
            let made = try PreparedFactors(tensor.terms, store: environment.store)
            kept = made
            return made
        }
    }

    private func prepared(batch index: Int, _ factors: PreparedFactors) throws(Problem) -> PreparedBatch {
        try batch.withLock { (kept) throws(Problem) in
            if let kept, kept.index == index { return kept }
            let made = try makeBatch(index, factors)
            kept = made
            return made
        }
    }

    private func makeBatch(_ index: Int, _ factors: PreparedFactors) throws(Problem) -> PreparedBatch {
        if isNarrow {
            return PreparedBatch(
                index: index, floats: factors.rightFloats(batch: index, columns: view.columns), rank: factors.rank,
                columns: view.columns)
        }
        let right = factors.rightDoubles(batch: index, columns: view.columns)
        let made = PreparedBatch(index: index, doubles: right)
        guard let magnitude = tensor.magnitude, !magnitude.isPerRow else { return made }
        made.columnFactors = try columnFactors(index, factors, right, magnitude)
        return made
    }

    // MARK: The float32 way

    private func narrow(
        _ block: Block, _ buffers: BlockBuffers, _ weights: UnsafeMutableRawBufferPointer, _ stats: inout ak_stats
    ) throws(Problem) {
        guard let kernel = tensor.dtype.kernel else { return }
        let factors = try prepared()
        let batch = try prepared(batch: block.batch, factors)
        factors.left(batch: block.batch, rows: block.rows, into: &buffers.left)
        let scratch = unsafe buffers.scratch(ak_update16_scratch(block.rows.count, factors.rank))
        unsafe ak_update16(
            kernel, weights.baseAddress, weights.baseAddress, block.rows.count, view.columns, batch.packed, batch.norms,
            buffers.left, factors.rank, scratch, &stats)
    }

    // MARK: The float64 way

    private func wide(
        _ block: Block, _ buffers: BlockBuffers, _ weights: UnsafeMutableRawBufferPointer,
        _ result: UnsafeMutableRawBufferPointer, _ stats: inout ak_stats
    ) throws(Problem) {
        let (rows, columns) = (block.rows.count, view.columns)
        guard let from = tensor.source.info.dtype.kernel, let to = tensor.dtype.kernel else {
            throw Problem(.internalFault, "bad-dtype", tensor: tensor.name, "cannot be computed with")
        }
        var rowFactors: [Double]?
        var columnFactors: [Double]?
        var hasDelta = true
        if !tensor.terms.isEmpty {
            let factors = try prepared()
            let batch = try prepared(batch: block.batch, factors)
            try delta(block, buffers, factors, batch)
            columnFactors = batch.columnFactors
            if let magnitude = tensor.magnitude, magnitude.isPerRow {
                rowFactors = try unsafe perRowFactors(block, buffers, weights, magnitude, factors)
            }
            if tensor.magnitude != nil {
                try unsafe addPlainTerms(block, buffers, factors, batch, weights, &rowFactors, &columnFactors)
            }
        } else if !tensor.additions.isEmpty {
            try addVectors(block, buffers)
        } else {
            hasDelta = false
        }
        if needsRowRests {
            if !hasDelta { clearDelta(block, buffers) }
            hasDelta = true
            try addRowRests(block, buffers)
        }
        if let table = tensor.scales {
            return try unsafe scaled(block, buffers, weights, result, table, hasDelta, &stats)
        }
        unsafe ak_finish(
            from, weights.baseAddress, columns, to, result.baseAddress, columns, rows, columns,
            hasDelta ? buffers.delta.baseAddress : nil, columns, rowFactors, columnFactors, 1, 1, &stats)
    }

    /// D of a block; for DoRA only its own adapter's, since its norm knows no other.
    private func delta(
        _ block: Block, _ buffers: BlockBuffers, _ factors: PreparedFactors, _ batch: PreparedBatch
    ) throws(Problem) {
        let count = block.rows.count * view.columns
        buffers.reserveDelta(count)
        factors.left(batch: block.batch, rows: block.rows, into: &buffers.left)
        if tensor.magnitude != nil { maskLeft(block, buffers, factors, dora: true) }
        unsafe ak_delta_f64(
            batch.right, buffers.left, block.rows.count, factors.rank, view.columns, buffers.delta.baseAddress)
    }

    /// Sets the columns of L to zero that belong to DoRA, or those that don't.
    private func maskLeft(_ block: Block, _ buffers: BlockBuffers, _ factors: PreparedFactors, dora: Bool) {
        var column = 0
        for entry in tensor.terms {
            if (entry.term.magnitude != nil) != dora {
                for row in 0..<block.rows.count {
                    for k in 0..<entry.term.rank { buffers.left[row * factors.rank + column + k] = 0 }
                }
            }
            column += entry.term.rank
        }
    }

    /// Adds the deltas of adapters without DoRA behind the magnitude: W' = (m/n)·(W + D_dora) + D_plain.
    ///
    /// They are divided by m/n, which is multiplied with later; where it is 0, W' is D_plain, written as W + (D_plain - W).
    private func addPlainTerms(
        _ block: Block, _ buffers: BlockBuffers, _ factors: PreparedFactors, _ batch: PreparedBatch,
        _ weights: UnsafeMutableRawBufferPointer, _ rowFactors: inout [Double]?, _ columnFactors: inout [Double]?
    ) throws(Problem) {
        guard tensor.terms.contains(where: { $0.term.magnitude == nil }) else { return }
        factors.left(batch: block.batch, rows: block.rows, into: &buffers.left)
        maskLeft(block, buffers, factors, dora: false)
        let count = block.rows.count * view.columns
        var plain = [Double](repeating: 0, count: count)
        unsafe ak_delta_f64(batch.right, buffers.left, block.rows.count, factors.rank, view.columns, &plain)
        let start =
            (rowFactors ?? columnFactors ?? []).contains(0)
            ? try TensorValues.doubles(unsafe Array(UnsafeRawBufferPointer(weights)), tensor.source.info.dtype) : []
        for row in 0..<block.rows.count {
            for column in 0..<view.columns {
                let factor = rowFactors?[row] ?? columnFactors?[column] ?? 1
                let at = row * view.columns + column
                if factor == 0 {
                    unsafe buffers.delta[at] = plain[at] - start[at]
                } else {
                    unsafe buffers.delta[at] += plain[at] / factor
                }
            }
        }
        rowFactors = rowFactors.map { $0.map { $0 == 0 ? 1 : $0 } }
        columnFactors = columnFactors.map { $0.map { $0 == 0 ? 1 : $0 } }
    }

    /// m / n for each row, where n is the norm of W + D (PEFT `tuners/lora/dora.py`; no epsilon).
    private func perRowFactors(
        _ block: Block, _ buffers: BlockBuffers, _ weights: UnsafeMutableRawBufferPointer, _ magnitude: Magnitude,
        _ factors: PreparedFactors
    ) throws(Problem) -> [Double] {
        let m = try environment.magnitudes(of: tensor, magnitude)
        var sums = [Double](repeating: 0, count: block.rows.count)
        guard let kernel = tensor.source.info.dtype.kernel else { return sums }
        unsafe ak_row_sumsq(
            kernel, weights.baseAddress, view.columns, block.rows.count, view.columns, buffers.delta.baseAddress,
            view.columns, 1, &sums)
        for (at, row) in block.rows.enumerated() { sums[at] = m[row] / sums[at].squareRoot() }
        return sums
    }

    /// m / n for each column: a first pass over the whole tensor.
    private func columnFactors(
        _ index: Int, _ factors: PreparedFactors, _ right: [Double], _ magnitude: Magnitude
    ) throws(Problem) -> [Double] {
        let m = try environment.magnitudes(of: tensor, magnitude)
        let buffers = BlockBuffers()
        let batch = PreparedBatch(index: index, doubles: right)
        let source = tensor.source.info
        var sums = [Double](repeating: 0, count: view.columns)
        guard let kernel = source.dtype.kernel else { return sums }
        for block in blocks where block.batch == index {
            try checkInterrupted()
            let size = source.dtype.bits / 8
            let count = block.rows.count * view.columns
            let weights = unsafe buffers.weights(count * size)
            let first = firstElement(block)
            try unsafe environment.read(tensor.source, first * size..<(first + count) * size, into: weights)
            try delta(block, buffers, factors, batch)
            unsafe ak_col_sumsq(
                kernel, weights.baseAddress, view.columns, block.rows.count, view.columns, buffers.delta.baseAddress,
                view.columns, 1, &sums)
        }
        return zip(m, sums).map { $0 / $1.squareRoot() }
    }

    private func clearDelta(_ block: Block, _ buffers: BlockBuffers) {
        buffers.reserveDelta(block.rows.count * view.columns)
        for at in 0..<block.rows.count * view.columns { unsafe buffers.delta[at] = 0 }
    }

    private func addVectors(_ block: Block, _ buffers: BlockBuffers) throws(Problem) {
        clearDelta(block, buffers)
        for addition in tensor.additions {
            let file = environment.inputs[addition.input].adapter.file
            let values = try TensorValues.doubles(try file.read(addition.tensor), addition.tensor.dtype)
            let first = firstElement(block)
            for at in 0..<block.rows.count * view.columns {
                unsafe buffers.delta[at] += addition.scale * values[first + at]
            }
        }
    }

    /// FP8 with scales: each part of the block that shares one scale is finished by itself.
    private func scaled(
        _ block: Block, _ buffers: BlockBuffers, _ weights: UnsafeMutableRawBufferPointer,
        _ result: UnsafeMutableRawBufferPointer, _ table: ScaleTable, _ hasDelta: Bool, _ stats: inout ak_stats
    ) throws(Problem) {
        guard let from = tensor.source.info.dtype.kernel, let to = tensor.dtype.kernel else { return }
        let values = try scales.withLock { (kept) throws(Problem) in
            if let kept { return kept }
            let bytes = try environment.base.shards[table.shard].file.read(table.tensor)
            let made = try TensorValues.doubles(bytes, table.tensor.dtype)
            kept = made
            return made
        }
        let perRow = (view.columns + table.blockColumns - 1) / table.blockColumns
        var row = block.rows.lowerBound
        while row < block.rows.upperBound {
            let end = min(block.rows.upperBound, (row / table.blockRows + 1) * table.blockRows)
            for piece in 0..<perRow {
                let column = piece * table.blockColumns
                let width = min(table.blockColumns, view.columns - column)
                let at = (row - block.rows.lowerBound) * view.columns + column
                let scale = values[row / table.blockRows * perRow + piece]
                // In a wider type the weights stand for themselves, and the scales are not stored any more.
                let outScale = tensor.dtype.bits == 8 ? scale : 1
                let delta = hasDelta ? unsafe buffers.delta.baseAddress.map { unsafe $0 + at } : nil
                unsafe ak_finish(
                    from, weights.baseAddress.map { unsafe $0 + at }, view.columns, to,
                    result.baseAddress.map { unsafe $0 + at * (tensor.dtype.bits / 8) }, view.columns, end - row, width,
                    delta, view.columns, nil, nil, scale, outScale, &stats)
            }
            row = end
        }
    }

    /// Whether replaced rows, which were rounded to the source's type, are rounded once more.
    private var needsRowRests: Bool {
        !tensor.rows.isEmpty && (!tensor.terms.isEmpty || tensor.source.info.dtype != tensor.dtype)
    }

    /// Adds to D what rounding took from replaced rows, so that they too are rounded once.
    private func addRowRests(_ block: Block, _ buffers: BlockBuffers) throws(Problem) {
        let dtype = tensor.source.info.dtype
        for entry in tensor.rows where entry.rows.tensor.dtype != dtype {
            for (at, row) in entry.rows.rows.enumerated() where block.rows.contains(row) {
                let exact = try rowValues(entry, at)
                let rounded = try TensorValues.doubles(TensorValues.rounded(exact, to: dtype), dtype)
                let start = (row - block.rows.lowerBound) * view.columns
                for column in exact.indices where rounded[column].isFinite {
                    unsafe buffers.delta[start + column] += exact[column] - rounded[column]
                }
            }
        }
    }

    private func rowValues(_ entry: (input: Int, rows: TokenRows), _ at: Int) throws(Problem) -> [Double] {
        let info = entry.rows.tensor
        let width = view.columns * info.dtype.bits / 8
        let file = environment.inputs[entry.input].adapter.file
        return try TensorValues.doubles(file.read(info, bytes: at * width..<(at + 1) * width), info.dtype)
    }

    /// Puts replacement rows into a block of weights, rounded once to the weights' type.
    private func replaceRows(_ block: Block, in weights: UnsafeMutableRawBufferPointer) throws(Problem) {
        let dtype = tensor.source.info.dtype
        for entry in tensor.rows {
            for (at, row) in entry.rows.rows.enumerated() where block.rows.contains(row) {
                let info = entry.rows.tensor
                let width = view.columns * info.dtype.bits / 8
                let file = environment.inputs[entry.input].adapter.file
                var bytes = try file.read(info, bytes: at * width..<(at + 1) * width)
                if info.dtype != dtype {
                    bytes = try TensorValues.rounded(TensorValues.doubles(bytes, info.dtype), to: dtype)
                }
                let start = (row - block.rows.lowerBound) * bytes.count
                unsafe bytes.withUnsafeBytes { source in
                    unsafe UnsafeMutableRawBufferPointer(rebasing: weights[start..<start + source.count]).copyMemory(
                        from: source)
                }
            }
        }
    }
}

/// The right factor of one batch, in the form its kernel wants.
final class PreparedBatch: @unchecked Sendable {
    let index: Int
    private(set) var packed: [Float] = []
    private(set) var norms: [Float] = []
    private(set) var right: [Double] = []
    /// DoRA's m / n for each column; set before the batch is shared.
    var columnFactors: [Double]?

    init(index: Int, doubles: [Double]) {
        self.index = index
        right = doubles
    }

    init(index: Int, floats: [Float], rank: Int, columns: Int) {
        self.index = index
        packed = [Float](repeating: 0, count: ak_packed_count(rank, columns))
        norms = [Float](repeating: 0, count: ak_colnorm_count(columns))
        unsafe ak_pack_right(floats, columns, 1, rank, columns, &packed, &norms)
    }
}
