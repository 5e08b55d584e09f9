import Problems
import Testing

@testable import StrictJSON

/// A document, and the code and place of the problem it must give; `nil` if it is accepted.
struct Document: CustomTestStringConvertible, Sendable {
    let bytes: [UInt8]
    let refusal: String?
    let offset: Int?

    init(_ text: String, _ refusal: String? = nil, _ offset: Int? = nil) {
        self.init(Array(text.utf8), refusal, offset)
    }

    init(_ bytes: [UInt8], _ refusal: String?, _ offset: Int?) {
        self.bytes = bytes
        self.refusal = refusal.map { "json-" + $0 }
        self.offset = offset
    }

    var testDescription: String { String(decoding: bytes.prefix(40), as: UTF8.self) }

    /// `inside` between quotes, whose first byte is byte 1.
    static func string(_ inside: [UInt8], _ offset: Int) -> Document {
        Document([0x22] + inside + [0x22], "utf8", offset)
    }
}

@Suite struct ReaderTests {
    @Test(
        arguments: [
            "null", "true", "false", "0", "-0", "-1", "10", "1.5", "0.0", "-0.5e-7", "1E+9", "1e5", #""""#, #""a""#,
            "[]", "{}",
            "[1,2]", #"{"a":1,"b":[{}]}"#, " \t\r\n[ 1 , 2 ] \n", #""\"\\\/\b\f\n\r\t""#, #""\u0041\u00e9\u20ac""#,
            #""\uD83D\uDE00""#, #""\ud83d\ude00""#, "\"\u{7F}\u{80}\u{FFFF}\u{10FFFF}\"", #"{"":""}"#,
            #"{"a":1,"A":2}"#,
            "{\"\u{e9}\":1,\"e\u{301}\":2}", String(repeating: "[", count: 64) + String(repeating: "]", count: 64),
            String(repeating: #"{"a":"#, count: 64) + "1" + String(repeating: "}", count: 64), #""\u0000""#,
            "123456789012345678901234567890", "1e400", "-1e-400",
        ])
    func accepts(_ text: String) throws {
        _ = try JSONValue.parse(Array(text.utf8))
    }

    static let refused: [Document] = [
        // Values that are none.
        Document("", "syntax", 0), Document("  ", "syntax", 2), Document("nul", "syntax", 0),
        Document("nullx", "syntax", 0),
        Document("True", "syntax", 0), Document("None", "number", 0), Document("undefined", "syntax", 0),
        Document("'a'", "syntax", 0), Document("// c\n1", "syntax", 0), Document("/* c */1", "syntax", 0),
        Document("true1", "syntax", 0), Document("true_", "syntax", 0), Document("\u{A0}1", "syntax", 0),
        Document("\u{0B}1", "syntax", 0), Document([0x00], "syntax", 0), Document([0xEF, 0xBB, 0xBF, 0x31], "bom", 0),
        // Numbers.
        Document("01", "number", 0), Document("-01", "number", 0), Document("00", "number", 0),
        Document("1.", "number", 2),
        Document(".5", "syntax", 0), Document("+1", "syntax", 0), Document("--1", "number", 1),
        Document("-", "number", 1),
        Document("1e", "number", 2), Document("1e+", "number", 3), Document("1.e5", "number", 2),
        Document("- 1", "number", 1),
        Document("0x10", "trailing", 1), Document("1_000", "trailing", 1), Document("1 2", "trailing", 2),
        Document("NaN", "number", 0), Document("Infinity", "number", 0), Document("-Infinity", "number", 0),
        Document("[1,-Infinity]", "number", 3), Document("-Inf", "number", 1), Document("nan", "syntax", 0),
        // Structure.
        Document("[", "syntax", 1), Document("[1", "syntax", 2), Document("[1,]", "syntax", 3),
        Document("[,1]", "syntax", 1),
        Document("[1 2]", "syntax", 3), Document("]", "syntax", 0), Document("[1]]", "trailing", 3),
        Document("[}", "syntax", 1),
        Document("{", "syntax", 1), Document("{]", "syntax", 1), Document("{1:2}", "syntax", 1),
        Document("{a:1}", "syntax", 1),
        Document(#"{"a"}"#, "syntax", 4), Document(#"{"a":}"#, "syntax", 5), Document(#"{"a":1,}"#, "syntax", 7),
        Document(#"{"a":1 "b":2}"#, "syntax", 7), Document(#"{"a":1}{}"#, "trailing", 7),
        Document("1\u{0}", "trailing", 1),
        Document(#"{"a":1,"b":2,"a":3}"#, "duplicate", 13), Document(#"[{"a":{"x":1,"\u0078":2}}]"#, "duplicate", 13),
        Document(String(repeating: "[", count: 65) + String(repeating: "]", count: 65), "depth", 64),
        Document(String(repeating: "[", count: 1_000_000), "depth", 64),
        Document(String(repeating: #"{"a":"#, count: 65) + "1" + String(repeating: "}", count: 65), "depth", 320),
        // Strings.
        Document("\"", "end", 1), Document("\"abc", "end", 4), Document("\"\\", "end", 2), Document("\"\\\"", "end", 3),
        Document("\"a\nb\"", "control", 2), Document("\"a\tb\"", "control", 2), Document("\"\u{0}\"", "control", 1),
        Document("\"\\n\u{1F}\"", "control", 3), Document(#""\x41""#, "escape", 1), Document(#""a\'""#, "escape", 2),
        Document(#""\U0041""#, "escape", 1), Document(#""\u004""#, "escape", 1), Document(#""\u00g0""#, "escape", 1),
        Document(#""\u-041""#, "escape", 1), Document(#""\u 041""#, "escape", 1), Document(#""\u"#, "end", 3),
        Document(#""\ud800""#, "surrogate", 1), Document(#""a\udc00""#, "surrogate", 2),
        Document(#""\ud800x""#, "surrogate", 1),
        Document(#""\ud800\n""#, "surrogate", 1), Document(#""\ud800\ud800""#, "surrogate", 1),
        Document(#""\ud800\u0041""#, "surrogate", 1), Document(#""\ud83d\ude0""#, "escape", 7),
        // UTF-8: a lone continuation, a cut sequence, overlong forms, surrogates, too large, bytes that never occur.
        .string([0x80], 1), .string([0x61, 0xC3], 2), .string([0xC0, 0xAF], 1), .string([0xC1, 0xBF], 1),
        .string([0xE0, 0x80, 0xAF], 1), .string([0xF0, 0x80, 0x80, 0xAF], 1), .string([0xED, 0xA0, 0x80], 1),
        .string([0xED, 0xBF, 0xBF], 1), .string([0xF4, 0x90, 0x80, 0x80], 1), .string([0xF5, 0x80, 0x80, 0x80], 1),
        .string([0xFE], 1), .string([0xFF], 1), .string([0x61, 0x62, 0xE2, 0x82], 3),
        Document([0x22, 0x5C, 0x6E, 0xFF, 0x22], "utf8", 0),
    ]

    @Test(arguments: refused) func refuses(_ document: Document) throws {
        let problem = #expect(throws: Problem.self) { try JSONValue.parse(document.bytes) }
        #expect(problem?.kind == .malformed)
        #expect(problem?.code == document.refusal)
        #expect(problem?.offset == document.offset)
        #expect(problem?.message.isEmpty == false)
    }

    @Test(arguments: ["NaN", "Infinity", "-Infinity"]) func pythonNumbersOnlyWhereAllowed(_ word: String) throws {
        #expect(throws: Problem.self) { try JSONValue.parse(Array(word.utf8)) }
        let value = try JSONValue.parse(Array("[\(word)]".utf8), allowNonFinite: true)
        let number = try #require(value.array?.first?.number)
        #expect(number.text == word)
        #expect(number.int == nil)
        #expect(!number.double.isFinite)
        #expect((number.double < 0) == word.hasPrefix("-"))
    }

    @Test func numbersKeepTheirText() throws {
        let texts = [
            "-0", "1.50", "1E+05", "123456789012345678901234567890", "9223372036854775807", "2.0", "1e2", "0.1",
        ]
        let value = try JSONValue.parse(Array("[\(texts.joined(separator: ","))]".utf8))
        let numbers = try #require(value.array).compactMap(\.number)
        #expect(numbers.map(\.text) == texts)
        #expect(numbers.map(\.int) == [0, nil, nil, nil, Int.max, nil, nil, nil])
        #expect(numbers.map(\.double) == [0, 1.5, 1e5, 1.2345678901234568e29, 0x1p63, 2, 100, 0.1])
        #expect(JSONNumber(text: "1e400").double == .infinity)
        #expect(JSONNumber(text: "-").int == nil)
        #expect(JSONNumber(text: "9223372036854775808").int == nil)
        #expect(JSONNumber(text: "-9223372036854775808").int == Int.min)
    }

    @Test(
        arguments: [
            ("0", 0), ("7,", 7), (" 9223372036854775807]", Int.max), ("9223372036854775808", nil), ("-0", nil),
            ("-1", nil),
            ("1.0", nil), ("1e0", nil), ("01", nil), ("00", nil), ("", nil), ("x", nil), ("+1", nil), ("1E2", nil),
            ("99999999999999999999999999", nil), ("\"1\"", nil),
        ] as [(String, Int?)])
    func unsigned(_ text: String, _ expected: Int?) {
        var reader = JSONReader(Array(text.utf8), base: 8)
        do {
            let value = try reader.unsigned()
            #expect(value == expected)
        } catch {
            #expect(expected == nil)
            #expect(error.kind == .malformed && (error.offset ?? 0) >= 8)
        }
    }

    @Test func objectsKeepOrderAndPlaces() throws {
        let keys = (0..<40).map { "k\(($0 * 17) % 40)" }
        let text = "{" + keys.map { "\"\($0)\":\"\($0)\"" }.joined(separator: ",") + "}"
        var object = try #require(try JSONValue.parse(Array(text.utf8)).object)
        #expect(object.entries.map(\.key) == keys)
        for key in keys {
            let offset = try #require(object.offset(of: key))
            #expect(Array(text.utf8)[offset...].starts(with: "\"\(key)\"".utf8))
            #expect(object[key]?.string == key)
        }
        #expect(object["absent"] == nil)
        for key in keys.reversed() {
            object[key] = nil
            #expect(object[key] == nil)
        }
        #expect(object.entries.isEmpty)
        object["a"] = .bool(true)
        object["a"] = .null
        #expect(object.entries.map(\.value) == [.null])
        #expect(JSONObject([("a", .null), ("b", .null)]) != JSONObject([("b", .null), ("a", .null)]))
    }
}
