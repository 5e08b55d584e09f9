import Digests
import Fixtures
import Problems
import Testing

@testable import Archives

/// What a directory may not say; each refusal tells the line.
@Suite struct DirectoryRefusalTests {
    private static let digest = String(repeating: "d", count: 64)

    /// A directory that has every kind of line, sound but for what an edit does to it.
    private static let lines: [String] = {
        let sources = ["source tensor 16 \(digest) \"t\"", "source file 4 \(digest) \"x.txt\""]
        let base = SHA256.hex(Array((sources.joined(separator: "\n") + "\n").utf8))
        let content = SHA256.hex(Array("\(digest)  a.txt\n\(digest)  b\n".utf8))
        return [
            "adapterkit-archive 1", "content \(content)", "input directory", "bound config \(digest)",
            "bound tensor \(digest) \"t\"", "base \(base) \"base\"", sources[0], sources[1], "recipe {\"adapters\":[]}",
            "directory e", "file 20 \(digest) a.txt", "part bytes 12 \(digest) 8 5 =0000000a",
            "part rotated2 8 \(digest) 8 =0000000a =0000000b", "file 16 \(digest) b", "part merged@0 16 \(digest) 0",
            "file 1 \(digest) //input/0/x", "part bytes 1 \(digest) 1 =00000001", "end",
        ]
    }()

    /// Replaces the first `old` of line `line` (from 1).
    private static func edited(_ line: Int, _ old: String, _ new: String) throws -> [String] {
        var copy = lines
        try #require(copy[line - 1].contains(old), "line \(line) has no '\(old)'")
        copy[line - 1] = copy[line - 1].replacing(old, with: new, maxReplacements: 1)
        return copy
    }

    private func found(_ lines: [String], size: Int = 10_000) -> Problem? {
        problem { _ = try DirectoryParser.parse(Array((lines.joined(separator: "\n") + "\n").utf8), archiveSize: size) }
    }

    private func refused(_ lines: [String], _ what: String, line: Int, size: Int = 10_000) {
        let found = found(lines, size: size)
        #expect(found?.message == "has a directory that \(what), in its line \(line)")
        #expect(found?.kind == .malformed && found?.code == "bad-archive")
    }

    @Test func theTextItselfIsSound() throws {
        let text = Array((Self.lines.joined(separator: "\n") + "\n").utf8)
        let (read, streams) = try DirectoryParser.parse(text, archiveSize: 10_000)
        #expect(read.encoded() == text)
        #expect(streams == [5 + 4 + 4 + 4, 0, 1])
    }

