import Fixtures
import Problems
import Testing

@testable import Safetensors

/// The rules of the format one by one; each row is also put to the tiny reader.
@Suite struct RuleTests {
    private static let entry = #""a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}"#

    /// Legal, if odd: header, bytes of data, number of tensors.
    @Test(arguments: [
        ("{}", 0, 0), ("{\(entry)}", 2, 1), (" {\(entry)}", 2, 1), ("\n\t\r {\(entry)}\n\t\r ", 2, 1),
        ("{ \"a\" : { \"dtype\" : \"U8\" , \"shape\" : [ 2 ] , \"data_offsets\" : [ 0 , 2 ] } }", 2, 1),
        ("{\"__metadata__\":null,\(entry)}", 2, 1), ("{\"__metadata__\":{},\(entry)}", 2, 1),
        ("{\(entry),\"__metadata__\":{\"k\":\"v\"}}", 2, 1), ("{\"__metadata__\":{\"\":\"\"}}", 0, 0),
        (#"{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#, 4, 1),
        (#"{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#, 0, 1),
        (#"{"a":{"dtype":"F64","shape":[1073741824,16777216,0],"data_offsets":[0,0]}}"#, 0, 1),
        (#"{"a":{"dtype":"F64","shape":[0,2147483648,33554431],"data_offsets":[0,0]}}"#, 0, 1),
        (#"{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}"#, 1, 1),
        (#"{"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]}}"#, 3, 1),
        (#"{"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1, 1),
        (#"{"\u0000":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1, 1),
        (#"{"../../x\u001b[31m":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1, 1),
        (#"{"a":{"\u0064type":"\u00558","shape":[2],"data_offsets":[0,2]}}"#, 2, 1),
        (#"{"a":{"data_offsets":[0,2],"shape":[2],"dtype":"U8"}}"#, 2, 1),
        (
            #"{"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#,
            2, 2
        ),
        (
            "{\"e\u{301}\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\(entry),"
                + "\"\u{E9}\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]}}", 2, 3
        ),
    ])
    func accepted(_ json: String, _ data: Int, _ count: Int) throws {
        let header = try parse(fileOf(header: json, data: data))
        #expect(header.tensors.count == count)
        #expect(header.dataStart == 8 + json.utf8.count)
        #expect(header.dataLength == data)
        for tensor in header.tensors { #expect(header[tensor.name] == tensor) }
        #expect(agree(fileOf(header: json, data: data)))
    }

    /// Header, bytes of data, code of the problem.
    @Test(arguments: [
        ("", 0, "json-syntax"), ("[]", 0, "json-syntax"), ("null", 0, "json-syntax"), ("1", 0, "json-syntax"),
        ("{}\0\0", 0, "json-trailing"), ("{}{}", 0, "json-trailing"), ("\u{FEFF}{}", 0, "json-bom"),
        ("{", 0, "json-syntax"),
        ("{\(entry),}", 2, "json-syntax"), ("{\(entry)}", 3, "trailing-bytes"), ("{\(entry)}", 1, "truncated"),
        ("{}", 1, "trailing-bytes"), ("{\(entry),\(entry)}", 2, "duplicate-tensor"),
        (
            #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"\u0061":{"dtype":"I8","shape":[2],"data_offsets":[2,4]}}"#,
            4, "duplicate-tensor"
        ),
        ("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "json-duplicate"),
        ("{\"__metadata__\":null,\"__metadata__\":null}", 0, "json-duplicate"),
        ("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "json-duplicate"),
        ("{\"__metadata__\":{\"k\":1}}", 0, "json-metadata"),
        ("{\"__metadata__\":{\"k\":null}}", 0, "json-metadata"), ("{\"__metadata__\":{\"k\":{}}}", 0, "json-metadata"),
        ("{\"__metadata__\":[]}", 0, "json-syntax"), ("{\"__metadata__\":\"x\"}", 0, "json-syntax"),
        ("{\"__metadata__\":true}", 0, "json-syntax"), ("{\"a\":null}", 0, "bad-entry"), ("{\"a\":[]}", 0, "bad-entry"),
        ("{\"a\":{}}", 0, "bad-entry"), ("{\"\\ud800\":{}}", 0, "json-surrogate"),
        ("{\"a\u{1}\":{}}", 0, "json-control"),
    ])
    func refusedDocuments(_ json: String, _ data: Int, _ code: String) throws {
        let bytes = fileOf(header: json, data: data)
        let found = try #require(throws: Problem.self) { try parse(bytes) }
        #expect(found.code == code)
        #expect(found.kind == .malformed)
        #expect(found.file == "f")
        #expect((0...bytes.count).contains(found.offset ?? -1))
        #expect(TinyReader.read(bytes) == nil)
    }

    /// The fields of one entry, bytes of data, code of the problem.
    @Test(arguments: [
        (#""shape":[2],"data_offsets":[0,2]"#, 2, "bad-entry"), (#""dtype":"U8","data_offsets":[0,2]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[2]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[2],"data_offsets":[0,2],"x":1"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[2],"data_offsets":[0,2],"Dtype":"U8""#, 2, "bad-entry"),
        (#""dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]"#, 2, "bad-entry"),
        (#""dtype":"U8","\u0064type":"U8","shape":[2],"data_offsets":[0,2]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[2],"shape":[2],"data_offsets":[0,2]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[2],"data_offsets":[0,2],"data_offsets":[0,2]"#, 2, "bad-entry"),
        (#""dtype":"u8","shape":[2],"data_offsets":[0,2]"#, 2, "bad-dtype"),
        (#""dtype":"Q4","shape":[2],"data_offsets":[0,2]"#, 2, "bad-dtype"),
        (#""dtype":"","shape":[2],"data_offsets":[0,2]"#, 2, "bad-dtype"),
        (#""dtype":null,"shape":[2],"data_offsets":[0,2]"#, 2, "bad-dtype"),
        (#""dtype":8,"shape":[2],"data_offsets":[0,2]"#, 2, "bad-dtype"),
        (#""dtype":"U8","shape":[-2],"data_offsets":[0,2]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[2.0],"data_offsets":[0,2]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[2e0],"data_offsets":[0,2]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[02],"data_offsets":[0,2]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[-0],"data_offsets":[0,0]"#, 0, "bad-entry"),
        (#""dtype":"U8","shape":["2"],"data_offsets":[0,2]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[[2]],"data_offsets":[0,2]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[2,],"data_offsets":[0,2]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":2,"data_offsets":[0,2]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":null,"data_offsets":[0,2]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[2],"data_offsets":[0]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[2],"data_offsets":[]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[2],"data_offsets":[0,2,2]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[2],"data_offsets":[0,2.0]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[2],"data_offsets":[-1,1]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[2],"data_offsets":[0,18446744073709551617]"#, 2, "bad-entry"),
        (#""dtype":"U8","shape":[2],"data_offsets":[2,0]"#, 2, "bad-offsets"),
        (#""dtype":"U8","shape":[2],"data_offsets":[1,3]"#, 3, "bad-offsets"),
        (#""dtype":"U8","shape":[2],"data_offsets":[9223372036854775805,9223372036854775807]"#, 2, "bad-offsets"),
        (#""dtype":"U8","shape":[3],"data_offsets":[0,2]"#, 2, "bad-size"),
        (#""dtype":"U8","shape":[0],"data_offsets":[0,2]"#, 2, "bad-size"),
        (#""dtype":"U8","shape":[],"data_offsets":[0,0]"#, 0, "bad-size"),
        (#""dtype":"F4","shape":[3],"data_offsets":[0,1]"#, 1, "bad-shape"),
        (#""dtype":"F6_E3M2","shape":[3],"data_offsets":[0,2]"#, 2, "bad-shape"),
        (#""dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,0]"#, 0, "bad-shape"),
        (#""dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]"#, 0, "bad-shape"),
        (#""dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,0]"#, 0, "bad-entry"),
    ])
    func refusedEntries(_ fields: String, _ data: Int, _ code: String) throws {
        let bytes = fileOf(header: "{\"w\":{\(fields)}}", data: data)
        let found = try #require(throws: Problem.self) { try parse(bytes) }
        #expect(found.code == code)
        #expect(found.tensor == "w")
        #expect((8...).contains(found.offset ?? -1))
        #expect(TinyReader.read(bytes) == nil)
    }

    /// Pairs of tensors that do not cover their data exactly.
    @Test(arguments: [
        (0, 4, 5, 9, 9), (0, 4, 3, 7, 8), (0, 4, 0, 4, 4), (0, 4, 0, 4, 8), (0, 8, 4, 8, 8), (1, 4, 4, 8, 8),
        (0, 4, 4, 7, 8), (0, 4, 4, 8, 9), (0, 4, 4, 8, 7), (0, 4, 2, 2, 4), (0, 4, 5, 5, 4), (4, 8, 4, 4, 8),
    ])
    func layouts(_ a: Int, _ b: Int, _ c: Int, _ d: Int, _ data: Int) {
        let entry = { (name: String, begin: Int, end: Int) in
            "\"\(name)\":{\"dtype\":\"U8\",\"shape\":[\(end - begin)],\"data_offsets\":[\(begin),\(end)]}"
        }
        for json in ["{\(entry("x", a, b)),\(entry("y", c, d))}", "{\(entry("y", c, d)),\(entry("x", a, b))}"] {
            #expect(throws: Problem.self) { try parse(fileOf(header: json, data: data)) }
            #expect(agree(fileOf(header: json, data: data)))
        }
    }

    @Test(arguments: [64, 65, 10_000]) func rank(_ rank: Int) {
        let shape = Array(repeating: "1", count: rank).joined(separator: ",")
        let bytes = fileOf(header: "{\"w\":{\"dtype\":\"U8\",\"shape\":[\(shape)],\"data_offsets\":[0,1]}}", data: 1)
        #expect(((try? parse(bytes)) != nil) == (rank <= 64))
        #expect(agree(bytes))
    }

    /// The header's order need not be the data's: names still lead to their tensors.
    @Test func manyTensorsInAnyOrder() throws {
        var random = SeededRandom(test: "manyTensorsInAnyOrder")
        let places = (0..<5_000).shuffled(using: &random)
        let entries = places.enumerated().map { name, place in
            "\"\(name)\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[\(place),\(place + 1)]}"
        }
        let header = try parse(fileOf(header: "{\(entries.joined(separator: ","))}", data: places.count))
        #expect(header.tensors.map(\.begin) == Array(places.indices))
        for (name, place) in places.enumerated() { #expect(header["\(name)"]?.begin == place) }
        #expect(header["5000"] == nil)
    }

    /// Empty tensors at one offset stay in the order of the header, even where the others have to be sorted.
    @Test func orderOfEmptyTensors() throws {
        let empty = (0..<100).map { "\"\($0)\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}" }
        let full = "\"full\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}"
        for at in [0, 50, 100] {
            let entries = Array(empty[..<at]) + [full] + Array(empty[at...])
            let header = try parse(fileOf(header: "{\(entries.joined(separator: ","))}", data: 1))
            #expect(header.tensors.map(\.name) == (0..<100).map(String.init) + ["full"])
        }
    }
}
