/// Characters that the system's Oniguruma does not know yet, or classes otherwise than the one in the library's wheels.
///
/// Before an expression sees a text, each of them is replaced by one of the same length that has the class (general
/// category, common scripts, what `\w` says) which the library sees. Only positions come back, so the text stays as it is.
/// The table was made by asking both.
enum StandIns {
    private struct Table {
        var firsts: [UInt32] = []
        var lasts: [UInt32] = []
        var stands: [UInt32] = []
        /// Whether any of 128 characters is in the table.
        var pages = [Bool](repeating: false, count: 0x110000 >> 7)

        init() {
            for row in StandIns.table.split(whereSeparator: { $0 == " " || $0 == "\n" }) {
                let numbers = row.split { $0 == "-" || $0 == "=" }.compactMap { UInt32($0, radix: 16) }
                guard numbers.count == 3 else { continue }
                firsts.append(numbers[0])
                lasts.append(numbers[1])
                stands.append(numbers[2])
                for page in (numbers[0] >> 7)...(numbers[1] >> 7) { pages[Int(page)] = true }
            }
        }

        func standIn(_ scalar: UInt32) -> UInt32? {
            guard pages[Int(scalar >> 7)] else { return nil }
            var (low, high) = (0, firsts.count)
            while low < high {
                let middle = (low + high) / 2
                if lasts[middle] < scalar { low = middle + 1 } else { high = middle }
            }
            return low < firsts.count && firsts[low] <= scalar ? stands[low] : nil
        }
    }

    private static let made = Table()

    /// `text`, which is UTF-8, with stand-ins; `nil` where it needs none.
    static func replace(in text: [UInt8]) -> [UInt8]? {
        var result: [UInt8]?
        let bytes = text.span
        let table = made
        var at = 0
        while at < bytes.count {
            let first = bytes[at]
            // All of them have three bytes or four.
            guard first >= 0xE0 else {
                at += 1
                continue
            }
            let width = UTF8Width.of(first)
            var scalar = UInt32(first) & (width == 3 ? 0x0F : 0x07)
            for next in 1..<width { scalar = scalar << 6 | UInt32(bytes[at + next] & 0x3F) }
            if let standIn = table.standIn(scalar), let character = Unicode.Scalar(standIn) {
                if result == nil { result = text }
                for (next, byte) in character.utf8.enumerated() { result?[at + next] = byte }
            }
            at += width
        }
        return result
    }
}
