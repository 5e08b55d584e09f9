import Adapters
import Archives
import Digests
import Files
import Problems
import Safetensors
import Synchronization

/// The base of a merge, read out of the merged model with the help of its record: a folder of files that nobody wrote.
///
/// Every chunk that is computed is held against its digest before it is handed out.
public final class RestoredBase: Sendable {
    let record: UndoRecord
    /// The merged model.
    let merged: Checkpoint
    private let given: [Adapter]
    /// The merged model's directory.
    let directory: (any Folder)?
    private let jobs = Mutex<(jobs: [String: TensorJob], recent: [String])?>(nil)
    private let workers = Mutex<[RestoreWorker]>([])
    private let cache = Mutex<[(key: ChunkKey, bytes: [UInt8])]>([])
    /// The base's files, by path.
    let files: [String: RestoredFile]

    /// Chunks that stay in memory.
    private static let mostCached = 6
    /// Tensors whose factors stay in memory.
    private static let mostJobs = 3

    struct ChunkKey: Hashable {
        let file: String
        let tensor: Int
        let chunk: Int
    }

    /// Joins a record and the merged model; reads headers, and what of the base's documents the adapters need.
    ///
    /// - Parameter adapters: adapters that the record only names.
    public init(_ record: UndoRecord, merged: Checkpoint, adapters: [Adapter] = []) throws(Problem) {
        self.record = record
        self.merged = merged
        given = adapters
        directory = merged.directory
        guard let identity = merged.shards.first?.file.file.identity else {
            throw Problem(.missing, "no-model", file: merged.path, "holds no weights")
        }
        var files: [String: RestoredFile] = [:]
        for (at, file) in record.directory.files.enumerated() {
            // A single file is looked for under the usual name, whatever it was called.
            let name = record.isFile && !file.isAside ? "model.safetensors" : file.path
            files[name] = RestoredFile(
                file, name: name, path: record.isFile ? merged.path : Self.path(of: file.path, merged),
                identity.entry(at + 1))
        }
        self.files = files
        for file in files.values { try file.join(self) }
    }

    private static func path(of name: String, _ merged: Checkpoint) -> String {
        merged.directory.map { $0.path(of: name) } ?? merged.path
    }

    /// The folder of all files, also those that are not restored.
    public var folder: RestoredFolder { RestoredFolder(self, "") }

    /// Bytes of the files that are restored.
    public var restoredSize: Int { record.restoredSize }

    /// Paths of files that the merged model shares with the base.
    public var linkedPaths: [String] { record.directory.linked }

    /// The base as a checkpoint.
    public func checkpoint() throws(Problem) -> Checkpoint {
        try Checkpoint.open(folder, index: record.directory.index)
    }

    /// A file that the merged model shares with the base.
    func linked(_ path: String) throws(Problem) -> any ByteSource {
        var parts = path.split(separator: "/").map(String.init)
        let last = parts.removeLast()
        guard var place = directory else {
            throw UndoFormat.damaged("shares files with a single file").at(file: record.path)
        }
        for part in parts { place = try place.folder(part) }
        return try place.source(last)
    }

    // MARK: Chunks

    /// Chunk number `chunk` of a tensor or file, into `target`, which is as large as it.
    func restore(
        _ file: RestoredFile, tensor: Int, chunk: Int, into target: UnsafeMutableRawBufferPointer
    ) throws(Problem) {
        let worker = workers.withLock { $0.popLast() } ?? RestoreWorker()
        defer { workers.withLock { $0.append(worker) } }
        let place = file.place(tensor, chunk)
        switch place.part.reference {
        case .nothing: break
        case .merged: try unsafe readMerged(place, into: target)
        case .unmerged: try unsafe unmerge(place, worker, into: target)
        }
        let info = place.chunk
        let stream = try record.file.read(at: record.streams.lowerBound + place.stream, count: info.stream)
        guard unsafe worker.buffers.coder.decode(stream, width: place.dtype.undoWidth, into: target),
            place.part.reference != .nothing || info.stream > 0
        else {
            throw UndoFormat.damaged("has a stream that is none").at(file: record.path)
        }
        var digest = SHA256()
        unsafe digest.update(UnsafeRawBufferPointer(target))
        guard digest.finish() == info.digest else { throw differs(place) }
    }

    private func differs(_ place: RestoredPlace) -> Problem {
        let shard = place.name.flatMap { merged.lookup($0) }.map { merged.shards[$0.shard].file.path }
        return Problem(
            .incompatible, "not-the-merge", file: shard ?? place.path, tensor: place.name,
            "is not what the merge wrote: with the record, it does not give what the base had",
            hint: "it was changed or damaged since, or '\(record.path)' is the record of another merge")
    }

    private func readMerged(_ place: RestoredPlace, into target: UnsafeMutableRawBufferPointer) throws(Problem) {
        guard let name = place.name else {
            let source = try place.other()
            return try unsafe source.read(into: target, at: place.offset)
        }
        let (file, info) = try mergedTensor(name)
        guard info.byteCount == place.part.size else { throw differs(place) }
        try unsafe file.read(info, bytes: place.offset..<place.offset + target.count, into: target)
    }

