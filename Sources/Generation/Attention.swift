import Models
import Synchronization
import Tensors

/// Attention of new positions over all that a cache holds, themselves included.
struct Attention: Sendable {
    let config: LlamaConfig
    let threads: Int

    /// Multiplications of one piece below which another thread costs more than it gains.
    private static let threadWork = 1 << 16

    /// Turns the heads of each position (RoPE): of a head of d numbers, i with i + d/2.
    ///
    /// - Parameters:
    ///   - x: n × `heads` · head size.
    ///   - angles: cosines and sines of each position.
    func turn(_ x: inout [Float], heads: Int, angles: [(cosines: [Float], sines: [Float])]) {
        let half = config.headSize / 2
        for (row, angle) in angles.enumerated() {
            for head in 0..<heads {
                let start = (row * heads + head) * config.headSize
                for i in 0..<half {
                    let (c, s) = (angle.cosines[i], angle.sines[i])
                    let (a, b) = (x[start + i], x[start + half + i])
                    x[start + i] = a * c - b * s
                    x[start + half + i] = b * c + a * s
                }
            }
        }
    }

    /// Σ softmax(q · k / √d) v for the last positions of `cache`.
    ///
    /// - Parameters:
    ///   - queries: n × heads · head size, turned.
    ///   - count: positions in the cache, the n new ones included.
    /// - Returns: n × heads · head size.
    func mix(_ queries: [Float], _ cache: KeyValueCache.Layer, count: Int, window: Int?) -> [Float] {
        let rows = queries.count / config.queryWidth
        let step = Step(
            config: config, queries: queries, cache: cache, first: count - rows, window: window)
        let pieces = rows * config.heads
        let work = pieces * 2 * config.headSize * min(count, window ?? count)
        let parts = max(1, min(threads, work / Self.threadWork, pieces, Team.largest - 1))
        if parts == 1 { return step.heads(0..<pieces) }
        // Each head of each position is one thread's alone, so the number of threads does not show.
        let results = Mutex<[[Float]]>(Array(repeating: [], count: parts))
        let box = Box(results: results)
        Team.shared.run(parts, threads: threads) { part in
            let range = pieces * part / parts..<pieces * (part + 1) / parts
            let own = step.heads(range)
            box.results.withLock { $0[part] = own }
        }
        return box.results.withLock { $0.flatMap { $0 } }
    }

    private final class Box: Sendable {
        let results: Mutex<[[Float]]>
        init(results: consuming Mutex<[[Float]]>) { self.results = results }
    }

    /// The queries of some positions and all that they look at.
    private struct Step: Sendable {
        let config: LlamaConfig
        let queries: [Float]
        let cache: KeyValueCache.Layer
        /// The first query's place in the cache.
        let first: Int
        let window: Int?

        /// Some heads, counted through position by position, side by side.
        func heads(_ range: Range<Int>) -> [Float] {
            let width = config.headSize
            var out = [Float](repeating: 0, count: range.count * width)
            var scratch: [Double] = []
            for (at, piece) in range.enumerated() {
                let (row, head) = (piece / config.heads, piece % config.heads)
                let position = first + row
                let start = window.map { max(0, position - $0 + 1) } ?? 0
                DecoderKernels.attend(
                    queries, start: piece * width, keys: cache.keys, values: cache.values, stride: config.keyWidth,
                    offset: head / (config.heads / config.keyValueHeads) * width, range: start..<position + 1,
                    width: width, scale: 1 / Double(width).squareRoot(), scratch: &scratch, into: &out, at: at * width)
            }
            return out
        }
    }
}