    /// A line, what is replaced in it by what, what is said of it, and in which line that shows.
    private static let edits: [(line: Int, old: String, new: String, what: String, shown: Int)] = [
        (1, "1", "2", "is of another version than 1", 1), (1, " 1", "  1", "is of another version than 1", 1),
        (1, "adapterkit-archive", "archive", "is of another version than 1", 1),
        (2, "content", "contend", "has lines out of order", 2), (2, "content ", "content  ", digestIsNone, 2),
        (3, "directory", "symlink", "does not say what was packed", 3),
        (3, "directory", "directory ", "does not say what was packed", 3),
        (3, "input ", "inputs ", "does not say what was packed", 3),
        (3, "directory", "file", "says that it holds one file, but it does not", 18),
        (4, "bound config d", "bound config D", digestIsNone, 4), (4, "config", "module", "has an unknown line", 4),
        (4, "dddd", "ddd", digestIsNone, 4), (5, "d \"", "dd \"", digestIsNone, 5), (5, "\"t\"", "t", noName, 5),
        (5, "\"t\"", "\"t", noName, 5), (5, "\"t\"", "\"t\" x", noName, 5), (5, "\"t\"", "1", noName, 5),
        (5, "\"t\"", "\"\\x\"", noName, 5), (5, "\"t\"", "\"\t\"", noName, 5),
        (5, " \"t\"", "", "has a line with too few fields", 5), (6, "base ", "base  ", digestIsNone, 6),
        (6, "base ", "base 0", digestIsNone, 6), (7, "tensor", "socket", "has an unknown line", 7),
        (7, "16", "016", numberIsNone, 7), (7, "16", "-16", numberIsNone, 7), (7, "16", "0x10", numberIsNone, 7),
        (7, "\"t\"", "\"u\"", "has sources that do not have their digest", 18),
        (7, "16", "24", "has sources that do not have their digest", 18),
        (9, "{\"adapters\":[]}", "[]", "has a recipe that is none", 9),
        (9, "{\"adapters\":[]}", "{", "has a recipe that is none", 9),
        (11, "20", "020", numberIsNone, 11), (11, "20", "+20", numberIsNone, 11), (11, "20", "２０", numberIsNone, 11),
        (11, "20", "20.0", numberIsNone, 11), (11, "20", "9223372036854775808", numberIsNone, 11),
        (11, "20", "21", sumIsOff, 14), (11, "20", "19", sumIsOff, 13), (11, "20", "2882303761517117439", sumIsOff, 14),
        (11, "d a", "D a", digestIsNone, 11), (11, " a.txt", "", "has a line with too few fields", 11),
        (11, "dddd", "cddd", "has files that do not have the digest of the content", 18),
        (11, "a.txt", "c", "has paths out of order", 14), (11, "a.txt", "b", "has paths out of order", 14),
        (12, "bytes", "zip", "has a part with an unknown code", 12),
        (12, "part", "parts", "has an unknown line", 12), (12, "12", "0", sumIsOff, 12), (12, "12", "11", sumIsOff, 14),
        (12, "12", "2882303761517117439", sumIsOff, 12), (12, "12", "x", numberIsNone, 12),
        (12, "d 8", "d 0", sizesAreOff, 12), (12, "d 8", "d 16777217", sizesAreOff, 12),
        (12, " 5", " 0", lengthIsOff, 12), (12, " 5", " 05", lengthIsOff, 12), (12, " 5", " 33554433", lengthIsOff, 12),
        (12, " 5", " -5", lengthIsOff, 12), (12, " 5", " ", lengthIsOff, 12), (12, " 5", "", tooFew, 12),
        (12, " 5", "  5", lengthIsOff, 12), (12, "=0000000a", "=000000a", checkIsNone, 12),
        (12, "=0000000a", "=0000000A", checkIsNone, 12), (12, "=0000000a", "=00000000a", checkIsNone, 12),
        (12, "=0000000a", "=", checkIsNone, 12), (12, "=0000000a", "= 0000000a", checkIsNone, 12),
        (12, "=0000000a", "=0000000a ", tooMany, 12), (12, "=0000000a", "=0000000a =0000000a", tooMany, 12),
        (12, " 8 5 =0000000a", "", numberIsNone, 12),
        (12, "bytes 12", "copy@0 12", "has a part with a source that does not fit", 12),
        (13, "d 8", "d 7", sizesAreOff, 13), (13, " =0000000b", "", tooFew, 13),
        (13, "rotated2", "rotated4", tooFew, 13), (13, "rotated2", "bytes", tooMany, 13),
        (13, "rotated2", "joint2", tooFew, 13), (13, "rotated2", "rotated8", tooFew, 13),
        (15, "d 0", "d 8", sizesAreOff, 15), (15, "d 0", "d 0 ", tooMany, 15), (15, "d 0", "d 0 1", tooMany, 15),
        (15, "@0", "@2", "has a part with a source that does not fit", 15),
        (15, "merged", "copy", "has a recipe without use, or lacks one", 18),
        (18, "end", "end ", "has an unknown line", 18),
        (18, "end", "END", "has an unknown line", 18), (18, "end", "", "has an unknown line", 18),
        (18, "end", "end\u{0}", "has an unknown line", 18), (18, "end", "end\nend", "goes on after its end", 18),
        (18, "end", "end\n", "goes on after its end", 18), (18, "end", "mode 7\nend", "has an unknown line", 18),
    ]

