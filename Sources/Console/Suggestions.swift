/// Finds what someone meant who wrote something else.
enum Suggestions {
    /// A question that names the best matches, nil if nothing is near.
    static func question(for word: String, among names: [String]) -> String? {
        let near = nearest(to: word, among: names)
        guard let last = near.last else { return nil }
        let list = near.dropLast().map { "'\($0)'" }.joined(separator: ", ")
        return "did you mean \(list.isEmpty ? "" : list + " or ")'\(last)'?"
    }

    /// Up to three names: those that `word` abbreviates, or else those the fewest slips away.
    static func nearest(to word: String, among names: [String]) -> [String] {
        let plain = word.lowercased()
        let stem = plain.drop { $0 == "-" }
        let longer = names.filter { !stem.isEmpty && $0.lowercased().hasPrefix(plain) }
        if !longer.isEmpty { return Array(longer.prefix(3)) }
        let allowed = max(1, stem.count / 3)
        let measured = names.map { (name: $0, slips: distance(plain, $0.lowercased())) }
        guard let least = measured.map(\.slips).min(), least <= allowed else { return [] }
        return Array(measured.filter { $0.slips == least }.map(\.name).prefix(3))
    }

    /// How many letters must be added, dropped, changed or swapped with a neighbour to get from `a` to `b`.
    static func distance(_ a: String, _ b: String) -> Int {
        let a = Array(a.unicodeScalars.prefix(64))
        let b = Array(b.unicodeScalars.prefix(64))
        var before = [Int](repeating: 0, count: b.count + 1)
        var last = Array(0...b.count)
        for i in a.indices {
            var row = [i + 1]
            for j in b.indices {
                var best = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = min(best, before[j - 1] + 1) }
                row.append(best)
            }
            (before, last) = (last, row)
        }
        return last[b.count]
    }
}
