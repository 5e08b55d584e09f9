import Problems
import StrictJSON
import Synchronization

/// A byte-level BPE tokenizer from a `tokenizer.json`, equal to the `tokenizers` library token for token.
///
/// Texts are encoded one at a time on the caller's thread; any number of threads may encode at once.
public final class BytePairTokenizer: Tokenizer, Sendable {
    private let model: BytePairModel
    private let normalizer: [Normalization.Form]
    private let preTokenizer: PreTokenizer
    private let before: [Int]
    private let behind: [Int]
    private let decoder: TokenizerFile.Decoder
    /// Added tokens that are found in the text as it is, and in normalized text.
    private let exact: AddedTokenMatcher
    private let normalized: AddedTokenMatcher
    private let added: [Int: AddedToken]
    private let addedIDs: [[UInt8]: Int]
    /// What added tokens are called when they are decoded, where normalization changes that.
    private let normalizedContents: [Int: [UInt8]]
    private let path: String
    /// Caches of words that no thread is using.
    private let caches = Mutex<[WordCache]>([])

    /// How many ids there are: all are less, though not all less need be tokens.
    public let vocabularySize: Int
    /// The ids of special tokens, in order.
    public let specialIDs: [Int]

    /// Reads a `tokenizer.json` of version 1.0 from its bytes; `path` is what messages call it.
    ///
    /// - Throws: `malformed` if the file contradicts itself, `incompatible` if it asks for what is not supported, with
    ///   the name of the field.
    public init(json: [UInt8], path: String) throws(Problem) {
        let file = try TokenizerFile(json: json, path: path)
        self.path = path
        model = file.model
        normalizer = file.normalizer
        preTokenizer = file.preTokenizer
        (before, behind, decoder) = (file.before, file.behind, file.decoder)
        var exact = AddedTokenMatcher()
        var normalized = AddedTokenMatcher()
        var contents: [Int: [UInt8]] = [:]
        for token in file.added {
            let content = Array(token.content.utf8)
            guard token.isNormalized else {
                _ = exact.add(token, as: content)
                continue
            }
            let pattern = file.normalizer.reduce(content) { Normalization.apply($1, to: $0) }
            if pattern != content { contents[token.id] = pattern }
            guard normalized.add(token, as: pattern) else {
                throw Problem(
                    .malformed, "bad-tokenizer", file: path,
                    "'added_tokens' has another token that is '\(token.content.excerpt)' once normalized")
            }
        }
        (self.exact, self.normalized, normalizedContents) = (exact, normalized, contents)
        added = Dictionary(file.added.map { ($0.id, $0) }) { $1 }
        addedIDs = Dictionary(file.added.map { (Array($0.content.utf8), $0.id) }) { $1 }
        specialIDs = file.added.filter(\.isSpecial).map(\.id).sorted()
        let largest = (file.added.map(\.id) + file.before + file.behind).max() ?? -1
        vocabularySize = max(file.model.tokens.idLimit, largest + 1)
    }

    // MARK: Tokens

    /// The id of a token, as it is written in the vocabulary or in the list of added tokens.
    public func id(of token: String) -> Int? {
        let bytes = Array(token.utf8)
        return addedIDs[bytes] ?? model.tokens.id(bytes.span)
    }

    /// The token with an id, as it is written; an added token as it is found in normalized text.
    public func token(_ id: Int) -> String? { bytes(of: id).map { String(decoding: $0, as: UTF8.self) } }

    private func bytes(of id: Int) -> ArraySlice<UInt8>? {
        if let token = added[id] { return normalizedContents[id]?[...] ?? Array(token.content.utf8)[...] }
        return model.tokens.token(id)
    }

    // MARK: Encoding

    /// The ids of `text`, with those that the file's template puts around it.
    public func encode(_ text: [UInt8]) throws(Problem) -> [Int] { try encode(text, addsSpecial: true) }

    /// The ids of `text`, which must be UTF-8.
    ///
    /// - Parameter addsSpecial: whether the template's tokens come before and behind; special tokens in the text itself
    ///   are found either way.
    /// - Throws: `malformed` (`not-utf8`, with the offset) if the text is something else.
    public func encode(_ text: [UInt8], addsSpecial: Bool) throws(Problem) -> [Int] {
        try Self.check(text)
        var ids: [UInt32] = []
        ids.reserveCapacity(text.count / 3)
        var cache = caches.withLock { $0.popLast() } ?? WordCache()
        let search = Expression.Search(size: text.count)
        for part in exact.parts(of: text) {
            switch part {
            case .token(let id): ids.append(UInt32(id))
            case .text(let range):
                let piece = range.count == text.count ? text : Array(text[range])
                try encodeNormalized(piece, search, &cache, &ids)
            }
        }
        caches.withLock { $0.append(cache) }
        let result = ids.map(Int.init)
        return addsSpecial ? before + result + behind : result
    }

    private static func check(_ text: [UInt8]) throws(Problem) {
        do {
            _ = try UTF8Span(validating: text.span)
        } catch {
            throw Problem(
                .malformed, "not-utf8", "has a byte that is not UTF-8, but this tokenizer takes text only",
                hint: "convert the text to UTF-8", offset: error.byteOffsets.lowerBound)
        }
        // Oniguruma counts in 32 bits.
        guard text.count < 1 << 30 else {
            throw Problem(
                .malformed, "too-large", "has \(text.count) bytes, but at most \(1 << 30) can be encoded at once",
                hint: "give the text in parts")
        }
    }

    private func encodeNormalized(
        _ text: [UInt8], _ search: Expression.Search, _ cache: inout WordCache, _ ids: inout [UInt32]
    ) throws(Problem) {
        let text = normalizer.reduce(text) { Normalization.apply($1, to: $0) }
        for part in normalized.parts(of: text) {
            switch part {
            case .token(let id): ids.append(UInt32(id))
            case .text(let range):
                let piece = range.count == text.count ? text : Array(text[range])
                try encodeWords(try preTokenizer.words(piece, search), &cache, &ids)
            }
        }
    }

    private func encodeWords(
        _ words: PreTokenizer.Words, _ cache: inout WordCache, _ ids: inout [UInt32]
    ) throws(Problem) {
        let text = words.text.span
        for range in words.ranges {
            let word = text.extracting(range)
            let isShort = range.count <= WordCache.longest
            let hash = isShort ? SeededHash.of(word) : 0
            if isShort, cache.find(word, hash, into: &ids) { continue }
            let start = ids.count
            guard model.encode(word, &cache.scratch, into: &ids) else {
                throw Problem(
                    .malformed, "bad-tokenizer", file: path,
                    "'model.unk_token' is '\(model.unknown?.excerpt ?? "")', which 'model.vocab' does not have, and the "
                        + "text has a byte without a token")
            }
            if isShort { cache.insert(word, hash, ids[start...]) }
        }
    }

    // MARK: Decoding

    /// The bytes of `ids`; an id that has no token stands for nothing.
    public func decode(_ ids: [Int], skipsSpecial: Bool) throws(Problem) -> [UInt8] {
        let special = skipsSpecial ? Set(added.values.filter(\.isSpecial).map { Array($0.content.utf8) }) : []
        var result: [UInt8] = []
        var isFirst = true
        for id in ids {
            guard let token = bytes(of: id) else { continue }
            if skipsSpecial, added[id] != nil, special.contains(Array(token)) { continue }
            switch decoder {
            case .bytes: result += ByteAlphabet.decode(token.span) ?? Array(token)
            case .spaced:
                if !isFirst { result.append(UInt8(ascii: " ")) }
                result += token
            }
            isFirst = false
        }
        return result
    }
}
