import Fixtures
import Testing

@testable import Archives

/// Streams of undo records give back what went in, and no stream does harm.
@Suite struct DifferenceCoderTests {
    private static let widths = [1, 2, 4, 8]
    /// What the first byte of a stream says.
    private static let (sparse, differences, plain) = (UInt8(0), UInt8(1), UInt8(2))

    private func encode(
        _ bytes: [UInt8], _ width: Int, shift: Int, _ reference: [UInt8]?, _ coder: DifferenceCoder
    ) -> [UInt8] {
        bytes.withUnsafeBytes { source in
            guard let reference else { return coder.encode(source, width: width, shift: shift, reference: nil) }
            return reference.withUnsafeBytes { coder.encode(source, width: width, shift: shift, reference: $0) }
        }
    }

    /// What a stream makes of `reference`, or `nil` if it is none.
    ///
    /// Nothing behind it is written to.
    private func decode(_ stream: [UInt8], _ width: Int, _ reference: [UInt8], _ coder: DifferenceCoder) -> [UInt8]? {
        var room = reference + [UInt8](repeating: 0xA5, count: 64)
        let isFine = room.withUnsafeMutableBytes { all in
            coder.decode(
                stream, width: width, into: UnsafeMutableRawBufferPointer(rebasing: all[..<reference.count]))
        }
        #expect(room[reference.count...].allSatisfy { $0 == 0xA5 }, "wrote beyond the chunk")
        return isFine ? Array(room[..<reference.count]) : nil
    }

    /// `bytes` with about one of `rarity` elements changed, mostly by little.
    private func changed(_ bytes: [UInt8], _ width: Int, rarity: Int, _ random: inout SeededRandom) -> [UInt8] {
        var result = bytes
        for at in 0..<bytes.count / width where random.below(rarity) == 0 {
            switch random.below(4) {
            case 0: for byte in 0..<width { result[at * width + byte] = UInt8(random.below(256)) }
            case 1: result[at * width] &+= UInt8(random.below(256))
            default: result[at * width] ^= 1
            }
        }
        return result
    }

    @Test(arguments: widths) func roundTrips(width: Int) {
        var random = SeededRandom(test: "differences \(width)")
        let coder = DifferenceCoder()
        var kinds: Set<UInt8> = []
        for count in Array(0...9) + [125, 126, 127, 253, 1_000, 4_097] {
            for rarity in [1, 6, 40, 1_000_000] {
                let reference = random.structured(count * width)
                let bytes = changed(reference, width, rarity: rarity, &random)
                let shift = random.pick([0, 7, 8 * width - 8, 8 * width - 1].filter { $0 < 8 * width })
                let stream = encode(bytes, width, shift: shift, reference, coder)
                #expect(stream.isEmpty == (bytes == reference), "an empty stream says that nothing differs")
                if let first = stream.first { kinds.insert(first) }
                #expect(decode(stream, width, reference, coder) == bytes, "\(count) elements, 1 of \(rarity)")
                let alone = encode(bytes, width, shift: shift, nil, coder)
                #expect(alone.isEmpty == bytes.isEmpty && [nil, Self.plain].contains(alone.first))
                let anything = random.bytes(bytes.count)
                #expect(decode(alone, width, anything, coder) == bytes, "does not need the reference")
                #expect(stream.count <= max(alone.count, 40 + bytes.count / 2), "takes a small one")
            }
        }
        #expect(kinds == [Self.sparse, Self.differences, Self.plain], "each way was taken: \(kinds)")
    }

    /// The marks of the kernels lead to the stream that looking leads to.
    @Test func marks() {
        var random = SeededRandom(test: "marks of differences")
        let coder = DifferenceCoder()
        for (rows, columns) in [(1, 1), (3, 63), (2, 64), (5, 65), (7, 300)] {
            for rarity in [2, 10, 500] {
                let reference = random.bytes(2 * rows * columns)
                let bytes = changed(reference, 2, rarity: rarity, &random)
                let words = (columns + 63) / 64
                var marks = [UInt64](repeating: 0, count: rows * words)
                for row in 0..<rows {
                    for column in 0..<columns {
                        let at = 2 * (row * columns + column)
                        if bytes[at..<at + 2] != reference[at..<at + 2] {
                            marks[row * words + column / 64] |= 1 << UInt64(column % 64)
                        }
                    }
                }
                let marked = marks.withUnsafeBufferPointer { marks in
                    bytes.withUnsafeBytes { bytes in
                        reference.withUnsafeBytes { reference in
                            marks.baseAddress.map {
                                coder.encode(
                                    bytes, shift: 7, reference: reference,
                                    marks: DifferenceMarks($0, rows: rows, columns: columns))
                            }
                        }
                    }
                }
                #expect(marked == encode(bytes, 2, shift: 7, reference, coder))
            }
        }
    }

