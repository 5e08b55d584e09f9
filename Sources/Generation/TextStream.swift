/// Bytes of a text as they are made, given out as whole characters, up to a text at which to stop.
///
/// What may be the beginning of a stop text waits until it is known not to be one.
struct TextStream {
    private let stops: [[UInt8]]
    private var pending: [UInt8] = []
    /// Whether a stop text came; nothing is given out any more.
    private(set) var isStopped = false

    init(stops: [String]) { self.stops = stops.map { Array($0.utf8) }.filter { !$0.isEmpty } }

    /// Takes more bytes; what can be given out.
    mutating func take(_ bytes: [UInt8]) -> String {
        guard !isStopped else { return "" }
        // Looked for byte by byte, so that the earliest end of a stop text counts.
        for byte in bytes {
            pending.append(byte)
            if let stop = stops.filter({ pending.hasSuffix($0) }).max(by: { $0.count < $1.count }) {
                pending.removeLast(stop.count)
                isStopped = true
                return finish()
            }
        }
        let ready = min(pending.count - heldForStop, Self.wholeCharacters(pending))
        return give(max(0, ready))
    }

    /// What is left at the end of the text.
    mutating func finish() -> String { give(pending.count) }

    private mutating func give(_ count: Int) -> String {
        guard count > 0 else { return "" }
        let text = String(decoding: pending[..<count], as: UTF8.self)
        pending.removeFirst(count)
        return text
    }

    /// Bytes at the end that begin a stop text.
    private var heldForStop: Int {
        stops.map { stop in
            (1..<max(1, stop.count)).last { pending.hasSuffix(Array(stop[..<$0])) } ?? 0
        }.max() ?? 0
    }

    /// Bytes before a character that is not whole yet.
    private static func wholeCharacters(_ bytes: [UInt8]) -> Int {
        for back in 1...3 where back <= bytes.count {
            let byte = bytes[bytes.count - back]
            if byte & 0xC0 == 0x80 { continue }
            let length = byte >= 0xF8 ? 1 : byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1
            return length > back ? bytes.count - back : bytes.count
        }
        return bytes.count
    }
}

extension [UInt8] {
    fileprivate func hasSuffix(_ other: [UInt8]) -> Bool { count >= other.count && suffix(other.count) == other[...] }
}
