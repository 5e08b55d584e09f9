import Problems

/// Rules for paths in archives: what unpacks on one machine must unpack on every other, and never outside its directory.
enum EntryPath {
    static let largest = 4096
    static let deepest = 64

    /// What is wrong with `path`; `nil` if nothing is.
    static func flaw(_ path: String) -> String? {
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
    struct Collisions {
        private var kinds: [String: Bool] = [:]

        /// What stands against adding a path, whose parents become directories; `nil` if nothing does.
        mutating func add(_ path: String, isDirectory: Bool) -> String? {
            // To Swift, canonically equivalent strings are equal.
            let folded = path.lowercased()
            for (at, byte) in zip(folded.utf8.indices, folded.utf8) where byte == UInt8(ascii: "/") {
                let parent = String(folded[..<at])
                if kinds[parent] == false { return "lies in '\(parent)', which is a file" }
                kinds[parent] = true
            }
            guard let known = kinds[folded] else {
                kinds[folded] = isDirectory
                return nil
            }
            if isDirectory && known { return nil }
            return known
                ? "is a directory, too" : "is there twice, or another is the same but for case or normalisation"
        }
    }
}