    private static let digestIsNone = "has a digest that is none"
    private static let numberIsNone = "has a number that is none"
    private static let noName = "has a name in quotes that is none"
    private static let sumIsOff = "has parts that do not add up to their file"
    private static let sizesAreOff = "has a part with impossible sizes"
    private static let lengthIsOff = "has a stream of an impossible length"
    private static let checkIsNone = "has a checksum that is none"
    private static let tooFew = "has a part with too few planes"
    private static let tooMany = "has a part with too many planes"

    @Test func everyEdit() throws {
        for edit in Self.edits {
            let lines = try Self.edited(edit.line, edit.old, edit.new)
            let found = found(lines)
            #expect(
                found?.message == "has a directory that \(edit.what), in its line \(edit.shown)",
                "line \(edit.line): '\(edit.old)' -> '\(edit.new)'")
        }
    }

    /// Each line doubled, gone, or before the one that should come first.
    @Test func everyOtherOrder() {
        for at in Self.lines.indices {
            var (doubled, gone, swapped) = (Self.lines, Self.lines, Self.lines)
            doubled.insert(doubled[at], at: at)
            gone.remove(at: at)
            // A second tensor may be bound twice, if that makes sense to anybody; without a binding, there is none.
            let isFree = (3...4).contains(at)
            #expect((found(doubled) == nil) == (at == 4), "line \(at + 1) doubled")
            #expect((found(gone) == nil) == (isFree || at == 9), "line \(at + 1) gone")
            guard at > 0 else { continue }
            swapped.swapAt(at - 1, at)
            // Parts stand in any order; that these are in the wrong one shows in what they inflate to.
            #expect((found(swapped) == nil) == (at == 12), "lines \(at) and \(at + 1) swapped")
        }
    }

    @Test func linesThatComeTooLate() {
        for (at, line, what, shown) in [
            (17, "directory f", "has lines out of order", 18), (17, "recipe {}", "has lines out of order", 18),
            (17, "bound config \(Self.digest)", "has lines out of order", 18),
            (6, "base \(Self.digest) \"b\"", "has lines out of order", 7),
            (10, "directory d", "has paths out of order", 11), (10, "directory e", "has paths out of order", 11),
            (10, Self.lines[11], "has a part without a file", 11), (5, Self.lines[3], "has an unknown line", 6),
            (17, "file 0 \(Self.digest) z", "has paths out of order", 18),
            (5, Self.lines[6], "has an unknown line", 6), (0, "", "is of another version than 1", 1),
        ] as [(Int, String, String, Int)] {
            var lines = Self.lines
            lines.insert(line, at: at)
            refused(lines, what, line: shown)
        }
    }

    @Test func endsThatAreNone() {
        let text = Array((Self.lines.joined(separator: "\n") + "\n").utf8)
        for count in 0..<text.count {
            let found = problem { _ = try DirectoryParser.parse(Array(text[..<count]), archiveSize: 10_000) }
            #expect(found?.kind == .malformed, "\(count) bytes")
        }
        let found = problem { _ = try DirectoryParser.parse(Array(text.dropLast()), archiveSize: 10_000) }
        #expect(found?.message == "has a directory that ends too early, in its line 18")
    }

    @Test func otherEncodings() throws {
        let text = Array((Self.lines.joined(separator: "\n") + "\n").utf8)
        let name = try #require(text.firstRange(of: Array("a.txt".utf8)))
        for bytes in [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xE2, 0x82]] as [[UInt8]] {
            var damaged = text
            damaged.replaceSubrange(name.lowerBound..<name.lowerBound + 1, with: bytes)
            let found = problem { _ = try DirectoryParser.parse(damaged, archiveSize: 10_000) }
            #expect(found?.message == "has a directory that is no UTF-8, in its line 11")
        }
        var marked = [0xEF, 0xBB, 0xBF] + text
        #expect(problem { _ = try DirectoryParser.parse(marked, archiveSize: 10_000) } != nil)
        marked = Array(Self.lines.joined(separator: "\r\n").utf8) + [0x0D, 0x0A]
        #expect(problem { _ = try DirectoryParser.parse(marked, archiveSize: 10_000) } != nil)
    }

    @Test func unsafePaths() throws {
        let paths = [
            ("../a", "has the part '..'"), ("/a", "begins with a slash"), ("a//b", "has an empty part"),
            ("a\\b", "has a backslash"), ("a\u{1B}b", "has a control character"),
            ("a ", "has a part that ends in a dot or a space"), ("//directory", "begins with a slash"),
            ("e", "is there twice"), ("E", "is the same as 'e' but for case or normalisation"),
        ]
        for (path, flaw) in paths {
            let found = found(try Self.edited(11, "a.txt", path))
            #expect(found?.code == "unsafe-path", "\(path)")
            #expect(found?.message == "holds a file with the path '\(path)', which \(flaw)")
            #expect(found?.hint == "do not trust this archive: adapter-pack never writes such a path")
        }
        for path in ["..", "../e", "e/../f", "e/", ".", "/e", "a."] {
            let lines = try Self.edited(10, "directory e", "directory \(path)")
            #expect(found(lines)?.code == "unsafe-path", "\(path)")
        }
        for path in ["//input/../x", "//input/0/..", "//input/", "//inputs/x", "//x", "///", "//input//x"] {
            let lines = try Self.edited(16, "//input/0/x", path)
            #expect(found(lines)?.code == "unsafe-path", "\(path)")
        }
        let twice = found(try Self.edited(11, "a.txt", "B"))
        #expect(
            twice?.message
                == "holds a file with the path 'b', which is the same as 'B' but for case or normalisation"
        )
        let inside = found(try Self.edited(14, " b", " a.txt/x"))
        #expect(inside?.message == "holds a file with the path 'a.txt/x', which lies in 'a.txt', which is a file")
    }

    /// A directory that is listed as empty must not have anything in it.
    @Test func emptyDirectoriesAreEmpty() throws {
        let filled = try Self.edited(14, " b", " e/b")
        var nested = Self.lines
        nested.insert("directory e/f", at: 10)
        for (lines, path) in [(filled, "e/b"), (nested, "e/f")] {
            #expect(
                found(lines)?.message
                    == "holds a file with the path '\(path)', which lies in 'e', which is said to be empty")
        }
    }

    /// Numbers that would have a reader take memory for what cannot be there.
    @Test func moreThanTheArchiveHasRoomFor() throws {
        refused(Self.lines, "has streams longer, or more of them, than the archive has room for", line: 13, size: 15)
        let long = try Self.edited(12, " 5", " 20000")
        refused(long, "has streams longer, or more of them, than the archive has room for", line: 12)
        var bomb = try Self.edited(12, "bytes 12", "bytes 1033")
        bomb[11] = "part bytes 1033 \(Self.digest) 1033 1"
        bomb[10] = "file 1041 \(Self.digest) a.txt"
        refused(bomb, "has a stream of an impossible length", line: 12)
        bomb[11] = "part bytes 1032 \(Self.digest) 1032 1"
        bomb[10] = "file 1040 \(Self.digest) a.txt"
        #expect(found(bomb) == nil)
        // One byte for each chunk: a million planes need an archive that has them.
        let size = 2_000_000
        let count = ArchiveFormat.mostPlanes(size) + 1
        bomb[11] = "part bytes \(count) \(Self.digest) 1" + String(repeating: " =00000001", count: count)
        bomb[10] = "file \(count + 8) \(Self.digest) a.txt"
        refused(bomb, "has streams longer, or more of them, than the archive has room for", line: 12, size: size)
    }
}
