import Adapters
import Digests
import Files
import Merging
import Problems
import Safetensors
import Synchronization
import Tensors

/// What an exchange of adapters tells and asks while it goes on.
public struct SwapCallbacks: Sendable {
    /// Told of bytes as they are done: what is going on, bytes now, bytes in all.
    public var progress: @Sendable (_ what: String, _ bytes: Int, _ total: Int) -> Void = { _, _, _ in }
    /// Told what the user should know.
    public var report: @Sendable ([Problem]) -> Void = { _ in }
    /// Looks at what rounding did before anything is exchanged; throws to stop.
    public var confirm: @Sendable (LossReport) throws(ProblemList) -> Void = { _ in }

    /// Callbacks that do nothing.
    public init() {}
}

/// How adapters are to be put into a model.
public struct SwapOptions: Sendable {
    /// Whether the generation that is made, and the base, stay when another one takes their place.
    public var keeps = false
    /// The most bytes that generations which are kept may take besides the base.
    public var limit: Int?
    /// Codes of errors that count as warnings.
    public var allowed: Set<String> = []
    /// Threads.
    public var threads = 1
    /// Only say what would be done.
    public var isDryRun = false
    /// The version of the program, for provenance.
    public var version: String

    /// The defaults.
    public init(version: String) { self.version = version }
}

/// What a swap did.
public struct SwapOutcome: Sendable {
    /// What happened.
    public enum Kind: String, Sendable { case merged, exchanged, restored, unchanged }
    /// What happened.
    public let kind: Kind
    /// Bytes that were written, or would be.
    public let written: Int
    /// Bytes of the record that gives the base back, if there is one.
    public let undo: Int?
}

/// One model, whose adapters are changed; it holds the lock on the model as long as it is there.
public final class Swapper: Sendable {
    let place: SwapPlace
    let directory: Directory
    private let lock: ExclusiveLock
    let options: SwapOptions
    let callbacks: SwapCallbacks

    /// Takes the model at `path` for itself.
    ///
    /// - Parameters:
    ///   - command: what others are told that goes on.
    ///   - recovering: whether a swap that was interrupted is not in the way.
    public init(
        _ path: String, command: String, options: SwapOptions, callbacks: SwapCallbacks, recovering: Bool = false
    ) throws(Problem) {
        place = try SwapPlace(path)
        self.options = options
        self.callbacks = callbacks
        directory = try place.makeState()
        let holder = "\(command), process \(ExclusiveLock.processNumber), since \(timestamp())"
        guard let lock = try ExclusiveLock(SwapPlace.lockName, in: directory, holder: holder) else {
            let other = ExclusiveLock.holder(SwapPlace.lockName, in: directory) ?? "another process"
            throw Problem(
                .unfinished, "busy", file: path, "is being changed by another adapter-swap: \(other)",
                hint: "wait until it is done, and try again; --wait does so")
        }
        self.lock = lock
        guard !recovering else { return }
        if directory.has(SwapPlace.journalName) { throw Self.interrupted(path) }
        if !options.isDryRun { try sweep() }
    }

    deinit {
        // Where nothing was ever swapped, nothing stays; the lock is held until it is gone.
        guard !directory.has(SwapPlace.stateName), !directory.has(SwapPlace.journalName) else { return }
        try? directory.removeFile(SwapPlace.lockName)
        try? place.removeState()
    }

    /// Removes what no state speaks of.
    func sweep() throws(Problem) { try Exchange.sweep(directory, state()) }

    /// Does what changes the model; if that fails before the exchange, nothing of it stays.
    func cleaning<R>(_ body: () throws -> R) throws -> R {
        do {
            return try body()
        } catch {
            if !options.isDryRun, !directory.has(SwapPlace.journalName) { try? sweep() }
            throw error
        }
    }

    static func interrupted(_ path: String) -> Problem {
        Problem(
            .unfinished, "interrupted-swap", file: path, "has a swap that was interrupted, so nothing was done",
            hint: "finish it, or take it back: adapter-swap \(shellQuoted(path)) recover")
    }

    /// The state, if the model was ever swapped.
    func state() throws(Problem) -> SwapState? {
        try directory.document(SwapPlace.stateName).map { (value) throws(Problem) in
            try SwapState(value, file: directory.path(of: SwapPlace.stateName))
        }
    }

