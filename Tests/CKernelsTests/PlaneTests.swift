import CKernels
import Testing

/// What the plane kernels are to give, written down element by element.
private struct Reference {
    let width: Int
    let values: [UInt64]

    init(_ bytes: [UInt8], width: Int) {
        self.width = width
        values = stride(from: 0, to: bytes.count, by: width).map { start in
            (0..<width).reduce(0) { $0 | UInt64(bytes[start + $1]) << (8 * $1) }
        }
    }

    var mask: UInt64 { width == 8 ? .max : 1 << (8 * width) - 1 }

    private func rotated(_ value: UInt64) -> UInt64 { (value << 1 | value >> (8 * width - 1)) & mask }

    func planes(rotate: Bool) -> [UInt8] {
        (0..<width).flatMap { plane in
            values.map { UInt8(truncatingIfNeeded: (rotate ? rotated($0) : $0) >> (8 * (width - 1 - plane))) }
        }
    }

    /// Bits of each element from the top: two, then whole bytes, then six.
    var joint: [UInt8] {
        let whole = (0..<width - 1).flatMap { plane in
            values.map { UInt8(truncatingIfNeeded: rotated($0) >> (8 * (width - 2 - plane) + 6)) }
        }
        return whole + sixes(values.map { rotated($0) & 63 }) + twos(values.map { rotated($0) >> (8 * width - 2) })
    }

    /// The number of one element from each quarter, those that are not there being 0.
    private func quarters(_ numbers: [UInt64]) -> [[UInt64]] {
        let quarter = (numbers.count + 3) / 4
        let filled = numbers + Array(repeating: 0, count: 4 * quarter - numbers.count)
        return (0..<quarter).map { at in (0..<4).map { filled[at + $0 * quarter] } }
    }

    /// Six bits of three elements each, with two bits of the fourth above.
    private func sixes(_ numbers: [UInt64]) -> [UInt8] {
        let groups = quarters(numbers)
        return (0..<3).flatMap { plane in
            groups.map { UInt8($0[plane] | ($0[3] >> (2 * UInt64(plane)) & 3) << 6) }
        }
    }

    private func twos(_ numbers: [UInt64]) -> [UInt8] {
        quarters(numbers).map { UInt8($0[0] | $0[1] << 2 | $0[2] << 4 | $0[3] << 6) }
    }

    /// Signed differences to `source`: 0, -1, 1, -2 and so on count as 0, 1, 2, 3.
    func zigzag(_ source: Reference) -> [UInt8] {
        let half = UInt64(1) << (8 * width - 1)
        return bytes(
            zip(values, source.values).map { value, base in
                let difference = (value &- base) & mask
                return (difference < half ? 2 &* difference : 2 &* ((0 &- difference) & mask) &- 1) & mask
            })
    }

    func grouped(_ source: Reference, shift: Int) -> [UInt8] {
        let groups = source.values.map { $0 >> shift & 255 }
        return bytes(values.indices.sorted { (groups[$0], $0) < (groups[$1], $1) }.map { values[$0] })
    }

    private func bytes(_ numbers: [UInt64]) -> [UInt8] {
        numbers.flatMap { number in (0..<width).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }
    }
}

