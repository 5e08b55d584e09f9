import CKernels
import Foundation
import Testing

/// What `ak_sparse_gather` makes of two runs, in as much room as it asks for; empty if they are equal.
private func gathered(_ width: Int, _ a: [UInt8], _ b: [UInt8]) -> [UInt8] {
    let n = a.count / width
    let count = ak_sparse_count(width, a, b, n)
    guard count > 0 else { return [] }
    let room = ak_sparse_room(width, n, count)
    var out = [UInt8](repeating: 0xAA, count: room + 32)
    let length = ak_sparse_gather(width, a, b, n, count, &out)
    #expect(length <= room && out[room...].allSatisfy { $0 == 0xAA }, "beyond its room")
    return Array(out[..<length])
}

/// The same by marks.
private func gathered(_ a: [UInt16], _ b: [UInt16], rows: Int, cols: Int) -> [UInt8] {
    let words = (cols + 63) / 64
    var marks = [UInt64](repeating: 0, count: rows * words)
    for i in 0..<rows {
        for j in 0..<cols where a[i * cols + j] != b[i * cols + j] {
            marks[i * words + j / 64] |= 1 << UInt64(j % 64)
        }
    }
    let count = ak_marked_count(marks, rows, cols)
    guard count > 0 else { return [] }
    let room = ak_sparse_room(2, rows * cols, count)
    var out = [UInt8](repeating: 0xAA, count: room + 32)
    let length = ak_sparse_gather_marked(a, b, marks, rows, cols, count, &out)
    #expect(length <= room && out[room...].allSatisfy { $0 == 0xAA }, "beyond its room")
    return Array(out[..<length])
}

/// Adds differences to `bytes`, and says whether they were ones of so many elements; what lies behind stays as it is.
private func scatter(_ stream: [UInt8], _ width: Int, onto bytes: inout [UInt8]) -> Bool {
    var room = bytes + [UInt8](repeating: 0xAA, count: 64)
    let isFine = ak_sparse_scatter(width, stream, stream.count, &room, bytes.count / width)
    #expect(room[bytes.count...].allSatisfy { $0 == 0xAA }, "wrote beyond the elements")
    bytes = Array(room[..<bytes.count])
    return isFine
}

/// A stream put together bit by bit, as the page of the format says.
private struct Bits {
    var bytes: [UInt8]
    private var count = 0

    init(parameter: Int, count: Int) {
        bytes = [UInt8(parameter)] + (0..<4).map { UInt8(truncatingIfNeeded: count >> (8 * $0)) }
    }

    mutating func add(_ bit: Bool) {
        if count % 8 == 0 { bytes.append(0) }
        if bit { bytes[bytes.count - 1] |= 1 << UInt8(count % 8) }
        count += 1
    }

    mutating func add(_ number: UInt64, _ digits: Int) {
        for digit in 0..<digits { add(number >> UInt64(digit) & 1 == 1) }
    }

    mutating func add(gap: Int, size: UInt64, down: Bool, parameter: Int) {
        for _ in 0..<gap >> parameter { add(false) }
        add(true)
        add(UInt64(gap), parameter)
        let digits = 63 - size.leadingZeroBitCount
        for _ in 0..<digits { add(false) }
        add(true)
        add(size, digits)
        add(down)
    }
}

/// What the page says of two runs, with the parameter that the writer chose.
private func written(_ width: Int, _ a: [UInt8], _ b: [UInt8], parameter: Int) -> [UInt8] {
    let mask: UInt64 = width == 8 ? .max : 1 << UInt64(8 * width) - 1
    let element = { (bytes: [UInt8], at: Int) in
        (0..<width).reduce(UInt64(0)) { $0 | UInt64(bytes[at * width + $1]) << UInt64(8 * $1) }
    }
    let differences = (0..<a.count / width).map { (element(a, $0) &- element(b, $0)) & mask }
    var (result, gap) = (Bits(parameter: parameter, count: differences.filter { $0 != 0 }.count), 0)
    for difference in differences {
        if difference == 0 {
            gap += 1
            continue
        }
        let down = difference >> UInt64(8 * width - 1) == 1
        result.add(gap: gap, size: down ? (0 &- difference) & mask : difference, down: down, parameter: parameter)
        gap = 0
    }
    return result.bytes
}

