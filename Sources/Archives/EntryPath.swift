import Problems
import StrictJSON

/// Rules for paths in archives: what unpacks on one machine must unpack on every other, and never outside its directory.
package enum EntryPath {
    static let largest = 4096
    static let deepest = 64

    /// What is wrong with `path`; `nil` if nothing is.
    package static func flaw(_ path: String) -> String? {
        if path.isEmpty { return "is empty" }
        if path.utf8.count > largest { return "is longer than \(largest) bytes" }
        if path.utf8.first == UInt8(ascii: "/") { return "begins with a slash" }
        if path.unicodeScalars.contains(where: { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }) {
            return "has a control character"
        }
        if path.utf8.contains(UInt8(ascii: "\\")) { return "has a backslash" }
        let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        if parts.count > deepest { return "is nested deeper than \(deepest) directories" }
        for part in parts {
            if part.isEmpty { return "has an empty part" }
            if part.elementsEqual(".".utf8) || part.elementsEqual("..".utf8) {
                return "has the part '\(Substring(part))'"
            }
            if part.count > 255 { return "has a part longer than 255 bytes" }
            if let last = part.last, last == UInt8(ascii: ".") || last == UInt8(ascii: " ") {
                return "has a part that ends in a dot or a space"
            }
        }
        return nil
    }

    /// Finds paths that cannot lie beside each other: the same but for case or normalisation, or one a directory of another.
    package struct Collisions {
        private enum Kind { case file, directory, empty }
        private var known: [String: (path: String, kind: Kind)] = [:]
        private var room = 20 << 20

        package init() {}

        /// What stands against adding a path, whose parents become directories; `nil` if nothing does.
        ///
        /// - Parameter isDirectory: whether it is a directory with nothing in it.
        package mutating func add(_ path: String, isDirectory: Bool) -> String? {
            for (at, byte) in zip(path.utf8.indices, path.utf8) where byte == UInt8(ascii: "/") {
                if let flaw = note(String(path[..<at]), .directory) { return flaw }
            }
            return note(path, isDirectory ? .empty : .file)
        }

        private mutating func note(_ path: String, _ kind: Kind) -> String? {
            // To Swift, canonically equivalent strings are equal.
            let folded = path.lowercased()
            guard let found = known[folded] else {
                // Directories on the way take memory, too; a short list of deep paths can have very many.
                room -= 2 * path.utf8.count + 128
                if room < 0 { return "is one too many: there are more or longer paths than an archive may have" }
                known[folded] = (path, kind)
                return nil
            }
            guard found.path.utf8.elementsEqual(path.utf8) else {
                return "is the same as '\(found.path.excerpt)' but for case or normalisation"
            }
            if kind == .directory {
                if found.kind == .directory { return nil }
                return found.kind == .file
                    ? "lies in '\(path.excerpt)', which is a file"
                    : "lies in '\(path.excerpt)', which is said to be empty"
            }
            return found.kind == .directory ? "is a directory with something in it, too" : "is there twice"
        }
    }
}
