import COniguruma
import Problems

/// A regular expression of Oniguruma, the engine that the `tokenizers` library uses, compiled with the same options.
///
/// This is the only place of the module that calls C.
@safe final class Expression: @unchecked Sendable {
    // A compiled expression is not changed by searches; what a search changes is in `Search`.
    private let compiled: OnigRegex
    /// Messages say where the expression is from.
    private let path: String
    private let field: String

    private static let prepared: Void = ak_onig_prepare(200)
    /// Longer patterns have no use, and could take long to compile.
    private static let patternLimit = 16_384
    /// How many places are tried before the clock is looked at.
    private static let interval = 64

    init(_ pattern: String, path: String, field: String) throws(Problem) {
        _ = Self.prepared
        self.path = path
        self.field = field
        let bytes = Array(pattern.utf8)
        guard bytes.count <= Self.patternLimit else {
            throw Problem(
                .malformed, "tokenizer-regex", file: path,
                "'\(field)' has an expression of \(bytes.count) bytes, but at most \(Self.patternLimit) make sense")
        }
        // Absent operators take cubic time that no limit counts; trying place by place moves what \G means.
        for name in ["(?~", #"\G"#] where pattern.contains(name) {
            throw TokenizerFields.unsupported(path, "regex", field, "has an expression with \(name)")
        }
        var raw: OnigRegex?
        let code = unsafe bytes.withUnsafeBufferPointer { buffer -> Int32 in
            // An empty array has no address, but Oniguruma wants one.
            var nothing: UInt8 = 0
            guard let start = buffer.baseAddress else {
                return unsafe withUnsafePointer(to: &nothing) { unsafe ak_onig_new(&raw, $0, $0) }
            }
            return unsafe ak_onig_new(&raw, start, start + buffer.count)
        }
        guard code == 0, let made = unsafe raw else {
            throw Problem(
                .malformed, "tokenizer-regex", file: path,
                "'\(field)' has an expression that is none: \(Self.message(code))")
        }
        unsafe compiled = made
    }

    deinit { unsafe onig_free(compiled) }

    private static func message(_ code: Int32) -> String {
        let room = Int(ONIG_MAX_ERROR_MESSAGE_LEN) + 1
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: room) { buffer, filled in
            guard let start = buffer.baseAddress else { return }
            filled = max(0, min(room, Int(unsafe ak_onig_message(start, code))))
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Calls `body` with each match in `piece` of `text`, as the library walks over them.
    ///
    /// Of empty matches, those at the end of the last one do not count. Positions are those of `text`; the expression
    /// sees nothing outside `piece`.
    func matches(in text: [UInt8], _ piece: Range<Int>, _ state: Search, _ body: (Int, Int) -> Void) throws(Problem) {
        let code = unsafe text.withUnsafeBufferPointer { buffer -> Int32 in
            guard let base = buffer.baseAddress else { return 0 }
            let start = unsafe base + piece.lowerBound
            var from = 0
            var last = -1
            while from <= piece.count {
                // Place by place, so that the clock is looked at in between: a search that fails would try them all.
                // (Searching in parts is no way out: the library's search also ends matches where its range ends.)
                var at = from
                var found = ONIG_MISMATCH
                while true {
                    found = Int32(
                        unsafe onig_match_with_param(
                            compiled, start, start + piece.count, start + at, state.region, ONIG_OPTION_NONE,
                            state.limits))
                    if state.isOverTime() { return ONIGERR_RETRY_LIMIT_IN_SEARCH_OVER }
                    guard found == ONIG_MISMATCH, at < piece.count else { break }
                    at += unsafe UTF8Width.of(start[at])
                }
                guard found >= 0 else { return found == ONIG_MISMATCH ? 0 : found }
                let (lower, upper) = unsafe (Int(state.region.pointee.beg[0]), Int(state.region.pointee.end[0]))
                if lower == upper, upper == last {
                    guard from < piece.count else { return 0 }
                    from = unsafe upper + UTF8Width.of(start[upper])
                } else {
                    (from, last) = (upper, upper)
                    body(piece.lowerBound + lower, piece.lowerBound + upper)
                }
            }
            return 0
        }
        if code != 0 { throw failure(code) }
    }

    private func failure(_ code: Int32) -> Problem {
        Problem(
            .incompatible, "tokenizer-regex-limit", file: path,
            "'\(field)' has an expression that takes too long on this text: \(Self.message(code))",
            hint: "break very long runs of the same characters up, or give token ids instead of text")
    }

    /// What a series of searches changes: where the groups matched, and how much work is left.
    @safe final class Search {
        fileprivate let region: UnsafeMutablePointer<OnigRegion>
        fileprivate let limits: OpaquePointer
        private let clock = ContinuousClock()
        private let end: ContinuousClock.Instant
        private var count = 0

        /// Prepares searches in a text of `size` bytes.
        init(size: Int) {
            unsafe region = onig_region_new()
            unsafe limits = onig_new_match_param()
            unsafe onig_initialize_match_param(limits)
            // The first is the library's; a search that tries many places may add up to more.
            unsafe onig_set_retry_limit_in_match_of_match_param(limits, 10_000_000)
            unsafe onig_set_retry_limit_in_search_of_match_param(limits, 20_000_000 + 64 * UInt(size))
            end = clock.now + .seconds(30 + size / 50_000)
        }

        deinit {
            unsafe onig_region_free(region, 1)
            unsafe onig_free_match_param(limits)
        }

        /// Searches below their limits can still be too many; the clock is looked at now and then.
        fileprivate func isOverTime() -> Bool {
            count += 1
            guard count >= Expression.interval else { return false }
            count = 0
            return clock.now > end
        }
    }
}

/// The lengths of characters in UTF-8.
enum UTF8Width {
    /// How many bytes the character has that begins with `byte`, in valid UTF-8.
    static func of(_ byte: UInt8) -> Int {
        switch byte {
        case ..<0x80: 1
        case ..<0xE0: 2
        case ..<0xF0: 3
        default: 4
        }
    }
}
