import Files
import Fixtures
import Foundation
import Problems
import Testing

@testable import Safetensors

/// Reads the header of a real file of those bytes, its end filled up with zeros to `size` bytes that take no space.
private func onDisk(_ bytes: [UInt8], size: Int? = nil) throws -> Header {
    let directory = try Scratch()
    defer { withExtendedLifetime(directory) {} }
    let path = try directory.write("x.safetensors", bytes)
    if let size { #expect(truncate(path, size) == 0) }
    return try read(path)
}

private func refusal(_ bytes: [UInt8], size: Int? = nil) throws -> Problem {
    try #require(throws: Problem.self) { try onDisk(bytes, size: size) }
}

private func littleEndian(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) } }

@Suite struct LengthTests {
    @Test(arguments: Array(0..<8)) func tooShort(_ count: Int) throws {
        let found = try refusal(Array(repeating: 0, count: count))
        #expect(found.code == "too-short")
        #expect(found.hint?.contains("download") == true)
    }

    @Test(arguments: [100_000_001, 1 << 62, 1 << 63, UInt64.max, UInt64.max - 7, 0x1_0000_0000_0000])
    func tooLong(_ length: UInt64) throws {
        let found = try refusal(littleEndian(length) + [0x20])
        #expect(found.code == "header-too-large")
        #expect(found.message.contains("\(length)"))
    }

    @Test(arguments: [1, 3, 100_000_000]) func longerThanTheFile(_ length: UInt64) throws {
        let found = try refusal(littleEndian(length) + Array("{".utf8).dropLast())
        #expect(found.code == "truncated")
        #expect(found.hint?.contains("at least \(length) bytes early") == true)
    }

    /// The size of the data is held against the file before anything of that size is made.
    @Test func missingData() throws {
        let json = #"{"w":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}"#
        let found = try refusal(fileOf(header: json, data: 100))
        #expect(found.code == "truncated")
        #expect(found.hint?.contains("ends 3999999999900 bytes early") == true)
        #expect(found.offset == 8 + json.utf8.count + 100)
    }

    @Test func hugeSparseFile() throws {
        let json = #"{"w":{"dtype":"F32","shape":[1000000,100000],"data_offsets":[0,400000000000]}}"#
        let header = try onDisk(fileOf(header: json, data: 0), size: 8 + json.utf8.count + 400_000_000_000)
        #expect(header["w"]?.elementCount == 100_000_000_000)
    }

    @Test func messagesSayWhatIsAndWhatWasNeeded() throws {
        let json = #"{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,20]}}"#
        let found = try refusal(fileOf(header: json, data: 20))
        #expect(found.message == "has 20 bytes of data, but F32 [2, 3] needs 24")
        #expect(found.offset == 9)
        let wrongCase = #"{"w":{"dtype":"bf16","shape":[],"data_offsets":[0,2]}}"#
        #expect(try refusal(fileOf(header: wrongCase, data: 0)).message.contains("'BF16'?") == true)
    }
}

@Suite struct ForeignFileTests {
    @Test(arguments: [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "Git LFS"),
        ("PK\u{3}\u{4}\u{14}\0\0\0\u{8}\u{8}", "zip"), ("PK\u{3}\u{4}\0\0\0\0\0\0", "zip"),
        ("GGUF\u{3}\0\0\0\0\0\0\0", "GGUF"),
        ("<!DOCTYPE html><html>", "web page"), ("<html><body>Not found", "web page"),
        ("<?xml version=\"1.0\"?>", "XML"),
        ("{\"error\":\"Repository not found\"}", "JSON"), ("{\n  \"architectures\": []\n}", "JSON"),
    ])
    func texts(_ text: String, _ what: String) throws {
        let found = try refusal(Array(text.utf8))
        #expect(found.code == "not-safetensors")
        #expect(found.message.contains(what))
        #expect(found.hint != nil)
    }

    @Test(
        arguments: [
            ([0x80, 0x02, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20], "pickle"),
            ([0x80, 0x04, 0x95, 0, 0, 0, 0, 0, 0, 0], "pickle"),
            ([0x1F, 0x8B, 0x08, 0x00, 0, 0, 0, 0, 0, 3], "gzip"),
            ([0x28, 0xB5, 0x2F, 0xFD, 4, 0, 0, 0, 0], "Zstandard"),
            ([0x89, 0x48, 0x44, 0x46, 0x0D, 0x0A, 0x1A, 0x0A, 0], "HDF5"),
            ([0x93] + Array("NUMPY\u{1}\0v\0{".utf8), "NumPy"),
        ] as [([UInt8], String)])
    func binaries(_ bytes: [UInt8], _ what: String) throws {
        let found = try refusal(bytes)
        #expect(found.code == "not-safetensors")
        #expect(found.message.contains(what))
    }

    /// A foreign file whose first bytes make a possible length is still told from a damaged header.
    @Test func foreignWithPlausibleLength() throws {
        let zip = Array("PK\u{3}\u{4}\0\0\0\0".utf8) + Array(repeating: 7, count: 100)
        #expect(try refusal(zip, size: 100_000_000).code == "not-safetensors")
    }

    /// A length that looks like a foreign file's first bytes is a length.
    @Test func lengthThatLooksForeign() throws {
        let text = "{}" + String(repeating: " ", count: 0x0280 - 2)
        #expect(try onDisk(fileOf(header: text, data: 0)).tensors.isEmpty)
        #expect(try refusal(fileOf(header: text, data: 1)).code == "trailing-bytes")
    }
}
