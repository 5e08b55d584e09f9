import Files
import Fixtures
import Problems
import Testing

@testable import GGUF

/// Bytes of a GGUF header, put together by hand; nothing is shared with the writer under test.
struct Raw {
    var bytes: [UInt8] = []

    /// Begins a file.
    init(version: UInt32 = 3, tensors: UInt64, pairs: UInt64) {
        bytes = Array("GGUF".utf8)
        put(version)
        put(tensors)
        put(pairs)
    }

    mutating func put<T: FixedWidthInteger>(_ value: T) {
        for shift in stride(from: 0, to: T.bitWidth, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: value >> T(shift)))
        }
    }

    mutating func put(_ text: String) {
        put(UInt64(text.utf8.count))
        bytes += text.utf8
    }

    /// A pair of metadata: its type and the bytes of its value.
    mutating func pair(_ key: String, _ type: UInt32, _ value: [UInt8]) {
        put(key)
        put(type)
        bytes += value
    }

    mutating func tensor(_ name: String, _ ne: [UInt64], _ type: UInt32, _ offset: UInt64) {
        put(name)
        put(UInt32(ne.count))
        for size in ne { put(size) }
        put(type)
        put(offset)
    }

    /// Pads, and adds so many bytes of data.
    func file(data: Int, alignment: Int = 32) -> [UInt8] {
        var file = bytes
        while file.count % alignment != 0 { file.append(0) }
        return file + [UInt8](repeating: 1, count: data)
    }
}

/// A source that notes how much is read at once.
final class MeasuredSource: ByteSource, @unchecked Sendable {
    let memory: MemorySource
    private(set) var largestRead = 0
    var path: String { memory.path }
    var size: Int { memory.size }
    var identity: FileIdentity { memory.identity }

    init(_ bytes: [UInt8]) throws {
        memory = MemorySource(bytes, path: "f.gguf", identity: try anyIdentity())
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Problem) {
        largestRead = max(largestRead, buffer.count)
        try memory.read(into: buffer, at: offset)
    }
}

private func anyIdentity() throws -> FileIdentity { try InputFile(path: goldenPath("sample.gguf")).identity }

func goldenPath(_ name: String) -> String { TestFiles.golden + "/gguf/" + name }

/// Opens bytes as a file.
func open(_ bytes: [UInt8]) throws -> GGUFFile { try GGUFFile(MeasuredSource(bytes)) }

/// The problem of opening bytes, which must be one that breaks the format.
@discardableResult func refusal(_ bytes: [UInt8]) throws -> Problem {
    let problem = try #require(throws: Problem.self) { try open(bytes) }
    #expect(problem.kind == .malformed && problem.code == "bad-gguf" && problem.file == "f.gguf", "\(problem)")
    #expect(problem.hint != nil && problem.message.utf8.count < 2_000, "\(problem)")
    #expect((0...bytes.count).contains(try #require(problem.offset)), "\(problem)")
    return problem
}