    /// The code of what something else did to the model's files.
    public static let foreignChange = "foreign-change"

    func countdown(_ what: String, _ total: Int) -> @Sendable (Int) -> Void {
        let callbacks = callbacks
        return { callbacks.progress(what, $0, total) }
    }

    // MARK: Recovering

    /// Finishes a swap that was interrupted, or takes it back if the model was not changed yet.
    ///
    /// - Returns: whether there was one, and whether it was finished.
    public func recover() throws(Problem) -> (found: Bool, finished: Bool) {
        guard let exchange = try Exchange.interrupted(directory) else {
            try sweep()
            return (false, false)
        }
        let number = place.parent.identity(of: place.name)?.number
        if exchange.isByFile || number == exchange.nextNumber {
            try exchange.advance(place, directory)
            try Exchange.sweep(directory, exchange.state)
            return (true, true)
        }
        guard number == exchange.liveNumber else {
            throw Problem(
                .incompatible, "foreign-change", file: place.path,
                "is another directory than the two that the interrupted swap was about",
                hint: "put the model's directory back to its place, and try again")
        }
        try exchange.takeBack(directory, state())
        return (true, false)
    }

    // MARK: The model as it is

    /// The state, held against the files; of a model that was never swapped, or whose base was changed since, a new one.
    func currentState() throws -> SwapState {
        guard var state = try state() else {
            if let problem = Self.lostState(place, directory) { throw problem }
            return try adopted(kept: [])
        }
        let changes = try FileChanges(place.model(), state.live)
        if changes.isEmpty { return state }
        if let live = try changes.confirmed(
            place.model(), state.live, threads: options.threads, countdown("checking", 0))
        {
            state.live = live
            return state
        }
        let problems = changes.problems(place, state)
        if options.allowed.contains(Self.foreignChange), !state.live.isBase {
            // What is built on is the base that is kept, or what the record gives back, piece by piece with its digest.
            callbacks.report(
                problems.map { problem in
                    var lowered = problem
                    lowered.severity = .warning
                    lowered.hint = nil
                    return lowered
                })
            state.live.isKept = false
            return state
        }
        // The base may be worked on as long as nothing was made of it.
        guard state.live.isBase, state.kept.isEmpty else { throw ProblemList(problems) }
        return try adopted(kept: [])
    }

    /// What is wrong where there is a record or a generation, but no state: they are the only way back to a base, so nothing
    /// may take their place.
    static func lostState(_ place: SwapPlace, _ directory: Directory) -> Problem? {
        guard let left = [SwapPlace.undoName, SwapPlace.keptName].first(where: directory.has) else { return nil }
        return Problem(
            .missing, "no-state", file: directory.path(of: SwapPlace.stateName),
            "is missing, but '\(left)' is there: the model has adapters in it, and that is what takes them out",
            hint: left == SwapPlace.undoName
                ? "put the state back; or get the base back by hand: adapter-unmerge \(shellQuoted(place.path)) --undo \(shellQuoted(directory.path(of: left))) -o OUT"
                : "put the state back; or take the base from \(shellQuoted(directory.path(of: left) + "/base")) by hand"
        )
    }

    private func adopted(kept: [Generation]) throws -> SwapState {
        let base = try Checkpoint.openModel(path: place.resolved)
        try base.requireSound()
        if let earlier = RecordedMerge(of: base), !earlier.adapters.isEmpty {
            let names = earlier.adapters.map(\.name).joined(separator: ", ")
            callbacks.report([
                Problem(
                    .warning, .incompatible, "merged-base", file: place.path,
                    "is a merge with \(names), and no state says how to take that out: it counts as the base from here on"
                )
            ])
        }
        let listing = try FileListing(place.model())
        let total = listing.files.reduce(0) { $0 + $1.stamp.size }
        let checks = try FileChecks.of(
            listing.files.map { ($0.path, .sha256) }, in: place.model(), threads: options.threads,
            countdown("reading base", total))
        let files = zip(listing.files, checks).map { Generation.File(path: $0.path, stamp: $0.stamp, check: $1) }
        let live = Generation(
            id: "base", adapters: [], since: timestamp(), files: files, isKept: false, used: 0)
        return SwapState(
            base: FileChecks.content(files), baseFiles: files.map { ($0.path, $0.check.hex) }, live: live, kept: kept,
            hasUndo: false)
    }
}

