import Problems
import StrictJSON

/// Reads the text of a directory, line by line, and checks what can be checked without the streams.
struct DirectoryParser {
    private let text: [UInt8]
    private var at = 0
    private var line = 0
    private var result = ArchiveDirectory()
    private var collisions = EntryPath.Collisions()
    /// The entry that is being read: path, size, digest, first part, bytes so far, bytes of its stream so far.
    private var open: (path: String, size: Int, digest: Digest, first: Int, done: Int, stream: Int)?
    private var lastPath: [UInt8] = []
    private var lastDirectory: [UInt8] = []

    /// The order of the lines.
    private enum Stage: Int { case head, bound, base, source, recipe, directory, file, end }
    private var stage = Stage.head

    private let archiveSize: Int

    private init(_ text: [UInt8], _ archiveSize: Int) {
        self.text = text
        self.archiveSize = archiveSize
    }

    /// What `text` says, and the length of each entry's stream, in an archive of `size` bytes.
    static func parse(
        _ text: [UInt8], archiveSize size: Int
    ) throws(Problem) -> (directory: ArchiveDirectory, streams: [Int]) {
        var parser = DirectoryParser(text, size)
        return try parser.parse()
    }

    private var streams: [Int] = []

    private mutating func parse() throws(Problem) -> (directory: ArchiveDirectory, streams: [Int]) {
        try head()
        while stage != .end {
            let fields = try nextLine()
            switch word(fields, 0) {
            case "bound": try bound(fields)
            case "base": try base(fields)
            case "source": try source(fields)
            case "recipe": try recipe(fields)
            case "directory": try directory(fields)
            case "file": try file(fields)
            case "part": try part(fields)
            case "end" where fields.count == 3: try finish()
            default: throw bad("has an unknown line")
            }
        }
        return (result, streams)
    }

    // MARK: Lines

    private func bad(_ what: String) -> Problem {
        Problem(
            .malformed, "bad-archive", "has a directory that \(what), in its line \(line)",
            hint: "the archive is damaged: get it again")
    }

    /// The places of the fields of the next line.
    private mutating func nextLine() throws(Problem) -> Range<Int> {
        line += 1
        guard let end = text[at...].firstIndex(of: 0x0A) else { throw bad("ends too early") }
        defer { at = end + 1 }
        return at..<end
    }

    /// A field of a line, counted from 0: what is between two spaces.
    private func word(_ range: Range<Int>, _ index: Int) -> String {
        var (start, left) = (range.lowerBound, index)
        while left > 0 {
            guard let space = text[start..<range.upperBound].firstIndex(of: 0x20) else { return "" }
            (start, left) = (space + 1, left - 1)
        }
        let end = text[start..<range.upperBound].firstIndex(of: 0x20) ?? range.upperBound
        return String(validating: text[start..<end], as: UTF8.self) ?? ""
    }

    /// All that follows `count` fields.
    private func rest(_ range: Range<Int>, after count: Int) throws(Problem) -> String {
        var start = range.lowerBound
        for _ in 0..<count {
            guard let space = text[start..<range.upperBound].firstIndex(of: 0x20) else {
                throw bad("has a line with too few fields")
            }
            start = space + 1
        }
        guard let found = String(validating: text[start..<range.upperBound], as: UTF8.self) else {
            throw bad("is no UTF-8")
        }
        return found
    }

    private func digest(_ word: String) throws(Problem) -> String { try compact(word).text }

    private func compact(_ word: String) throws(Problem) -> Digest {
        guard let digest = Digest(word) else { throw bad("has a digest that is none") }
        return digest
    }

    private func number(_ word: String) throws(Problem) -> Int {
        guard let value = decimal(word.utf8) else { throw bad("has a number that is none") }
        return value
    }

    private func name(_ text: String) throws(Problem) -> String {
        guard text.utf8.first == UInt8(ascii: "\""), text.utf8.last == UInt8(ascii: "\""),
            case .string(let name)? = try? JSONValue.parse(Array(text.utf8))
        else {
            throw bad("has a name in quotes that is none")
        }
        return name
    }

    private mutating func advance(to next: Stage, again: Bool = true) throws(Problem) {
        guard stage.rawValue < next.rawValue || (again && stage == next) else { throw bad("has lines out of order") }
        stage = next
    }

    // MARK: What they say

