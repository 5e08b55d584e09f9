import Files
import Fixtures
import Problems
import Testing

@testable import Safetensors

/// A file of that header text and so many bytes of data.
func fileOf(header: [UInt8], data: Int) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: header.count >> ($0 * 8)) } + header + [UInt8](repeating: 7, count: data)
}

func fileOf(header: String, data: Int) -> [UInt8] { fileOf(header: Array(header.utf8), data: data) }

/// What our reader makes of the bytes of a file, without a file: the rules of `Header.read` on what it is given.
func parse(_ file: [UInt8]) throws(Problem) -> Header {
    guard file.count >= 8 else { throw Problem(.malformed, "too-short", "") }
    let length = file[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard length <= Header.largestHeader, Int(length) <= file.count - 8 else {
        throw Problem(.malformed, "truncated", "")
    }
    return try Header.parse(json: Array(file[8..<8 + Int(length)]), dataLength: file.count - 8 - Int(length), file: "f")
}

/// Reads the header of a file on disk.
func read(_ path: String) throws(Problem) -> Header { try SafetensorsFile(path: path).header }

/// Whether both readers say the same of `file`, and if they accept it, read the same out of it.
func agree(_ file: [UInt8]) -> Bool {
    let expected = TinyReader.read(file)
    guard let found = try? parse(file) else { return expected == nil }
    let entries = found.tensors.map {
        TinyReader.Entry(
            name: Array($0.name.utf8), dtype: $0.dtype.rawValue, shape: $0.shape.map { UInt64($0) },
            begin: UInt64($0.begin), end: UInt64($0.end))
    }
    return entries == expected
}

/// The one problem of reading `path`, which must be of kind malformed and fit to be shown.
@discardableResult func malformation(_ path: String) -> Problem? {
    let problem = #expect(throws: Problem.self) { try read(path) }
    #expect(problem?.kind == .malformed, "\(path)")
    #expect(problem?.file == path)
    #expect((problem?.message.utf8.count ?? 0) > 10, "\(path)")
    #expect((problem?.message.utf8.count ?? 0) < 2_000, "\(path)")
    return problem
}

/// A small file with most that a header can have.
let sampleHeader =
    #"{"__metadata__":{"format":"pt","k":"v"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"#
    + #""b.é":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"e":{"dtype":"I64","shape":[0,5],"data_offsets":[32,32]},"#
    + #""s":{"dtype":"U8","shape":[],"data_offsets":[32,33]}}"#
let sampleFile = fileOf(header: sampleHeader, data: 33)
