import Adapters
import CKernels
import Digests
import Files
import Problems
import Safetensors
import Synchronization
import Tensors

/// Carries a plan out: writes every file of the output, and tells what rounding did.
public final class Merger: Sendable {
    /// A piece of work that any thread may do at any time.
    enum Item: Sendable {
        case hashAdapter(Int)
        case hashBase(Int)
        /// Bytes of a source file go as they are to an offset of an output file; the number is that of their undo unit.
        case copy(shard: Int, from: any ByteSource, bytes: Range<Int>, to: Int, unit: Int?)
        case compute(shard: Int, job: Int, block: Int)
    }

    private let plan: MergePlan
    private let output: StagedOutput
    private let undo: UndoWriter?
    private let checksOutput: Bool
    /// The files that are written here; others are in the output already.
    private let shards: [PlannedShard]
    private let environment: MergeEnvironment
    private let progress: @Sendable (Int) -> Void
    private let state: Mutex<State>
    private let ready = ReadyQueue<Int>()

    private struct Job: Sendable {
        let job: TensorJob
        /// Where its tensor begins in the output file.
        let start: Int
        let undo: UndoTarget?
        var stats: [ak_stats]
        /// Blocks that are not done.
        var left: Int
    }

    private struct State: Sendable {
        var items: [Item] = []
        var next = 0
        var jobs: [Job] = []
        /// Pieces of work without which a file is not whole.
        var left: [Int] = []
        var files: [OutputFile] = []
        var digests: Provenance.Digests
        var outputChecks: [FileCheck?]
        var finished = 0
        var problem: Problem?
    }

    /// Prepares to write `plan` into `output`; `progress` is told of bytes as they are done, from any thread.
    ///
    /// - Parameters:
    ///   - undo: writes the record with which the merge can be taken back.
    ///   - checksOutput: whether the files that are written are read again for `outputChecks`.
    ///   - present: names of files of weights that are in the output already, since nothing changes in them.
    public init(
        plan: MergePlan, output: StagedOutput, undo: UndoWriter? = nil, present: Set<String> = [],
        checksOutput: Bool = false, progress: @escaping @Sendable (Int) -> Void
    ) {
        self.plan = plan
        shards = plan.shards.filter { !present.contains($0.name) }
        self.output = output
        self.undo = undo
        self.checksOutput = checksOutput
        self.progress = progress
        environment = MergeEnvironment(plan)
        state = Mutex(
            State(
                digests: Provenance.Digests(
                    adapters: Array(repeating: "", count: plan.inputs.count),
                    base: Array(repeating: "", count: plan.options.digests ? plan.base.shards.count : 0)),
                outputChecks: Array(repeating: nil, count: shards.count)))
    }

    /// Bytes that `progress` will be told of in all.
    public static func totalBytes(of plan: MergePlan) -> Int {
        let adapters = plan.inputs.reduce(0) { $0 + $1.adapter.source.size }
        let base = plan.base.shards.reduce(0) { $0 + $1.file.file.size }
        return plan.dataSize + adapters + (plan.options.digests ? base + plan.weightFileSize : 0)
    }

    /// SHA-256 of the adapters, in their order, when it has run.
    public var adapterDigests: [String] { state.withLock { $0.digests.adapters } }

    /// What the files that were written are known by, by name, if that was asked for.
    public var outputChecks: [String: FileCheck] {
        state.withLock { state in
            Dictionary(zip(shards, state.outputChecks).compactMap { shard, check in check.map { (shard.name, $0) } }) {
                first, _ in first
            }
        }
    }

    /// Writes all files of weights with `threads` threads; they are durable when it returns.
    ///
    /// - Returns: the loss report, and the name and SHA-256 of each file if digests were asked for.
    public func run(threads: Int) throws(Problem) -> (report: LossReport, digests: [(name: String, digest: String)]) {
        try prepare()
        // One thread more waits for the disk, so that the others never do.
        Workers.run(threads + 1) { index in
            if index == threads { self.finishFiles() } else { self.work() }
        }
        finishFiles()
        try keepRest()
        return try state.withLock { (state) throws(Problem) in
            if let problem = state.problem { throw problem }
            let losses = state.jobs.map { entry in
                var sum = ak_stats()
                for stats in entry.stats { sum.add(stats) }
                return TensorLoss(entry.job.tensor, sum)
            }
            let digests =
                plan.options.digests
                ? zip(shards, state.outputChecks).compactMap { shard, check in check.map { (shard.name, $0.hex) } } : []
            return (LossReport(tensors: losses), digests)
        }
    }

