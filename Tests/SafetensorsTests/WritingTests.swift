import Fixtures
import Problems
import Testing

@testable import Safetensors

/// The problem that `body` meets.
private func refusal<T>(_ body: () throws(Problem) -> T) -> Problem? {
    do throws(Problem) {
        _ = try body()
        return nil
    } catch {
        return error
    }
}

@Suite struct WritingTests {
    /// What the reference writes: wide types first, then names by their bytes.
    @Test func referenceOrder() throws {
        let bytes = try Header.encode(
            tensors: [
                (name: "b", dtype: .u8, shape: [1], bytes: [1]), (name: "a", dtype: .bf16, shape: [1], bytes: [2, 3]),
                (name: "Z", dtype: .u8, shape: [], bytes: [4]),
                (name: "é", dtype: .bf16, shape: [1, 1], bytes: [5, 6]),
                (name: "z", dtype: .bf16, shape: [0], bytes: []),
            ], metadata: [("format", "pt")])
        let text =
            #"{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]},"#
            + #""z":{"dtype":"BF16","shape":[0],"data_offsets":[2,2]},"é":{"dtype":"BF16","shape":[1,1],"data_offsets":[2,4]},"#
            + #""Z":{"dtype":"U8","shape":[],"data_offsets":[4,5]},"b":{"dtype":"U8","shape":[1],"data_offsets":[5,6]}}"#
        let padding = (8 - text.utf8.count % 8) % 8
        #expect(bytes == fileOf(header: text + String(repeating: " ", count: padding), data: 0) + [2, 3, 5, 6, 4, 1])
        #expect(agree(bytes))
    }

    @Test func asGiven() throws {
        let header = try Header.layout([("b", .u8, [3]), ("a", .f32, [2])], metadata: nil, order: .asGiven)
        #expect(header.tensors.map(\.name) == ["b", "a"])
        #expect(header.tensors.map(\.begin) == [0, 3])
        #expect(header.dataLength == 11)
        #expect(header.encoded().count == header.dataStart)
        #expect(header.dataStart % 8 == 0)
    }

    @Test func metadata() throws {
        let header = try Header.layout([], metadata: [("b", "\"\u{1}é"), ("a", "\n")], order: .reference)
        let text = String(decoding: header.encoded().dropFirst(8), as: UTF8.self)
        #expect(text.hasPrefix(#"{"__metadata__":{"a":"\n","b":"\"\u0001é"}}"#))
        #expect(header.metadataValue("a") == "\n")
        #expect(header.metadataValue("c") == nil)
        #expect(
            try Header.layout([], metadata: nil, order: .reference).encoded() == fileOf(header: "{}      ", data: 0))
        #expect(try parse(fileOf(header: "{}", data: 0)).metadata == nil)
        #expect(try parse(fileOf(header: #"{"__metadata__":{}}"#, data: 0)).metadata?.isEmpty == true)
    }

    @Test func whatCannotBeWritten() {
        let layout = { (list: [(name: String, dtype: DType, shape: [Int])]) in
            refusal { () throws(Problem) in try Header.layout(list, metadata: nil, order: .reference) }?.code
        }
        #expect(layout([("a", .u8, [1]), ("a", .i8, [1])]) == "duplicate-tensor")
        #expect(layout([("__metadata__", .u8, [1])]) == "reserved-name")
        #expect(layout([("a", .u8, [Int.max, 2])]) == "overflow")
        #expect(layout([("a", .u8, [1 << 59]), ("b", .u8, [1 << 59]), ("e\u{301}", .f4, [1])]) == "overflow")
        #expect(layout([("\u{E9}", .u8, [1]), ("e\u{301}", .u8, [1])]) == nil)
        let twice = refusal { () throws(Problem) in
            try Header.layout([], metadata: [("k", "1"), ("k", "2")], order: .reference)
        }
        #expect(twice?.code == "duplicate-metadata")
        let short = refusal { () throws(Problem) in
            try Header.encode(tensors: [(name: "a", dtype: .u8, shape: [2], bytes: [1])], metadata: nil)
        }
        #expect(short?.code == "bad-size")
    }

    /// Whatever is laid out reads back, and its text comes out again byte for byte.
    @Test func randomRoundTrips() throws {
        var random = SeededRandom(test: "randomRoundTrips")
        for _ in 0..<300 {
            var list: [(name: String, dtype: DType, shape: [Int])] = []
            for number in 0..<Int.random(in: 0...12, using: &random) {
                let shape = (0..<Int.random(in: 0...4, using: &random)).map { _ in Int.random(in: 0...5, using: &random)
                }
                let name = ["n", "\u{1}\"\\", "é", "e\u{301}", "\u{2028}"].randomElement(using: &random) ?? ""
                list.append((name + String(number), DType.allCases.randomElement(using: &random) ?? .u8, shape + [8]))
            }
            let metadata: [(key: String, value: String)]? =
                Bool.random(using: &random)
                ? nil : (0..<Int.random(in: 0...3, using: &random)).map { ("k\($0)", "\u{1F}\t/") }
            let order: Header.Order = Bool.random(using: &random) ? .reference : .asGiven
            let header = try Header.layout(list, metadata: metadata, order: order)
            let bytes = header.encoded() + Array(repeating: 0, count: header.dataLength)
            #expect(agree(bytes))
            let back = try parse(bytes)
            #expect(back.tensors == header.tensors)
            #expect(back.headerLength == header.headerLength)
            #expect(back.encoded() == header.encoded())
        }
    }
}

@Suite struct TensorReadingTests {
    @Test func bytes() throws {
        let directory = try Scratch()
        defer { withExtendedLifetime(directory) {} }
        let data = try Header.encode(
            tensors: [
                (name: "a", dtype: .u8, shape: [4], bytes: [1, 2, 3, 4]),
                (name: "b", dtype: .u16, shape: [2], bytes: [5, 6, 7, 8]),
                (name: "empty", dtype: .u8, shape: [0], bytes: []),
            ], metadata: nil)
        let file = try SafetensorsFile(path: directory.write("x.safetensors", data))
        let tensor = { (name: String) in try #require(file.header[name]) }
        #expect(try file.read(tensor("a")) == [1, 2, 3, 4])
        #expect(try file.read(tensor("b"), bytes: 1..<3) == [6, 7])
        #expect(try file.read(tensor("empty")) == [])
        var buffer: [UInt8] = [0, 0, 0]
        let a = try tensor("a")
        let failure = buffer.withUnsafeMutableBytes { buffer in
            refusal { () throws(Problem) in try file.read(a, bytes: 1..<4, into: buffer) }
        }
        #expect(failure == nil)
        #expect(buffer == [2, 3, 4])
    }
}
