import Fixtures
import StrictJSON

@testable import Archives

/// A directory of an archive that never was: every kind of line, with numbers that fit each other.
struct RandomDirectory {
    private(set) var directory = ArchiveDirectory()
    /// The length of each file's stream.
    private(set) var streams: [Int] = []

    init(_ random: inout SeededRandom) {
        addBinding(&random)
        addSources(&random)
        let names = Self.paths(&random)
        directory.directories = names.filter { _ in random.below(6) == 0 }
        let files = names.filter { !directory.directories.contains($0) }
        for path in files { addFile(path, &random) }
        if directory.parts.contains(where: { if case .merged = $0.code { true } else { false } }) {
            for path in ["//input/0/adapter_config.json", "//input/1/x"] { addFile(path, &random) }
            directory.recipe = JSONObject([("dtype", .null), ("adapters", .array([.string("ä\n\"")]))])
        }
        directory.isFile = files.count == 1 && directory.directories.isEmpty && random.below(2) == 0
        directory.content = ArchiveDirectory.content(
            of: directory.entries.filter { !$0.isInput }.map { ($0.path, $0.digest.text) })
    }

    /// Names that need care in a line of text, or in a JSON string.
    private static let stems = ["a", ".b", "c d", "é", "日本", "file", "end", "x\"y", "{}", "-1"]
    private static let tensors = ["w", "a b", "\"", "\n", "\\", "é", "", "lora_A.weight", "\u{1F600}", "end"]

    private static func paths(_ random: inout SeededRandom) -> [String] {
        let list = (0..<random.below(12)).map { number in
            let parents = (0..<random.below(3)).map { _ in random.pick(["p", "q q", "ü"]) }
            return (parents + ["\(random.pick(stems))\(number)"]).joined(separator: "/")
        }
        return list.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
    }

    private mutating func addBinding(_ random: inout SeededRandom) {
        guard random.below(2) == 0 else { return }
        var binding = Binding(config: random.below(2) == 0 ? random.digest() : nil, tensors: [])
        for _ in 0..<random.below(4) { binding.tensors.append((random.pick(Self.tensors), random.digest())) }
        if binding.config != nil || !binding.tensors.isEmpty { directory.binding = binding }
    }

    private mutating func addSources(_ random: inout SeededRandom) {
        guard random.below(2) == 0 else { return }
        directory.baseName = random.pick(Self.tensors)
        directory.sources = (0...random.below(5)).map { number in
            SourceReference(
                isTensor: random.below(3) > 0, name: random.pick(Self.tensors) + "\(number)",
                size: 8 * (1 + random.below(300)),
                digest: random.digest())
        }
    }

    private mutating func addFile(_ path: String, _ random: inout SeededRandom) {
        let first = directory.parts.count
        var (start, stream) = (0, 0)
        for _ in 0..<random.below(4) {
            let code = code(&random)
            let size = code.source.map { directory.sources[$0].size } ?? code.width * (1 + random.below(200))
            let chunk = code.planes == 0 ? 0 : code.width * (1 + random.below(size / code.width + 5))
            guard let digest = Digest(random.digest()) else { continue }
            let part = ArchivePart(
                code: code, start: start, size: size, digest: digest, chunk: chunk,
                firstToken: directory.tokens.count, firstChunk: directory.chunks.count)
            directory.parts.append(part)
            addTokens(part, &stream, &random)
            start += size
        }
        guard let digest = Digest(random.digest()) else { return }
        directory.entries.append(
            ArchiveEntry(path: path, size: start, digest: digest, parts: first..<directory.parts.count))
        streams.append(stream)
    }

    private mutating func addTokens(_ part: ArchivePart, _ stream: inout Int, _ random: inout SeededRandom) {
        for index in 0..<part.chunkCount {
            directory.chunks.append(stream)
            let count = min(part.chunk, part.size - index * part.chunk) / part.code.width
            for number in 0..<part.code.planes {
                let size = part.code.planeSize(number, count)
                let isStored = random.below(2) == 0
                let token = PlaneToken(
                    length: UInt32(isStored ? size : (size + 1031) / 1032 + random.below(300)),
                    check: isStored ? UInt32(truncatingIfNeeded: random.next()) >> UInt32(random.below(32)) : nil)
                directory.tokens.append(token)
                stream += Int(token.length)
            }
        }
    }

    private func code(_ random: inout SeededRandom) -> PartCode {
        let width = random.pick([1, 2, 4, 8])
        guard !directory.sources.isEmpty, random.below(2) == 0 else {
            return random.pick([.bytes, .rotated(width: width), .joint(width: max(2, width))])
        }
        let source = random.below(directory.sources.count)
        return random.pick([
            .difference(width: width, source: source),
            .grouped(width: width, shift: random.below(8 * width), source: source), .copy(source: source),
            .merged(source: source),
        ])
    }
}