    func mergedTensor(_ name: String) throws(Problem) -> (file: SafetensorsFile, info: TensorInfo) {
        guard let place = merged.lookup(name) else {
            throw Problem(
                .incompatible, "not-the-merge", file: merged.path, tensor: name,
                "is missing, though the record says that the merge wrote it",
                hint: "'\(record.path)' is the record of another merge, or the model was changed since")
        }
        return (merged.shards[place.shard].file, place.info)
    }

    private func unmerge(
        _ place: RestoredPlace, _ worker: RestoreWorker, into target: UnsafeMutableRawBufferPointer
    ) throws(Problem) {
        guard let name = place.name else {
            throw UndoFormat.damaged("takes adapters out of a file").at(file: record.path)
        }
        let job = try self.job(name)
        let (file, info) = try mergedTensor(name)
        let from = info.dtype.bits / 8
        let to = place.dtype.bits / 8
        guard info.dtype == job.tensor.dtype, info.shape == job.tensor.shape,
            place.dtype == job.tensor.source.info.dtype,
            let block = job.block(from: place.offset / to, count: target.count / to)
        else { throw differs(place) }
        let first = place.offset / to * from
        let count = target.count / to * from
        let weights = unsafe worker.buffers.weights(count)
        try unsafe file.read(info, bytes: first..<first + count, into: weights)
        try unsafe job.unmerge(block, worker.buffers, merged: UnsafeRawBufferPointer(weights), into: target)
    }

    // MARK: Adapters

    /// What the merge computed for a tensor.
    private func job(_ name: String) throws(Problem) -> TensorJob {
        try jobs.withLock { (kept) throws(Problem) in
            if kept == nil { kept = (try plannedJobs(), []) }
            guard let job = kept?.jobs[name] else {
                throw UndoFormat.damaged("takes adapters out of '\(name.excerpt)', which they do not change")
                    .at(file: record.path)
            }
            if kept?.recent.last != name {
                kept?.recent.removeAll { $0 == name }
                kept?.recent.append(name)
                if let first = kept?.recent.first, let count = kept?.recent.count, count > Self.mostJobs {
                    kept?.recent.removeFirst()
                    kept?.jobs[first]?.release()
                }
            }
            return job
        }
    }

    private func plannedJobs() throws(Problem) -> [String: TensorJob] {
        let base = try checkpoint()
        let inputs = LoadedInputs(
            base: base, adapters: try record.adapters(given: given), allowed: Set(LoadedInputs.allowableInMerge))
        var options = MergeOptions(version: "")
        options.dtype = record.directory.dtype
        do throws(ProblemList) {
            guard inputs.isSound else { throw ProblemList(inputs.problems) }
            let plan = try MergePlan(inputs, options: options)
            let environment = MergeEnvironment(plan)
            var result: [String: TensorJob] = [:]
            for tensor in plan.shards.flatMap(\.tensors) where tensor.isComputed {
                let job = TensorJob(tensor, environment)
                if job.isInvertible { result[tensor.name] = job }
            }
            return result
        } catch {
            let first = error.problems.first { $0.severity == .error }
            throw Problem(
                .malformed, "bad-undo", file: record.path,
                "holds adapters that do not fit the base it restores" + (first.map { ": \($0.message)" } ?? ""),
                hint: "the record is damaged, or was written by another version of adapter-merge")
        }
    }

    // MARK: Reading

    /// Some bytes of a chunk; the chunk may be kept for the next call.
    func read(
        _ file: RestoredFile, tensor: Int, chunk: Int, from start: Int, into target: UnsafeMutableRawBufferPointer
    ) throws(Problem) {
        let size = file.place(tensor, chunk).chunk.size
        if start == 0 && target.count == size {
            return try unsafe restore(file, tensor: tensor, chunk: chunk, into: target)
        }
        let key = ChunkKey(file: file.name, tensor: tensor, chunk: chunk)
        let bytes = try cached(key, size, of: file)
        unsafe bytes.withUnsafeBytes {
            unsafe target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<start + target.count]))
        }
    }

    private func cached(_ key: ChunkKey, _ size: Int, of file: RestoredFile) throws(Problem) -> [UInt8] {
        if let found = cache.withLock({ $0.first { $0.key == key }?.bytes }) { return found }
        var failure: Problem?
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: size) { buffer, filled in
            do throws(Problem) {
                let target = unsafe UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: size)
                try unsafe restore(file, tensor: key.tensor, chunk: key.chunk, into: target)
                filled = size
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        cache.withLock { list in
            list.append((key, bytes))
            if list.count > Self.mostCached { list.removeFirst() }
        }
        return bytes
    }
}

/// What one thread restores chunks with.
final class RestoreWorker: @unchecked Sendable {
    let buffers = BlockBuffers()
}
