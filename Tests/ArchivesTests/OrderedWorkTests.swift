import Fixtures
import Problems
import Synchronization
import Testing

@testable import Archives

/// Work that threads do at once and whose results come in order.
@Suite struct OrderedWorkTests {
    private final class Worker: Sendable {
        let pieces = Mutex(0)
    }

    private static func fault(_ piece: Int) -> Problem { Problem(.io, "fault", "piece \(piece) failed") }

    /// Runs `count` pieces that take times of their own, and gives what was settled.
    private func run(_ count: Int, threads: Int, seed: UInt64) throws -> (results: [Int], workers: Int, overlaps: Int) {
        let results = OrderedState<[Int]>([])
        let workers = Mutex(0)
        let inside = Mutex(0)
        let overlaps = Mutex(0)
        try OrderedWork.run(
            count, threads: threads,
            worker: {
                workers.withLock { $0 += 1 }
                return Worker()
            },
            make: { (index, worker) throws(Problem) -> Int in
                worker.pieces.withLock { $0 += 1 }
                Self.pass(index, seed)
                return 3 * index
            },
            settle: { (index, result, _) throws(Problem) in
                if inside.withLock({
                    $0 += 1; return $0
                }) > 1 {
                    overlaps.withLock { $0 += 1 }
                }
                #expect(result == 3 * index)
                results.value.append(index)
                inside.withLock { $0 -= 1 }
            })
        return (results.value, workers.withLock { $0 }, overlaps.withLock { $0 })
    }

    /// Some time, more for some pieces than for others.
    private static func pass(_ index: Int, _ seed: UInt64) {
        var random = SeededRandom(seed &+ UInt64(index))
        var sum: UInt64 = 0
        for _ in 0..<random.below(400) { sum &+= random.next() }
        #expect(sum != 1)
    }

    @Test(.timeLimit(.minutes(1)), arguments: [1, 2, 7, 64]) func resultsComeInOrder(_ threads: Int) throws {
        var random = SeededRandom(test: "resultsComeInOrder \(threads)")
        for count in [0, 1, 2, 3, 6, 7, 8, 100, 500] {
            let (results, workers, overlaps) = try run(count, threads: threads, seed: random.next())
            #expect(results == Array(0..<count))
            #expect(overlaps == 0, "two results were settled at once")
            #expect(workers == max(1, min(threads, count)))
        }
    }

    /// No more results wait than there are threads, however far one piece is behind.
    @Test(.timeLimit(.minutes(1)), arguments: [1, 2, 7]) func fewResultsWait(_ threads: Int) throws {
        let made = Mutex(0)
        let settled = Mutex(0)
        let most = Mutex(0)
        try OrderedWork.run(
            300, threads: threads, worker: { Worker() },
            make: { (index, _) throws(Problem) in
                if index % 50 == 0 { Self.pass(index, 1) }
                let waiting =
                    made.withLock {
                        $0 += 1; return $0
                    } - settled.withLock { $0 }
                most.withLock { $0 = max($0, waiting) }
            },
            settle: { (_, _, _) throws(Problem) in settled.withLock { $0 += 1 } })
        #expect(settled.withLock { $0 } == 300)
        #expect(most.withLock { $0 } <= threads)
    }

    /// The piece that fails decides the problem; nothing after it is settled, and all before it may be.
    @Test(.timeLimit(.minutes(2)), arguments: [1, 2, 7]) func aFailureStopsEverything(_ threads: Int) throws {
        for bad in [0, 1, 5, 6, 7, 50, 98, 99] {
            for settling in [false, true] {
                let results = Mutex([Int]())
                let started = Mutex(0)
                let found = problem {
                    try OrderedWork.run(
                        100, threads: threads, worker: { Worker() },
                        make: { (index, _) throws(Problem) -> Int in
                            started.withLock { $0 += 1 }
                            if !settling && index == bad { throw Self.fault(index) }
                            return index
                        },
                        settle: { (index, _, _) throws(Problem) in
                            if settling && index == bad { throw Self.fault(index) }
                            results.withLock { $0.append(index) }
                        })
                }
                #expect(found == Self.fault(bad), "\(bad) \(settling)")
                let list = results.withLock { $0 }
                #expect(list == Array(0..<list.count), "in order as far as it came")
                #expect(settling ? list.count == bad : list.count <= bad, "\(bad) of \(list.count)")
                #expect(started.withLock { $0 } <= bad + 1 + threads, "who sees the failure takes nothing more")
            }
        }
    }

    /// If many fail at once, one of their problems is thrown, and every thread comes back.
    @Test(.timeLimit(.minutes(1))) func manyFailures() {
        for _ in 0..<50 {
            let found = problem {
                try OrderedWork.run(
                    40, threads: 7, worker: { Worker() },
                    make: { (index, _) throws(Problem) in if index % 3 == 2 { throw Self.fault(index) } },
                    settle: { (_, _, _) throws(Problem) in })
            }
            #expect(found?.code == "fault")
        }
    }
}
