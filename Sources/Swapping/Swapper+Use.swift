import Adapters
import Archives
import Digests
import Files
import Merging
import Problems
import Safetensors
import Tensors

extension Swapper {
    /// What was asked for, with the adapters open if their digests had to be computed.
    private struct Wanted {
        let operands: [AdapterOperand]
        let adapters: [Generation.Adapter]
        let id: String
    }

    /// Makes the model the base with these adapters and no others.
    public func use(_ operands: [AdapterOperand]) throws -> SwapOutcome { try cleaning { try change(operands) } }

    /// Makes the model the pristine base.
    public func base() throws -> SwapOutcome { try cleaning { try changeToBase() } }

    private func change(_ operands: [AdapterOperand]) throws -> SwapOutcome {
        var state = try currentState()
        let wanted = try wanted(operands, state)
        if wanted.id == state.live.id {
            if options.keeps, !options.isDryRun { try keepAsItIs(&state) }
            return SwapOutcome(kind: .unchanged, written: 0, undo: nil)
        }
        if let kept = state.kept.first(where: { $0.id == wanted.id }) { return try exchange(to: kept, &state) }
        return try merge(wanted, &state)
    }

    private func changeToBase() throws -> SwapOutcome {
        var state = try currentState()
        if state.live.isBase {
            if try self.state() == nil, !options.isDryRun { try write(state) }
            return SwapOutcome(kind: .unchanged, written: 0, undo: nil)
        }
        if let kept = state.keptBase { return try exchange(to: kept, &state) }
        return try restore(&state)
    }

    // MARK: Which generation

    private func wanted(_ operands: [AdapterOperand], _ state: SwapState) throws -> Wanted {
        // An adapter whose files are those that were merged before is known without reading it.
        let stamps = operands.map { AdapterStamp.of($0.path) }
        for generation in [state.live] + state.kept where generation.adapters.count == operands.count {
            let isSame = zip(generation.adapters, zip(operands, stamps)).allSatisfy { known, given in
                known.weight == given.0.weight && known.path == resolvedPath(given.0.path) && known.stamp == given.1
            }
            if isSame, !generation.isBase {
                return Wanted(operands: operands, adapters: generation.adapters, id: generation.id)
            }
        }
        var adapters: [Generation.Adapter] = []
        for (operand, stamp) in zip(operands, stamps) {
            let adapter = try Adapter(path: operand.path)
            adapters.append(
                Generation.Adapter(
                    name: Origin.name(of: operand.path), path: resolvedPath(operand.path) ?? operand.path,
                    digest: try adapter.digest(), weight: operand.weight, stamp: stamp))
        }
        let text = adapters.map { "\($0.digest) \(Origin.text($0.weight)) \($0.name)\n" }.joined()
        return Wanted(
            operands: operands, adapters: adapters, id: String(SHA256.hex(Array(text.utf8)).prefix(16)))
    }

    private func keepAsItIs(_ state: inout SwapState) throws {
        if !state.live.isBase { try keepBase(&state) }
        state.live.isKept = true
        try write(state)
    }

    func write(_ state: SwapState) throws(Problem) {
        try directory.write(Array(state.value.encoded(indent: 1).utf8), as: SwapPlace.stateName)
    }

    // MARK: Where the base is

    private struct BaseSource {
        let checkpoint: Checkpoint
        var directory: Directory?
        var live: (directory: Directory, linked: [String])?
    }

    /// The base as a checkpoint: the model itself, the one that is kept, or what the record gives back.
    private func baseSource(_ state: SwapState) throws -> BaseSource {
        if state.live.isBase {
            let model = try place.model()
            return BaseSource(checkpoint: try Checkpoint.open(model), directory: model)
        }
        if let keptBase = state.keptBase {
            let kept = try intact(keptBase).root
            return BaseSource(checkpoint: try Checkpoint.open(kept), directory: kept)
        }
        let restored = try restoredBase()
        return BaseSource(
            checkpoint: try restored.checkpoint(), live: (try place.model(), restored.linkedPaths))
    }

    func keptPath(_ id: String) -> String { "\(place.statePath)/\(SwapPlace.keptName)/\(id)" }

