import Files
import Problems
import Tensors

/// Pieces of work that several threads do at once, and whose results are taken in order.
///
/// A thread that has a result waits until all before it were taken, so no more than one result for each thread is kept.
final class OrderedWork: @unchecked Sendable {
    private let monitor = Monitor()
    private let count: Int
    private var next = 0
    private var turn = 0
    private var problem: Problem?

    private init(_ count: Int) { self.count = count }

    private func take() -> Int? {
        monitor.locked {
            guard problem == nil, next < count else { return nil }
            next += 1
            return next - 1
        }
    }

    private func fail(_ found: Problem) {
        monitor.locked { if problem == nil { problem = found } }
        monitor.wake()
    }

    /// Waits until it is the turn of `index`; false if the work has failed meanwhile.
    private func wait(for index: Int) -> Bool {
        monitor.locked {
            while turn != index && problem == nil { monitor.wait() }
            return problem == nil
        }
    }

    private func pass() {
        monitor.locked { turn += 1 }
        monitor.wake()
    }

    /// Does `count` pieces with `threads` threads.
    ///
    /// - Parameters:
    ///   - worker: makes what a thread works with.
    ///   - make: does piece number n, at any time.
    ///   - settle: takes its result, in order, never two at once.
    static func run<Worker: AnyObject, Result>(
        _ count: Int, threads: Int, worker: @escaping @Sendable () -> Worker,
        make: @escaping @Sendable (Int, Worker) throws(Problem) -> Result,
        settle: @escaping @Sendable (Int, Result, Worker) throws(Problem) -> Void
    ) throws(Problem) {
        let work = OrderedWork(count)
        Workers.run(max(1, min(threads, count))) { _ in
            let own = worker()
            while let index = work.take() {
                do throws(Problem) {
                    try checkInterrupted()
                    let result = try make(index, own)
                    guard work.wait(for: index) else { return }
                    try settle(index, result, own)
                    work.pass()
                } catch {
                    return work.fail(error)
                }
            }
        }
        if let problem = work.monitor.locked({ work.problem }) { throw problem }
    }

    /// The results of `count` pieces, in order.
    static func map<Worker: AnyObject, Result>(
        _ count: Int, threads: Int, worker: @escaping @Sendable () -> Worker,
        _ make: @escaping @Sendable (Int, Worker) throws(Problem) -> Result
    ) throws(Problem) -> [Result] {
        let results = OrderedState<[Result]>([])
        try run(
            count, threads: threads, worker: worker, make: make,
            settle: { (_, result, _) throws(Problem) in results.value.append(result) })
        return results.value
    }
}

/// What only `settle` of one ordered work touches: its lock passes it from one thread to the next.
final class OrderedState<Value: ~Copyable>: @unchecked Sendable {
    var value: Value

    init(_ value: consuming Value) { self.value = value }
}
