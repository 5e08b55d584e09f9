import Fixtures
import Testing

@testable import Archives

/// Which paths an archive may have.
@Suite struct EntryPathTests {
    private static let refused: [(path: String, flaw: String)] = [
        ("", "is empty"), ("/", "begins with a slash"), ("/etc/passwd", "begins with a slash"),
        ("a//b", "has an empty part"), ("a/", "has an empty part"), (".", "has the part '.'"),
        ("..", "has the part '..'"), ("../x", "has the part '..'"), ("a/../b", "has the part '..'"),
        ("a/./b", "has the part '.'"), ("a\\b", "has a backslash"), ("a\u{0}b", "has a control character"),
        ("a\nb", "has a control character"), ("a\u{7F}", "has a control character"),
        ("a\u{80}", "has a control character"), ("a\u{9F}", "has a control character"),
        ("a\r\nb", "has a control character"), ("a.", "has a part that ends in a dot or a space"),
        ("a ", "has a part that ends in a dot or a space"), ("a./b", "has a part that ends in a dot or a space"),
        ("a /b", "has a part that ends in a dot or a space"), (" ", "has a part that ends in a dot or a space"),
        ("...", "has a part that ends in a dot or a space"),
        (String(repeating: "x", count: 256), "has a part longer than 255 bytes"),
        (String(repeating: "é", count: 128), "has a part longer than 255 bytes"),
        (Array(repeating: "d", count: 65).joined(separator: "/"), "is nested deeper than 64 directories"),
        (
            Array(repeating: String(repeating: "x", count: 200), count: 21).joined(separator: "/"),
            "is longer than 4096 bytes"
        ),
        // A combining mark joins the slash to one character for Swift, but not for the file system.
        ("a/\u{301}/../b", "has the part '..'"), ("/\u{301}a", "begins with a slash"),
    ]

    private static let accepted = [
        "a", "adapter_model.safetensors", ".hidden", "..a", "a..b/c", "a b/c d", "-rf", "~", "con:", "a\u{A0}", "é",
        "日本/語",
        "a/\u{301}b", "__metadata__", String(repeating: "x", count: 255),
        Array(repeating: "d", count: 64).joined(separator: "/"),
    ]

    @Test(arguments: refused) func flaws(_ path: String, _ flaw: String) { #expect(EntryPath.flaw(path) == flaw) }

    @Test(arguments: accepted) func harmless(_ path: String) { #expect(EntryPath.flaw(path) == nil) }

    /// Files and directories (with a slash at the end), and what is said of the last one.
    @Test(
        arguments: [
            (["a", "b", "c/d", "c/e"], nil), (["ab", "a/b"], nil), (["a/b", "a.b"], nil),
            (["a", "a"], "is there twice"),
            (["Name", "name"], "is the same as 'Name' but for case or normalisation"),
            (["ß", "ẞ"], "is the same as 'ß' but for case or normalisation"),
            (["d/name", "d/NAME"], "is the same as 'd/name' but for case or normalisation"),
            (["d/x", "D/y"], "is the same as 'd' but for case or normalisation"),
            (["\u{E9}", "e\u{301}"], "is the same as '\u{E9}' but for case or normalisation"),
            (["\u{C9}", "e\u{301}"], "is the same as '\u{C9}' but for case or normalisation"),
            (["a", "a/b"], "lies in 'a', which is a file"),
            (["A", "a/b"], "is the same as 'A' but for case or normalisation"),
            (["a/b", "a/b/c/d"], "lies in 'a/b', which is a file"),
            (["a/b", "a"], "is a directory with something in it, too"),
            (["a/b", "A"], "is the same as 'a' but for case or normalisation"),
            (["a/", "a/b/"], "lies in 'a', which is said to be empty"),
            (["a/", "a/b"], "lies in 'a', which is said to be empty"),
            (["a/b", "a/"], "is a directory with something in it, too"), (["a/", "a/"], "is there twice"),
            (["a/", "A/"], "is the same as 'a' but for case or normalisation"), (["a", "a/"], "is there twice"),
            (["a", "a/b/"], "lies in 'a', which is a file"),
        ] as [([String], String?)])
    func collisions(_ paths: [String], _ flaw: String?) {
        var collisions = EntryPath.Collisions()
        let found = paths.map { path in
            collisions.add(path.hasSuffix("/") ? String(path.dropLast()) : path, isDirectory: path.hasSuffix("/"))
        }
        #expect(found.dropLast().allSatisfy { $0 == nil })
        #expect(found.last == flaw)
    }
}
