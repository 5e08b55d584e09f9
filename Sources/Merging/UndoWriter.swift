import Adapters
import Archives
import Digests
import Files
import Problems
import Safetensors
import Synchronization

/// Writes the record of a merge with which the base comes back from the merged model.
///
/// The format is specified in `formats/undo-record.md`.
public final class UndoWriter: Sendable {
    /// A tensor of the base that is kept, and the numbers of its chunks among all units.
    private struct Kept: Sendable {
        let shard: Int
        let name: String
        let reference: UndoReference
        let units: Range<Int>
    }

    private struct State: ~Copyable {
        var kept: [Kept] = []
        var chunks: [UndoChunk?] = []
        /// Streams that came before their turn.
        var early: [Int: [UInt8]] = [:]
        var next = 0
        var position: Int
        var sum = SHA256()
    }

    private let plan: MergePlan
    private let output: StagedOutput
    private let file: OutputFile
    /// The adapters that the record holds, each as two tensors before all others.
    private let held: [(name: String, size: Int)]
    private let dataStart: Int
    private let streamsStart: Int
    /// Files that the merged model shares with the base.
    private let linked: Set<String>
    /// What lies in the base's directory and is no part of it.
    private let foreign: Set<String>
    /// Whether files that the merge copies are in the record all the same.
    private let holdsDocuments: Bool
    private let state: Mutex<State>

    /// Prepares to write the record of `plan` into `output`.
    ///
    /// - Parameters:
    ///   - holdsAdapters: whether the adapters go into the record; if not, it names them by digest.
    ///   - linked: paths of files that are the same in base and merged model, as one file with two names; they are only named.
    ///   - foreign: names in the base's directory that are no part of it.
    ///   - holdsDocuments: whether files that the merge copies are in the record all the same, so that they come back
    ///     whatever becomes of the copies.
    public init(
        _ plan: MergePlan, output: StagedOutput, holdsAdapters: Bool = true, linked: Set<String> = [],
        foreign: Set<String> = [], holdsDocuments: Bool = false
    ) throws(Problem) {
        self.plan = plan
        self.linked = linked
        self.foreign = foreign
        self.holdsDocuments = holdsDocuments
        self.output = output
        file = try output.createGrowing(lastComponent(of: output.path))
        var held: [(name: String, size: Int)] = []
        for (at, input) in plan.inputs.enumerated() where holdsAdapters {
            held.append((UndoFormat.configName(at), input.adapter.configBytes.count))
            held.append((UndoFormat.tensorsName(at), input.adapter.source.size))
        }
        self.held = held
        let names = (held.map(\.name) + [UndoFormat.streamsName, UndoFormat.directoryName]).map { ($0, DType.u8, [0]) }
        let blank = String(repeating: "0", count: 64)
        let header = try Header.layout(names, metadata: Self.metadata(blank, blank, .max), order: .asGiven)
        dataStart = (8 + header.headerLength + names.count * 60 + 7) / 8 * 8
        streamsStart = held.reduce(dataStart) { $0 + $1.size }
        state = Mutex(State(position: streamsStart))
    }

    private static func metadata(_ streams: String, _ directory: String, _ size: Int) -> [(key: String, value: String)]
    {
        [
            (UndoFormat.versionKey, UndoFormat.version), (UndoFormat.streamsKey, streams),
            (UndoFormat.directoryKey, "\(directory) \(size)"),
        ]
    }

    /// Copies an adapter, if the record holds it; at any time before the end, from any thread.
    func holdAdapter(_ at: Int) throws(Problem) {
        guard !held.isEmpty else { return }
        let start = held[..<(2 * at)].reduce(dataStart) { $0 + $1.size }
        let adapter = plan.inputs[at].adapter
        try file.write(adapter.configBytes, at: start)
        try file.copy(from: adapter.source, at: 0, count: held[2 * at + 1].size, to: start + held[2 * at].size)
    }

    // MARK: Units

