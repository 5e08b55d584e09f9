import Archives
import CKernels
import Digests
import Problems
import Safetensors

/// Where the old weights of a tensor go while new ones are made.
struct UndoTarget: Sendable {
    let writer: UndoWriter
    /// The number of the tensor's first block among all units.
    let firstUnit: Int
    let reference: UndoReference
}

extension TensorJob {
    /// Whether M - D, rounded, is W but for few elements: for sums, whatever type they were cast to.
    var isInvertible: Bool {
        guard case .base(_, let info) = tensor.source, info.name == tensor.name, info.shape == tensor.shape else {
            return false
        }
        return tensor.magnitude == nil && tensor.action == nil && tensor.rows.isEmpty && info.dtype.kernel != nil
            && tensor.dtype.kernel != nil
    }

    /// Keeps what gives `original`, the old weights of a block, back when only the merged ones are there.
    func keep(
        _ index: Int, _ buffers: BlockBuffers, original: UnsafeRawBufferPointer, merged: UnsafeRawBufferPointer,
        for target: UndoTarget
    ) throws(Problem) {
        var reference: UnsafeRawBufferPointer?
        switch target.reference {
        case .nothing: break
        case .merged: unsafe reference = merged
        case .unmerged:
            let room = unsafe buffers.reference(original.count)
            try unsafe unmerge(blocks[index], buffers, merged: merged, into: room)
            unsafe reference = UnsafeRawBufferPointer(room)
        }
        let dtype = tensor.source.info.dtype
        let stream = unsafe buffers.coder.encode(
            original, width: dtype.undoWidth, shift: dtype.undoShift, reference: reference)
        try unsafe keep(index, original, stream, for: target)
    }

    /// Keeps the stream that gives `original` back, with its digest.
    func keep(
        _ index: Int, _ original: UnsafeRawBufferPointer, _ stream: [UInt8], for target: UndoTarget
    ) throws(Problem) {
        let start = firstElement(blocks[index]) * tensor.source.info.dtype.bits / 8
        let known = environment.knownDigest(of: tensor.source, start..<start + original.count)
        let digest = unsafe known ?? SHA256.hex(original)
        try target.writer.put(target.firstUnit + index, stream, size: original.count, digest: digest)
    }

    /// The float32 way with what gives the old weights back: merges `weights` into `result`, which is elsewhere.
    func narrow(
        _ block: Block, _ buffers: BlockBuffers, _ weights: UnsafeMutableRawBufferPointer,
        _ result: UnsafeMutableRawBufferPointer, _ stats: inout ak_stats, undo: UndoTarget
    ) throws(Problem) -> [UInt8] {
        guard let kernel = tensor.dtype.kernel else { return [] }
        let (rows, columns) = (block.rows.count, view.columns)
        let original = UnsafeRawBufferPointer(weights)
        let factors = try prepared()
        let batch = try prepared(batch: block.batch, factors)
        factors.left(batch: block.batch, rows: block.rows, into: &buffers.left)
        let scratch = unsafe buffers.scratch(ak_update16_scratch(rows, factors.rank))
        let (width, shift) = (tensor.dtype.undoWidth, tensor.dtype.undoShift)
        guard undo.reference == .unmerged else {
            unsafe ak_update16(
                kernel, weights.baseAddress, result.baseAddress, rows, columns, batch.packed, batch.norms,
                buffers.left, factors.rank, scratch, &stats)
            let other = undo.reference == .merged ? UnsafeRawBufferPointer(result) : nil
            return unsafe buffers.coder.encode(original, width: width, shift: shift, reference: other)
        }
        let back = unsafe buffers.reference(original.count)
        let marks = unsafe buffers.marks(rows: rows, columns: columns)
        unsafe ak_update16_back(
            kernel, weights.baseAddress, result.baseAddress, back.baseAddress, marks, rows, columns, batch.packed,
            batch.norms, buffers.left, factors.rank, scratch, &stats)
        return unsafe buffers.coder.encode(
            original, shift: shift, reference: UnsafeRawBufferPointer(back),
            marks: DifferenceMarks(marks, rows: rows, columns: columns))
    }

    /// round(M - D) of a block, in the type that W has; D is what the merge added, to the last bit.
    func unmerge(
        _ block: Block, _ buffers: BlockBuffers, merged: UnsafeRawBufferPointer,
        into result: UnsafeMutableRawBufferPointer
    ) throws(Problem) {
        if isNarrow {
            return try unsafe unmergeNarrow(block, buffers, merged, result)
        }
        guard let from = tensor.dtype.kernel, let to = tensor.source.info.dtype.kernel else { return }
        let (rows, columns) = (block.rows.count, view.columns)
        var hasDelta = false
        if !tensor.terms.isEmpty {
            hasDelta = true
            let factors = try prepared()
            try delta(block, buffers, factors, prepared(batch: block.batch, factors))
        }
        if !tensor.additions.isEmpty || !tensor.changes.isEmpty {
            if !hasDelta { clearDelta(block, buffers) }
            hasDelta = true
            try addPlain(block, buffers)
        }
        if hasDelta { for at in 0..<rows * columns { unsafe buffers.delta[at] = -buffers.delta[at] } }
        var stats = ak_stats()
        if let table = tensor.scales {
            return try unsafe scaled(
                block, buffers, merged, result, table, hasDelta, &stats, isInverse: true)
        }
        unsafe ak_finish(
            from, merged.baseAddress, columns, to, result.baseAddress, columns, rows, columns,
            hasDelta ? buffers.delta.baseAddress : nil, columns, nil, nil, 1, 1, &stats)
    }

    private func unmergeNarrow(
        _ block: Block, _ buffers: BlockBuffers, _ merged: UnsafeRawBufferPointer,
        _ result: UnsafeMutableRawBufferPointer
    ) throws(Problem) {
        guard let kernel = tensor.dtype.kernel else { return }
        let factors = try prepared()
        let batch = try prepared(batch: block.batch, factors)
        factors.left(batch: block.batch, rows: block.rows, into: &buffers.left)
        buffers.negateLeft(block.rows.count * factors.rank)
        let scratch = unsafe buffers.scratch(ak_update16_scratch(block.rows.count, factors.rank))
        unsafe ak_update16(
            kernel, merged.baseAddress, result.baseAddress, block.rows.count, view.columns, batch.packed, batch.norms,
            buffers.left, factors.rank, scratch, nil)
    }
}

extension DType {
    /// Bytes of what is compared as one number in undo records.
    var undoWidth: Int { bits >= 8 && [1, 2, 4, 8].contains(bits / 8) ? bits / 8 : 1 }

    /// Where an element has eight bits that tell its size: its exponent, if it is a float.
    var undoShift: Int {
        switch self {
        case .bf16: 7
        case .f16: 10
        case .f32: 23
        case .f64: 52
        default: 8 * (undoWidth - 1)
        }
    }
}
