import Digests
import Files
import Problems
import StrictJSON

/// Bytes of a base that an archive refers to.
public struct SourceReference: Hashable, Sendable {
    /// Whether it is a tensor, by its name, or a file, by its path.
    public let isTensor: Bool
    /// The name or path.
    public let name: String
    /// Bytes.
    public let size: Int
    /// SHA-256 of the bytes.
    public let digest: String
}

/// What an adapter was bound to.
public struct Binding: Sendable {
    /// Digest of the base's config in its one form, if it has one.
    public var config: String?
    /// Digests of the base's tensors that the adapter changes.
    public var tensors: [(name: String, digest: String)]

    /// Joins digests.
    public init(config: String?, tensors: [(name: String, digest: String)]) {
        self.config = config
        self.tensors = tensors
    }
}

/// SHA-256 without the room that its text takes: archives may have many.
struct Digest: Hashable, Sendable {
    private let words: (UInt64, UInt64, UInt64, UInt64)

    /// Reads 64 lower-case hexadecimal digits.
    init?(_ text: String) {
        let digits = Array(text.utf8)
        guard digits.count == 64, digits.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }) else {
            return nil
        }
        let words = (0..<4).compactMap {
            UInt64(String(decoding: digits[($0 * 16)..<($0 * 16 + 16)], as: UTF8.self), radix: 16)
        }
        self.words = (words[0], words[1], words[2], words[3])
    }

    /// The digits.
    var text: String {
        [words.0, words.1, words.2, words.3].map { hexadecimal($0) }.joined()
    }

    static func == (a: Digest, b: Digest) -> Bool { a.words == b.words }
    func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
}

/// Consecutive bytes of a packed file that are coded in one way.
struct ArchivePart: Sendable {
    let code: PartCode
    /// Where it begins in the file, in bytes.
    let start: Int
    let size: Int
    let digest: Digest
    let chunk: Int
    /// Its first token, and the place of its first chunk's stream.
    let firstToken: Int
    let firstChunk: Int

    var end: Int { start + size }
    var chunkCount: Int { code.planes == 0 ? 0 : (size + chunk - 1) / chunk }
}

/// A plane in a stream: deflated, or as it is with a checksum.
struct PlaneToken: Sendable, Equatable {
    /// Bytes in the stream.
    let length: UInt32
    /// Adler-32 of a plane that is stored as it is.
    let check: UInt32?

    var text: String {
        check.map { "=" + hexadecimal($0) } ?? String(length)
    }
}

/// A packed file.
struct ArchiveEntry: Sendable {
    let path: String
    let size: Int
    let digest: Digest
    /// Its parts in the directory's list.
    let parts: Range<Int>
    /// Where its stream begins among the archive's data, and its length.
    var stream: Range<Int> = 0..<0

    /// Whether it is an input of the recipe, and so no part of the content.
    var isInput: Bool { path.hasPrefix(ArchiveFormat.inputPrefix) }
}

/// Everything that an archive's directory says.
struct ArchiveDirectory: Sendable {
    var content = ""
    var isFile = false
    var binding: Binding?
    var baseName: String?
    var sources: [SourceReference] = []
    var recipe: JSONObject?
    var directories: [String] = []
    var entries: [ArchiveEntry] = []
    var parts: [ArchivePart] = []
    var tokens: [PlaneToken] = []
    /// Where each chunk begins in its file's stream.
    var chunks: [Int] = []

    /// SHA-256 of the manifest of all files but a recipe's inputs.
    static func content(of entries: [(path: String, digest: String)]) -> String {
        var sum = SHA256()
        for entry in entries { sum.update(Array(manifestLine(digest: entry.digest, name: entry.path).utf8)) }
        return sum.finish()
    }

    /// The files that are no inputs of a recipe.
    var files: [ArchiveEntry] { entries.filter { !$0.isInput } }

    /// The digest of the manifest of some files.
    private static func content(of entries: [ArchiveEntry]) -> String {
        content(of: entries.map { ($0.path, $0.digest.text) })
    }

    /// What the content's digest has to be.
    var computedContent: String { Self.content(of: files) }

    /// The identity of the adapter that it holds; `nil` if it holds none.
    var adapterDigest: String? {
        let found = ["adapter_config.json", "adapter_model.safetensors"].compactMap { name in
            files.first { $0.path == name }
        }
        return found.count == 2 ? Self.content(of: found) : nil
    }

    /// SHA-256 of the `source` lines.
    static func baseDigest(_ sources: [SourceReference]) -> String {
        SHA256.hex(Array(sources.map(line).joined().utf8))
    }

    static func line(_ source: SourceReference) -> String {
        "source \(source.isTensor ? "tensor" : "file") \(source.size) \(source.digest) \(quoted(source.name))\n"
    }

    static func quoted(_ name: String) -> String { JSONValue.string(name).encoded() }

    /// The text of the directory.
    func encoded() -> [UInt8] {
        var text = "adapterkit-archive \(ArchiveFormat.version)\ncontent \(content)\n"
        text += "input \(isFile ? "file" : "directory")\n"
        if let config = binding?.config { text += "bound config \(config)\n" }
        for tensor in binding?.tensors ?? [] { text += "bound tensor \(tensor.digest) \(Self.quoted(tensor.name))\n" }
        if let baseName {
            text += "base \(Self.baseDigest(sources)) \(Self.quoted(baseName))\n"
            for source in sources { text += Self.line(source) }
        }
        if let recipe { text += "recipe \(JSONValue.object(recipe).encoded())\n" }
        for path in directories { text += "directory \(path)\n" }
        for entry in entries {
            text += "file \(entry.size) \(entry.digest.text) \(entry.path)\n"
            for part in parts[entry.parts] {
                text += "part \(part.code.text) \(part.size) \(part.digest.text) \(part.chunk)"
                for token in tokens[part.firstToken..<part.firstToken + part.chunkCount * part.code.planes] {
                    text += " " + token.text
                }
                text += "\n"
            }
        }
        return Array((text + "end\n").utf8)
    }
}