    // MARK: Preparation

    private func prepare() throws(Problem) {
        var made = State(
            digests: state.withLock { $0.digests }, outputChecks: Array(repeating: nil, count: shards.count))
        for at in plan.inputs.indices { made.items.append(.hashAdapter(at)) }
        if plan.options.digests { for at in plan.base.shards.indices { made.items.append(.hashBase(at)) } }
        let common = made.items.count
        for (at, shard) in shards.enumerated() {
            made.files.append(
                try shard.component == nil
                    ? output.create(shard.name, size: shard.size) : output.create(path: shard.name, size: shard.size))
            let before = made.items.count
            list(shard, at, into: &made)
            made.left.append(common + made.items.count - before)
        }
        let prepared = made
        state.withLock { $0 = prepared }
    }

    /// The pieces of one file.
    private func list(_ shard: PlannedShard, _ at: Int, into state: inout State) {
        var run = CopyRun(shard: at)
        if let whole = shard.whole {
            let file = plan.base.shards[whole].file
            let end = undo == nil ? file.file.size : file.header.dataStart
            run.add(file.file, 0..<end, to: 0, unit: nil, &state.items)
            if undo == nil { return run.flush(&state.items) }
        }
        for (tensor, place) in zip(shard.tensors, shard.header.tensors) where tensor.byteCount > 0 {
            let to = shard.header.dataStart + place.begin
            guard tensor.isCopy else {
                run.flush(&state.items)
                list(tensor, at, to, into: &state)
                continue
            }
            let info = tensor.source.info
            let file = environment.file(of: tensor.source)
            let start = file.header.dataStart + info.begin
            run.add(file.file, start..<start + info.byteCount, to: to, unit: announce(tensor), &state.items)
        }
        run.flush(&state.items)
    }

    /// The blocks of a tensor that is computed.
    private func list(_ tensor: PlannedTensor, _ shard: Int, _ to: Int, into state: inout State) {
        let job = TensorJob(tensor, environment)
        for block in job.blocks.indices {
            state.items.append(.compute(shard: shard, job: state.jobs.count, block: block))
        }
        let stats = Array(repeating: ak_stats(), count: job.blocks.count)
        state.jobs.append(
            Job(job: job, start: to, undo: target(of: job), stats: stats, left: job.blocks.count))
    }

    /// Announces a copied tensor of the base to the undo record.
    private func announce(_ tensor: PlannedTensor) -> Int? {
        guard let undo, case .base(let shard, let info) = tensor.source, info.name.hasSameBytes(as: tensor.name) else {
            return nil
        }
        let chunks = (info.byteCount + CopyRun.piece - 1) / CopyRun.piece
        return undo.announce(shard: shard, info.name, .merged, chunks: chunks)
    }

    /// The same for one that is computed from a tensor of the base.
    private func target(of job: TensorJob) -> UndoTarget? {
        let tensor = job.tensor
        guard let undo, case .base(let shard, let info) = tensor.source, info.name.hasSameBytes(as: tensor.name) else {
            return nil
        }
        // What was read to decide what the adapters do must come back before that is decided.
        let isConsulted = plan.inputs.contains { $0.resolution.consulted.contains(info.name) }
        let isSame = tensor.byteCount == info.byteCount
        let reference: UndoReference = job.isInvertible && !isConsulted ? .unmerged : isSame ? .merged : .nothing
        let first = undo.announce(shard: shard, info.name, reference, chunks: job.blocks.count)
        return UndoTarget(writer: undo, firstUnit: first, reference: reference)
    }

    // MARK: Undo

    /// Keeps what the merge did not read of the base, now that all of the merged model is there.
    private func keepRest() throws(Problem) {
        let (files, problem) = state.withLock { ($0.files, $0.problem) }
        guard let undo, problem == nil else { return }
        var places: [String: (shard: Int, at: Int)] = [:]
        for (at, shard) in shards.enumerated() {
            for (index, tensor) in shard.tensors.enumerated() { places[tensor.name] = (at, index) }
        }
        try undo.keepRest { name, count in
            guard let place = places[name] else { return nil }
            let shard = shards[place.shard]
            let info = shard.header.tensors[place.at]
            return info.byteCount == count ? (files[place.shard], shard.header.dataStart + info.begin) : nil
        }
    }

