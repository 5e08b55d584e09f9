import Fixtures
import Testing

@testable import Archives

/// Planes and chunks come back as they were, whatever is in them.
@Suite struct PlaneCoderTests {
    private static func sizes(_ random: inout SeededRandom) -> [Int] {
        Array(0...40) + (0..<20).map { _ in 41 + random.below(5_000) } + [
            32_766, 32_767, 32_768, 65_535, 131_064, 262_128,
        ]
    }

    /// Codes `plane` and inflates the stream again; its length, or `nil` if it is to be stored as it is.
    private func trip(_ plane: [UInt8], _ encoder: PlaneEncoder, _ inflater: Inflater, isNumeric: Bool) -> Int? {
        var room = [UInt8](repeating: 0xAA, count: plane.count)
        let length = plane.withUnsafeBytes { source in
            room.withUnsafeMutableBytes { encoder.encode(source, into: $0, isNumeric: isNumeric) }
        }
        guard let length else { return nil }
        var back = [UInt8](repeating: 0x55, count: plane.count)
        let isWhole = room.withUnsafeBytes { stream in
            back.withUnsafeMutableBytes { inflater.run(UnsafeRawBufferPointer(rebasing: stream[..<length]), into: $0) }
        }
        #expect(isWhole && back == plane)
        return length
    }

    @Test(arguments: ArchiveLevel.allCases, [false, true]) func planes(_ level: ArchiveLevel, _ isNumeric: Bool) {
        var random = SeededRandom(test: "planes \(level) \(isNumeric)")
        let (encoder, inflater) = (PlaneEncoder(level: level), Inflater())
        for size in Self.sizes(&random) {
            let plane = random.structured(size)
            guard let length = trip(plane, encoder, inflater, isNumeric: isNumeric) else { continue }
            #expect(length < size, "what is not smaller is stored as it is")
        }
        #expect(trip([UInt8](repeating: 0, count: 10_000), encoder, inflater, isNumeric: isNumeric) ?? 9_999 < 100)
        #expect(trip(random.bytes(10_000), encoder, inflater, isNumeric: isNumeric) == nil)
    }

    /// The same plane gives the same stream, whatever the encoder did before.
    @Test(arguments: ArchiveLevel.allCases) func encodersRememberNothing(_ level: ArchiveLevel) {
        var random = SeededRandom(test: "encodersRememberNothing \(level)")
        let (used, coder) = (PlaneEncoder(level: level), ChunkCoder())
        for _ in 0..<40 {
            let chunk = random.structured(8 * random.below(3_000))
            let code = random.pick([PartCode.bytes, .rotated(width: 2), .joint(width: 4), .rotated(width: 8)])
            let (one, first) = encode(chunk, code, nil, coder, used)
            let (two, second) = encode(chunk, code, nil, ChunkCoder(), PlaneEncoder(level: level))
            #expect(one == two && first == second, "\(code) \(chunk.count)")
        }
    }

    private static let codes: [PartCode] =
        [.bytes]
        + [1, 2, 4, 8].flatMap { width -> [PartCode] in
            [.rotated(width: width), .difference(width: width, source: 0)]
                + (width > 1 ? [.joint(width: width)] : [])
                + [0, 3, 7, 8 * width - 8, 8 * width - 1].map { .grouped(width: width, shift: $0, source: 0) }
        }

    private func encode(
        _ chunk: [UInt8], _ code: PartCode, _ base: [UInt8]?, _ coder: ChunkCoder, _ encoder: PlaneEncoder
    ) -> (stream: [UInt8], tokens: [PlaneToken]) {
        chunk.withUnsafeBytes { bytes in
            withBytes(of: base) { source in
                let (stream, tokens) = coder.encode(bytes, code, base: source, with: encoder)
                return (Array(stream), tokens)
            }
        }
    }

    private func decode(
        _ stream: [UInt8], _ tokens: [PlaneToken], _ code: PartCode, _ base: [UInt8]?, _ size: Int, _ coder: ChunkCoder
    ) -> (bytes: [UInt8], flaw: String?) {
        var back = [UInt8](repeating: 0x55, count: size)
        let flaw = stream.withUnsafeBytes { bytes in
            withBytes(of: base) { source in
                back.withUnsafeMutableBytes { coder.decode(bytes, tokens[...], code, base: source, into: $0) }
            }
        }
        return (back, flaw)
    }

    /// A source: often near to the chunk, as a tuned model is to its base.
    private func source(_ chunk: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
        switch random.below(3) {
        case 0: chunk.map { random.below(4) == 0 ? $0 &+ 1 : $0 }
        case 1: random.structured(chunk.count)
        default: random.bytes(chunk.count)
        }
    }

