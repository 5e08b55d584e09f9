import Fixtures
import Testing

@testable import StrictJSON

@Suite struct EncodingTests {
    /// Documents as Python writes them: `json.dumps` with `separators=(",", ":")`, with `indent=2`, and with ASCII only.
    static let samples: [(compact: String, pretty: String, ascii: String)] = [
        (
            "{}",
            "{}",
            "{}"
        ),
        (
            "[]",
            "[]",
            "[]"
        ),
        (
            "{\"a\":[],\"b\":{}}",
            "{\n  \"a\": [],\n  \"b\": {}\n}",
            "{\n  \"a\": [],\n  \"b\": {}\n}"
        ),
        (
            "[1,[2,[3,[]]],{\"x\":{\"y\":[null,true,false]}}]",
            "[\n  1,\n  [\n    2,\n    [\n      3,\n      []\n    ]\n  ],\n  {\n    \"x\": {\n      \"y\": [\n        null,\n        true,\n        false\n      ]\n    }\n  }\n]",
            "[\n  1,\n  [\n    2,\n    [\n      3,\n      []\n    ]\n  ],\n  {\n    \"x\": {\n      \"y\": [\n        null,\n        true,\n        false\n      ]\n    }\n  }\n]"
        ),
        (
            "{\"r\":8,\"lora_alpha\":16.0,\"target_modules\":[\"q_proj\",\"v_proj\"],\"rank_pattern\":{},\"init_lora_weights\":true,\"base\":null,\"eps\":1e-05,\"big\":1e+22}",
            "{\n  \"r\": 8,\n  \"lora_alpha\": 16.0,\n  \"target_modules\": [\n    \"q_proj\",\n    \"v_proj\"\n  ],\n  \"rank_pattern\": {},\n  \"init_lora_weights\": true,\n  \"base\": null,\n  \"eps\": 1e-05,\n  \"big\": 1e+22\n}",
            "{\n  \"r\": 8,\n  \"lora_alpha\": 16.0,\n  \"target_modules\": [\n    \"q_proj\",\n    \"v_proj\"\n  ],\n  \"rank_pattern\": {},\n  \"init_lora_weights\": true,\n  \"base\": null,\n  \"eps\": 1e-05,\n  \"big\": 1e+22\n}"
        ),
        (
            "[\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\",\"\u{e9}\u{20ac}\u{1f600}\u{2028}\u{feff}\",\"</script>\"]",
            "[\n  \"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\",\n  \"\u{e9}\u{20ac}\u{1f600}\u{2028}\u{feff}\",\n  \"</script>\"\n]",
            "[\n  \"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\\u007f\",\n  \"\\u00e9\\u20ac\\ud83d\\ude00\\u2028\\ufeff\",\n  \"</script>\"\n]"
        ),
        (
            "\"x\"",
            "\"x\"",
            "\"x\""
        ),
        (
            "3",
            "3",
            "3"
        ),
        (
            "null",
            "null",
            "null"
        ),
        (
            "{\"weight_map\":{\"a.b\":\"model-00001-of-00002.safetensors\"},\"metadata\":{\"total_size\":123}}",
            "{\n  \"weight_map\": {\n    \"a.b\": \"model-00001-of-00002.safetensors\"\n  },\n  \"metadata\": {\n    \"total_size\": 123\n  }\n}",
            "{\n  \"weight_map\": {\n    \"a.b\": \"model-00001-of-00002.safetensors\"\n  },\n  \"metadata\": {\n    \"total_size\": 123\n  }\n}"
        ),
    ]

    @Test func writesWhatPythonWrites() throws {
        for sample in Self.samples {
            let value = try JSONValue.parse(Array(sample.compact.utf8))
            #expect(value.encoded().utf8.elementsEqual(sample.compact.utf8))
            #expect(value.encoded(indent: 2).utf8.elementsEqual(sample.pretty.utf8))
            #expect(value.encoded(indent: 2, asciiOnly: true).utf8.elementsEqual(sample.ascii.utf8))
        }
    }

    @Test func randomValuesComeBack() throws {
        var random = SeededRandom(test: "randomValuesComeBack")
        for _ in 0..<400 {
            let value = Self.value(&random, depth: 0)
            for indent in [nil, 2, 0] as [Int?] {
                for asciiOnly in [false, true] {
                    let text = value.encoded(indent: indent, asciiOnly: asciiOnly)
                    #expect(try JSONValue.parse(Array(text.utf8)) == value, "\(text)")
                    if asciiOnly { #expect(text.utf8.allSatisfy { $0 < 0x7F }) }
                }
            }
        }
    }

    /// No text makes the parser crash, and whatever it accepts, it writes so that it accepts it again.
    @Test func mutantsAreRefusedOrStable() throws {
        var random = SeededRandom(test: "mutantsAreRefusedOrStable")
        var accepted = 0
        for _ in 0..<5_000 {
            var bytes = Array(Self.value(&random, depth: 0).encoded(asciiOnly: random.below(2) == 0).utf8)
            for _ in 0...random.below(3) {
                let at = random.below(bytes.count + 1)
                switch random.below(3) {
                case 0: bytes.insert(random.pick(Array("\"\\{}[],:u0eE.-+dDnNI \n\0".utf8) + [0xC3, 0xFF]), at: at)
                case 1 where at < bytes.count: bytes.remove(at: at)
                default: if at < bytes.count { bytes[at] ^= 1 << UInt8(random.below(8)) }
                }
            }
            guard let value = try? JSONValue.parse(bytes, allowNonFinite: random.below(2) == 0) else { continue }
            accepted += 1
            let again = try JSONValue.parse(Array(value.encoded().utf8), allowNonFinite: true)
            #expect(again == value)
        }
        #expect(accepted > 250)
    }

    private static let texts = [
        "", "a", "weight", "\"", "\\", "\u{0}", "\u{1F}", "\u{7F}", "é", "e\u{301}", "😀", "\u{2028}", "\r\n",
    ]

    private static func value(_ random: inout SeededRandom, depth: Int) -> JSONValue {
        switch random.below(depth > 5 ? 5 : 8) {
        case 0: return .null
        case 1: return .bool(random.below(2) == 0)
        case 2: return .number(JSONNumber(Int(truncatingIfNeeded: random.next())))
        case 3: return .number(JSONNumber(text: random.pick(["0", "-0", "1.50", "1e-05", "1E+22", "-0.0"])))
        case 4: return .string((0..<random.below(4)).map { _ in random.pick(texts) }.joined())
        case 5: return .array((0..<random.below(5)).map { _ in value(&random, depth: depth + 1) })
        default:
            let pairs = (0..<random.below(14)).map { _ in
                ("\(random.below(20))" + random.pick(texts), value(&random, depth: depth + 1))
            }
            return .object(JSONObject(pairs))
        }
    }
}
