import Files
import Problems
import Synchronization
import Tensors

/// Runs sequences through a model on several threads: losses, and gradients if they are wanted.
///
/// The sequences of a step are dealt out to the threads in their order, each thread sums its own gradients, and these are
/// added up in the order of the threads: the same number of threads gives the same bits.
final class Engine: Sendable {
    let model: Llama<Float>
    let sequences: [TokenSequence]
    let cache: FrozenCache
    private let workers: [Worker]
    private let seed: UInt64

    /// What one thread has for itself; only that thread touches it while a step runs.
    private final class Worker: @unchecked Sendable {
        let arena = Arena<Float>()
        let gradients: Gradients<Float>
        var loss = 0.0
        var failure: Problem?

        init(_ parameters: [Parameter<Float>]) { gradients = Gradients(parameters) }
    }

    /// Positions that a thread takes at a time: enough for large products, few enough for its caches.
    private static let positionsPerPass = 512

    init(_ model: Llama<Float>, sequences: [TokenSequence], cache: FrozenCache, threads: Int, seed: UInt64) {
        (self.model, self.sequences, self.cache, self.seed) = (model, sequences, cache, seed)
        workers = (0..<threads).map { _ in Worker(model.trained) }
    }

    /// What a step gives: the sum of the losses in nats, and how many targets there were.
    struct Sums {
        var loss: Double
        var targets: Int
    }

    /// The losses of some sequences.
    func losses(_ list: [Int]) throws(Problem) -> Sums { try run(list, gradientsFor: nil) }

    /// The losses of the sequences of a step, with the gradients of their mean, which are then in `gradients`.
    ///
    /// - Parameters:
    ///   - step: what dropout depends on.
    ///   - bottom: the first block that is trained now.
    func step(_ list: [Int], step: Int, bottom: Int) throws(Problem) -> Sums {
        let sums = try run(list, gradientsFor: (step, bottom))
        reduce()
        return sums
    }

    /// The gradients of the last step.
    var gradients: [Matrix<Float>] { workers[0].gradients.matrices }

    private func run(_ list: [Int], gradientsFor way: (step: Int, bottom: Int)?) throws(Problem) -> Sums {
        let targets = list.reduce(0) { $0 + sequences[$1].targetCount }
        let parts = Self.deal(list.map { sequences[$0].ids.count }, to: workers.count)
        // Where there are fewer sequences than threads, products share the rest.
        ProductThreads.set(max(1, workers.count / max(1, parts.count)))
        model.prepare()
        for worker in workers {
            (worker.loss, worker.failure) = (0, nil)
            if way != nil { worker.gradients.clear() }
        }
        let workers = workers
        let factor = 1 / Double(max(1, targets))
        Workers.run(parts.count) { [self] index in
            let worker = workers[index]
            do throws(Problem) {
                for group in groups(parts[index], list) {
                    try checkInterrupted()
                    worker.loss += try loss(group, worker, way, factor)
                }
            } catch {
                worker.failure = error
            }
        }
        ProductThreads.set(workers.count)
        if let failure = workers.lazy.compactMap(\.failure).first { throw failure }
        return Sums(loss: workers.reduce(0) { $0 + $1.loss }, targets: targets)
    }

    /// Runs of `counts`, at most `threads`, that have about the same sum.
    static func deal(_ counts: [Int], to threads: Int) -> [Range<Int>] {
        let total = counts.reduce(0, +)
        let parts = min(threads, counts.count)
        var result: [Range<Int>] = []
        var (start, sum) = (0, 0)
        for (at, count) in counts.enumerated() {
            sum += count
            let (left, needed) = (counts.count - at - 1, parts - result.count - 1)
            if needed > 0, left >= needed, sum * parts >= total * (result.count + 1) || left == needed {
                result.append(start..<at + 1)
                start = at + 1
            }
        }
        if start < counts.count { result.append(start..<counts.count) }
        return result
    }

    /// Sequences that a thread takes at a time, with their places in the step.
    private func groups(_ part: Range<Int>, _ list: [Int]) -> [[(place: Int, sequence: Int)]] {
        var groups: [[(place: Int, sequence: Int)]] = []
        var count = Int.max
        for place in part {
            let length = sequences[list[place]].ids.count
            if count > Self.positionsPerPass - length {
                groups.append([])
                count = 0
            }
            groups[groups.count - 1].append((place, list[place]))
            count += length
        }
        return groups
    }

    private func loss(
        _ group: [(place: Int, sequence: Int)], _ worker: Worker, _ way: (step: Int, bottom: Int)?, _ factor: Double
    ) throws(Problem) -> Double {
        worker.arena.reset()
        let segments = Segment.list(group.map { sequences[$0.sequence].ids.count }, keys: group.map(\.place))
        let rows = segments.last.map(\.range.upperBound) ?? 0
        var frozen: Matrix<Float>?
        if model.hasFrozenPart {
            let all = worker.arena.matrix(rows, model.frozenWidth)
            for (segment, (_, sequence)) in zip(segments, group) {
                let mark = worker.arena.mark
                try cache.read(sequence, into: all.rows(segment.range)) {
                    let own = [Segment(start: 0, count: segment.count, key: 0)]
                    let pass = Pass(arena: worker.arena, gradients: nil, dropout: nil, segments: own)
                    return model.frozen(sequences[sequence].ids, pass)
                }
                worker.arena.rewind(to: mark)
            }
            frozen = all
        }
        let pass = Pass(
            arena: worker.arena, gradients: way == nil ? nil : worker.gradients,
            dropout: way.map { Dropout(seed: seed, step: $0.step) }, segments: segments)
        return model.loss(
            ids: group.flatMap { sequences[$0.sequence].ids },
            targets: group.flatMap { sequences[$0.sequence].targets },
            frozen: frozen, bottom: way?.bottom ?? model.lowest, factor: factor, pass)
    }

    /// Adds the other threads' gradients to the first's, parameter by parameter.
    private func reduce() {
        let workers = workers
        guard workers.count > 1 else { return }
        forEachSlot { slot in
            for other in workers.dropFirst() {
                workers[0].gradients.matrices[slot].add(other.gradients.matrices[slot])
            }
        }
    }

    /// Calls `body` for each trained parameter, on all threads.
    func forEachSlot(_ body: @escaping @Sendable (Int) -> Void) {
        let count = model.trained.count
        // Few numbers are done sooner than a thread begins.
        let isSmall = model.trained.reduce(0) { $0 + $1.value.count } < 1 << 20
        let shared = SharedCounter()
        Workers.run(isSmall ? 1 : workers.count) { _ in
            while true {
                let slot = shared.next()
                guard slot < count else { return }
                body(slot)
            }
        }
    }
}

/// Numbers from 0, each given out once.
private final class SharedCounter: Sendable {
    private let value = Atomic(0)
    func next() -> Int { value.wrappingAdd(1, ordering: .relaxed).oldValue }
}
