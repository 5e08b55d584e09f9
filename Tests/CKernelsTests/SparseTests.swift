import CKernels
import Testing

/// Differences as the kernels hand them over.
private struct Sparse: Equatable {
    var tokens: [UInt8]
    var values: [UInt8]
    var rests: [UInt8]

    /// What `ak_sparse_gather` makes of two runs; `nil` if that takes too many tokens.
    init?(_ width: Int, _ a: [UInt8], _ b: [UInt8], most: Int) {
        self.init(most: most, a.count / width, width) { found in
            ak_sparse_gather(width, a, b, a.count / width, &found, most)
        }
    }

    /// The same by marks.
    init?(_ a: [UInt16], _ b: [UInt16], rows: Int, cols: Int, most: Int) {
        let words = (cols + 63) / 64
        var marks = [UInt64](repeating: 0, count: rows * words)
        for i in 0..<rows {
            for j in 0..<cols where a[i * cols + j] != b[i * cols + j] {
                marks[i * words + j / 64] |= 1 << UInt64(j % 64)
            }
        }
        self.init(most: most, rows * cols, 2) { found in
            ak_sparse_gather_marked(a, b, marks, rows, cols, &found, most)
        }
    }

    /// Room for as much as the header promises is enough, and nothing is written beyond it.
    private init?(most: Int, _ count: Int, _ width: Int, _ gather: (inout ak_sparse) -> Bool) {
        let room = { (count: Int) in [UInt8](repeating: 0xAA, count: count + 32) }
        var (first, second, third) = (room(most + count / 126 + 2), room(most), room(most * width))
        var found = ak_sparse()
        var isDone = false
        first.withUnsafeMutableBufferPointer { tokens in
            second.withUnsafeMutableBufferPointer { values in
                third.withUnsafeMutableBufferPointer { rests in
                    found.tokens = tokens.baseAddress
                    found.values = values.baseAddress
                    found.rests = rests.baseAddress
                    isDone = gather(&found)
                }
            }
        }
        for room in [first, second, third] { #expect(room.suffix(32).allSatisfy { $0 == 0xAA }, "beyond its room") }
        guard isDone else { return nil }
        tokens = Array(first[..<found.token_count])
        values = Array(second[..<found.value_count])
        rests = Array(third[..<found.rest_count])
    }

    init(tokens: [UInt8], values: [UInt8] = [], rests: [UInt8] = []) {
        (self.tokens, self.values, self.rests) = (tokens, values, rests)
    }

    /// Adds them to `bytes`, and says whether they were differences of so many elements.
    ///
    /// What lies behind stays as it is.
    func scatter(_ width: Int, onto bytes: inout [UInt8]) -> Bool {
        let count = bytes.count / width
        var room = bytes + [UInt8](repeating: 0xAA, count: 64)
        var (tokens, values, rests) = (self.tokens + [0], self.values + [0], self.rests + [0])
        let isFine = tokens.withUnsafeMutableBufferPointer { tokens in
            values.withUnsafeMutableBufferPointer { values in
                rests.withUnsafeMutableBufferPointer { rests in
                    var given = ak_sparse()
                    given.tokens = tokens.baseAddress
                    given.values = values.baseAddress
                    given.rests = rests.baseAddress
                    given.token_count = self.tokens.count
                    given.value_count = self.values.count
                    given.rest_count = self.rests.count
                    return ak_sparse_scatter(width, &given, &room, count)
                }
            }
        }
        #expect(room[bytes.count...].allSatisfy { $0 == 0xAA }, "wrote beyond the elements")
        bytes = Array(room[..<bytes.count])
        return isFine
    }
}

/// Tokens written down by hand from the page of the format: gaps, then differences.
private func written(_ width: Int, _ a: [UInt8], _ b: [UInt8]) -> Sparse {
    let mask: UInt64 = width == 8 ? .max : 1 << UInt64(8 * width) - 1
    let element = { (bytes: [UInt8], at: Int) in
        (0..<width).reduce(UInt64(0)) { $0 | UInt64(bytes[at * width + $1]) << UInt64(8 * $1) }
    }
    var (result, gap) = (Sparse(tokens: []), 0)
    for at in 0..<a.count / width {
        let difference = (element(a, at) &- element(b, at)) & mask
        if difference == 0 {
            gap += 1
            continue
        }
        while gap >= 126 {
            result.tokens.append(252)
            gap -= 126
        }
        let isNegative = difference >> UInt64(8 * width - 1) == 1
        let zigzag = (isNegative ? 2 &* ((0 &- difference) & mask) &- 1 : 2 &* difference) & mask
        if zigzag == 1 || zigzag == 2 {
            result.tokens.append(UInt8(2 * gap) + (isNegative ? 1 : 0))
        } else {
            result.tokens += [253, UInt8(gap)]
            result.values.append(UInt8(min(zigzag, 255)))
            if zigzag >= 255 { result.rests += (0..<width).map { UInt8(truncatingIfNeeded: zigzag >> UInt64(8 * $0)) } }
        }
        gap = 0
    }
    return result
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
        guard let found = Sparse(width, a, b, most: 2 * (a.count / width) + 2) else {
            Issue.record("\(place): has room for everything")
            return
        }
        #expect(found == written(width, a, b), "\(place)")
        var back = b
        #expect(found.scatter(width, onto: &back) && back == a, "\(place)")
    }

