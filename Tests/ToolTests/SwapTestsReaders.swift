import Fixtures
import Foundation
import Glibc
import Testing

/// Whoever reads the model while it is swapped: files never change under a reader, and two swaps never mix.
@Suite struct SwapTestsReaders {
    /// A file that is open and mapped, as a server has it.
    private final class Held {
        let path: String
        private let file: Int32
        private let address: UnsafeMutableRawPointer?
        private let status: stat
        private let bytes: [UInt8]

        init?(_ path: String) {
            self.path = path
            file = open(path, O_RDONLY | O_CLOEXEC)
            var status = stat()
            guard file >= 0, fstat(file, &status) == 0, status.st_size > 0 else { return nil }
            self.status = status
            address = mmap(nil, Int(status.st_size), PROT_READ, MAP_SHARED, file, 0)
            guard let address, address != MAP_FAILED else { return nil }
            bytes = [UInt8](UnsafeRawBufferPointer(start: address, count: Int(status.st_size)))
        }

        deinit {
            if let address, address != MAP_FAILED { munmap(address, Int(status.st_size)) }
            close(file)
        }

        /// Whether it is the file that it was: bytes by both ways, and never written to.
        var isSame: Bool {
            var now = stat()
            guard let address, fstat(file, &now) == 0, now.st_size == status.st_size,
                now.st_mtim.tv_sec == status.st_mtim.tv_sec, now.st_mtim.tv_nsec == status.st_mtim.tv_nsec
            else { return false }
            var read = [UInt8](repeating: 0, count: bytes.count)
            return pread(file, &read, read.count, 0) == bytes.count && read == bytes
                && [UInt8](UnsafeRawBufferPointer(start: address, count: bytes.count)) == bytes
        }
    }

    private static func held(in directory: String) -> [Held] {
        contents(of: directory).keys.sorted().filter { !$0.hasSuffix("/") && !$0.hasPrefix(".adapterkit") }.compactMap {
            Held("\(directory)/\($0)")
        }
    }

    enum Way: String, CaseIterable { case atOnce, byFile, inside }

    @Test(arguments: Way.allCases) func holdersKeepTheirFiles(_ way: Way) throws {
        let served = try Served(small: Scratch())
        let environment = way == .byFile ? ["ADAPTERKIT_NO_EXCHANGE": "1"] : [:]
        if way == .inside {
            try FileManager.default.createDirectory(
                atPath: served.model + "/.adapterkit-swap", withIntermediateDirectories: false)
        }
        var held = Self.held(in: served.model)
        #expect(held.count == 6)
        let steps = [
            ["use", served.a], ["use", served.b], ["base"], ["use", served.a, "--keep"], ["use", served.b, "--keep"],
            ["use", served.a], ["base"], ["use", served.b], ["forget", "--all"], ["base"], ["forget", "--all"],
        ]
        for step in steps {
            let answer = Tools.swap(served.model, step, environment: environment)
            #expect(answer.status == 0 || step == ["forget", "--all"], "\(step): \(answer.err)")
            let changed = held.filter { !$0.isSame }.map(\.path)
            #expect(changed.isEmpty, "\(step) wrote to \(changed)")
            held += Self.held(in: served.model)
        }
        #expect(served.found == contents(of: served.pristine))
    }

    /// Reads as a server does that starts: the directory is held open, and all files are opened by their names in it.
    private static func read(_ model: String) -> (bytes: [String: [UInt8]], isSteady: Bool)? {
        let directory = open(model, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { return nil }
        defer { close(directory) }
        var found: [String: [UInt8]] = [:]
        var isSteady = true
        let names = [
            "model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
            "config.json",
        ]
        for name in names {
            let file = openat(directory, name, O_RDONLY | O_CLOEXEC)
            // The one that was held is gone by now, as a whole or file by file: a server would start again.
            guard file >= 0 else { return nil }
            defer { close(file) }
            var status = stat()
            fstat(file, &status)
            guard let map = mmap(nil, Int(status.st_size), PROT_READ, MAP_SHARED, file, 0), map != MAP_FAILED else {
                return nil
            }
            defer { munmap(map, Int(status.st_size)) }
            let bytes = [UInt8](UnsafeRawBufferPointer(start: map, count: Int(status.st_size)))
            usleep(300)
            isSteady = isSteady && bytes == [UInt8](UnsafeRawBufferPointer(start: map, count: bytes.count))
            found[name] = bytes
        }
        return (found, isSteady)
    }

    @Test func readerInALoop() throws {
        let served = try Served(small: Scratch())
        let names = try #require(Self.read(served.model)).bytes.keys
        let known = try [[], [served.a], [served.b]].map { operands in
            try #require(served.wanted(operands)).filter { names.contains($0.key) }
        }
        let model = served.model
        let isDone = Flag()
        let result = Box<(rounds: Int, seen: Set<Int>, flaws: [String])>((0, [], []))
        let thread = Thread {
            var (rounds, seen, flaws) = (0, Set<Int>(), [String]())
            while !isDone.value {
                guard let (bytes, isSteady) = Self.read(model) else { continue }
                rounds += 1
                if !isSteady { flaws.append("a file changed under its reader") }
                if let at = known.firstIndex(of: bytes) { seen.insert(at) } else { flaws.append("a mix of two") }
            }
            result.put((rounds, seen, flaws))
        }
        thread.start()
        for round in 0..<(thoroughness ?? 1) * 6 {
            let keep = round % 2 == 0 ? ["--keep"] : []
            for step in [["use", served.a] + keep, ["use", served.b] + keep, ["base"]] {
                let answer = Tools.swap(served.model, step)
                #expect(answer.status == 0, "\(step): \(answer.err)")
            }
        }
        isDone.set()
        let (rounds, seen, flaws) = result.wait()
        #expect(flaws.isEmpty, "\(flaws.count) of \(rounds): \(Set(flaws))")
        #expect(rounds > 20 && seen.count == 3, "\(rounds) rounds saw \(seen)")
    }

    // MARK: Two at once

    /// Has the lock on a model, as another swap does.
    private final class Lock {
        private let file: Int32
        init(_ served: Served) {
            file = open(served.statePath + "/lock", O_RDWR | O_CLOEXEC)
            flock(file, LOCK_EX)
            ftruncate(file, 0)
            _ = "adapter-swap use, process 1, since then\n".withCString { pwrite(file, $0, strlen($0), 0) }
        }
        deinit { close(file) }
    }

    @Test func oneIsRefused() throws {
        let served = try Served(small: Scratch())
        try served.demand(["use", served.a])
        let before = contents(of: served.scratch("served"))
        let lock = Lock(served)
        for command in [["use", served.b], ["base"], ["recover"], ["forget", "--all"], ["base", "--dry-run"]] {
            let answer = Tools.swap(served.model, command)
            #expect(answer.status == 75)
            #expect(
                answer.errors == [
                    "adapter-swap: error: \(served.model): is being changed by another adapter-swap: adapter-swap use, process 1, since then"
                ])
            #expect(answer.hints == ["hint: wait until it is done, and try again; --wait does so"])
        }
        let status = served.swap("status")
        #expect(status.status == 0)
        #expect(status.out.contains("\njust now:  adapter-swap use, process 1, since then\n"), "\(status.out)")
        let holder = try served.swap("status", "--json").json()["holder"] as? String
        #expect(holder == "adapter-swap use, process 1, since then")
        #expect(differing(before, contents(of: served.scratch("served"))) == [".model.adapterkit-swap/lock"])
        withExtendedLifetime(lock) {}
    }

