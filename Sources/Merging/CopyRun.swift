import Files

/// Bytes of one file of the output that are copied in one go; what follows each other becomes one.
struct CopyRun {
    /// Bytes that are copied at a time.
    static let piece = 16 << 20

    let shard: Int
    private var found: (source: any ByteSource, bytes: Range<Int>, to: Int)?

    init(shard: Int) { self.shard = shard }

    /// Adds bytes of `source`; with a unit, they stay by themselves.
    mutating func add(
        _ source: any ByteSource, _ bytes: Range<Int>, to: Int, unit: Int?, _ items: inout [Merger.Item]
    ) {
        if let unit {
            flush(&items)
            return cut(source, bytes, to: to, unit: unit, &items)
        }
        if let run = found, run.source === source, run.bytes.upperBound == bytes.lowerBound,
            run.to + run.bytes.count == to
        {
            found = (source, run.bytes.lowerBound..<bytes.upperBound, run.to)
        } else {
            flush(&items)
            found = (source, bytes, to)
        }
    }

    /// Ends the run.
    mutating func flush(_ items: inout [Merger.Item]) {
        guard let run = found else { return }
        found = nil
        cut(run.source, run.bytes, to: run.to, unit: nil, &items)
    }

    private func cut(
        _ source: any ByteSource, _ bytes: Range<Int>, to: Int, unit: Int?, _ items: inout [Merger.Item]
    ) {
        for (at, start) in stride(from: bytes.lowerBound, to: bytes.upperBound, by: Self.piece).enumerated() {
            let end = min(bytes.upperBound, start + Self.piece)
            items.append(
                .copy(
                    shard: shard, from: source, bytes: start..<end, to: to + start - bytes.lowerBound,
                    unit: unit.map { $0 + at }))
        }
    }
}
