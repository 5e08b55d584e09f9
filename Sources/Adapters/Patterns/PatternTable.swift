import Problems

/// The keys of `rank_pattern` or `alpha_pattern` with their values, found without trying each key on each path: adapters of
/// experts can have tens of thousands of both.
///
/// Keys without regular expressions differ in few ways in length and in where their dots are, since these count layers and
/// experts. For each such way there is a table from the rest of the key's bytes to its places.
struct PatternTable<Value> {
    /// A key's length and the places of its dots.
    private struct Mold: Hashable {
        let length: Int
        let dots: [Int]
    }

    private(set) var entries: [(source: String, value: Value)] = []
    private var plain: [Mold: [[UInt8]: [Int]]] = [:]
    private var others: [(place: Int, pattern: ModulePattern)] = []

    /// Compiles the keys; those that cannot be are reported and left out.
    init(_ list: [(key: String, value: Value)], file: String, problems: inout [Problem]) {
        for (key, value) in list {
            do throws(Problem) {
                if Self.isPlain(key) {
                    let bytes = Array(key.utf8)
                    let dots = bytes.indices.filter { bytes[$0] == UInt8(ascii: ".") }
                    let mold = Mold(length: bytes.count, dots: dots)
                    plain[mold, default: [:]][bytes, default: []].append(entries.count)
                } else {
                    others.append((entries.count, try ModulePattern(key: key)))
                }
                entries.append((key, value))
            } catch {
                problems.append(error.at(file: file))
            }
        }
    }

    /// Whether the key has nothing of regular expressions but dots.
    private static func isPlain(_ key: String) -> Bool {
        key.utf8.allSatisfy { $0 < 0x80 && !#"\^$*+?{}[]|()"#.utf8.contains($0) }
    }

    /// The places of all keys that match `path`, in the file's order.
    func hits(_ path: String) -> [Int] {
        if entries.isEmpty { return [] }
        // One byte for each character, as a dot stands for one; what is not ASCII is in no plain key.
        let bytes = path.unicodeScalars.map { $0.isASCII ? UInt8($0.value) : 0xFF }
        var result = others.filter { $0.pattern.matches(path) }.map(\.place)
        for (mold, places) in plain {
            let start = bytes.count - mold.length
            guard start >= 0, start == 0 || bytes[start - 1] == UInt8(ascii: ".") else { continue }
            var end = Array(bytes[start...])
            for dot in mold.dots { end[dot] = UInt8(ascii: ".") }
            result += places[end] ?? []
        }
        return result.sorted()
    }

    /// The value of the first key that matches `path`.
    func value(of path: String) -> Value? { hits(path).first.map { entries[$0].value } }
}
