import Adapters
import Archives
import Files
import Problems
import Safetensors
import Synchronization
import Tensors

/// Two checkpoints of one model, tensor by tensor.
struct CheckpointPair: Sendable {
    /// A tensor of both.
    struct Entry: Sendable {
        let name: String
        let base: Checkpoint.Place
        let tuned: Checkpoint.Place
    }

    let base: Checkpoint
    let tuned: Checkpoint
    /// Tensors of both with the same shape.
    private(set) var entries: [Entry] = []
    /// Tensors of both with different shapes.
    private(set) var reshaped: [Entry] = []
    /// Tensors that only the tuned one has.
    private(set) var added: [Checkpoint.Place] = []
    /// Names that only the base has.
    private(set) var removed: [String] = []

    init(_ request: ExtractRequest) throws {
        let opened = [request.base, request.tuned].map { path in
            Result { () throws(Problem) -> Checkpoint in try Checkpoint.openModel(path: path) }
        }
        var problems: [Problem] = []
        for result in opened {
            switch result {
            case .success(let checkpoint): problems += checkpoint.problems
            case .failure(let problem): problems.append(problem)
            }
        }
        if ProblemList(problems).hasErrors { throw ProblemList(problems) }
        base = try opened[0].get()
        tuned = try opened[1].get()
        for place in base.tensors {
            guard let other = tuned.lookup(place.info.name) else {
                removed.append(place.info.name)
                continue
            }
            let entry = Entry(name: place.info.name, base: place, tuned: other)
            if place.info.shape == other.info.shape { entries.append(entry) } else { reshaped.append(entry) }
        }
        added = tuned.tensors.filter { base.lookup($0.info.name) == nil }
        guard !entries.isEmpty else {
            let own = base.tensors.first?.info.name ?? "none"
            throw Problem(
                .incompatible, "different-models", file: tuned.path,
                "has no tensor in common with '\(base.path)': it has '\(tuned.tensors.first?.info.name ?? "none")', the base '\(own)'",
                hint: "both must be checkpoints of one model, with the same names")
        }
    }

    /// The file of a place in the base.
    func baseFile(_ place: Checkpoint.Place) -> SafetensorsFile { base.shards[place.shard].file }

    /// The file of a place in the tuned checkpoint.
    func tunedFile(_ place: Checkpoint.Place) -> SafetensorsFile { tuned.shards[place.shard].file }

    /// Bytes that must be read to compare everything.
    var byteCount: Int { entries.reduce(0) { $0 + $1.base.info.byteCount + $1.tuned.info.byteCount } }

    /// Which entries have different values.
    func changes(threads: Int, progress: @escaping @Sendable (Int) -> Void) throws -> [Bool] {
        let result = Mutex([Bool](repeating: false, count: entries.count))
        try forEach(entries.count, threads: threads) { at in
            let isChanged = try isDifferent(entries[at])
            result.withLock { $0[at] = isChanged }
            progress(entries[at].base.info.byteCount + entries[at].tuned.info.byteCount)
        }
        return result.withLock { $0 }
    }

    private func isDifferent(_ entry: Entry) throws -> Bool {
        let (a, b) = (entry.base.info, entry.tuned.info)
        let (file, other) = (baseFile(entry.base), tunedFile(entry.tuned))
        if a.dtype == b.dtype {
            for start in stride(from: 0, to: a.byteCount, by: 1 << 20) {
                try checkInterrupted()
                let range = start..<min(a.byteCount, start + 1 << 20)
                if try file.read(a, bytes: range) != other.read(b, bytes: range) { return true }
            }
            return false
        }
        guard a.dtype.kernel != nil, b.dtype.kernel != nil else { return true }
        return try !TensorValues.equal(file, a, other, b)
    }
}

/// Calls `body` for the numbers below `count` from several threads; the first error, in their order, ends it.
func forEach(_ count: Int, threads: Int, _ body: @escaping @Sendable (Int) throws -> Void) throws {
    let next = Atomic<Int>(0)
    let failure = Mutex<(at: Int, error: any Error)?>(nil)
    Workers.run(max(1, min(threads, count))) { _ in
        while failure.withLock({ $0 == nil }) {
            let at = next.add(1, ordering: .relaxed).oldValue
            guard at < count else { return }
            do {
                try checkInterrupted()
                try body(at)
            } catch {
                failure.withLock { $0 = ($0?.at ?? .max) > at ? (at, error) : $0 }
            }
        }
    }
    if let error = failure.withLock({ $0?.error }) { throw error }
}

/// What training added to a matrix: rows of the tuned tensor minus those of the base, in float64.
struct DifferenceRows: RowBlocks {
    /// Rows that follow each other in both files.
    struct Piece: Sendable {
        let base: (file: SafetensorsFile, tensor: TensorInfo)
        let tuned: (file: SafetensorsFile, tensor: TensorInfo)
        /// The first element in both tensors.
        let offset: Int
        let rows: Int
    }

    let pieces: [Piece]
    let rows: Int
    let columns: Int

    init(_ pieces: [Piece], columns: Int) {
        self.pieces = pieces
        self.columns = columns
        rows = pieces.reduce(0) { $0 + $1.rows }
    }

    func read(_ range: Range<Int>, to target: inout [Double]) throws {
        var first = 0
        for piece in pieces {
            let own = max(range.lowerBound, first)..<max(range.lowerBound, min(range.upperBound, first + piece.rows))
            if !own.isEmpty {
                let start = piece.offset + (own.lowerBound - first) * columns
                let count = own.count * columns
                let before = try Self.values(piece.base, start, count)
                let after = try Self.values(piece.tuned, start, count)
                let place = (own.lowerBound - range.lowerBound) * columns
                for at in 0..<count { target[place + at] = after[at] - before[at] }
            }
            first += piece.rows
        }
    }

    private static func values(
        _ source: (file: SafetensorsFile, tensor: TensorInfo), _ start: Int, _ count: Int
    ) throws -> [Double] {
        let size = source.tensor.dtype.bits / 8
        return try TensorValues.doubles(
            source.file.read(source.tensor, bytes: start * size..<(start + count) * size), source.tensor.dtype)
    }
}
