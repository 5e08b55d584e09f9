import Fixtures
import Foundation
import Testing

@testable import Archives

/// The worked example of the page about the format is what is really written.
@Suite struct ExampleTests {
    /// What the page has between its fences, in order: the shell's lines, the header, the directory and the dump.
    private struct Page {
        let text: String
        let blocks: [[String]]

        init() throws {
            let path =
                URL(fileURLWithPath: TestFiles.root).deletingLastPathComponent().path + "/formats/adapter-archive.md"
            let page = String(decoding: try bytes(of: path), as: UTF8.self)
            let heading = try #require(page.range(of: "\n## A worked example\n"))
            text = String(page[heading.upperBound...])
            var (blocks, isInside) = ([[String]](), false)
            for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
                if line.hasPrefix("## ") { break }
                if line.hasPrefix("```") {
                    isInside.toggle()
                    if isInside { blocks.append([]) }
                } else if isInside {
                    blocks[blocks.count - 1].append(line)
                }
            }
            try #require(blocks.count == 4)
            self.blocks = blocks
        }
    }

    private func archive(_ page: Page) throws -> [UInt8] {
        let scratch = try Scratch()
        let shell = Process()
        shell.executableURL = URL(fileURLWithPath: "/bin/sh")
        shell.arguments = ["-ec", page.blocks[0].joined(separator: "\n")]
        shell.currentDirectoryURL = URL(fileURLWithPath: scratch.path)
        try shell.run()
        shell.waitUntilExit()
        try #require(shell.terminationStatus == 0)
        return try packed(scratch("example"))
    }

    private func headerLength(_ archive: [UInt8]) -> Int { archive[..<8].reversed().reduce(0) { $0 << 8 | Int($1) } }

    private func directory(_ archive: [UInt8]) throws -> [String] {
        let read = try opened(archive).directory.encoded()
        return String(decoding: read, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    /// As xxd shows it, without spaces at the ends of lines.
    private func dump(_ bytes: [UInt8]) -> [String] {
        stride(from: 0, to: bytes.count, by: 36).map { start in
            let line = Array(bytes[start..<min(bytes.count, start + 36)])
            let groups = stride(from: 0, to: line.count, by: 6).map { group in
                line[group..<min(line.count, group + 6)].map { hex(Int($0), 2) }.joined()
            }
            let characters = line.map { (0x20..<0x7F).contains($0) ? String(UnicodeScalar($0)) : "." }.joined()
            let numbers = groups.joined(separator: " ").padding(toLength: 77, withPad: " ", startingAt: 0)
            return trimmed("\(hex(start, 8)): \(numbers)  \(characters)")
        }
    }

    private func hex(_ value: Int, _ width: Int) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: width - digits.count) + digits
    }

    private func trimmed(_ line: String) -> String {
        var copy = line
        while copy.last == " " { copy.removeLast() }
        return copy
    }

    /// What zlib has no part in.
    @Test func theContentIsThatOfThePage() throws {
        let page = try Page()
        let found = try directory(archive(page))
        let stable = { (line: String) in
            line.hasPrefix("part ") ? line.split(separator: " ").prefix(5).joined(separator: " ") : line
        }
        #expect(found.map(stable) == page.blocks[2].map(stable))
    }

    @Test func everyByteIsThatOfThePage() throws {
        let page = try Page()
        guard page.text.contains("with zlib \(zlibVersion)") else {
            print("SKIPPED: the bytes of the worked example: zlib \(zlibVersion) is not the page's")
            return
        }
        let archive = try archive(page)
        let length = headerLength(archive)
        let header = String(decoding: archive[8..<8 + length], as: UTF8.self)
        #expect(trimmed(header) == page.blocks[1].map { $0.trimmingCharacters(in: .whitespaces) }.joined())
        #expect(page.text.contains("\n\(length - trimmed(header).utf8.count) spaces behind it"))
        #expect(page.text.contains(" makes \(archive.count) bytes "))
        #expect(try directory(archive) == page.blocks[2])
        #expect(dump(archive) == page.blocks[3])
        #expect(page.blocks[3].count <= 30)
    }
}
