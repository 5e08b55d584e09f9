import CKernels
import Glibc

/// How much work goes into packing.
public enum ArchiveLevel: String, CaseIterable, Sendable {
    /// Huffman codes and runs only, and none for planes that gain little.
    case fast
    /// Matches too, where a sample says that they help.
    case `default`
    /// Every method is tried.
    case best

    /// The part of a plane that coding must save, or it is stored as it is.
    fileprivate var leastGain: Double { self == .fast ? 0.02 : 0.001 }
    fileprivate var matchLevel: Int32 { self == .best ? 9 : self == .fast ? 3 : 6 }
}

/// Codes planes; one for each thread, since it keeps zlib's memory.
@safe final class PlaneEncoder {
    private let level: ArchiveLevel
    private var deflaters: [DeflateMethod: Deflater] = [:]
    private var sample: [UInt8] = []

    init(level: ArchiveLevel) { self.level = level }

    private func deflater(_ method: DeflateMethod) -> Deflater {
        if let made = deflaters[method] { return made }
        let made = Deflater(method, level: level.matchLevel)
        deflaters[method] = made
        return made
    }

    /// Codes `plane` into `target`, which has the same size: the length of the stream, or `nil` if it is not smaller.
    ///
    /// - Parameter isNumeric: whether it is a plane of numbers, or bytes of any kind, where matches are worth a try.
    func encode(
        _ plane: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer, isNumeric: Bool
    ) -> Int? {
        guard plane.count > 12 else { return nil }
        // A stream must be smaller than what it stands for.
        let room = unsafe UnsafeMutableRawBufferPointer(rebasing: target[..<(plane.count - 1)])
        if level == .best { return unsafe best(plane, room) }
        guard let method = unsafe choose(plane, isNumeric: isNumeric) else { return nil }
        return unsafe deflater(method).run(plane, into: room)
    }

    /// Tries everything; the first of equally small ones counts.
    private func best(_ plane: UnsafeRawBufferPointer, _ room: UnsafeMutableRawBufferPointer) -> Int? {
        var winner: (method: DeflateMethod, size: Int)?
        var last: DeflateMethod?
        for method in DeflateMethod.allCases {
            // Even one that does not fit has written over the one before.
            last = method
            guard let size = unsafe deflater(method).run(plane, into: room) else { continue }
            if size < winner?.size ?? .max { winner = (method, size) }
        }
        guard let winner else { return nil }
        return winner.method == last ? winner.size : unsafe deflater(winner.method).run(plane, into: room)
    }

    // MARK: Estimates

    /// Bytes that the plane would take by the quicker methods, tables left out.
    func estimate(_ plane: UnsafeRawBufferPointer) -> Double {
        let (huffman, runs) = unsafe estimates(plane, withTables: false)
        return min(Double(plane.count), huffman, runs)
    }

    private func choose(_ plane: UnsafeRawBufferPointer, isNumeric: Bool) -> DeflateMethod? {
        let size = Double(plane.count)
        let (huffman, runs) = unsafe estimates(plane)
        let quick: (method: DeflateMethod, size: Double) = runs < huffman ? (.runs, runs) : (.huffman, huffman)
        if !isNumeric {
            // Whatever it is, matches do no worse, unless there is nothing to find at all.
            if quick.size < size * 0.95 { return .matches }
            if unsafe sampleShrinks(plane) { return .matches }
        } else if level != .fast, unsafe hasMatches(plane), let found = unsafe sampled(plane, against: quick.method) {
            return found
        }
        return quick.size < size * (1 - level.leastGain) ? quick.method : nil
    }

    /// Bytes that a sample of elements would take by matches, if any are likely.
    func matchEstimate(_ part: UnsafeRawBufferPointer) -> Int? {
        guard level != .fast, unsafe hasMatches(part, oneIn: 50) else { return nil }
        return unsafe deflated(part, .matches)
    }

