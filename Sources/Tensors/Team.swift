import CKernels
import Glibc
import Synchronization

/// Threads that stay and share short pieces of work, where making new ones would cost more than the work.
///
/// One call at a time has the team; who comes meanwhile does all of its work alone. Threads that find nothing to do look
/// for a short while, then sleep.
package final class Team: Sendable {
    /// The team of this process.
    package static let shared = Team()

    /// The current call in one word: its number, how many pieces it has, and which one is next.
    private let ticket = Atomic<UInt64>(0)
    private let left = Atomic<Int>(0)
    /// How many threads besides the caller take part in the current call.
    private let helpers = Atomic<Int>(0)
    private let isBusy = Atomic<Bool>(false)
    private let sleepers = Atomic<Int>(0)
    private let monitor = Monitor()
    private let body = Mutex<(@Sendable (Int) -> Void)?>(nil)
    private let size = Mutex(0)

    /// Pieces that one call may have.
    package static let largest = 1 << 12
    private static let indexBits: UInt64 = 12
    private static let indexMask = (UInt64(1) << indexBits) - 1
    /// How often a thread looks for work before it sleeps: some tens of microseconds.
    private static let patience = 2000

    private init() {}

    /// Runs `body(0)` to `body(count - 1)`, the first on the calling thread, and returns when all are done.
    ///
    /// Who is free takes the next piece, so a thread that the system lets wait holds up one piece and no more.
    package func run(_ count: Int, threads: Int, _ work: @escaping @Sendable (Int) -> Void) {
        precondition(count < Self.largest, "more pieces than a call may have")
        let wanted = min(count, threads, Workers.processors) - 1
        guard wanted > 0, isBusy.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged else {
            for index in 0..<max(0, count) { work(index) }
            return
        }
        grow(to: wanted)
        helpers.store(wanted, ordering: .relaxed)
        body.withLock { $0 = work }
        left.store(count - 1, ordering: .relaxed)
        let number = (ticket.load(ordering: .relaxed) >> (2 * Self.indexBits)) + 1
        let opened = (number << Self.indexBits | UInt64(count)) << Self.indexBits | 1
        ticket.store(opened, ordering: .sequentiallyConsistent)
        if sleepers.load(ordering: .sequentiallyConsistent) > 0 { monitor.locked { monitor.wake() } }
        work(0)
        while takePiece(0) {}
        var looks = 0
        while left.load(ordering: .acquiring) > 0 {
            looks += 1
            if looks < Self.patience { ak_pause() } else { sched_yield() }
        }
        body.withLock { $0 = nil }
        isBusy.store(false, ordering: .releasing)
    }

    /// Does the next piece of the current call; whether there was one for this thread (0 is the caller).
    private func takePiece(_ number: Int) -> Bool {
        while true {
            let seen = ticket.load(ordering: .sequentiallyConsistent)
            guard hasPiece(seen, number) else { return false }
            let taken = ticket.compareExchange(expected: seen, desired: seen + 1, ordering: .sequentiallyConsistent)
            guard taken.exchanged else { continue }
            // Its call cannot end before this piece does, so the body is that of the ticket.
            body.withLock { $0 }?(Int(seen & Self.indexMask))
            left.subtract(1, ordering: .releasing)
            return true
        }
    }

    /// What a thread of the team does until the process ends.
    private func serve(_ number: Int) {
        while true {
            var looks = 0
            while looks < Self.patience {
                looks = takePiece(number) ? 0 : looks + 1
                ak_pause()
            }
            sleepers.add(1, ordering: .sequentiallyConsistent)
            monitor.locked {
                while !hasPiece(ticket.load(ordering: .sequentiallyConsistent), number) { monitor.wait() }
            }
            sleepers.subtract(1, ordering: .sequentiallyConsistent)
        }
    }

    private func hasPiece(_ ticket: UInt64, _ number: Int) -> Bool {
        ticket & Self.indexMask < ticket >> Self.indexBits & Self.indexMask
            && number <= helpers.load(ordering: .relaxed)
    }

    private func grow(to wanted: Int) {
        size.withLock { size in
            while size < wanted {
                let number = size + 1
                guard Workers.detach({ Team.shared.serve(number) }) else { return }
                size = number
            }
        }
    }
}
