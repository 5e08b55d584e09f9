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
    let view: MatrixView
    let environment: MergeEnvironment
    let isNarrow: Bool
    private let factors = Mutex<PreparedFactors?>(nil)
    private let batch = Mutex<PreparedBatch?>(nil)
    private let scales = Mutex<[Double]?>(nil)
    let loaded = Mutex<LoadedChanges?>(nil)

    init(_ tensor: PlannedTensor, _ environment: MergeEnvironment) {
        self.tensor = tensor
        self.environment = environment
        view = tensor.view
        isNarrow = Self.isNarrow(tensor)
        let rank = tensor.terms.reduce(1) { $0 + $1.term.rank }
        let elements = isNarrow ? BlockBuffers.narrowElements : BlockBuffers.wideElements
        // Narrow matrices of high rank must not make the left factor outgrow the weights.
        var rows = max(1, min(elements / max(1, view.columns), BlockBuffers.wideElements * 4 / rank))
        let group = max(1, tensor.action?.action.rowGroup ?? 1)
        rows = (rows + group - 1) / group * group
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
            && tensor.changes.isEmpty
    }

    /// The block of `count` elements from element number `first`, if they are whole rows of one matrix.
    func block(from first: Int, count: Int) -> Block? {
        let columns = view.columns
        guard columns > 0, count > 0, first % columns == 0, count % columns == 0 else { return nil }
        let (row, rows) = (first / columns, count / columns)
        let (batch, start) = (row / view.rows, row % view.rows)
        guard batch < view.batches, rows <= view.rows - start else { return nil }
        return Block(batch: batch, rows: start..<start + rows)
    }

    /// Bytes of the source that a block reads.
    func sourceByteCount(_ block: Block) -> Int { block.rows.count * view.columns * tensor.source.info.dtype.bits / 8 }

    /// Bytes of the output that a block makes.
    func byteCount(_ block: Block) -> Int { block.rows.count * view.columns * tensor.dtype.bits / 8 }

    func firstElement(_ block: Block) -> Int {
        (block.batch * view.rows + block.rows.lowerBound) * view.columns
    }

    /// Computes block number `index` and writes it into `output`, where the tensor begins at `start`.
    ///
    /// - Parameter undo: where the old weights go, if they are kept.
    func run(
        _ index: Int, _ buffers: BlockBuffers, into output: OutputFile, at start: Int, undo: UndoTarget?
    ) throws(Problem) -> ak_stats {
        let block = blocks[index]
        let source = tensor.source.info
        let size = source.dtype.bits / 8
        let count = block.rows.count * view.columns
        let weights = unsafe buffers.weights(count * size)
        let first = firstElement(block)
        try unsafe environment.read(tensor.source, first * size..<(first + count) * size, into: weights)
        var stats = ak_stats()
        if isNarrow {
            guard let undo else {
                try unsafe narrow(block, buffers, weights, weights, &stats)
                try unsafe write(index, weights, into: output, at: start)
                return stats
            }
            let result = unsafe buffers.output(count * size)
            let stream = try unsafe narrow(block, buffers, weights, result, &stats, undo: undo)
            try unsafe write(index, result, into: output, at: start)
            try unsafe keep(index, UnsafeRawBufferPointer(weights), stream, for: undo)
            return stats
        }
        let original = unsafe undo.map { _ in unsafe buffers.original(weights) }
        try unsafe replaceRows(block, in: weights)
        let result = unsafe buffers.output(count * tensor.dtype.bits / 8)
        try unsafe wide(block, buffers, weights, result, &stats)
        try unsafe write(index, result, into: output, at: start)
        if let undo, let original = unsafe original {
            try unsafe keep(index, buffers, original: original, merged: UnsafeRawBufferPointer(result), for: undo)
        }
        return stats
    }

    private func write(
        _ index: Int, _ result: UnsafeMutableRawBufferPointer, into output: OutputFile, at start: Int
    ) throws(Problem) {
        let offset = start + firstElement(blocks[index]) * tensor.dtype.bits / 8
        try unsafe output.write(UnsafeRawBufferPointer(result), at: offset)
        output.startWriteback(ofWindowsEndingIn: offset..<offset + result.count)
    }

    /// Forgets the factors when the last block is done.
    func release() {
        factors.withLock { $0 = nil }
        batch.withLock { $0 = nil }
        scales.withLock { $0 = nil }
        loaded.withLock { $0 = nil }
    }

    // MARK: Factors

    func prepared() throws(Problem) -> PreparedFactors {
        try factors.withLock { (kept) throws(Problem) in
            if let kept { return kept }
            let made = try PreparedFactors(tensor.terms, store: environment.store)
            kept = made
            return made
        }
    }

    func prepared(batch index: Int, _ factors: PreparedFactors) throws(Problem) -> PreparedBatch {
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
        _ block: Block, _ buffers: BlockBuffers, _ weights: UnsafeMutableRawBufferPointer,
        _ result: UnsafeMutableRawBufferPointer, _ stats: inout ak_stats
    ) throws(Problem) {
        guard let kernel = tensor.dtype.kernel else { return }
        let factors = try prepared()
        let batch = try prepared(batch: block.batch, factors)
        factors.left(batch: block.batch, rows: block.rows, into: &buffers.left)
        let scratch = unsafe buffers.scratch(ak_update16_scratch(block.rows.count, factors.rank))
        unsafe ak_update16(
            kernel, weights.baseAddress, result.baseAddress, block.rows.count, view.columns, batch.packed,
            batch.norms, buffers.left, factors.rank, scratch, &stats)
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
        var hasDelta = false
        if !tensor.terms.isEmpty {
            hasDelta = true
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
        }
        if needsRowRests || !tensor.additions.isEmpty || !tensor.changes.isEmpty {
            if !hasDelta { clearDelta(block, buffers) }
            hasDelta = true
            try addPlain(block, buffers)
            if let action = tensor.action { try unsafe add(action.action, block, buffers, weights) }
            if needsRowRests { try addRowRests(block, buffers) }
        }
        if let table = tensor.scales {
            return try unsafe scaled(
                block, buffers, UnsafeRawBufferPointer(weights), result, table, hasDelta, &stats)
        }
        unsafe ak_finish(
            from, weights.baseAddress, columns, to, result.baseAddress, columns, rows, columns,
            hasDelta ? buffers.delta.baseAddress : nil, columns, rowFactors, columnFactors, 1, 1, &stats)
    }

    /// D of a block; for DoRA only its own adapter's, since its norm knows no other.
    func delta(
        _ block: Block, _ buffers: BlockBuffers, _ factors: PreparedFactors, _ batch: PreparedBatch
    ) throws(Problem) {
        let count = block.rows.count * view.columns
        buffers.reserveDelta(count)
        factors.left(batch: block.batch, rows: block.rows, into: &buffers.left)
        if tensor.magnitude != nil { maskLeft(block, buffers, factors, dora: true) }
        unsafe ak_delta_f64(
            batch.right, buffers.left, block.rows.count, factors.rank, view.columns, buffers.delta.baseAddress)
    }

    func clearDelta(_ block: Block, _ buffers: BlockBuffers) {
        buffers.reserveDelta(block.rows.count * view.columns)
        for at in 0..<block.rows.count * view.columns { unsafe buffers.delta[at] = 0 }
    }

    /// FP8 with scales: each part of the block that shares one scale is finished by itself.
    ///
    /// - Parameter isInverse: whether `weights` are merged ones, from which the old ones are to come.
    func scaled(
        _ block: Block, _ buffers: BlockBuffers, _ weights: UnsafeRawBufferPointer,
        _ result: UnsafeMutableRawBufferPointer, _ table: ScaleTable, _ hasDelta: Bool, _ stats: inout ak_stats,
        isInverse: Bool = false
    ) throws(Problem) {
        let (source, target) = (tensor.source.info.dtype, tensor.dtype)
        guard let from = (isInverse ? target : source).kernel, let to = (isInverse ? source : target).kernel else {
            return
        }
        let (size, outSize) = isInverse ? (target.bits / 8, source.bits / 8) : (source.bits / 8, target.bits / 8)
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
                let stored = target.bits == 8 ? scale : 1
                let delta = hasDelta ? unsafe buffers.delta.baseAddress.map { unsafe $0 + at } : nil
                unsafe ak_finish(
                    from, weights.baseAddress.map { unsafe $0 + at * size }, view.columns, to,
                    result.baseAddress.map { unsafe $0 + at * outSize }, view.columns, end - row, width, delta,
                    view.columns, nil, nil, isInverse ? stored : scale, isInverse ? scale : stored, &stats)
            }
            row = end
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