    /// Writes the rest of the undo record, when the small files are written, too.
    ///
    /// - Returns: bytes of the record, and what the user should know.
    public func finishUndo() throws(Problem) -> (size: Int, notes: [Problem])? {
        guard let undo else { return nil }
        let documents = plan.base.directory == nil ? nil : try Directory(path: output.stagePath)
        return try undo.finish(documents: documents, digests: state.withLock { $0.digests.adapters })
    }

    // MARK: Work

    private func work() {
        let buffers = BlockBuffers()
        while let item = take() {
            do throws(Problem) {
                try checkInterrupted()
                try perform(item, buffers)
                settle(item)
            } catch {
                fail(error)
            }
        }
    }

    private func take() -> Item? {
        state.withLock { state in
            guard state.problem == nil, state.next < state.items.count else { return nil }
            state.next += 1
            return state.items[state.next - 1]
        }
    }

    private func fail(_ problem: Problem) {
        state.withLock { if $0.problem == nil { $0.problem = problem } }
        ready.close()
    }

    private func perform(_ item: Item, _ buffers: BlockBuffers) throws(Problem) {
        switch item {
        case .hashAdapter(let at):
            let digest = try plan.inputs[at].adapter.digest(progress: progress)
            try undo?.holdAdapter(at)
            state.withLock { $0.digests.adapters[at] = digest }
        case .hashBase(let at):
            let digest = try SHA256.hex(of: plan.base.shards[at].file.file, progress: progress)
            state.withLock { $0.digests.base[at] = digest }
        case .copy(let shard, let source, let bytes, let to, let unit):
            let file = state.withLock { $0.files[shard] }
            try file.copy(from: source, at: bytes.lowerBound, count: bytes.count, to: to)
            file.startWriteback(at: to, count: bytes.count)
            if let unit {
                let digest: String
                if let known = source.knownDigest(of: bytes) {
                    digest = known
                } else {
                    digest = try SHA256.hex(of: source, bytes: bytes)
                }
                try undo?.put(unit, [], size: bytes.count, digest: digest)
            }
            progress(bytes.count)
        case .compute(let shard, let at, let index):
            let (file, entry) = state.withLock { ($0.files[shard], $0.jobs[at]) }
            let job = entry.job
            let stats = try job.run(index, buffers, into: file, at: entry.start, undo: entry.undo)
            progress(job.byteCount(job.blocks[index]))
            let isLast = state.withLock { state in
                state.jobs[at].stats[index] = stats
                state.jobs[at].left -= 1
                return state.jobs[at].left == 0
            }
            if isLast { job.release() }
        }
    }

    /// Counts a piece as done, and hands files that are complete to the thread that makes them durable.
    private func settle(_ item: Item) {
        let complete = state.withLock { state in
            let shards: Range<Int> =
                switch item {
                case .hashAdapter, .hashBase: 0..<state.left.count
                case .copy(let shard, _, _, _, _), .compute(let shard, _, _): shard..<shard + 1
                }
            for shard in shards { state.left[shard] -= 1 }
            return shards.filter { state.left[$0] == 0 }
        }
        for shard in complete { ready.add(shard) }
    }

    // MARK: Files

    private func finishFiles() {
        while state.withLock({ $0.finished < shards.count && $0.problem == nil }), let shard = ready.next() {
            do throws(Problem) {
                try finishFile(shard)
                state.withLock { $0.finished += 1 }
            } catch {
                fail(error)
            }
        }
    }

    private func finishFile(_ at: Int) throws(Problem) {
        let (file, digests) = state.withLock { ($0.files[at], $0.digests) }
        let shard = shards[at]
        if shard.whole == nil {
            let bytes = try plan.header(of: shard, digests: digests).encoded()
            guard bytes.count == shard.header.dataStart else {
                throw Problem(.internalFault, "header-size", file: file.path, "the header changed its size")
            }
            try file.write(bytes, at: 0)
        }
        try file.finish()
        guard plan.options.digests || checksOutput else { return }
        let check = try FileCheck(plan.options.digests ? .sha256 : .poly1305, of: file, progress: progress)
        state.withLock { $0.outputChecks[at] = check }
    }
}