    /// A coder that was used, for sound streams or others, does what a new one does.
    @Test func codersRememberNothing() {
        var random = SeededRandom(test: "coders of differences")
        let used = DifferenceCoder()
        for _ in 0..<60 {
            let width = random.pick(Self.widths)
            let reference = random.structured(width * random.below(2_000))
            let bytes = changed(reference, width, rarity: random.pick([1, 5, 100]), &random)
            _ = decode(random.bytes(random.below(60)), width, reference, used)
            let given = random.below(3) == 0 ? nil : reference
            let stream = encode(bytes, width, shift: 0, given, used)
            #expect(stream == encode(bytes, width, shift: 0, given, DifferenceCoder()))
            #expect(decode(stream, width, reference, used) == bytes)
        }
    }

    // MARK: Streams that are none

    @Test(arguments: widths) func truncated(width: Int) {
        var random = SeededRandom(test: "truncated differences \(width)")
        let coder = DifferenceCoder()
        for rarity in [1, 2, 20] {
            let reference = random.bytes(60 * width)
            let bytes = changed(reference, width, rarity: rarity, &random)
            for given in [reference, nil] {
                let stream = encode(bytes, width, shift: 0, given, coder)
                for count in 1..<max(1, stream.count) {
                    #expect(decode(Array(stream[..<count]), width, reference, coder) == nil, "\(count)")
                }
                if !stream.isEmpty { #expect(decode(stream + [0], width, reference, coder) == nil, "one byte more") }
            }
        }
    }

    /// Flipped bits and random bytes, which may decode to something else, but write nowhere else.
    @Test(arguments: widths) func hostile(width: Int) {
        var random = SeededRandom(test: "hostile differences \(width)")
        let coder = DifferenceCoder()
        var refused = 0
        for round in 0..<600 {
            let reference = random.structured(width * random.below(300))
            let bytes = changed(reference, width, rarity: random.pick([1, 3, 30]), &random)
            var stream = encode(bytes, width, shift: 0, random.below(3) == 0 ? nil : reference, coder)
            if round % 4 == 0 { stream = [UInt8(random.below(4))] + random.bytes(random.below(80)) }
            for _ in 0...random.below(3) where !stream.isEmpty {
                stream[random.below(stream.count)] ^= 1 << UInt8(random.below(8))
            }
            if decode(stream, width, reference, coder) == nil { refused += 1 }
        }
        #expect(refused > 50)
    }

    private func number(_ value: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }

    private func section(_ bytes: [UInt8]) -> [UInt8] { number(bytes.count) + number(bytes.count) + bytes }

    @Test func writtenByHand() {
        let (coder, reference) = (DifferenceCoder(), [UInt8](repeating: 10, count: 8))
        let empty = section([])
        // Parameter 0, one difference: two zeros and a one for the gap, a one for the size, a zero for the sign.
        let one: [UInt8] = [Self.sparse, 0, 1, 0, 0, 0, 0b01100]
        #expect(decode(one, 1, reference, coder) == [10, 10, 11, 10, 10, 10, 10, 10])
        #expect(decode(one, 2, reference, coder) == [10, 10, 10, 10, 11, 10, 10, 10])
        #expect(decode([], 4, reference, coder) == reference)
        #expect(decode([Self.plain] + section(Array(1...8)), 1, reference, coder) == Array(1...8))
        let zigzag = [Self.differences, 0] + section([0, 1, 2, 3, 4, 5, 6, 7])
        #expect(decode(zigzag, 1, reference, coder) == [10, 9, 11, 8, 12, 7, 13, 6])
        let flaws: [(String, [UInt8], Int)] = [
            ("a kind that there is not", [3] + section(Array(1...8)), 1),
            ("a plane that is too long", [Self.plain] + section(Array(1...9)), 1),
            ("a plane that is too short", [Self.plain] + section(Array(1...7)), 1),
            ("no second plane", [Self.plain] + section([1, 2, 3, 4]), 2),
            ("a third plane", [Self.plain] + section([1, 2, 3, 4]) + section([1, 2, 3, 4]) + empty, 2),
            ("a shift that there is not", [Self.differences, 8] + section([0, 1, 2, 3, 4, 5, 6, 7]), 1),
            ("no shift", [Self.differences], 1),
            ("a section that is longer than it says", [Self.plain] + number(8) + number(9) + Array(1...9), 1),
            ("a section of another size", [Self.plain] + number(.max) + number(8) + Array(1...8), 1),
            ("a section that ends early", [Self.plain] + number(8) + number(8) + Array(1...7), 1),
            ("a section that is no zlib stream", [Self.plain] + number(8) + number(7) + Array(1...7), 1),
            ("half of a number", [Self.plain, 8, 0, 0, 0, 8, 0], 1),
            ("elements that do not fit", one, 3), ("no differences", [Self.sparse, 0, 0, 0, 0, 0], 1),
            ("a byte too many", one + [0], 1), ("a kind and no more", [Self.sparse], 1),
            ("an element behind the last", [Self.sparse, 3, 1, 0, 0, 0, 0b0011_0010], 1),
        ]
        for (what, stream, width) in flaws { #expect(decode(stream, width, reference, coder) == nil, "\(what)") }
    }
}