@Suite struct SparseKernelTests {
    private static let widths = [1, 2, 4, 8]

    /// Two runs that differ in about one of `rarity` elements, mostly by little.
    private func pair(_ width: Int, _ count: Int, rarity: Int, _ random: inout Random) -> (a: [UInt8], b: [UInt8]) {
        let b = (0..<count * width).map { _ in UInt8.random(in: 0...255, using: &random) }
        var a = b
        for at in 0..<count where Int.random(in: 0..<rarity, using: &random) == 0 {
            let step: Int64 =
                switch Int.random(in: 0..<8, using: &random) {
                case 0: .random(in: .min ... .max, using: &random)
                case 1: .random(in: -300...300, using: &random)
                case 2: .random(in: -3...3, using: &random)
                case 3: [.min, .max, -127, -128, 127, 128, -129, 0x7FFF, -0x8000][Int(at % 9)]
                default: Bool.random(using: &random) ? 1 : -1
                }
            var carry = UInt64(bitPattern: step)
            var rest = UInt64(0)
            for byte in 0..<width {
                rest = UInt64(b[at * width + byte]) + (carry & 255) + rest
                a[at * width + byte] = UInt8(truncatingIfNeeded: rest)
                rest >>= 8
                carry >>= 8
            }
        }
        return (a, b)
    }

    private func check(_ width: Int, _ a: [UInt8], _ b: [UInt8], _ place: String) {
        let found = gathered(width, a, b)
        var back = b
        if found.isEmpty {
            #expect(a == b, "\(place)")
        } else {
            #expect(found == written(width, a, b, parameter: Int(found[0])), "\(place)")
            #expect(scatter(found, width, onto: &back) && back == a, "\(place)")
        }
    }

    @Test(arguments: widths) func roundTrips(width: Int) {
        var random = Random("roundTrips \(width)")
        for count in Array(0...20) + [63, 64, 65, 255, 1000, 5000] {
            for rarity in [1, 2, 7, 100, 1_000_000] {
                let (a, b) = pair(width, count, rarity: rarity, &random)
                check(width, a, b, "\(count) elements, 1 of \(rarity)")
            }
        }
    }

    /// Differences of all sizes, and gaps that take long codes.
    @Test(arguments: widths) func edges(width: Int) {
        var random = Random("edges \(width)")
        let count = 3000
        let b = (0..<count * width).map { _ in UInt8.random(in: 0...255, using: &random) }
        let few = Array(b.prefix(300 * width))
        for bit in 0..<8 * width {
            for at in [0, 1, 299] {
                var a = few
                a[at * width + bit / 8] ^= 1 << UInt8(bit % 8)
                check(width, a, few, "element \(at), bit \(bit)")
            }
        }
        // Many at the start make the parameter small, so that the last gap is long.
        for gap in [0, 1, 7, 50, 56, 57, 60, 120, 1000, 2400] {
            for size in [UInt8(1), 0x80, 0xFF] {
                var a = b
                for at in 0..<500 { a[at * width] ^= 1 }
                a[(500 + gap) * width + width - 1] ^= size
                check(width, a, b, "gap \(gap), size \(size)")
            }
        }
    }

    /// By marks as by looking, whatever the width of the rows.
    @Test func marksSayTheSame() {
        var random = Random("marksSayTheSame")
        for cols in [1, 2, 63, 64, 65, 100, 128, 130, 300] {
            for rows in [1, 2, 5] {
                for rarity in [1, 5, 200] {
                    let (a, b) = pair(2, rows * cols, rarity: rarity, &random)
                    let words = { (bytes: [UInt8]) in
                        (0..<rows * cols).map { UInt16(bytes[2 * $0]) | UInt16(bytes[2 * $0 + 1]) << 8 }
                    }
                    let marked = gathered(words(a), words(b), rows: rows, cols: cols)
                    #expect(marked == gathered(2, a, b), "\(rows)x\(cols), 1 of \(rarity)")
                }
            }
        }
    }