    @Test func oneWaits() throws {
        let served = try Served(small: Scratch())
        try served.demand(["use", served.a])
        var lock: Lock? = Lock(served)
        let (model, b) = (served.model, served.b)
        let result = Box<Answer>()
        Thread { result.put(Tools.swap(model, ["use", b, "--wait"])) }.start()
        usleep(300_000)
        #expect(served.found == served.wanted([served.a]))
        lock = nil
        let answer = result.wait()
        #expect(lock == nil && answer.status == 0, "\(answer.err)")
        #expect(served.found == served.wanted([served.b]))
    }

    /// Many that wait all have their turn; of many that do not, some are refused, and the model is what the last one made it.
    @Test(arguments: [true, false]) func manyAtOnce(_ waits: Bool) throws {
        let served = try Served(small: Scratch())
        let (model, a, b) = (served.model, served.a, served.b)
        let commands = [["use", a], ["use", b], ["base"], ["use", b, "--keep"], ["use", a, "--keep"], ["status"]]
        let results = commands.map { command in
            let result = Box<Answer>()
            let thread = Thread {
                result.put(Tools.swap(model, command + (waits && command != ["status"] ? ["--wait"] : [])))
            }
            thread.start()
            return result
        }
        var done: [[String]] = []
        for (command, result) in zip(commands, results) {
            let answer = result.wait()
            #expect(answer.status == 0 || (!waits && answer.status == 75), "\(command): \(answer.err)")
            if answer.status == 0, command != ["status"] { done.append(command) }
        }
        #expect(!done.isEmpty)
        let possible = done.map { served.wanted($0[0] == "use" ? [$0[1]] : []) }
        #expect(possible.contains(served.found))
        #expect(try !exists(served.statePath + "/state.json") || served.strays().isEmpty)
        try served.demand(["base"])
        #expect(served.found == contents(of: served.pristine))
    }

    /// To ask for the status refuses nobody.
    @Test func statusIsInNobodysWay() throws {
        let served = try Served(small: Scratch())
        try served.demand(["use", served.a])
        let model = served.model
        let isDone = Flag()
        let results = (0..<2).map { _ in
            let result = Box<[Int32]>()
            Thread {
                var codes: [Int32] = []
                let lock = open(model + "/../.model.adapterkit-swap/lock", O_RDONLY | O_CLOEXEC)
                while !isDone.value {
                    // What status does, without the time that a process takes to start.
                    codes.append(flock(lock, LOCK_SH | LOCK_NB))
                    usleep(300)
                    flock(lock, LOCK_UN)
                    usleep(300)
                }
                close(lock)
                result.put(codes)
            }.start()
            return result
        }
        for at in 0..<8 {
            let answer = Tools.swap(model, at % 2 == 0 ? ["base"] : ["use", served.a])
            #expect(answer.status == 0, "\(answer.err)")
        }
        isDone.set()
        for result in results { #expect(result.wait().count > 100) }
    }
}

/// Set once, by any thread.
private final class Flag: @unchecked Sendable {
    private let lock = NSLock()
    private var isSet = false
    var value: Bool { lock.withLock { isSet } }
    func set() { lock.withLock { isSet = true } }
}

/// What a thread gives to the one that waits for it.
private final class Box<T>: @unchecked Sendable {
    private let lock = NSCondition()
    private var value: T?

    init(_: T? = nil) {}

    func put(_ value: T) {
        lock.withLock { self.value = value }
        lock.broadcast()
    }

    func wait() -> T {
        lock.lock()
        defer { lock.unlock() }
        while true {
            if let value { return value }
            lock.wait()
        }
    }
}
