import Fixtures
import Foundation
import Problems
import Testing

@testable import Safetensors

/// A file of `Tests/Golden/malformed` and what is to become of it.
struct Verdict: CustomTestStringConvertible, Sendable {
    let name: String
    let isAccepted: Bool

    static let all: [Verdict] = {
        let path = TestFiles.golden + "/malformed/verdicts.json"
        let data = (try? Data(contentsOf: URL(fileURLWithPath: path))) ?? Data()
        let table = (try? JSONSerialization.jsonObject(with: data)) as? [String: Any]
        let files = table?["files"] as? [[String: Any]] ?? []
        return files.map { Verdict(name: $0["name"] as? String ?? "", isAccepted: $0["ours"] as? String == "accept") }
    }()

    var path: String { TestFiles.golden + "/malformed/" + name }
    var testDescription: String { name }
}

@Suite struct GoldenFileTests {
    @Test func everyMalformedFileHasAVerdict() {
        let names = TestFiles.names(TestFiles.golden + "/malformed").filter { $0.hasSuffix(".safetensors") }
        #expect(Set(Verdict.all.map(\.name)) == Set(names))
        #expect(names.count > 100)
    }

    @Test(arguments: Verdict.all) func verdict(_ verdict: Verdict) throws {
        if verdict.isAccepted {
            _ = try read(verdict.path)
        } else {
            let problem = try #require(malformation(verdict.path))
            #expect(problem.severity == .error)
            let size = try bytes(of: verdict.path).count
            if let offset = problem.offset { #expect(offset >= 0 && offset <= max(size, 8)) }
        }
        #expect(agree(try bytes(of: verdict.path)))
    }

    /// Code, tensor, place and a part of the message.
    @Test(
        arguments: [
            ("seven-bytes", "too-short", nil, 0, "has 7 bytes, but a safetensors file has at least 8"),
            ("length-cap-plus-one", "header-too-large", nil, 0, "100000001"),
            ("length-max", "header-too-large", nil, 0, "18446744073709551615"),
            ("length-cap", "truncated", nil, nil, "100000000"),
            ("not-utf8", "json-utf8", nil, 10, "not UTF-8"),
            ("bom", "json-bom", nil, 8, "byte order mark"),
            ("trailing-comma", "json-syntax", nil, nil, "found '}'"),
            ("nul-padding", "json-trailing", nil, nil, "byte 0x0"),
            ("duplicate-metadata", "json-duplicate", nil, nil, "'__metadata__' twice"),
            ("duplicate-metadata-key", "json-duplicate", nil, nil, "twice"),
            ("metadata-number", "json-metadata", nil, nil, "is no string"),
            ("duplicate-tensor", "duplicate-tensor", "a", nil, "described twice"),
            ("unknown-field", "bad-entry", "a", nil, "which the format does not know"),
            ("missing-dtype", "bad-entry", "a", 9, "has no 'dtype'"),
            ("entry-is-array", "bad-entry", "a", 13, "not described by an object"),
            ("dtype-f32", "bad-dtype", "a", 22, "did you mean 'F32'?"),
            ("dtype-Q4", "bad-dtype", "a", 22, "unknown dtype 'Q4'"),
            ("dtype-number", "bad-dtype", "a", 22, "no string"),
            ("shape-float", "bad-entry", "a", nil, "has 2.0 where a whole number"),
            ("shape-minus-zero", "bad-entry", "a", nil, "has -0 where a whole number"),
            ("rank-65", "bad-entry", "a", nil, "more than 64 numbers in 'shape'"),
            ("one-offset", "bad-entry", "a", nil, "has 1 numbers in 'data_offsets'"),
            ("overflow-product", "bad-shape", "a", 9, "too large to be counted"),
            ("f4-odd", "bad-shape", "a", 9, "no whole bytes"),
            ("size-short", "bad-size", "a", 9, "needs"),
            ("reversed", "bad-offsets", "a", 9, "before it begins"),
            ("gap", "bad-offsets", "b", nil, "leaves a gap of"),
            ("overlap", "bad-offsets", "b", nil, "overlaps"),
            ("trailing-byte", "trailing-bytes", nil, nil, "has 1 bytes after the last tensor"),
            ("missing-byte", "truncated", nil, nil, "bytes of data, but its header describes"),
        ] as [(String, String, String?, Int?, String)])
    func wording(_ name: String, _ code: String, _ tensor: String?, _ offset: Int?, _ part: String) throws {
        let problem = try #require(malformation(TestFiles.golden + "/malformed/\(name).safetensors"))
        #expect(problem.code == code)
        #expect(problem.tensor == tensor)
        if let offset { #expect(problem.offset == offset) }
        #expect(problem.message.contains(part), "\(problem.message)")
    }

    @Test(arguments: TestFiles.names(TestFiles.golden + "/safetensors").filter { $0.hasSuffix(".safetensors") })
    func readsAndWritesWhatTheReferenceWrote(_ name: String) throws {
        let path = TestFiles.golden + "/safetensors/" + name
        let file = try SafetensorsFile(path: path)
        let header = file.header
        let bytes = try Fixtures.bytes(of: path)
        #expect(agree(bytes))
        for tensor in header.tensors {
            #expect(header[tensor.name] == tensor)
            #expect(tensor.elementCount * tensor.dtype.bits == tensor.byteCount * 8)
            let start = header.dataStart + tensor.begin
            #expect(try file.read(tensor) == Array(bytes[start..<start + tensor.byteCount]))
        }
        let tensors = try header.tensors.map { ($0.name, $0.dtype, $0.shape, try file.read($0)) }
        let written = try Header.encode(tensors: tensors, metadata: header.metadata)
        #expect(try parse(written).tensors == header.tensors)
        // The reference writes several pairs of metadata in any order.
        if (header.metadata?.count ?? 0) <= 1 { #expect(written == bytes) }
        #expect(try Header.encode(tensors: tensors.reversed(), metadata: header.metadata?.reversed()) == written)
    }
}
