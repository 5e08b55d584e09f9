import Files
import Problems

extension Header {
    /// Reads and checks the header of `file`, and the file's size against it.
    ///
    /// Nothing is allocated by the file's word alone: the length is held against the limit and the file's size first.
    public static func read(from file: any ByteSource) throws(Problem) -> Header {
        let prefix = try file.read(at: 0, count: min(file.size, 64))
        let count = try length(prefix, file)
        let text = try file.read(at: 8, count: count)
        do throws(Problem) {
            return try parse(json: text, dataLength: file.size - 8 - count, file: file.path)
        } catch {
            throw ForeignFile.problem(prefix, file.path) ?? error
        }
    }

    /// The length of the header's text, which is in the file as a whole.
    private static func length(_ prefix: [UInt8], _ file: any ByteSource) throws(Problem) -> Int {
        let rest = file.size - 8
        guard rest >= 0 else {
            throw Problem(
                .malformed, "too-short", file: file.path,
                "has \(file.size) bytes, but a safetensors file has at least 8",
                hint: file.size == 0 ? "the file is empty: download it again" : "download it again", offset: 0)
        }
        let length = prefix[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard length <= largestHeader else {
            throw ForeignFile.problem(prefix, file.path)
                ?? Problem(
                    .malformed, "header-too-large", file: file.path,
                    "says that its header has \(length) bytes, but at most \(largestHeader) are allowed",
                    hint: "this is no safetensors file, or it is damaged", offset: 0)
        }
        let count = Int(length)
        guard count <= rest else {
            throw ForeignFile.problem(prefix, file.path)
                ?? Problem(
                    .malformed, "truncated", file: file.path,
                    "says that its header has \(count) bytes, but only \(rest) follow",
                    hint: "the file ends at least \(count - rest) bytes early: download it again", offset: file.size)
        }
        return count
    }

    /// Reads and checks the JSON text of a header for `dataLength` bytes of data.
    public static func parse(json bytes: [UInt8], dataLength: Int, file: String) throws(Problem) -> Header {
        do throws(Problem) {
            var parser = HeaderParser(bytes)
            try parser.parse()
            return try parser.header(length: bytes.count, dataLength: dataLength)
        } catch {
            throw error.at(file: file)
        }
    }
}

/// Tells what a file is that is no safetensors file.
enum ForeignFile {
    private static let known: [(magic: [UInt8], what: String, hint: String)] = [
        (
            Array("version https://git-lfs".utf8), "a Git LFS pointer, not the file itself",
            "fetch it with: git lfs pull"
        ),
        (Array("PK\u{3}\u{4}".utf8), "a zip archive, as PyTorch's pickles are", "convert it to safetensors first"),
        (
            Array("GGUF".utf8), "a GGUF file",
            "adapters may be GGUF, but of a model use the safetensors files that it was made from"
        ),
        (Array("<".utf8), "a web page or XML", "the download failed: download it again"),
        (Array("{".utf8), "a JSON text", "name the file of the weights"),
        ([0x1F, 0x8B, 0x08], "a gzip file", "unpack it with gunzip first"),
        ([0x28, 0xB5, 0x2F, 0xFD], "a Zstandard file", "unpack it with zstd -d first"),
        ([0x89] + Array("HDF".utf8), "an HDF5 file", "convert it to safetensors first"),
        ([0x93] + Array("NUMPY".utf8), "a NumPy array", "convert it to safetensors first"),
    ]

    /// What the file is instead, by its first bytes.
    static func problem(_ prefix: [UInt8], _ path: String) -> Problem? {
        // Where a header's text begins as it should, its length may look like anything.
        if prefix.count > 8, prefix[8] == UInt8(ascii: "{") { return nil }
        let isPickle = prefix.count > 1 && prefix[0] == 0x80 && (0x02...0x05).contains(prefix[1])
        let found =
            isPickle
            ? (what: "a Python pickle, which can run code when it is loaded", hint: "convert it to safetensors first")
            : known.first { prefix.starts(with: $0.magic) }.map { (what: $0.what, hint: $0.hint) }
        return found.map {
            Problem(.malformed, "not-safetensors", file: path, "is \($0.what)", hint: $0.hint, offset: 0)
        }
    }
}