    private mutating func head() throws(Problem) {
        let first = try nextLine()
        guard word(first, 0) == "adapterkit-archive", try rest(first, after: 1) == ArchiveFormat.version else {
            throw bad("is of another version than \(ArchiveFormat.version)")
        }
        let second = try nextLine()
        guard word(second, 0) == "content" else { throw bad("has lines out of order") }
        result.content = try digest(rest(second, after: 1))
        let third = try nextLine()
        switch word(third, 0) == "input" ? try rest(third, after: 1) : "" {
        case "directory": result.isFile = false
        case "file": result.isFile = true
        default: throw bad("does not say what was packed")
        }
    }

    private mutating func bound(_ fields: Range<Int>) throws(Problem) {
        try advance(to: .bound)
        var binding = result.binding ?? Binding(config: nil, tensors: [])
        switch word(fields, 1) {
        case "config" where binding.config == nil && binding.tensors.isEmpty:
            binding.config = try digest(rest(fields, after: 2))
        case "tensor": binding.tensors.append((try name(rest(fields, after: 3)), try digest(word(fields, 2))))
        default: throw bad("has an unknown line")
        }
        result.binding = binding
    }

    private var baseDigest: String?
    private var sourceNames: Set<String> = []
    private var uses: [Int] = []

    private mutating func base(_ fields: Range<Int>) throws(Problem) {
        try advance(to: .base, again: false)
        baseDigest = try digest(word(fields, 1))
        result.baseName = try name(rest(fields, after: 2))
    }

    private mutating func source(_ fields: Range<Int>) throws(Problem) {
        try advance(to: .source)
        guard baseDigest != nil, ["tensor", "file"].contains(word(fields, 1)) else { throw bad("has an unknown line") }
        let made = SourceReference(
            isTensor: word(fields, 1) == "tensor", name: try name(rest(fields, after: 4)),
            size: try number(word(fields, 2)), digest: try digest(word(fields, 3)))
        guard sourceNames.insert(word(fields, 1) + " " + made.name).inserted else { throw bad("has a source twice") }
        result.sources.append(made)
        uses.append(0)
    }

    private mutating func recipe(_ fields: Range<Int>) throws(Problem) {
        try advance(to: .recipe, again: false)
        let text = try rest(fields, after: 1)
        guard let object = (try? JSONValue.parse(Array(text.utf8)))?.object else {
            throw bad("has a recipe that is none")
        }
        result.recipe = object
    }

    private mutating func directory(_ fields: Range<Int>) throws(Problem) {
        try advance(to: .directory)
        let path = try rest(fields, after: 1)
        try check(path, after: lastDirectory, isDirectory: true)
        lastDirectory = Array(path.utf8)
        result.directories.append(path)
    }

    private mutating func check(_ path: String, after last: [UInt8], isDirectory: Bool) throws(Problem) {
        let isInput = path.hasPrefix(ArchiveFormat.inputPrefix) && !isDirectory
        let own = isInput ? String(path.dropFirst(2)) : path
        if let flaw = EntryPath.flaw(own) { throw unsafe(path, flaw) }
        guard last.isEmpty || last.lexicographicallyPrecedes(path.utf8) || isFirstInput(path, last) else {
            throw bad("has paths out of order")
        }
        let kept = isInput ? "\u{1}" + own : own
        if let flaw = collisions.add(kept, isDirectory: isDirectory) { throw unsafe(path, flaw) }
    }

    /// Inputs of recipes come last.
    private func isFirstInput(_ path: String, _ last: [UInt8]) -> Bool {
        path.hasPrefix(ArchiveFormat.inputPrefix) && !last.starts(with: ArchiveFormat.inputPrefix.utf8)
    }

    private func unsafe(_ path: String, _ flaw: String) -> Problem {
        Problem(
            .malformed, "unsafe-path", "holds a file with the path '\(path.excerpt)', which \(flaw)",
            hint: "do not trust this archive: adapter-pack never writes such a path")
    }

    private mutating func file(_ fields: Range<Int>) throws(Problem) {
        try close()
        try advance(to: .file)
        let path = try rest(fields, after: 3)
        try check(path, after: lastPath, isDirectory: false)
        if lastPath.starts(with: ArchiveFormat.inputPrefix.utf8), !path.hasPrefix(ArchiveFormat.inputPrefix) {
            throw bad("has paths out of order")
        }
        lastPath = Array(path.utf8)
        open = (path, try number(word(fields, 1)), try compact(word(fields, 2)), result.parts.count, 0, 0)
    }

    private mutating func close() throws(Problem) {
        guard let done = open else { return }
        guard done.done == done.size else { throw bad("has parts that do not add up to their file") }
        result.entries.append(
            ArchiveEntry(
                path: done.path, size: done.size, digest: done.digest, parts: done.first..<result.parts.count))
        streams.append(done.stream)
        open = nil
    }

