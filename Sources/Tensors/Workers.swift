import Glibc

/// Threads that run one closure each, joined before it returns.
package enum Workers {
    /// How many threads the machine has processors for.
    package static var processors: Int { max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }

    private final class Job: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    /// Runs `body(0)` to `body(count - 1)` at the same time, the first on the calling thread.
    ///
    /// Where the system gives fewer threads, the calling thread runs what is left afterwards, so every call must be able
    /// to do its work alone.
    package static func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        var threads: [pthread_t] = []
        var left: [Int] = []
        for index in 1..<max(1, count) {
            if let thread = start(Job({ body(index) })) { threads.append(thread) } else { left.append(index) }
        }
        body(0)
        for index in left { body(index) }
        for thread in threads { pthread_join(thread, nil) }
    }

    /// Runs `body` on a thread of its own that nobody waits for; whether there is one.
    package static func detach(_ body: @escaping @Sendable () -> Void) -> Bool {
        guard let thread = start(Job(body)) else { return false }
        pthread_detach(thread)
        return true
    }

    /// The thread that runs `job`; `nil` if the system gives none.
    private static func start(_ job: Job) -> pthread_t? {
        let held = unsafe Unmanaged.passRetained(job)
        var thread = pthread_t()
        let code = unsafe pthread_create(
            &thread, nil,
            { argument in
                if let argument = unsafe argument {
                    unsafe Unmanaged<Job>.fromOpaque(argument).takeRetainedValue().body()
                }
                return nil
            }, held.toOpaque())
        if code == 0 { return thread }
        unsafe held.release()
        return nil
    }
}

/// A lock on which threads can wait for what others change.
@safe package final class Monitor: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let changed: UnsafeMutablePointer<pthread_cond_t>

    package init() {
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

    /// Runs `body` while no other thread is in it.
    package func locked<R>(_ body: () -> R) -> R {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        return body()
    }

    /// Within `locked`: lets others in until one of them wakes this thread.
    package func wait() { unsafe pthread_cond_wait(changed, mutex) }

    /// Wakes all that wait.
    package func wake() { unsafe pthread_cond_broadcast(changed) }
}

/// A queue on which one thread waits for what others have made ready.
package final class ReadyQueue<Element: Sendable>: @unchecked Sendable {
    private let monitor = Monitor()
    private var elements: [Element] = []
    private var isClosed = false

    package init() {}

    package func add(_ element: Element) {
        monitor.locked { elements.append(element) }
        monitor.wake()
    }

    /// Says that nothing more will come.
    package func close() {
        monitor.locked { isClosed = true }
        monitor.wake()
    }

    /// The next element; `nil` when the queue is closed and empty.
    package func next() -> Element? {
        monitor.locked {
            while elements.isEmpty && !isClosed { monitor.wait() }
            return elements.isEmpty ? nil : elements.removeFirst()
        }
    }
}