/// Lengths of matches in deflate: the first length of each symbol from 257 on, and its extra bits (RFC 1951, 3.2.5).
private let lengthSymbols: [(first: Int, bits: Int)] = [
    (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (10, 0), (11, 1), (13, 1), (15, 1), (17, 1), (19, 2),
    (23, 2), (27, 2), (31, 2), (35, 3), (43, 3), (51, 3), (59, 3), (67, 4), (83, 4), (99, 4), (115, 4), (131, 5),
    (163, 5), (195, 5), (227, 5), (258, 0),
]

/// Literals and lengths of deflate where only the byte before may be matched.
private func runSymbols(_ bytes: [UInt8]) -> (counts: [UInt32], extra: Int) {
    var counts = [UInt32](repeating: 0, count: 286)
    var (at, extra) = (0, 0)
    while at < bytes.count {
        let run = at == 0 ? 0 : bytes[at...].prefix(258).prefix { $0 == bytes[at - 1] }.count
        if run < 3 {
            counts[Int(bytes[at])] += 1
            at += 1
        } else {
            let symbol = lengthSymbols.lastIndex { $0.first <= run } ?? 0
            counts[257 + symbol] += 1
            extra += lengthSymbols[symbol].bits
            at += run
        }
    }
    return (counts, extra)
}

/// Planes of the packed archive: every level gives what the format says, and nothing is written beyond it.
extension KernelTests {
    private static let guardSize = 64

    /// What `body` writes into a buffer of `count` bytes, which has others behind it that must not change.
    private func written(_ count: Int, _ place: String, _ body: (UnsafeMutablePointer<UInt8>) -> Void) -> [UInt8] {
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: count + Self.guardSize, alignment: 64)
        defer { room.deallocate() }
        room.initializeMemory(as: UInt8.self, repeating: 0xA5)
        if let start = room.baseAddress { body(start.assumingMemoryBound(to: UInt8.self)) }
        #expect(room[count...].allSatisfy { $0 == 0xA5 }, "\(place): written beyond the end")
        return Array(room[..<count])
    }

    private func random(_ count: Int, _ random: inout Random) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    /// Lengths around those of every vector, and some of any kind.
    private func lengths(_ random: inout Random) -> [Int] {
        Array(0...20) + [31, 32, 33, 63, 64, 65, 127, 128, 129, 1023, 32_766]
            + (0..<6).map { _ in Int.random(in: 21...4_000, using: &random) }
    }

    private func expect(_ found: [UInt8], _ wanted: [UInt8], _ place: String) {
        if let wrong = difference(found, wanted) { Issue.record("\(place): \(wrong)") }
    }

    @Test(arguments: levels, [1, 2, 4, 8]) func planesSplitAndJoin(level: Int32, width: Int) {
        defer { ak_level_force(-1) }
        ak_level_force(level)
        var random = Random("planesSplitAndJoin")
        for count in lengths(&random) {
            let source = self.random(count * width, &random)
            for rotate in [false, true] {
                let place = "\(count) elements of \(width), rotated \(rotate), level \(level)"
                let planes = written(source.count, place) { ak_planes_split(width, source, $0, count, rotate) }
                expect(planes, Reference(source, width: width).planes(rotate: rotate), place)
                let back = written(source.count, place) { ak_planes_join(width, planes, $0, count, rotate) }
                expect(back, source, place + ", joined")
            }
        }
    }

    @Test(arguments: levels, [2, 4, 8]) func jointSplitAndJoin(level: Int32, width: Int) {
        defer { ak_level_force(-1) }
        ak_level_force(level)
        var random = Random("jointSplitAndJoin")
        for count in lengths(&random) {
            let source = self.random(count * width, &random)
            let place = "\(count) elements of \(width), level \(level)"
            let size = (width - 1) * count + 4 * ((count + 3) / 4)
            let planes = written(size, place) { ak_joint_split(width, source, $0, count) }
            expect(planes, Reference(source, width: width).joint, place)
            let back = written(source.count, place) { ak_joint_join(width, planes, $0, count) }
            expect(back, source, place + ", joined")
        }
    }

    /// Random numbers, near ones, and the ends of what a difference can be.
    private func pair(_ size: Int, _ width: Int, _ random: inout Random) -> (a: [UInt8], b: [UInt8]) {
        let a = self.random(size, &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: return (a, a)
        case 1: return (a, a.enumerated().map { $0 % width == 0 ? $1 &+ UInt8.random(in: 0...3, using: &random) : $1 })
        case 2:
            let ends: [UInt8] = [0x00, 0x80, 0x7F, 0xFF]
            return (a.map { ends[Int($0 & 3)] }, a.map { ends[Int($0 >> 2 & 3)] })
        default: return (a, self.random(size, &random))
        }
    }

    @Test(arguments: levels, [1, 2, 4, 8]) func zigzagDifferences(level: Int32, width: Int) {
        defer { ak_level_force(-1) }
        ak_level_force(level)
        var random = Random("zigzagDifferences")
        for count in lengths(&random) {
            let (a, b) = pair(count * width, width, &random)
            let place = "\(count) elements of \(width), level \(level)"
            let coded = written(a.count, place) { ak_zigzag_difference(width, a, b, $0, count) }
            expect(coded, Reference(a, width: width).zigzag(Reference(b, width: width)), place)
            let back = written(a.count, place) { ak_zigzag_undo(width, coded, b, $0, count) }
            expect(back, a, place + ", undone")
        }
    }

    /// Every pair of bytes: no difference is left out.
    @Test(arguments: levels) func everyDifferenceOfBytes(level: Int32) {
        defer { ak_level_force(-1) }
        ak_level_force(level)
        let a = (0..<65_536).map { UInt8($0 & 255) }
        let b = (0..<65_536).map { UInt8($0 >> 8) }
        let coded = written(a.count, "level \(level)") { ak_zigzag_difference(1, a, b, $0, a.count) }
        expect(coded, Reference(a, width: 1).zigzag(Reference(b, width: 1)), "level \(level)")
        expect(written(a.count, "level \(level)") { ak_zigzag_undo(1, coded, b, $0, a.count) }, a, "undone")
    }

    @Test(arguments: levels, [1, 2, 4, 8]) func groupsGatherAndScatter(level: Int32, width: Int) {
        defer { ak_level_force(-1) }
        ak_level_force(level)
        var random = Random("groupsGatherAndScatter")
        for count in lengths(&random) where count < 10_000 {
            let (values, source) = pair(count * width, width, &random)
            for shift in Set([0, 3, 7, 8 * width - 8, 8 * width - 1]) {
                let place = "\(count) elements of \(width), shift \(shift), level \(level)"
                let ordered = written(values.count, place) {
                    ak_group_gather(width, values, source, $0, count, Int32(shift))
                }
                let wanted = Reference(values, width: width).grouped(Reference(source, width: width), shift: shift)
                expect(ordered, wanted, place)
                let back = written(values.count, place) {
                    ak_group_scatter(width, ordered, source, $0, count, Int32(shift))
                }
                expect(back, values, place + ", scattered")
            }
        }
    }

    /// Bytes with runs of every length that has a symbol of its own.
    private func runs(_ random: inout Random) -> [UInt8] {
        var bytes: [UInt8] = []
        for length in [1, 2, 3, 4, 5, 10, 11, 12, 13, 18, 66, 67, 130, 131, 257, 258, 259, 260, 261, 262, 516, 1000] {
            bytes += [UInt8](repeating: UInt8(truncatingIfNeeded: random.next()), count: length)
        }
        return bytes
    }

    @Test(arguments: levels) func bytesAndRunsAreCounted(level: Int32) {
        defer { ak_level_force(-1) }
        ak_level_force(level)
        var random = Random("bytesAndRunsAreCounted")
        var inputs = lengths(&random).flatMap { count in
            [
                self.random(count, &random), self.random(count, &random).map { $0 & 1 },
                [UInt8](repeating: 7, count: count),
            ]
        }
        inputs += (1...600).map { [1] + [UInt8](repeating: 0, count: $0) }
        inputs.append(runs(&random))
        for bytes in inputs {
            var counts = [UInt32](repeating: 9, count: 257)
            ak_histogram(bytes, bytes.count, &counts)
            var wanted = [UInt32](repeating: 0, count: 256)
            for byte in bytes { wanted[Int(byte)] += 1 }
            #expect(Array(counts[..<256]) == wanted && counts[256] == 9, "\(bytes.count) bytes, level \(level)")
            var symbols = [UInt32](repeating: 9, count: 287)
            let extra = ak_run_symbols(bytes, bytes.count, &symbols)
            let (expected, bits) = runSymbols(bytes)
            #expect(Array(symbols[..<286]) == expected && symbols[286] == 9, "\(bytes.count) bytes, level \(level)")
            #expect(extra == bits, "\(bytes.count) bytes, level \(level)")
        }
    }
}