    func restoredBase() throws -> RestoredBase {
        let path = directory.path(of: SwapPlace.undoName)
        guard directory.has(SwapPlace.undoName) else {
            throw Problem(
                .missing, "no-undo", file: path, "is missing, and without it the base cannot be given back",
                hint: "put it back, or start over from a copy of the base")
        }
        let record = try UndoRecord(path: path)
        try record.check()
        let live = try Checkpoint.openModel(path: place.resolved)
        try live.requireSound()
        return try RestoredBase(record, merged: live)
    }

    // MARK: Merging

    private func merge(_ wanted: Wanted, _ state: inout SwapState) throws -> SwapOutcome {
        if options.keeps { try keepBase(&state) }
        let source = try baseSource(state)
        try source.checkpoint.requireSound()
        let plan = try plan(wanted.operands, source.checkpoint)
        // The base stays as it is if generations are kept, or were; else a record must give it back.
        let keepsBase = state.keptBase != nil || options.keeps
        if keepsBase { try requireNoLinks() }
        let sharing = try SharedFiles(plan, base: source.directory, live: source.live)
        let room = sharing.writtenSize(plan) + (keepsBase ? 0 : plan.weightFileSize / 16 + adapterBytes(plan))
        try requireSpace(room)
        if options.isDryRun { return SwapOutcome(kind: .merged, written: sharing.writtenSize(plan), undo: nil) }
        let stage = try StagedOutput(path: directory.path(of: SwapPlace.nextName), shape: .directory, replacing: false)
        let record =
            keepsBase
            ? nil : try StagedOutput(path: directory.path(of: SwapPlace.nextUndoName), shape: .file, replacing: false)
        let undo = try record.map {
            try UndoWriter(
                plan, output: $0, linked: sharing.paths, foreign: [SwapPlace.insideName], holdsDocuments: true)
        }
        let next = try Directory(path: stage.stagePath)
        try sharing.link(into: next)
        let merger = Merger(
            plan: plan, output: stage, undo: undo, present: sharing.paths, checksOutput: true,
            progress: countdown("merging", Merger.totalBytes(of: plan)))
        let result = try merger.run(threads: options.threads)
        let documents = try Merger.writeDocuments(of: plan, to: stage, digests: [])
        let kept = try merger.finishUndo()
        try callbacks.confirm(result.report)
        callbacks.report((documents + (kept?.notes ?? [])).filter { !["not-copied"].contains($0.code) })
        try adoptModes(in: next)
        try checkInterrupted()
        try record?.commit()
        try stage.commit()
        let live = try generation(
            wanted, in: Directory(path: directory.path(of: SwapPlace.nextName)), checks: merger.outputChecks, state)
        try run(to: live, next: SwapPlace.nextName, undo: keepsBase ? .none : .new, &state)
        return SwapOutcome(kind: .merged, written: sharing.writtenSize(plan), undo: kept?.size)
    }

    private func plan(_ operands: [AdapterOperand], _ base: Checkpoint) throws -> MergePlan {
        var problems: [Problem] = []
        var adapters: [(adapter: Adapter, weight: Double)] = []
        for operand in operands {
            do throws(Problem) {
                adapters.append((try Adapter(path: operand.path), operand.weight))
            } catch {
                problems.append(error)
            }
        }
        var inputs = LoadedInputs(base: base, adapters: adapters, allowed: options.allowed)
        guard problems.isEmpty, inputs.isSound else { throw ProblemList(problems + inputs.problems) }
        try BaseBinding.check(
            &inputs, allowed: options.allowed, threads: options.threads,
            progress: countdown("checking base", BaseBinding.checkedBytes(inputs)))
        guard inputs.isSound else { throw ProblemList(inputs.problems) }
        callbacks.report(inputs.problems)
        if var problem = try inputs.untrained() {
            guard options.allowed.contains(problem.code) else { throw problem }
            problem.severity = .warning
            callbacks.report([problem])
        }
        let plan = try MergePlan(inputs, options: MergeOptions(version: options.version))
        callbacks.report(plan.remarks.filter { $0.code != "merged-base" })
        return plan
    }

    private func adapterBytes(_ plan: MergePlan) -> Int { plan.inputs.reduce(0) { $0 + $1.adapter.source.size } }

