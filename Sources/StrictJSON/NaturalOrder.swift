extension String {
    /// Whether this text comes before another one when runs of digits count as numbers: `layers.2` before `layers.10`.
    package func precedesNaturally(_ other: String) -> Bool {
        let (a, b) = (Array(utf8), Array(other.utf8))
        var (i, j) = (0, 0)
        while i < a.count && j < b.count {
            let (own, others) = (Self.digits(a, i), Self.digits(b, j))
            if own.isEmpty || others.isEmpty {
                if a[i] != b[j] { return a[i] < b[j] }
                (i, j) = (i + 1, j + 1)
                continue
            }
            let (x, y) = (a[own].drop { $0 == 0x30 }, b[others].drop { $0 == 0x30 })
            if x.count != y.count { return x.count < y.count }
            if !x.elementsEqual(y) { return x.lexicographicallyPrecedes(y) }
            if own.count != others.count { return own.count < others.count }
            (i, j) = (own.upperBound, others.upperBound)
        }
        return a.count - i < b.count - j
    }

    /// The run of digits at a place.
    private static func digits(_ text: [UInt8], _ start: Int) -> Range<Int> {
        var end = start
        while end < text.count, (0x30...0x39).contains(text[end]) { end += 1 }
        return start..<end
    }
}
