import Archives
import Glibc
import Problems

/// Memory of one worker, used for one block after the other and grown only where a single row needs more.
@safe final class BlockBuffers {
    /// Elements of a block that is computed in float32, and in float64.
    static let narrowElements = 1 << 17
    static let wideElements = 1 << 18
    /// Rough bytes of one worker's buffers.
    static let size = narrowElements * 2 + wideElements * 8 * 4

    private(set) var weights: UnsafeMutableRawBufferPointer
    private(set) var output: UnsafeMutableRawBufferPointer
    private(set) var scratch: UnsafeMutableRawBufferPointer
    private(set) var delta: UnsafeMutableBufferPointer<Double>
    private var old: UnsafeMutableRawBufferPointer
    private var guess: UnsafeMutableRawBufferPointer
    private var bits: UnsafeMutableRawBufferPointer
    /// For undo records.
    lazy var coder = DifferenceCoder()
    /// Rows of the scaled left factor.
    var left: [Double] = []

    init() {
        unsafe weights = Self.allocate(0)
        unsafe output = Self.allocate(0)
        unsafe scratch = Self.allocate(0)
        unsafe delta = .allocate(capacity: 0)
        unsafe old = Self.allocate(0)
        unsafe guess = Self.allocate(0)
        unsafe bits = Self.allocate(0)
    }

    deinit {
        unsafe bits.deallocate()
        unsafe old.deallocate()
        unsafe guess.deallocate()
        unsafe weights.deallocate()
        unsafe output.deallocate()
        unsafe scratch.deallocate()
        unsafe delta.deallocate()
    }

    private static func allocate(_ count: Int) -> UnsafeMutableRawBufferPointer {
        .allocate(byteCount: max(64, count), alignment: 64)
    }

    private static func grow(_ buffer: inout UnsafeMutableRawBufferPointer, to count: Int) {
        guard buffer.count < count else { return }
        unsafe buffer.deallocate()
        unsafe buffer = allocate(count)
    }

    /// Makes room for `count` elements of a delta, whose values are then undefined.
    func reserveDelta(_ count: Int) {
        guard unsafe delta.count < count else { return }
        unsafe delta.deallocate()
        unsafe delta = .allocate(capacity: count)
    }

    /// The first `count` bytes of the buffer for weights.
    func weights(_ count: Int) -> UnsafeMutableRawBufferPointer {
        unsafe Self.grow(&weights, to: count)
        return unsafe UnsafeMutableRawBufferPointer(rebasing: weights[..<count])
    }

    /// A copy of what `weights` holds now, for who needs it when they are changed.
    func original(_ weights: UnsafeMutableRawBufferPointer) -> UnsafeRawBufferPointer {
        unsafe Self.grow(&old, to: weights.count)
        unsafe old.copyMemory(from: UnsafeRawBufferPointer(weights))
        return unsafe UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(old)[..<weights.count])
    }

    /// The first `count` bytes of the buffer for what weights were before.
    func reference(_ count: Int) -> UnsafeMutableRawBufferPointer {
        unsafe Self.grow(&guess, to: count)
        return unsafe UnsafeMutableRawBufferPointer(rebasing: guess[..<count])
    }

    /// Room for a bit for each of so many elements, in rows of whole words.
    func marks(rows: Int, columns: Int) -> UnsafeMutablePointer<UInt64> {
        unsafe Self.grow(&bits, to: rows * ((columns + 63) / 64) * 8)
        guard let base = unsafe bits.baseAddress else { preconditionFailure("there is always some room") }
        return unsafe base.assumingMemoryBound(to: UInt64.self)
    }

    /// Changes the sign of the first `count` numbers of `left`.
    func negateLeft(_ count: Int) {
        for at in 0..<count { left[at] = -left[at] }
    }

    /// The first `count` bytes of the buffer for results.
    func output(_ count: Int) -> UnsafeMutableRawBufferPointer {
        unsafe Self.grow(&output, to: count)
        return unsafe UnsafeMutableRawBufferPointer(rebasing: output[..<count])
    }

    /// At least `count` bytes of scratch memory.
    func scratch(_ count: Int) -> UnsafeMutableRawPointer {
        unsafe Self.grow(&scratch, to: count)
        guard let base = unsafe scratch.baseAddress else { preconditionFailure("scratch memory is never empty") }
        return unsafe base
    }
}