    func requireSpace(_ needed: Int) throws(Problem) {
        let free = try directory.freeSpace()
        guard free >= needed else {
            throw Problem(
                .io, "no-space", file: place.path,
                "needs \(needed) bytes for new files beside the old ones, but only \(free) are free there",
                hint: "free \(needed - free) bytes; 'forget' removes generations that are kept")
        }
    }

    /// The generation that a directory holds, each file with its check.
    private func generation(
        _ wanted: Wanted, in root: Directory, checks: [String: FileCheck], _ state: SwapState
    ) throws -> Generation {
        let known = Dictionary((state.live.files + (state.keptBase?.files ?? [])).map { ($0.stamp.inode, $0.check) }) {
            first, _ in first
        }
        var files: [Generation.File] = []
        for file in try FileListing(root, standing: place.model()).files {
            let check: FileCheck
            if let found = checks[file.path] ?? known[file.stamp.inode] {
                check = found
            } else {
                let (directory, name) = try root.place(of: file.path, making: false)
                check = try FileCheck(.sha256, of: directory.openFile(name))
            }
            files.append(Generation.File(path: file.path, stamp: file.stamp, check: check))
        }
        return Generation(
            id: wanted.id, adapters: wanted.adapters, since: timestamp(), files: files, isKept: options.keeps, used: 0)
    }

    // MARK: Exchanging

    /// Brings a generation that is kept into the model's place.
    private func exchange(to kept: Generation, _ state: inout SwapState) throws -> SwapOutcome {
        var next = try intact(kept).generation
        if options.isDryRun { return SwapOutcome(kind: .exchanged, written: 0, undo: nil) }
        // Without a record, the base must be there itself.
        if !kept.isBase { try keepBase(&state) }
        next.isKept = true
        state.kept.removeAll { $0.id == kept.id }
        try run(to: next, next: "\(SwapPlace.keptName)/\(kept.id)", undo: .none, &state)
        return SwapOutcome(kind: .exchanged, written: 0, undo: nil)
    }

    /// Exchanges the model for the directory `next`, which holds `live`.
    func run(to live: Generation, next: String, undo: Exchange.Undo, _ state: inout SwapState) throws {
        var former = state.live
        var new = live
        new.used = ([former] + state.kept).reduce(0) { max($0, $1.used) } + 1
        // The base stays where no record takes back what is made of it.
        let stays = former.isBase ? undo == .none : former.isKept
        former.isKept = stays
        var after = state
        after.live = new
        after.hasUndo = undo == .new
        if stays { after.kept.append(former) }
        limit(&after)
        let holder = try directory.place(of: next, making: false)
        guard let liveNumber = place.parent.identity(of: place.name)?.number,
            let nextNumber = holder.directory.identity(of: holder.name)?.number
        else { throw Problem(.internalFault, "no-generation", file: place.path, "lost a directory that was there") }
        let exchange = Exchange(
            next: next, old: stays ? "\(SwapPlace.keptName)/\(former.id)" : SwapPlace.oldName, undo: undo,
            liveNumber: liveNumber, nextNumber: nextNumber, state: after)
        do throws(Problem) {
            try exchange.run(place, directory)
        } catch {
            // As long as the model is the old one, the user need not clear up.
            if place.parent.identity(of: place.name)?.number == liveNumber, !exchange.hasBegun(place, directory) {
                try? exchange.takeBack(directory, self.state())
                throw error
            }
            var problem = error
            problem.hint =
                "the model may be changed already; finish it: adapter-swap \(shellQuoted(place.path)) recover"
            throw problem
        }
        state = after
        do throws(Problem) {
            try Exchange.sweep(directory, after)
        } catch {
            var problem = error
            problem.severity = .warning
            problem.hint = "the model is changed all the same; the next command removes what is left"
            callbacks.report([problem])
        }
    }
}

/// What tells an adapter's files from others without reading them.
enum AdapterStamp {
    static func of(_ path: String) -> String {
        let files: [String]
        if Directory.kind(of: path) == .directory {
            files = ["adapter_config.json", "adapter_model.safetensors"].map { "\(path)/\($0)" }
        } else {
            files = [path, parentPath(of: path) + "/adapter_config.json"]
        }
        return files.map { FileStamp.of(path: $0)?.text ?? "-" }.joined(separator: ", ")
    }
}
