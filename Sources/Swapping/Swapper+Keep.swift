import Digests
import Files
import Merging
import Problems

/// Generations that stay, and the base that comes back.
extension Swapper {
    /// The base out of the model and its record, in the model's place.
    func restore(_ state: inout SwapState) throws -> SwapOutcome {
        let restored = try restoredBase()
        let written = restored.restoredSize
        try requireSpace(written)
        if options.isDryRun { return SwapOutcome(kind: .restored, written: written, undo: nil) }
        try write(restored, to: directory.path(of: SwapPlace.nextName))
        let live = try baseGeneration(in: directory.path(of: SwapPlace.nextName), state)
        try run(to: live, next: SwapPlace.nextName, undo: .none, &state)
        return SwapOutcome(kind: .restored, written: written, undo: nil)
    }

    /// Writes the base to a directory that is not there yet; what the model shares with it becomes a second name.
    private func write(_ restored: RestoredBase, to path: String) throws {
        let stage = try StagedOutput(path: path, shape: .directory, replacing: false)
        let target = try Directory(path: stage.stagePath)
        let model = try place.model()
        for path in restored.linkedPaths { try SharedFiles.link(path, from: model, into: target) }
        let unmerger = Unmerger(
            restored, output: stage, skipping: Set(restored.linkedPaths),
            progress: countdown("restoring base", restored.restoredSize))
        try unmerger.run(threads: options.threads)
        try adoptModes(in: target)
        try checkInterrupted()
        try stage.commit()
    }

    /// New files are as readable as those that they replace: servers often run as somebody else.
    func adoptModes(in target: Directory) throws(Problem) {
        let model = try place.model()
        target.adoptMode(of: ".", in: model, for: ".")
        for file in try FileListing(target).files {
            let (to, name) = try target.place(of: file.path, making: false)
            guard let (from, _) = try? model.place(of: file.path, making: false) else { continue }
            guard from.identity(of: name) != to.identity(of: name) else { continue }
            to.adoptMode(of: name, in: from, for: name)
        }
    }

    /// The base in a directory: its digests are those that it had from the start.
    private func baseGeneration(in path: String, _ state: SwapState) throws -> Generation {
        let digests = Dictionary(state.baseFiles.map { ($0.path, $0.digest) }) { first, _ in first }
        let files = try FileListing(Directory(path: path), standing: place.model()).files.map { file throws(Problem) in
            guard let digest = digests[file.path] else {
                throw Problem(
                    .internalFault, "restored-more", file: "\(path)/\(file.path)", "was not in the base that was there")
            }
            return Generation.File(path: file.path, stamp: file.stamp, check: FileCheck(.sha256, digest))
        }
        guard files.count == state.baseFiles.count else {
            throw Problem(
                .internalFault, "restored-less", file: path,
                "has \(files.count) files of the base, which had \(state.baseFiles.count)")
        }
        return Generation(id: "base", adapters: [], since: timestamp(), files: files, isKept: false, used: 0)
    }

    /// Sees to it that the base is there as it is, not only in a record.
    func keepBase(_ state: inout SwapState) throws {
        if state.live.isBase || state.keptBase != nil { return }
        try requireNoLinks()
        if options.isDryRun { return }
        let restored = try restoredBase()
        try requireSpace(restored.restoredSize)
        try directory.makeDirectory(SwapPlace.keptName)
        let kept = try directory.openDirectory(SwapPlace.keptName, follow: false)
        try kept.removeAll("base")
        try write(restored, to: keptPath("base"))
        var base = try baseGeneration(in: keptPath("base"), state)
        base.isKept = true
        state.kept.append(base)
        state.hasUndo = false
        try directory.makeDurable()
        try write(state)
        try directory.removeFile(SwapPlace.undoName)
    }

    /// A generation that is kept, with its stamps as they are, if its bytes are those that it was kept with.
    func intact(_ kept: Generation) throws -> (root: Directory, generation: Generation) {
        let root = try Directory(path: keptPath(kept.id))
        let changes = try FileChanges(root, kept)
        if changes.isEmpty { return (root, kept) }
        if let same = try changes.confirmed(root, kept, threads: options.threads, countdown("checking", 0)) {
            return (root, same)
        }
        let first = (changes.changed + changes.missing + changes.added)[0]
        throw Problem(
            .incompatible, "foreign-change", file: root.path,
            "holds a generation that was changed by something else: \(first)",
            hint: kept.isBase
                ? "put the file back as it was"
                : "forget it, and it is merged anew: adapter-swap \(shellQuoted(place.path)) forget \(kept.id)")
    }

    /// Relative links lead elsewhere from where generations are kept.
    func requireNoLinks() throws {
        guard try FileListing(place.model()).hasRelativeLinks else { return }
        throw Problem(
            .incompatible, "link", file: place.path,
            "has relative symbolic links, as download caches do, which would lead nowhere from where generations are kept",
            hint: "leave --keep out, or put the files themselves there: cp -rL")
    }

    // MARK: Forgetting

    /// Bytes that generations take which nothing else shares: those that are kept, besides the base.
    static func ownBytes(_ kept: [Generation], _ others: [Generation]) -> Int {
        var seen = Set(others.flatMap(\.files).map(\.stamp.inode))
        return kept.flatMap(\.files).reduce(0) { seen.insert($1.stamp.inode).inserted ? $0 + $1.stamp.size : $0 }
    }

    /// Takes generations out of the state until the limit holds, those first that were not used for longest.
    func limit(_ state: inout SwapState) {
        guard let limit = options.limit else { return }
        while true {
            let merged = state.kept.filter { !$0.isBase }
            let others = [state.live] + state.kept.filter(\.isBase)
            guard Self.ownBytes(merged, others) > limit, let oldest = merged.min(by: { $0.used < $1.used }) else {
                return
            }
            state.kept.removeAll { $0.id == oldest.id }
        }
    }

    /// Removes generations that are kept.
    ///
    /// - Parameter ids: their ids, or the beginnings of them, or the name of their adapter; all of them, if `nil`.
    /// - Returns: what was removed.
    public func forget(_ ids: [String]?) throws -> [String] {
        guard var state = try state() else {
            throw Problem(
                .incompatible, "nothing-kept", file: place.path, "was never swapped, so nothing is kept",
                hint: "adapter-swap MODEL use ADAPTER --keep keeps generations")
        }
        var chosen: [Generation] = []
        for id in ids ?? state.kept.filter({ !$0.isBase || state.live.isBase }).map(\.id) {
            let found = state.kept.filter {
                $0.id == id || (id.utf8.count >= 4 && $0.id.hasPrefix(id))
                    || ($0.adapters.count == 1 && $0.adapters[0].name == id)
            }
            guard found.count == 1 else {
                throw Problem(
                    .incompatible, "not-kept", file: place.path,
                    found.isEmpty ? "keeps no generation '\(id)'" : "keeps \(found.count) generations '\(id)'",
                    hint: "adapter-swap \(shellQuoted(place.path)) status lists them")
            }
            guard !found[0].isBase || state.live.isBase || state.hasUndo else {
                throw Problem(
                    .incompatible, "base-needed", file: place.path,
                    "has adapters in it that only the base which is kept can take out",
                    hint: "go back to the base first: adapter-swap \(shellQuoted(place.path)) base")
            }
            chosen += found
        }
        let names = Set(chosen.map(\.id))
        if options.isDryRun || names.isEmpty { return names.sorted() }
        state.kept.removeAll { names.contains($0.id) }
        try write(state)
        try Exchange.sweep(directory, state)
        return names.sorted()
    }
}