    /// Announces a tensor whose chunks will come; gives the number of the first one.
    func announce(shard: Int, _ name: String, _ reference: UndoReference, chunks: Int) -> Int {
        state.withLock { state in
            let first = state.chunks.count
            state.chunks += Array(repeating: nil, count: chunks)
            state.kept.append(Kept(shard: shard, name: name, reference: reference, units: first..<first + chunks))
            return first
        }
    }

    /// Takes the stream of a unit; they are written in the order of their numbers.
    func put(_ unit: Int, _ stream: [UInt8], size: Int, digest: String) throws(Problem) {
        try state.withLock { (state) throws(Problem) in
            state.chunks[unit] = UndoChunk(size: size, stream: stream.count, digest: digest)
            state.early[unit] = stream
            while let next = state.early.removeValue(forKey: state.next) {
                try file.write(next, at: state.position)
                state.sum.update(next)
                state.position += next.count
                state.next += 1
            }
        }
    }

    /// Takes one more unit, at the end of all.
    private func add(_ stream: [UInt8], size: Int, digest: String) throws(Problem) {
        let unit = state.withLock { state in
            state.chunks.append(nil)
            return state.chunks.count - 1
        }
        try put(unit, stream, size: size, digest: digest)
    }

    // MARK: The rest of the base

    /// Keeps the tensors of the base that the merge did not come across: replaced, resized or dropped ones.
    ///
    /// - Parameter merged: reads the merged tensor of a name, where it is in the output with as many bytes.
    func keepRest(
        merged: (_ name: String, _ byteCount: Int) -> (file: any ByteSource, offset: Int)?
    ) throws(Problem) {
        var known = state.withLock { Set($0.kept.map { Key(shard: $0.shard, name: $0.name) }) }
        let coder = DifferenceCoder()
        for (at, shard) in plan.base.shards.enumerated() where !linked.contains(shard.name) {
            for tensor in shard.file.header.tensors where known.insert(Key(shard: at, name: tensor.name)).inserted {
                let place = merged(tensor.name, tensor.byteCount)
                let first = state.withLock { $0.chunks.count }
                for start in stride(from: 0, to: tensor.byteCount, by: UndoFormat.byteChunk) {
                    try checkInterrupted()
                    let range = start..<min(tensor.byteCount, start + UndoFormat.byteChunk)
                    let bytes = try shard.file.read(tensor, bytes: range)
                    let reference = try place.map { (place) throws(Problem) in
                        try place.file.read(at: place.offset + start, count: range.count)
                    }
                    try add(
                        coder.encode(bytes, tensor.dtype, reference: reference), size: range.count,
                        digest: SHA256.hex(bytes))
                }
                state.withLock { state in
                    let kept = Kept(
                        shard: at, name: tensor.name, reference: place == nil ? .nothing : .merged,
                        units: first..<state.chunks.count)
                    state.kept.append(kept)
                }
            }
        }
    }

    private struct Key: Hashable {
        let shard: Int
        let name: String
    }

    /// Keeps a file, or the beginning of one, as it is, or as equal to the merged model's.
    private func keep(
        _ source: any ByteSource, count: Int, sameAs other: (any ByteSource)?
    ) throws(Problem) -> (reference: UndoReference, units: Range<Int>) {
        var isSame = false
        if let other, other.size == count {
            isSame = try source.hasSameBytes(at: 0, count: count, as: other, at: 0)
        }
        let coder = DifferenceCoder()
        let first = state.withLock { $0.chunks.count }
        for start in stride(from: 0, to: count, by: UndoFormat.byteChunk) {
            try checkInterrupted()
            let bytes = try source.read(at: start, count: min(UndoFormat.byteChunk, count - start))
            let stream = isSame ? [] : coder.encode(bytes, .u8, reference: nil)
            try add(stream, size: bytes.count, digest: SHA256.hex(bytes))
        }
        return (isSame ? .merged : .nothing, first..<state.withLock { $0.chunks.count })
    }

    // MARK: The end

