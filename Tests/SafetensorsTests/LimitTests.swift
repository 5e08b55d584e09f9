import CPosix
import Fixtures
import Problems
import Testing

@testable import Safetensors

@Suite struct LimitTests {
    /// Sizes around the powers at which products and byte counts overflow.
    private static let sizes: [Int] = [
        0, 1, 2, 3, 8, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, 1 << 59, 1 << 60,
        1 << 61,
        1 << 62, Int.max - 1, Int.max,
    ]

    @Test(arguments: DType.allCases) func byteCountsEqualWideArithmetic(_ dtype: DType) {
        for a in Self.sizes {
            for b in Self.sizes {
                for c in Self.sizes {
                    for shape in [[], [a], [a, b], [a, b, c]] {
                        let expected = try? TinyReader.size(shape.map { UInt64($0) }, UInt64(dtype.bits))
                        let found = DType.byteCount(shape, dtype)
                        if found.map({ UInt64($0) }) != expected { Issue.record("\(dtype) \(shape): \(found ?? -1)") }
                    }
                }
            }
        }
        #expect(DType.byteCount([-1], dtype) == nil)
        #expect(DType.byteCount([2, -3, 0], dtype) == nil)
    }

    @Test func overflowingShapesAreRefusedInHeaders() {
        var random = SeededRandom(test: "overflowingShapesAreRefusedInHeaders")
        for _ in 0..<3_000 {
            let shape = (0..<random.below(4)).map { _ in random.pick(Self.sizes) }
            let dtype = random.pick(DType.allCases)
            let size = DType.byteCount(shape, dtype) ?? random.below(100)
            let text = shape.map(String.init).joined(separator: ",")
            let header = #"{"t":{"dtype":"\#(dtype.rawValue)","shape":[\#(text)],"data_offsets":[0,\#(size)]}}"#
            #expect(agree(fileOf(header: header, data: min(size, 64))), "\(header)")
        }
    }

    private static func entries(_ count: Int, _ entry: (Int) -> String) -> [UInt8] {
        var text = Array("{".utf8)
        for at in 0..<count {
            if at > 0 { text.append(UInt8(ascii: ",")) }
            text += entry(at).utf8
        }
        return text + "}".utf8
    }

    /// Each must end soon, with one short message; times are far above what a debug build needs.
    @Test(
        .timeLimit(.minutes(2)),
        arguments: [
            ("brackets", "json-syntax"), ("spaces", "json-syntax"), ("quotes", "json-end"), ("escapes", "json-end"),
            ("overlaps", "bad-offsets"), ("long name", "bad-entry"), ("rank", "bad-entry"),
            ("many digits", "bad-entry"),
            ("metadata", "json-duplicate"), ("nesting in an entry", "bad-entry"), ("one name", "duplicate-tensor"),
        ])
    func hostileHeadersEndSoon(_ name: String, _ code: String) throws {
        let header: [UInt8]
        switch name {
        case "brackets": header = [UInt8](repeating: UInt8(ascii: "["), count: Header.largestHeader)
        case "spaces": header = [UInt8](repeating: 0x20, count: 10_000_000)
        case "quotes": header = Array("{\"".utf8) + [UInt8](repeating: UInt8(ascii: "a"), count: 10_000_000)
        case "escapes":
            header = Array("{\"".utf8) + Array(repeatElement(Array("\\u0041".utf8), count: 300_000).joined())
        case "overlaps":
            header = Self.entries(100_000) { #""t\#($0)":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}"# }
        case "long name": header = Array("{\"\(String(repeating: "n", count: 1 << 20))\":0}".utf8)
        case "rank":
            let shape = String(repeating: "1,", count: 100_000) + "1"
            header = Array(#"{"t":{"dtype":"U8","shape":[\#(shape)],"data_offsets":[0,1]}}"#.utf8)
        case "many digits":
            let shape = String(repeating: "9", count: 1_000_000)
            header = Array(#"{"t":{"dtype":"U8","shape":[\#(shape)],"data_offsets":[0,1]}}"#.utf8)
        case "metadata":
            let pairs = Self.entries(50_000) { #""k\#($0)":"v""# }
            header = Array(#"{"__metadata__":"#.utf8) + pairs.dropLast() + Array(#","k7":"v"}}"#.utf8)
        case "nesting in an entry":
            header = Array(#"{"t":{"shape":"#.utf8) + [UInt8](repeating: UInt8(ascii: "["), count: 1_000_000)
        default: header = Self.entries(1_000) { _ in #""t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"# }
        }
        let problem = #expect(throws: Problem.self) { try Header.parse(json: header, dataLength: 4, file: "hostile") }
        #expect(problem?.code == code)
        #expect((problem?.message.utf8.count ?? 0) < 1_000)
        #expect(problem?.hint == nil)
    }

    @Test func manyEmptyTensorsAreRead() throws {
        let header = Self.entries(20_000) { #""t\#(20_000 - $0)":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"# }
        let found = try Header.parse(json: header, dataLength: 0, file: "many")
        #expect(found.tensors.count == 20_000)
        #expect(found["t1"] != nil && found["t20000"] != nil && found["t20001"] == nil)
        // Tensors at one offset keep the file's order.
        #expect(found.tensors.first?.name == "t20000")
    }

    /// The measured bar: a header of 20 MB with 100,000 tensors in half a second, in memory four times its size.
    ///
    /// It counts in release builds: `swift test -c release --filter largeHeader` prints the figures.
    @Test func largeHeader() throws {
        let header = Self.entries(100_000) { at in
            let name =
                "model.layers.\(at / 1000).mlp.experts.\(at % 1000).a_rather_long_name_of_a_projection_that_fills_the_line"
            let padding = String(repeating: " ", count: max(0, 130 - name.utf8.count))
            return #""\#(name)":{"dtype":"BF16","shape":[4096,\#(at % 7 + 1)],"#
                + #""data_offsets":[\#(Self.offset(at)),\#(Self.offset(at + 1))]}\#(padding)"#
        }
        let before = ak_peak_memory()
        let clock = ContinuousClock()
        var found: Header?
        let time = try clock.measure {
            found = try Header.parse(json: header, dataLength: Self.offset(100_000), file: "large")
        }
        let growth = Int(ak_peak_memory() - before)
        print("largeHeader: \(header.count) bytes, \(time), peak memory grew by \(growth) bytes")
        #expect(found?.tensors.count == 100_000)
        #expect(growth < 4 * header.count)
        #if !DEBUG
            #expect(time < .milliseconds(500))
        #endif
    }

    private static func offset(_ at: Int) -> Int { 8192 * (at / 7 * 28 + [0, 1, 3, 6, 10, 15, 21][at % 7]) }
}