    /// Bytes that the two quick methods would need, by the entropies of their symbols.
    private func estimates(
        _ plane: UnsafeRawBufferPointer, withTables: Bool = true
    ) -> (huffman: Double, runs: Double) {
        let bytes = unsafe plane.baseAddress?.assumingMemoryBound(to: UInt8.self)
        let count = plane.count
        let blocks = (count + 32766) / 32767
        var counts = unsafe [UInt32](unsafeUninitializedCapacity: 256) { buffer, filled in
            unsafe ak_histogram(bytes, count, buffer.baseAddress)
            filled = 256
        }
        let huffman = Self.bits(counts, blocks: blocks) / 8 + (withTables ? Double(blocks) * Self.tableSize(counts) : 0)
        var extra = 0
        counts = unsafe [UInt32](unsafeUninitializedCapacity: 286) { buffer, filled in
            extra = unsafe ak_run_symbols(bytes, count, buffer.baseAddress)
            filled = 286
        }
        let matches = counts[257...].reduce(0) { $0 + Int($1) }
        let symbols = counts.reduce(0) { $0 + Int($1) }
        let parts = (symbols + 32766) / 32767
        let runs = (Self.bits(counts, blocks: parts) + Double(extra + matches)) / 8
        return (huffman, runs + (withTables ? Double(parts) * Self.tableSize(counts) : 0))
    }

    /// The bits that a Huffman code of these counts needs: the sum of all inner nodes of its tree.
    ///
    /// Each block ends in a symbol of its own, which makes codes of two symbols so expensive.
    private static func bits(_ counts: [UInt32], blocks: Int) -> Double {
        let leaves = (counts.filter { $0 > 0 }.map(Int.init) + [max(1, blocks)]).sorted()
        guard leaves.count > 1 else { return Double(leaves.first ?? 0) }
        var inner: [Int] = []
        inner.reserveCapacity(leaves.count)
        var (leaf, node, sum) = (0, 0, 0)
        for _ in 1..<leaves.count {
            var weight = 0
            for _ in 0..<2 {
                if node >= inner.count || (leaf < leaves.count && leaves[leaf] <= inner[node]) {
                    weight += leaves[leaf]
                    leaf += 1
                } else {
                    weight += inner[node]
                    node += 1
                }
            }
            inner.append(weight)
            sum += weight
        }
        return Double(sum)
    }

    /// Bytes of a block's table of codes.
    private static func tableSize(_ counts: [UInt32]) -> Double {
        20 + Double(counts.count { $0 > 0 }) * 0.4
    }

    /// Whether runs of eight bytes come back more often than chance has it.
    private func hasMatches(_ plane: UnsafeRawBufferPointer, oneIn few: Int = 20) -> Bool {
        let length = min(plane.count - 8, 16384)
        guard length > 64 else { return true }
        var seen = [UInt64](repeating: 0, count: 4096)
        var hits = 0
        for at in 0..<length {
            let word = unsafe plane.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            let slot = Int(truncatingIfNeeded: (word &* 0x9E37_79B9_7F4A_7C15) >> 52)
            if seen[slot] == word { hits += 1 }
            seen[slot] = word
        }
        return hits * few > length
    }

    private static let sampleSize = 24576

    /// The method that makes a sample smallest, if that is another than the quick one.
    private func sampled(_ plane: UnsafeRawBufferPointer, against quick: DeflateMethod) -> DeflateMethod? {
        let count = min(plane.count, Self.sampleSize)
        let start = (plane.count - count) / 2
        let part = unsafe UnsafeRawBufferPointer(rebasing: plane[start..<(start + count)])
        var winner: (method: DeflateMethod, size: Int)?
        for method in DeflateMethod.allCases {
            if let size = unsafe deflated(part, method), size < winner?.size ?? .max { winner = (method, size) }
        }
        guard let winner, winner.method != quick else { return nil }
        return winner.method
    }

    /// Whether matches make any of three samples smaller.
    private func sampleShrinks(_ plane: UnsafeRawBufferPointer) -> Bool {
        let count = min(plane.count, Self.sampleSize / 3)
        for start in Set([0, (plane.count - count) / 2, plane.count - count]).sorted() {
            let part = unsafe UnsafeRawBufferPointer(rebasing: plane[start..<(start + count)])
            if let size = unsafe deflated(part, .matches), size < count - count / 50 { return true }
        }
        return false
    }

    private func deflated(_ part: UnsafeRawBufferPointer, _ method: DeflateMethod) -> Int? {
        if sample.count < part.count { sample = [UInt8](repeating: 0, count: part.count) }
        return unsafe sample.withUnsafeMutableBytes { room in
            unsafe deflater(method).run(part, into: UnsafeMutableRawBufferPointer(rebasing: room[..<part.count]))
        }
    }
}
