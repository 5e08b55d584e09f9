import Files
import Glibc
import Problems
import Synchronization
import Tensors

/// Pieces of work that several threads do at once, and whose results are taken in order.
///
/// A thread that has a result waits until all before it were taken, so no more than one result for each thread is kept.
@safe final class OrderedWork: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let changed: UnsafeMutablePointer<pthread_cond_t>
    private let count: Int
    private var next = 0
    private var turn = 0
    private var problem: Problem?

    private init(_ count: Int) {
        self.count = count
        unsafe mutex = .allocate(capacity: 1)
        unsafe changed = .allocate(capacity: 1)
        unsafe pthread_mutex_init(mutex, nil)
        unsafe pthread_cond_init(changed, nil)
    }

    deinit {
        unsafe pthread_cond_destroy(changed)
        unsafe pthread_mutex_destroy(mutex)
        unsafe changed.deallocate()
        unsafe mutex.deallocate()
    }

    private func locked<R>(_ body: () -> R) -> R {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        return body()
    }

    private func take() -> Int? {
        locked {
            guard problem == nil, next < count else { return nil }
            next += 1
            return next - 1
        }
    }

    private func fail(_ found: Problem) {
        locked { if problem == nil { problem = found } }
        unsafe pthread_cond_broadcast(changed)
    }

    /// Waits until it is the turn of `index`; false if the work has failed meanwhile.
    private func wait(for index: Int) -> Bool {
        locked {
            while turn != index && problem == nil { unsafe pthread_cond_wait(changed, mutex) }
            return problem == nil
        }
    }

    private func pass() {
        locked { turn += 1 }
        unsafe pthread_cond_broadcast(changed)
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
        if let problem = work.locked({ work.problem }) { throw problem }
    }
}

/// What only `settle` of one ordered work touches: its lock passes it from one thread to the next.
final class OrderedState<Value: ~Copyable>: @unchecked Sendable {
    var value: Value

    init(_ value: consuming Value) { self.value = value }
}