    /// Few bits where few differ: within an eighth of what the gaps' entropy and a bit for the sign say.
    @Test(arguments: [(20, 0.125), (100, 0.125), (1000, 0.125)]) func sizes(rarity: Int, slack: Double) {
        var random = Random("sizes \(rarity)")
        let count = 400_000
        let b = [UInt8](repeating: 7, count: 2 * count)
        var a = b
        for at in 0..<count where Int.random(in: 0..<rarity, using: &random) == 0 { a[2 * at] ^= 1 }
        let p = 1 / Double(rarity)
        let entropy = (-p * log2(p) - (1 - p) * log2(1 - p)) / p
        let differing = ak_sparse_count(2, a, b, count)
        let bits = Double(8 * gathered(2, a, b).count) / Double(differing)
        // The size, which is always one here, takes a bit as well.
        #expect(bits < (entropy + 2) * (1 + slack), "\(bits) bits, entropy \(entropy)")
    }

    /// Bytes that describe nothing never leave the elements.
    @Test(arguments: widths) func hostileBytes(width: Int) {
        var random = Random("hostileBytes \(width)")
        var (fine, refused) = (0, 0)
        for round in 0..<6_000 {
            let count = Int.random(in: 0...600, using: &random)
            var stream: [UInt8]
            if round % 2 == 0 {
                stream = [UInt8.random(in: 0...8, using: &random), UInt8.random(in: 0...5, using: &random), 0, 0, 0]
                stream += (0..<Int.random(in: 0...9, using: &random)).map { _ in .random(in: 0...255, using: &random) }
            } else {
                let (a, b) = pair(width, max(1, count), rarity: 9, &random)
                stream = gathered(width, a, b)
                for _ in 0..<2 where !stream.isEmpty {
                    stream[Int.random(in: 0..<stream.count, using: &random)] ^=
                        1 << UInt8.random(in: 0...7, using: &random)
                }
            }
            var bytes = [UInt8](repeating: 0, count: width * count)
            if scatter(stream, width, onto: &bytes) { fine += 1 } else { refused += 1 }
        }
        #expect(fine > 10 && refused > 100, "\(fine) \(refused)")
    }

    @Test(arguments: widths) func whatIsNoDifference(width: Int) {
        /// One difference, and what may be wrong with it.
        let one = { (gap: Int, size: UInt64, parameter: Int, count: Int) in
            var bits = Bits(parameter: parameter, count: count)
            bits.add(gap: gap, size: size, down: false, parameter: parameter)
            return bits.bytes
        }
        var two = Bits(parameter: 3, count: 2)
        two.add(gap: 4, size: 1, down: false, parameter: 3)
        two.add(gap: 5, size: 1, down: true, parameter: 3)
        let top = UInt64(1) << UInt64(8 * width - 1)
        let flaws: [([UInt8], String)] = [
            ([], "nothing"), ([0, 1, 0, 0], "half a head"), (one(0, 1, 32, 1), "a parameter that there is not"),
            (one(0, 1, 0, 0), "no differences"), (one(0, 1, 0, 11), "more differences than elements"),
            (one(0, 1, 0, 2), "fewer than it says"), (one(10, 1, 1, 1), "an element behind the last"),
            (one(10, 1, 0, 1), "the same"), (one(3, 1, 5, 1) + [0], "a byte too many"),
            (two.bytes, "the second one behind the last"), (Array(one(9, top, 0, 1).dropLast()), "cut short"),
            ([0, 1, 0, 0, 0] + [UInt8](repeating: 0, count: 20), "zeros without an end"),
        ]
        for (given, what) in flaws {
            var bytes = [UInt8](repeating: 0, count: 10 * width)
            #expect(!scatter(given, width, onto: &bytes), "\(what)")
        }
        if width < 8 {
            var bytes = [UInt8](repeating: 0, count: 10 * width)
            #expect(!scatter(one(0, top << 1, 0, 1), width, onto: &bytes), "a size that no element has")
        }
        // A bit that is set behind the last difference.
        var loose = one(1, 1, 0, 1)
        loose[5] |= 0x80
        var bytes = [UInt8](repeating: 0, count: 10 * width)
        #expect(!scatter(loose, width, onto: &bytes))
        bytes = [UInt8](repeating: 0, count: 10 * width)
        #expect(scatter(one(9, 1, 3, 1), width, onto: &bytes) && bytes[9 * width] == 1)
        bytes = [UInt8](repeating: 0, count: 10 * width)
        #expect(scatter(one(9, top, 0, 1), width, onto: &bytes) && bytes[10 * width - 1] == 0x80)
    }
}
