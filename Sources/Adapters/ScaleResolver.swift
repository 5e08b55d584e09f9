import Problems
import Safetensors

/// Rank, alpha and scale of each module, by PEFT's pattern rule: the first key in the file's order that matches wins.
struct ScaleResolver {
    private let config: PEFTConfig
    private let ranks: PatternTable<Int>
    private let alphas: PatternTable<Double>
    let problems: [Problem]

    init(config: PEFTConfig, file: String) {
        self.config = config
        var problems: [Problem] = []
        ranks = PatternTable(config.rankPattern, file: file, problems: &problems)
        alphas = PatternTable(config.alphaPattern, file: file, problems: &problems)
        self.problems = problems
    }

    func rank(of path: String) -> Int { config.moduleScales[path]?.rank ?? ranks.value(of: path) ?? config.rank }

    func alpha(of path: String) -> Double { config.moduleScales[path]?.alpha ?? alphas.value(of: path) ?? config.alpha }

    /// Keys that match none of `paths`, and pairs of keys with different values of which only the first counts.
    func audit(_ paths: [String]) -> (unused: [(field: String, key: String)], overlaps: [(String, String, String)]) {
        let (a, b) = (Self.audit(ranks, paths), Self.audit(alphas, paths))
        return (
            a.unused.map { ("rank_pattern", $0) } + b.unused.map { ("alpha_pattern", $0) },
            a.overlaps.map { ("rank_pattern", $0, $1) } + b.overlaps.map { ("alpha_pattern", $0, $1) }
        )
    }

    private static func audit<V: Equatable>(_ table: PatternTable<V>, _ paths: [String])
        -> (unused: [String], overlaps: [(String, String)])
    {
        let entries = table.entries
        var used = [Bool](repeating: false, count: entries.count)
        var overlaps: [[Int]] = []
        var seen: Set<[Int]> = []
        for path in paths {
            let hits = table.hits(path)
            for hit in hits { used[hit] = true }
            guard let first = hits.first else { continue }
            for other in hits.dropFirst() where entries[other].value != entries[first].value {
                if seen.insert([first, other]).inserted { overlaps.append([first, other]) }
            }
        }
        return (
            entries.indices.filter { !used[$0] }.map { entries[$0].source },
            overlaps.map { (entries[$0[0]].source, entries[$0[1]].source) }
        )
    }
}

/// Which way linear weights lie in a base, as their biases show: a bias has one number for each output.
struct OrientationVotes {
    private var votes: [Substring: (rows: Int, columns: Int)] = [:]

    init(base: Checkpoint) {
        for entry in base.tensors {
            let weight = entry.info
            guard weight.shape.count == 2, weight.shape[0] != weight.shape[1], weight.name.hasSuffix(".weight") else {
                continue
            }
            guard let bias = base.lookup(String(weight.name.dropLast(6)) + "bias")?.info else { continue }
            var found = votes[Self.stack(weight.name)] ?? (0, 0)
            if bias.shape == [weight.shape[0]] { found.rows += 1 }
            if bias.shape == [weight.shape[1]] { found.columns += 1 }
            votes[Self.stack(weight.name)] = found
        }
    }

    /// What comes before the number of a layer: the stack of layers that a weight belongs to.
    private static func stack(_ name: String) -> Substring { name[..<BaseNames.tail(name).startIndex] }

    /// Whether the weights of the same stack as `name` have their outputs in columns; `nil` if nothing shows it.
    func around(_ name: String) -> Bool? {
        guard let found = votes[Self.stack(name)], found.rows != found.columns else { return nil }
        return found.columns > found.rows
    }
}
