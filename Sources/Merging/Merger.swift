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
    private enum Item: Sendable {
        case hashAdapter(Int)
        case hashBase(Int)
        /// Bytes of a source file go as they are to an offset of an output file.
        case copy(shard: Int, from: TensorSource, bytes: Range<Int>, to: Int)
        case compute(shard: Int, job: Int, block: Int)
    }

    /// Bytes that are copied at a time.
    private static let copyPiece = 16 << 20

    private let plan: MergePlan
    private let output: StagedOutput
    private let environment: MergeEnvironment
    private let progress: @Sendable (Int) -> Void
    private let state: Mutex<State>
    private let ready = ReadyQueue<Int>()

    private struct State: Sendable {
        var items: [Item] = []
        var next = 0
        var jobs: [(job: TensorJob, start: Int, stats: [ak_stats], left: Int)] = []
        /// Pieces of work without which a file is not whole.
        var left: [Int] = []
        var files: [OutputFile] = []
        var digests: Provenance.Digests
        var outputDigests: [String]
        var finished = 0
        var problem: Problem?
    }

    /// Prepares to write `plan` into `output`; `progress` is told of bytes as they are done, from any thread.
    public init(plan: MergePlan, output: StagedOutput, progress: @escaping @Sendable (Int) -> Void) {
        self.plan = plan
        self.output = output
        self.progress = progress
        environment = MergeEnvironment(plan)
        state = Mutex(
            State(
                digests: Provenance.Digests(
                    adapters: Array(repeating: "", count: plan.inputs.count),
                    base: Array(repeating: "", count: plan.options.digests ? plan.base.shards.count : 0)),
                outputDigests: Array(repeating: "", count: plan.shards.count)))
    }

    /// Bytes that `progress` will be told of in all.
    public static func totalBytes(of plan: MergePlan) -> Int {
        let adapters = plan.inputs.reduce(0) { $0 + $1.adapter.file.file.size }
        let base = plan.base.shards.reduce(0) { $0 + $1.file.file.size }
        return plan.dataSize + adapters + (plan.options.digests ? base + plan.weightFileSize : 0)
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
        return try state.withLock { (state) throws(Problem) in
            if let problem = state.problem { throw problem }
            let losses = state.jobs.map { entry in
                var sum = ak_stats()
                for stats in entry.stats { sum.add(stats) }
                return TensorLoss(entry.job.tensor, sum)
            }
            let digests = plan.options.digests ? zip(plan.shards.map(\.name), state.outputDigests).map { ($0, $1) } : []
            return (LossReport(tensors: losses), digests)
        }
    }

    // MARK: Preparation

    private func prepare() throws(Problem) {
        var made = State(
            digests: state.withLock { $0.digests }, outputDigests: Array(repeating: "", count: plan.shards.count))
        for at in plan.inputs.indices { made.items.append(.hashAdapter(at)) }
        if plan.options.digests { for at in plan.base.shards.indices { made.items.append(.hashBase(at)) } }
        let common = made.items.count
        for (at, shard) in plan.shards.enumerated() {
            made.files.append(try output.create(shard.name, size: shard.size))
            let before = made.items.count
            list(shard, at, into: &made)
            made.left.append(common + made.items.count - before)
        }
        let prepared = made
        state.withLock { $0 = prepared }
    }

    /// The pieces of one file; neighbours that are copied from neighbouring bytes become one.
    private func list(_ shard: PlannedShard, _ at: Int, into state: inout State) {
        var run: (source: TensorSource, bytes: Range<Int>, to: Int)?
        func flush() {
            guard let found = run else { return }
            run = nil
            for start in stride(from: found.bytes.lowerBound, to: found.bytes.upperBound, by: Self.copyPiece) {
                let end = min(found.bytes.upperBound, start + Self.copyPiece)
                state.items.append(
                    .copy(
                        shard: at, from: found.source, bytes: start..<end, to: found.to + start - found.bytes.lowerBound
                    ))
            }
        }
        for (tensor, place) in zip(shard.tensors, shard.header.tensors) where tensor.byteCount > 0 {
            let to = shard.header.dataStart + place.begin
            guard tensor.isCopy else {
                flush()
                let job = TensorJob(tensor, environment)
                for block in job.blocks.indices {
                    state.items.append(.compute(shard: at, job: state.jobs.count, block: block))
                }
                state.jobs.append(
                    (job, to, Array(repeating: ak_stats(), count: job.blocks.count), job.blocks.count))
                continue
            }
            let info = tensor.source.info
            let start = environment.file(of: tensor.source).header.dataStart
            let bytes = start + info.begin..<start + info.end
            if let found = run, sameFile(found.source, tensor.source), found.bytes.upperBound == bytes.lowerBound,
                found.to + found.bytes.count == to
            {
                run = (found.source, found.bytes.lowerBound..<bytes.upperBound, found.to)
            } else {
                flush()
                run = (tensor.source, bytes, to)
            }
        }
        flush()
    }

    private func sameFile(_ a: TensorSource, _ b: TensorSource) -> Bool {
        switch (a, b) {
        case (.base(let x, _), .base(let y, _)): x == y
        case (.adapter(let x, _), .adapter(let y, _)): x == y
        default: false
        }
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
            state.withLock { $0.digests.adapters[at] = digest }
        case .hashBase(let at):
            let digest = try SHA256.hex(of: plan.base.shards[at].file.file, progress: progress)
            state.withLock { $0.digests.base[at] = digest }
        case .copy(let shard, let source, let bytes, let to):
            let file = state.withLock { $0.files[shard] }
            try file.copy(from: environment.file(of: source).file, at: bytes.lowerBound, count: bytes.count, to: to)
            file.startWriteback(at: to, count: bytes.count)
            progress(bytes.count)
        case .compute(let shard, let at, let index):
            let (file, entry) = state.withLock { ($0.files[shard], ($0.jobs[at].job, $0.jobs[at].start)) }
            let (job, start) = entry
            let block = job.blocks[index]
            let stats = try job.run(block, buffers, into: file, at: start)
            progress(job.byteCount(block))
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
                case .copy(let shard, _, _, _), .compute(let shard, _, _): shard..<shard + 1
                }
            for shard in shards { state.left[shard] -= 1 }
            return shards.filter { state.left[$0] == 0 }
        }
        for shard in complete { ready.add(shard) }
    }

    // MARK: Files

    private func finishFiles() {
        while state.withLock({ $0.finished < plan.shards.count && $0.problem == nil }), let shard = ready.next() {
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
        let shard = plan.shards[at]
        let own = plan.base.shards.first { $0.name == shard.name } ?? plan.base.shards.first
        let metadata = plan.provenance.metadata(over: own?.file.header.metadata, digests: digests)
        let header = try Header.layout(
            shard.tensors.map { ($0.name, $0.dtype, $0.shape) }, metadata: metadata, order: .asGiven)
        let bytes = header.encoded()
        guard bytes.count == shard.header.dataStart else {
            throw Problem(.internalFault, "header-size", file: file.path, "the header changed its size")
        }
        try file.write(bytes, at: 0)
        try file.finish()
        guard plan.options.digests else { return }
        let hex = try SHA256.hex(of: file, progress: progress)
        state.withLock { $0.outputDigests[at] = hex }
    }
}