    @Test(arguments: widths) func roundTrips(width: Int) {
        var random = Random("roundTrips \(width)")
        for count in Array(0...20) + [125, 126, 127, 128, 251, 252, 253, 254, 255, 379, 1000] {
            for rarity in [1, 2, 7, 100, 1_000_000] {
                let (a, b) = pair(width, count, rarity: rarity, &random)
                check(width, a, b, "\(count) elements, 1 of \(rarity)")
            }
        }
    }

    /// One difference at every place of a run, after gaps on both sides of what one token holds.
    @Test(arguments: widths) func singleDifferences(width: Int) {
        let b = [UInt8](repeating: 7, count: 400 * width)
        for at in 0..<400 where at % 7 == 0 || at % 126 < 2 || at % 126 > 123 {
            for step in [1, 255, 128] as [UInt8] {
                var a = b
                a[at * width] &+= step
                check(width, a, b, "element \(at) + \(step)")
            }
        }
        for gap in [0, 1, 125, 126, 127, 251, 252, 253, 378] {
            var a = b
            a[0] ^= 1
            a[(gap + 1) * width] ^= 0xFF
            check(width, a, b, "gap \(gap)")
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
                    for most in [0, 1, 2, 3, rows * cols / 6 + 1, 2 * rows * cols + 2] {
                        let marked = Sparse(words(a), words(b), rows: rows, cols: cols, most: most)
                        #expect(marked == Sparse(2, a, b, most: most), "\(rows)x\(cols), 1 of \(rarity), \(most)")
                    }
                }
            }
        }
    }

    /// Too many differences are said to be too many, and its room is never left.
    @Test(arguments: widths) func fewTokens(width: Int) {
        var random = Random("fewTokens \(width)")
        for count in [1, 10, 300] {
            for rarity in [1, 2, 3, 130] {
                let (a, b) = pair(width, count, rarity: rarity, &random)
                let needed = written(width, a, b).tokens.count
                for most in [0, 1, 2, 3, 5, count / 6 + 1, needed, needed + 1] {
                    guard let found = Sparse(width, a, b, most: most) else {
                        #expect(most <= needed, "\(count) 1 of \(rarity): \(needed) tokens fit in \(most)")
                        continue
                    }
                    #expect(found == written(width, a, b))
                }
            }
        }
    }

    /// A few bytes, those with a meaning more often than others.
    private func some(_ most: Int, _ random: inout Random) -> [UInt8] {
        (0..<Int.random(in: 0...most, using: &random)).map { _ in
            Int.random(in: 0..<3, using: &random) == 0
                ? [0, 1, 2, 250, 251, 252, 253, 254, 255][Int.random(in: 0..<9, using: &random)]
                : UInt8.random(in: 0...255, using: &random)
        }
    }

    /// Bytes that describe nothing never leave the elements; where they describe something, it is what the page says.
    @Test(arguments: widths) func hostileBytes(width: Int) {
        var random = Random("hostileBytes \(width)")
        var (fine, refused) = (0, 0)
        for _ in 0..<6_000 {
            let given = Sparse(
                tokens: some(12, &random), values: some(3, &random), rests: some(3 * width, &random))
            var bytes = [UInt8](repeating: 0, count: width * Int.random(in: 0...600, using: &random))
            if given.scatter(width, onto: &bytes) { fine += 1 } else { refused += 1 }
        }
        #expect(fine > 10 && refused > 100, "\(fine) \(refused)")
    }

    @Test(arguments: widths) func whatIsNoDifference(width: Int) {
        let all = [UInt8](repeating: 255, count: width)
        let flaws: [(Sparse, String)] = [
            (Sparse(tokens: [254]), "a token that there is not"), (Sparse(tokens: [255]), "another"),
            (Sparse(tokens: [20]), "an element behind the last"), (Sparse(tokens: [18, 0]), "the same, later"),
            (Sparse(tokens: [252, 0]), "after a skip"), (Sparse(tokens: [253]), "no gap"),
            (Sparse(tokens: [253, 0]), "no value"),
            (Sparse(tokens: [253, 10], values: [3]), "a value behind the last"),
            (Sparse(tokens: [253, 0], values: [255]), "no rest"),
            (Sparse(tokens: [253, 0], values: [255], rests: Array(all.dropLast())), "half a rest"),
            (Sparse(tokens: [0], values: [3]), "a value too many"),
            (Sparse(tokens: [0], rests: all), "a rest too many"),
        ]
        for (given, what) in flaws {
            var bytes = [UInt8](repeating: 0, count: 10 * width)
            #expect(!given.scatter(width, onto: &bytes), "\(what)")
        }
        var bytes = [UInt8](repeating: 0, count: 10 * width)
        #expect(Sparse(tokens: [18]).scatter(width, onto: &bytes) && bytes[9 * width] == 1)
        #expect(Sparse(tokens: [253, 9], values: [255], rests: all).scatter(width, onto: &bytes))
    }
}
