extension String {
    /// Whether this text comes before another one when runs of digits count as numbers: `layers.2` before `layers.10`.
    package func precedesNaturally(_ other: String) -> Bool {
        let (a, b) = (utf8Span.span, other.utf8Span.span)
        var at = 0
        while at < a.count && at < b.count && a[at] == b[at] { at += 1 }
        // Back to where a number may have begun that both share the beginning of.
        while at > 0 && Self.isDigit(a[at - 1]) { at -= 1 }
        var (i, j) = (at, at)
        while i < a.count && j < b.count {
            let (own, others) = (Self.end(of: a, i), Self.end(of: b, j))
            if own == i || others == j {
                if a[i] != b[j] { return a[i] < b[j] }
                (i, j) = (i + 1, j + 1)
                continue
            }
            var (x, y) = (i, j)
            while x < own && a[x] == 0x30 { x += 1 }
            while y < others && b[y] == 0x30 { y += 1 }
            if own - x != others - y { return own - x < others - y }
            while x < own {
                if a[x] != b[y] { return a[x] < b[y] }
                (x, y) = (x + 1, y + 1)
            }
            if own - i != others - j { return own - i < others - j }
            (i, j) = (own, others)
        }
        return a.count - i < b.count - j
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

    /// The end of the run of digits at a place.
    private static func end(of text: Span<UInt8>, _ start: Int) -> Int {
        var end = start
        while end < text.count, isDigit(text[end]) { end += 1 }
        return end
    }
}
