import Files
import Merging
import Problems

/// What is in a model, and whether it is as it should be.
public struct SwapStatus: Sendable {
    /// An adapter that is in the model.
    public struct Adapter: Sendable {
        /// The last part of its path.
        public let name: String
        /// Where it was.
        public let path: String
        /// Its digest.
        public let digest: String
        /// What its delta was multiplied by.
        public let weight: Double
    }

    /// The base, or the base with adapters.
    public struct Entry: Sendable {
        /// `base`, or 16 digits that stand for what was merged.
        public let id: String
        /// What is in it.
        public let adapters: [Adapter]
        /// When it was made.
        public let since: String
        /// Bytes of its files.
        public let size: Int
        /// Bytes of files that nothing else shares.
        public let ownSize: Int
    }

    /// The model's path.
    public let path: String
    /// What the model is now; `nil` if it was never swapped.
    public private(set) var live: Entry?
    /// SHA-256 of the manifest of the base's files.
    public private(set) var base: String?
    /// What is kept.
    public private(set) var kept: [Entry] = []
    /// Bytes of the record that gives the base back, if there is one.
    public private(set) var undoSize: Int?
    /// Who is changing the model just now.
    public private(set) var holder: String?
    /// Whether a swap was interrupted.
    public private(set) var isInterrupted = false
    /// Whether a record is to give the base back.
    public private(set) var needsUndo = false
    /// Files of the model and of what is kept that were looked at.
    public private(set) var checkedFiles = 0
    /// What is not as it should be.
    public private(set) var problems: [Problem] = []

    /// Looks at the model at `path`; changes nothing.
    ///
    /// - Parameters:
    ///   - deep: whether all files are read and held against their checks.
    ///   - progress: told of bytes as they are read, with their sum.
    public init(
        _ path: String, deep: Bool, threads: Int, progress: @escaping @Sendable (_ bytes: Int, _ total: Int) -> Void
    ) throws(Problem) {
        self.path = path
        let place = try SwapPlace(path)
        guard let directory = try place.state() else { return }
        holder = ExclusiveLock.holder(SwapPlace.lockName, in: directory)
        isInterrupted = holder == nil && directory.has(SwapPlace.journalName)
        guard let document = try directory.document(SwapPlace.stateName) else {
            if holder == nil, !isInterrupted, let problem = Swapper.lostState(place, directory) {
                problems.append(problem)
            }
            return
        }
        let state = try SwapState(document, file: directory.path(of: SwapPlace.stateName))
        base = state.base
        live = Self.entry(state.live, others: state.kept)
        for at in state.kept.indices {
            let others = state.kept.enumerated().filter { $0.offset != at }.map(\.element)
            kept.append(Self.entry(state.kept[at], others: others + [state.live]))
        }
        needsUndo = state.hasUndo
        if state.hasUndo { undoSize = FileStamp.of(SwapPlace.undoName, in: directory)?.size }
        guard holder == nil, !isInterrupted else { return }
        if state.hasUndo, undoSize == nil {
            problems.append(
                Problem(
                    .missing, "no-undo", file: directory.path(of: SwapPlace.undoName),
                    "is missing, and without it the base cannot be given back", hint: "put it back from a backup"))
        }
        try check(place, state, directory, deep: deep, threads: threads, progress)
    }

    private static func entry(_ generation: Generation, others: [Generation]) -> Entry {
        Entry(
            id: generation.id,
            adapters: generation.adapters.map {
                Adapter(name: $0.name, path: $0.path, digest: $0.digest, weight: $0.weight)
            }, since: generation.since, size: generation.files.reduce(0) { $0 + $1.stamp.size },
            ownSize: Swapper.ownBytes([generation], others))
    }

    private mutating func check(
        _ place: SwapPlace, _ state: SwapState, _ directory: Directory, deep: Bool, threads: Int,
        _ progress: @escaping @Sendable (Int, Int) -> Void
    ) throws(Problem) {
        let roots =
            [(place.path, try place.model(), state.live)]
            + (try state.kept.map { (generation) throws(Problem) in
                let path = "\(place.statePath)/\(SwapPlace.keptName)/\(generation.id)"
                return (path, try Directory(path: path), generation)
            })
        let total = roots.reduce(0) { $0 + $1.2.files.reduce(0) { $0 + $1.stamp.size } }
        for (path, root, generation) in roots {
            checkedFiles += generation.files.count
            let changes = try FileChanges(root, generation)
            // New stamps on the same bytes, as after a copy, are no change, as for a swap.
            var isSame = changes.isEmpty
            if !isSame {
                isSame = try changes.confirmed(root, generation, threads: threads) { progress($0, total) } != nil
            }
            if isSame {
                // Nothing to tell.
            } else if generation.id == state.live.id {
                problems += changes.problems(place, state)
            } else {
                problems.append(
                    Problem(
                        .incompatible, "foreign-change", file: path,
                        "holds a generation that was changed by something else: "
                            + (changes.changed + changes.missing + changes.added)[0],
                        hint: generation.isBase
                            ? "put the file back as it was: it is the base, which nothing else can give back"
                            : "forget it, and it is merged anew: adapter-swap \(shellQuoted(place.path)) forget \(generation.id)"
                    ))
            }
            guard deep else { continue }
            let gone = Set(changes.missing)
            let files = generation.files.filter { !gone.contains($0.path) }
            let checks = try FileChecks.of(files.map { ($0.path, $0.check.method) }, in: root, threads: threads) {
                progress($0, total)
            }
            for (file, check) in zip(files, checks) where check != file.check {
                problems.append(
                    Problem(
                        .incompatible, "damaged", file: "\(path)/\(file.path)",
                        "has other bytes than adapter-swap wrote or found there",
                        hint: "put it back from a copy; until then nothing is built on it"))
            }
        }
        guard deep, state.hasUndo, undoSize != nil else { return }
        do throws(Problem) {
            try UndoRecord(path: directory.path(of: SwapPlace.undoName)).check()
        } catch {
            problems.append(error)
        }
    }
}