/// What the bytes of files are known by.
enum FileChecks {
    /// One check for each file, computed by several threads.
    static func of(
        _ files: [(path: String, method: FileCheck.Method)], in root: Directory, threads: Int,
        _ progress: @escaping @Sendable (Int) -> Void
    ) throws(Problem) -> [FileCheck] {
        let state = Mutex<(next: Int, checks: [FileCheck], problem: Problem?)>(
            (0, files.map { FileCheck($0.method, "") }, nil))
        Workers.run(max(1, min(threads, files.count))) { _ in
            while let at = state.withLock({ state -> Int? in
                guard state.problem == nil, state.next < files.count else { return nil }
                state.next += 1
                return state.next - 1
            }) {
                do throws(Problem) {
                    let (directory, name) = try root.place(of: files[at].path, making: false)
                    let check = try FileCheck(files[at].method, of: directory.openFile(name), progress: progress)
                    state.withLock { $0.checks[at] = check }
                } catch {
                    state.withLock { if $0.problem == nil { $0.problem = error } }
                }
            }
        }
        let (checks, problem) = state.withLock { ($0.checks, $0.problem) }
        if let problem { throw problem }
        return checks
    }

    /// The digest of all files together: SHA-256 of what `sha256sum` prints of them, as for packed archives.
    static func content(_ files: [Generation.File]) -> String {
        let sorted = files.sorted { Array($0.path.utf8).lexicographicallyPrecedes(Array($1.path.utf8)) }
        return SHA256.hex(Array(sorted.map { manifestLine(digest: $0.check.hex, name: $0.path) }.joined().utf8))
    }
}

/// What is not in a directory as a generation left it there.
struct FileChanges {
    private(set) var changed: [String] = []
    private(set) var missing: [String] = []
    private(set) var added: [String] = []
    private let listing: FileListing

    init(_ root: Directory, _ generation: Generation) throws(Problem) {
        listing = try FileListing(root)
        var known = Dictionary(generation.files.map { ($0.path, $0.stamp) }) { first, _ in first }
        for file in listing.files {
            guard let stamp = known.removeValue(forKey: file.path) else {
                added.append(file.path)
                continue
            }
            if stamp != file.stamp { changed.append(file.path) }
        }
        missing = known.keys.sorted()
    }

    var isEmpty: Bool { changed.isEmpty && missing.isEmpty && added.isEmpty }

    /// The generation with new stamps, if only these changed, and the bytes are the same: after a copy, say.
    func confirmed(
        _ root: Directory, _ generation: Generation, threads: Int, _ progress: @escaping @Sendable (Int) -> Void
    ) throws(Problem) -> Generation? {
        guard missing.isEmpty, added.isEmpty else { return nil }
        let stamps = Dictionary(listing.files.map { ($0.path, $0.stamp) }) { first, _ in first }
        let files = generation.files.filter { changed.contains($0.path) }
        guard files.allSatisfy({ $0.stamp.size == stamps[$0.path]?.size }) else { return nil }
        let checks = try FileChecks.of(
            files.map { ($0.path, $0.check.method) }, in: root, threads: threads, progress)
        guard zip(files, checks).allSatisfy({ $0.check == $1 }) else { return nil }
        var result = generation
        for at in result.files.indices {
            if let stamp = stamps[result.files[at].path] { result.files[at].stamp = stamp }
        }
        return result
    }

    func problems(_ place: SwapPlace, _ state: SwapState) -> [Problem] {
        let hint =
            state.live.isBase
            ? "the generations that are kept belong to the base as it was: forget them first (adapter-swap \(shellQuoted(place.path)) forget --all), or put the file back"
            : "put it back as it was; or take the adapters out all the same, as far as digests allow, with --allow foreign-change: what was changed is lost then"
        let make = { (path: String, what: String) in
            Problem(.incompatible, "foreign-change", file: "\(place.path)/\(path)", what, hint: hint)
        }
        return changed.map { make($0, "was changed by something else since the last swap") }
            + missing.map { make($0, "is missing: something else removed it since the last swap") }
            + added.map { path in
                var problem = make(path, "was added by something else since the last swap, and would be lost")
                problem.hint = "move it away, and put it back afterwards"
                return problem
            }
    }
}
