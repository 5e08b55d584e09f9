import Archives
import Fixtures
import Foundation
import Problems
import Testing

@testable import Merging

/// Records, read in memory: damage of any kind is told, and the page of the format is what is written.
@Suite struct UndoRecordTests {
    /// A shell's lines of the page, its JSON (the header, the directory) and its dump.
    private struct Page {
        let text: String
        let blocks: [[String]]

        init() throws {
            let root = URL(fileURLWithPath: TestFiles.root).deletingLastPathComponent().path
            let page = String(decoding: try bytes(of: root + "/formats/undo-record.md"), as: UTF8.self)
            let heading = try #require(page.range(of: "\n## A worked example\n"))
            text = String(page[heading.upperBound...])
            var (blocks, isInside) = ([[String]](), false)
            for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
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

        /// A block in one line.
        func joined(_ block: Int) -> String {
            blocks[block].map { $0.trimmingCharacters(in: .whitespaces) }.joined()
        }
    }

    private func example() throws -> (made: UndoMade, page: Page) {
        let (page, scratch) = (try Page(), try Scratch())
        let shell = Process()
        shell.executableURL = URL(fileURLWithPath: "/bin/sh")
        shell.arguments = ["-ec", page.blocks[0].joined(separator: "\n")]
        shell.currentDirectoryURL = URL(fileURLWithPath: scratch.path)
        try shell.run()
        shell.waitUntilExit()
        try #require(shell.terminationStatus == 0)
        return (try UndoMade(scratch("base"), [scratch("adapter")], in: scratch), page)
    }

    /// The bytes of the record's tensor of that name.
    private func tensor(_ record: [UInt8], _ name: String) throws -> [UInt8] {
        let scratch = try Scratch()
        return try #require(try TensorFile(path: scratch.write("record", record))[name]?.bytes)
    }

    @Test func theExampleIsThatOfThePage() throws {
        let (made, page) = try example()
        #expect(try made.restored(made.record) == made.base)
        let directory = try made.opened(made.record).directory.encoded()
        #expect(String(decoding: directory, as: UTF8.self) == page.joined(2))
        // No section of it is shorter deflated, so zlib has no part in the streams.
        let streams = try tensor(made.record, "streams")
        let dump = stride(from: 0, to: streams.count, by: 36).map { start in
            let line = Array(streams[start..<min(streams.count, start + 36)])
            let digits = line.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            let groups = stride(from: 0, to: digits.count, by: 12).map { String(digits.dropFirst($0).prefix(12)) }
            let shown = line.map { (0x20..<0x7F).contains($0) ? String(UnicodeScalar($0)) : "." }.joined()
            let offset = String(start, radix: 16)
            return String(repeating: "0", count: 8 - offset.count) + offset + ": "
                + groups.joined(separator: " ").padding(toLength: 77, withPad: " ", startingAt: 0) + "  " + shown
        }
        #expect(dump == page.blocks[3])
        #expect(try tensor(made.record, "adapter.0.config").starts(with: "{\"peft_type\"".utf8))
    }

    @Test func theHeaderIsThatOfThePage() throws {
        let (made, page) = try example()
        guard page.text.contains("with zlib \(zlibVersion)") else {
            print("SKIPPED: the header of the worked example: zlib \(zlibVersion) is not the page's")
            return
        }
        let length = made.record[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = String(decoding: made.record[8..<8 + length], as: UTF8.self)
        let text = header.trimmingCharacters(in: .whitespaces)
        #expect(text == page.joined(1))
        #expect(page.text.contains("with \(length - text.utf8.count) spaces behind it"))
        #expect(page.text.contains("a record of \(made.record.count) bytes"))
    }

    // MARK: Damage

    /// A small model with a tensor of each reference: changed, copied, cast rows; and some files.
    private func sample() throws -> UndoMade {
        let made = try Made([6, 5], "BF16")
        try made.add(Made.Part())
        try made.scratch.write("base/config.json", "{\"model_type\": \"made-up\"}")
        try made.scratch.write("base/sub/notes.txt", "some text, some text")
        try made.scratch.directory("base/empty")
        return try UndoMade(made.scratch("base"), [made.scratch("adapter1")], in: made.scratch)
    }

    /// Whether a record is refused.
    ///
    /// If not, it must give the base. Directories have no bytes, and are not looked at.
    private func check(_ made: UndoMade, _ record: [UInt8], _ what: String) -> Bool {
        let restored: [String: [UInt8]]
        do {
            restored = try made.restored(record)
        } catch {
            #expect(error is Problem || error is ProblemList, "\(what): \(error)")
            return true
        }
        #expect(restored == made.base.filter { !$0.key.hasSuffix("/") }, "\(what): other bytes")
        return false
    }

    /// Every 13th bit: all places within a byte come by, and each part of the record.
    @Test func flippedBits() throws {
        let made = try sample()
        #expect(!check(made, made.record, "as it is"))
        var harmless: [Int] = []
        let bits = stride(from: 3, to: 8 * made.record.count, by: 13)
        for bit in bits {
            var damaged = made.record
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            if !check(made, damaged, "bit \(bit)") { harmless.append(bit) }
        }
        // The last byte of the directory's deflate stream may have bits that mean nothing, fewer than the step.
        #expect(harmless.count <= 1, "every other bit is held against something: \(harmless)")
    }

    @Test func truncations() throws {
        let made = try sample()
        for count in made.record.indices {
            #expect(check(made, Array(made.record[..<count]), "\(count) bytes"), "\(count) bytes")
        }
        #expect(check(made, made.record + [0], "a byte more"))
    }

    /// Several bytes at once, blocks that trade places, and pieces that are missing.
    @Test func otherDamage() throws {
        let made = try sample()
        var random = SeededRandom(test: "otherDamage of records")
        var harmless: [Range<Int>] = []
        for round in 0..<300 {
            var damaged = made.record
            let (from, count) = (random.below(damaged.count), 1 + random.below(60))
            let end = min(damaged.count, from + count)
            switch round % 3 {
            case 0: for at in from..<end { damaged[at] = UInt8(random.below(256)) }
            case 1: damaged.removeSubrange(from..<end)
            default: damaged.insert(contentsOf: Array(damaged[from..<end]), at: random.below(damaged.count))
            }
            if damaged != made.record, !check(made, damaged, "round \(round)") { harmless.append(from..<end) }
        }
        // White space may become other white space, and deflate has bits that mean nothing.
        #expect(harmless.count <= 4, "\(harmless)")
    }
}