    private mutating func part(_ fields: Range<Int>) throws(Problem) {
        guard var file = open else { throw bad("has a part without a file") }
        guard let code = PartCode(word(fields, 1)) else { throw bad("has a part with an unknown code") }
        let (size, chunk) = (try number(word(fields, 2)), try number(word(fields, 4)))
        let (sum, overflow) = file.done.addingReportingOverflow(size)
        guard size > 0, !overflow, sum <= file.size else { throw bad("has parts that do not add up to their file") }
        if let source = code.source {
            let isMerged = if case .merged = code { true } else { false }
            guard result.sources.indices.contains(source), isMerged || result.sources[source].size == size else {
                throw bad("has a part with a source that does not fit")
            }
            uses[source] += 1
            guard uses[source] <= ArchiveFormat.mostUses else { throw bad("uses a source too often") }
        }
        guard code.planes == 0 ? chunk == 0 : (1...ArchiveFormat.largestChunk).contains(chunk),
            size % code.width == 0, chunk % code.width == 0
        else { throw bad("has a part with impossible sizes") }
        let made = ArchivePart(
            code: code, start: file.done, size: size, digest: try compact(word(fields, 3)), chunk: chunk,
            firstToken: result.tokens.count, firstChunk: result.chunks.count)
        try readTokens(fields, made, &file.stream)
        result.parts.append(made)
        file.done = sum
        open = file
    }

    /// The tokens of a part, each held against what its plane can be.
    private mutating func readTokens(_ fields: Range<Int>, _ part: ArchivePart, _ stream: inout Int) throws(Problem) {
        var start = fields.lowerBound
        for _ in 0..<4 {
            guard let space = text[start..<fields.upperBound].firstIndex(of: 0x20) else {
                throw bad("has a line with too few fields")
            }
            start = space + 1
        }
        var place = text[start..<fields.upperBound].firstIndex(of: 0x20) ?? fields.upperBound
        for index in 0..<part.chunkCount {
            let count = min(part.chunk, part.size - index * part.chunk) / part.code.width
            result.chunks.append(stream)
            for number in 0..<part.code.planes {
                guard place < fields.upperBound else { throw bad("has a part with too few planes") }
                let end = text[(place + 1)..<fields.upperBound].firstIndex(of: 0x20) ?? fields.upperBound
                let token = try token(text[(place + 1)..<end], part.code.planeSize(number, count))
                result.tokens.append(token)
                stream += Int(token.length)
                guard stream <= archiveSize, result.tokens.count <= ArchiveFormat.mostPlanes(archiveSize) else {
                    throw bad("has streams longer, or more of them, than the archive has room for")
                }
                place = end
            }
        }
        guard place == fields.upperBound else { throw bad("has a part with too many planes") }
    }

    private func token(_ word: ArraySlice<UInt8>, _ plane: Int) throws(Problem) -> PlaneToken {
        if word.first == UInt8(ascii: "=") {
            let digits = word.dropFirst()
            guard digits.count == 8,
                digits.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }),
                let check = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
            else { throw bad("has a checksum that is none") }
            return PlaneToken(length: UInt32(plane), check: check)
        }
        guard let length = decimal(word), length > 0, length <= ArchiveFormat.largestChunk * 2,
            plane <= length * ArchiveFormat.largestRatio
        else { throw bad("has a stream of an impossible length") }
        return PlaneToken(length: UInt32(length), check: nil)
    }

    private mutating func finish() throws(Problem) {
        try close()
        stage = .end
        guard at == text.count else { throw bad("goes on after its end") }
        if let baseDigest, baseDigest != ArchiveDirectory.baseDigest(result.sources) {
            throw bad("has sources that do not have their digest")
        }
        let files = result.files
        guard result.content == result.computedContent else {
            throw bad("has files that do not have the digest of the content")
        }
        guard !result.isFile || (files.count == 1 && result.directories.isEmpty) else {
            throw bad("says that it holds one file, but it does not")
        }
        let needsRecipe = result.parts.contains { if case .merged = $0.code { true } else { false } }
        guard (baseDigest == nil) == result.sources.isEmpty else { throw bad("has a base without use, or lacks one") }
        guard result.recipe != nil || files.count == result.entries.count else {
            throw bad("has inputs of a recipe, but no recipe")
        }
        guard needsRecipe == (result.recipe != nil) else { throw bad("has a recipe without use, or lacks one") }
    }
}