    @Test(arguments: ArchiveLevel.allCases) func chunks(_ level: ArchiveLevel) {
        var random = SeededRandom(test: "chunks \(level)")
        let (encoder, coder) = (PlaneEncoder(level: level), ChunkCoder())
        for code in Self.codes {
            for count in [1, 2, 3, 4, 5, 7, 8, 13, 64, 1000, 1000 + random.below(3_000)] {
                let chunk = random.structured(count * code.width)
                let base = code.source == nil ? nil : source(chunk, &random)
                let (stream, tokens) = encode(chunk, code, base, coder, encoder)
                #expect(tokens.count == code.planes)
                #expect(tokens.reduce(0) { $0 + Int($1.length) } == stream.count)
                #expect(stream.count <= code.planesSize(chunk.count), "\(code.text) never grows")
                let (back, flaw) = decode(stream, tokens, code, base, chunk.count, coder)
                #expect(flaw == nil && back == chunk, "\(code.text), \(count) elements: \(flaw ?? "other bytes")")
            }
        }
    }

    /// Any bit of a stream: a flaw, or the same bytes, since some bits of a zlib stream mean nothing.
    ///
    /// Of few bytes with few values, Adler-32 misses a change now and then; the digests of parts and files are for that.
    @Test func damagedStreams() {
        var random = SeededRandom(test: "damagedStreams")
        let (encoder, coder) = (PlaneEncoder(level: .default), ChunkCoder())
        var (flips, missed) = (0, 0)
        for code in Self.codes {
            let chunk = random.structured(40 * code.width)
            let base = code.source == nil ? nil : source(chunk, &random)
            let (stream, tokens) = encode(chunk, code, base, coder, encoder)
            for bit in 0..<8 * stream.count {
                var damaged = stream
                damaged[bit / 8] ^= 1 << UInt8(bit % 8)
                let (back, flaw) = decode(damaged, tokens, code, base, chunk.count, coder)
                flips += 1
                if flaw == nil && back != chunk { missed += 1 }
                if tokens.allSatisfy({ $0.check != nil }) {
                    #expect(flaw == "does not have its checksum", "\(code.text), bit \(bit): it is stored as it is")
                }
            }
        }
        print("damagedStreams: \(missed) of \(flips) flips were missed")
        #expect(missed * 500 < flips)
    }

    @Test func damagedChecksums() {
        var random = SeededRandom(test: "damagedChecksums")
        let (encoder, coder) = (PlaneEncoder(level: .default), ChunkCoder())
        var stored = 0
        for code in Self.codes {
            let chunk = random.bytes(40 * code.width)
            let base = code.source == nil ? nil : random.bytes(chunk.count)
            let (stream, tokens) = encode(chunk, code, base, coder, encoder)
            for (at, token) in tokens.enumerated() {
                guard let check = token.check else { continue }
                stored += 1
                for bit in 0..<UInt32(32) {
                    var other = tokens
                    other[at] = PlaneToken(length: token.length, check: check ^ 1 << bit)
                    #expect(decode(stream, other, code, base, chunk.count, coder).flaw == "does not have its checksum")
                }
            }
        }
        #expect(stored > 20)
    }

    /// The planes of numbers at hand: what the page says of each code.
    @Test func planesAreWhatThePageSays() {
        let encoder = PlaneEncoder(level: .default)
        let numbers: [UInt8] = [0x80, 0x3F, 0x81, 0xBF, 0x00, 0x40]
        let other: [UInt8] = [0x81, 0x3F, 0x7F, 0xBF, 0x02, 0x40]
        let wanted: [(PartCode, [UInt8])] = [
            (.bytes, numbers),
            // 3F80, BF81 and 4000, rotated to the left by a bit: 7F00, 7F03 and 8000.
            (.rotated(width: 2), [0x7F, 0x7F, 0x80, 0x00, 0x03, 0x00]),
            // Two bits, a byte and six bits: 1 FC 0, 1 FC 3, 2 00 0.
            (.joint(width: 2), [0xFC, 0xFC, 0x00, 0, 3, 0, 0b10_01_01]),
            // -1, 2 and -2 in zigzag: 1, 4 and 3.
            (.difference(width: 2, source: 0), [0, 0, 0, 1, 4, 3]),
            // Groups by the exponent: 127 (of 3F81 and of BF7F, whose sign is above) is 7F and 7E; 4002 is 80.
            (.grouped(width: 2, shift: 7, source: 0), [0, 0, 0, 4, 1, 3]),
        ]
        for (code, planes) in wanted {
            let base = code.source == nil ? nil : other
            let (stream, tokens) = encode(numbers, code, base, ChunkCoder(), encoder)
            #expect(stream == planes, "\(code.text)")
            #expect(tokens.allSatisfy { $0.check != nil })
        }
    }
}