    /// Writes what is not weights, the adapters and the directory; the record is durable when it returns.
    ///
    /// - Parameters:
    ///   - documents: the merged model's directory, as far as it is written; `nil` if it is one file.
    ///   - digests: SHA-256 of each adapter.
    /// - Returns: bytes of the record, and what the user should know.
    func finish(documents: Directory?, digests: [String]) throws(Problem) -> (size: Int, notes: [Problem]) {
        var directory = UndoDirectory()
        directory.base = Origin.name(of: plan.base.path)
        directory.dtype = plan.options.dtype
        directory.isFile = plan.base.directory == nil
        directory.index = plan.base.index.map(\.name)
        var files: [(file: UndoFile, head: Range<Int>, shard: Int?)] = []
        for (at, shard) in plan.base.shards.enumerated() where !linked.contains(shard.name) {
            let head = try keep(shard.file.file, count: shard.file.header.dataStart, sameAs: nil)
            let file = UndoFile(
                path: shard.name, size: shard.file.file.size,
                head: UndoPart(reference: head.reference, chunks: [], start: 0))
            files.append((file, head.units, at))
        }
        directory.linked = linked.sorted()
        var listing = UndoListing(apart: Set(plan.base.shards.map(\.name)).union(linked).union(foreign))
        try listing.collect(plan.base)
        for item in listing.files {
            let other = holdsDocuments ? nil : (try? documents?.file(at: item.path)) ?? nil
            let head = try keep(item.source, count: item.source.size, sameAs: other)
            let file = UndoFile(
                path: item.path, size: item.source.size,
                head: UndoPart(reference: head.reference, chunks: [], start: 0), isAside: item.isAside)
            files.append((file, head.units, nil))
        }
        directory.directories = listing.directories
        files.sort { Array($0.file.path.utf8).lexicographicallyPrecedes(Array($1.file.path.utf8)) }
        directory.files = joined(files)
        return (try close(directory, digests), listing.notes)
    }

    /// Brings chunks and files together.
    private func joined(_ files: [(file: UndoFile, head: Range<Int>, shard: Int?)]) -> [UndoFile] {
        let (kept, chunks) = state.withLock { ($0.kept, $0.chunks.compactMap { $0 }) }
        var starts = [0]
        for chunk in chunks { starts.append(starts[starts.count - 1] + chunk.stream) }
        let part = { (reference: UndoReference, units: Range<Int>) in
            UndoPart(reference: reference, chunks: Array(chunks[units]), start: starts[units.lowerBound])
        }
        var places: [Key: Kept] = [:]
        for entry in kept { places[Key(shard: entry.shard, name: entry.name)] = entry }
        return files.map { entry in
            var file = entry.file
            file.head = part(file.head.reference, entry.head)
            guard let shard = entry.shard else { return file }
            file.tensors = plan.base.shards[shard].file.header.tensors.compactMap { tensor in
                places[Key(shard: shard, name: tensor.name)].map { part($0.reference, $0.units) }
            }
            return file
        }
    }

    private func close(_ found: UndoDirectory, _ digests: [String]) throws(Problem) -> Int {
        var directory = found
        let (position, streams) = state.withLock { state in
            var sum = SHA256()
            swap(&sum, &state.sum)
            return (state.position, sum.finish())
        }
        for (at, input) in plan.inputs.enumerated() {
            directory.inputs.append(
                UndoDirectory.Input(
                    name: Origin.name(of: input.adapter.path), weight: input.weight, digest: digests[at],
                    isHeld: !held.isEmpty))
        }
        let text = directory.encoded()
        let packed = try ZlibText.deflate(text)
        let sizes =
            held + [(UndoFormat.streamsName, position - streamsStart), (UndoFormat.directoryName, packed.count)]
        let header = try Header.layout(
            sizes.map { ($0.name, DType.u8, [$0.size]) },
            metadata: Self.metadata(streams, SHA256.hex(text), text.count), order: .asGiven)
        try file.write(header.encoded(paddedTo: dataStart), at: 0)
        try file.write(packed, at: position)
        try file.finish(size: position + packed.count)
        return position + packed.count
    }
}
