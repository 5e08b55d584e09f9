import CKernels

/// The C kernels of a decoder behind bounds checks: the only unsafe code of this module.
enum DecoderKernels {
    /// gate / (1 + e^−gate) · up, element by element.
    static func swiglu(_ gate: [Float], _ up: [Float]) -> [Float] {
        precondition(gate.count == up.count, "two halves of one size")
        return unsafe [Float](unsafeUninitializedCapacity: gate.count) { out, filled in
            unsafe ak_swiglu_exact_f32(gate, up, out.baseAddress, gate.count)
            filled = gate.count
        }
    }

    /// One head of one query over positions `range`.
    ///
    /// - Parameters:
    ///   - query: its `width` numbers begin at `start`.
    ///   - keys, values: positions × `stride`; those of the head begin at `offset` in each position.
    static func attend(
        _ query: [Float], start: Int, keys: [Float], values: [Float], stride: Int, offset: Int, range: Range<Int>,
        width: Int, scale: Double, scratch: inout [Double], into out: inout [Float], at: Int
    ) {
        precondition(!range.isEmpty && range.lowerBound >= 0 && start + width <= query.count, "a query beyond its row")
        precondition(offset + width <= stride && range.upperBound * stride <= min(keys.count, values.count), "no key")
        precondition(at + width <= out.count, "no room for a head")
        let needed = ak_attend_scratch(range.count, width)
        if scratch.count < needed { scratch = [Double](repeating: 0, count: needed) }
        let first = range.lowerBound * stride + offset
        unsafe query.withUnsafeBufferPointer { q in
            unsafe keys.withUnsafeBufferPointer { k in
                unsafe values.withUnsafeBufferPointer { v in
                    unsafe out.withUnsafeMutableBufferPointer { o in
                        guard let q = q.baseAddress, let k = k.baseAddress, let v = v.baseAddress,
                            let o = o.baseAddress
                        else { return }
                        unsafe ak_attend_f32(
                            q + start, k + first, v + first, stride, range.count, width, scale, &scratch, o + at)
                    }
                }
            }
        }
    }
}
