import Digests
import Files
import Problems
import Safetensors
import StrictJSON

/// What an archive is made of, and how.
public struct PackRequest: Sendable {
    /// The files.
    public var input: PackInput
    /// How much work goes into it.
    public var level = ArchiveLevel.default
    /// What the files may be told as a difference to.
    public var base: BaseFiles?
    /// What the adapter is bound to.
    public var binding: Binding?
    /// What makes the model's merged tensors, if anything does.
    public var recipe: PackRecipe?

    /// Packs `input` by itself.
    public init(_ input: PackInput) { self.input = input }
}

/// Adapters that make tensors of a model out of a base.
public struct PackRecipe: Sendable {
    /// The recipe as it is written.
    public let text: JSONObject
    /// Files of the adapters: `N/adapter_config.json` and so on.
    public let inputs: [(path: String, source: any ByteSource)]
    /// The tensors that it makes: file and name.
    public let tensors: [(file: String, tensor: String)]
    /// Bytes of these tensors.
    public let tensorBytes: Int

    /// Whether the adapters are likely to take less than the tensors' differences to the base, at two fifths of their bytes.
    public var isWorthIt: Bool { inputs.reduce(0) { $0 + $1.source.size } * 4 / 5 < tensorBytes * 2 / 5 }

    /// Joins them.
    public init(
        text: JSONObject, inputs: [(path: String, source: any ByteSource)], tensors: [(file: String, tensor: String)],
        tensorBytes: Int
    ) {
        self.tensorBytes = tensorBytes
        self.text = text
        self.inputs = inputs
        self.tensors = tensors
    }
}

/// What came out.
public struct PackResult: Sendable {
    /// Bytes of the files that were packed, inputs of a recipe left out.
    public let inputSize: Int
    /// Files, inputs of a recipe left out.
    public let fileCount: Int
    /// Bytes of the archive.
    public let size: Int
    /// Bytes of its header and directory.
    public let overhead: Int
    /// The digest of the content.
    public let content: String
    /// The adapter's identity, if it is one.
    public let adapter: String?
    /// Whether the base is needed to unpack.
    public let usesBase: Bool
    /// Tensors, or other parts, by how they were coded.
    public let codes: (plain: Int, differences: Int, copies: Int, merged: Int)
}

/// Packs.
public final class ArchiveWriter: Sendable {
    private struct Unit: Sendable {
        let file: Int
        let part: Int
        /// The bytes of the file.
        let range: Range<Int>
    }

    /// What is known so far; only the thread whose turn it is touches it.
    private struct State: ~Copyable {
        var position: Int
        var stream = 0
        var partSum: SHA256? = SHA256()
        var fileSum: SHA256? = SHA256()
        var tokens: [PlaneToken] = []
        var chunks: [Int] = []
        var partDigests: [[Digest]]
        var fileDigests: [Digest]
        var streams: [Int]
    }

    private let plan: PackPlan
    private let request: PackRequest
    private let output: OutputFile
    private let units: [Unit]
    private let dataStart: Int
    private let state: OrderedState<State>
    private let progress: @Sendable (Int) -> Void

    private init(
        _ plan: PackPlan, _ request: PackRequest, _ output: OutputFile, progress: @escaping @Sendable (Int) -> Void
    ) throws(Problem) {
        self.plan = plan
        self.request = request
        self.output = output
        self.progress = progress
        dataStart = try Self.reservedHeader(plan)
        var units: [Unit] = []
        for (at, file) in plan.files.enumerated() {
            for (index, part) in file.parts.enumerated() {
                let step = part.code.planes == 0 ? ArchiveFormat.byteChunk : part.chunk
                for start in stride(from: part.range.lowerBound, to: part.range.upperBound, by: step) {
                    units.append(Unit(file: at, part: index, range: start..<min(part.range.upperBound, start + step)))
                }
            }
        }
        self.units = units
        let empty = Self.digest(SHA256())
        state = OrderedState(
            State(
                position: dataStart, partDigests: plan.files.map { Array(repeating: empty, count: $0.parts.count) },
                fileDigests: Array(repeating: empty, count: plan.files.count),
                streams: Array(repeating: 0, count: plan.files.count)))
    }

    /// Writes the archive of `request` into `output`, which grows, with `threads` threads.
    ///
    /// - Parameter progress: is told of the bytes that were read; with a base, those that are compared count, too.
    public static func write(
        _ request: PackRequest, to output: OutputFile, threads: Int, progress: @escaping @Sendable (Int) -> Void
    ) throws(Problem) -> PackResult {
        var request = request
        if let recipe = request.recipe { request.input.add(inputs: recipe.inputs) }
        var plan = PackPlan(request.input, base: request.base)
        try plan.chooseFloatCodes(request.level, threads: threads)
        if let base = request.base {
            let merged = Set((request.recipe?.tensors ?? []).map { BaseComparison.key($0.file, $0.tensor) })
            let told = try BaseComparison(plan: plan, level: request.level, base: base, merged: merged)
                .decided(threads: threads, progress: progress)
            // A base that tells next to nothing would only be in the way when unpacking.
            if told.toldByBase * 100 >= request.input.size { plan = told } else { request.base = nil }
        }
        if !plan.usesRecipe { plan.files.removeAll { $0.path.hasPrefix(ArchiveFormat.inputPrefix) } }
        let writer = try ArchiveWriter(plan, request, output, progress: progress)
        try writer.run(threads: threads)
        return try writer.finish()
    }

    // MARK: Streams

    private func run(threads: Int) throws(Problem) {
        let level = request.level
        try OrderedWork.run(
            units.count, threads: threads, worker: { PackWorker(level) },
            make: { (at, worker) throws(Problem) -> [PlaneToken] in try self.encode(self.units[at], worker) },
            settle: { (at, tokens, worker) throws(Problem) in try self.append(self.units[at], tokens, worker) })
    }

    private func encode(_ unit: Unit, _ worker: PackWorker) throws(Problem) -> [PlaneToken] {
        let file = plan.files[unit.file]
        let part = file.parts[unit.part]
        try worker.load(file.source, unit.range)
        guard part.code.planes > 0 else { return [] }
        let place = part.code.source == nil ? nil : part.candidate?.place
        return try worker.encode(part.code, place, at: unit.range.lowerBound - part.range.lowerBound)
    }

    private func append(_ unit: Unit, _ tokens: [PlaneToken], _ worker: PackWorker) throws(Problem) {
        let file = plan.files[unit.file]
        let part = file.parts[unit.part]
        let length = unsafe worker.stream.count
        if unit.range.lowerBound == 0 { state.value.stream = 0 }
        unsafe state.value.partSum?.update(worker.read)
        // A file of one part has the part's digest.
        if file.parts.count > 1 { unsafe state.value.fileSum?.update(worker.read) }
        if part.code.planes > 0 { state.value.chunks.append(state.value.stream) }
        state.value.tokens += tokens
        if unit.range.upperBound == part.range.upperBound {
            state.value.partDigests[unit.file][unit.part] = Self.digest(state.value.partSum.take())
            state.value.partSum = SHA256()
            if case .copy(let source) = part.code {
                let digest = state.value.partDigests[unit.file][unit.part].text
                guard digest == plan.sources[source].digest else { throw Self.changed(file.source) }
            }
        }
        if unit.range.upperBound == file.source.size {
            let whole = Self.digest(state.value.fileSum.take())
            state.value.fileDigests[unit.file] =
                file.parts.count > 1 ? whole : state.value.partDigests[unit.file][0]
            state.value.fileSum = SHA256()
        }
        let position = state.value.position
        state.value.stream += length
        state.value.streams[unit.file] += length
        state.value.position += length
        if length > 0 {
            try unsafe output.write(worker.stream, at: position)
            if position / (8 << 20) != (position + length) / (8 << 20) {
                output.startWriteback(at: max(dataStart, position - (8 << 20)), count: (8 << 20) + length)
            }
        }
        progress(unit.range.count)
    }

    private static func digest(_ sum: consuming SHA256?) -> Digest {
        guard let digest = Digest((sum ?? SHA256()).finish()) else { preconditionFailure("SHA-256 has 64 digits") }
        return digest
    }

    private static func changed(_ source: any ByteSource) -> Problem {
        Problem(
            .io, "changed", file: source.path, "was changed while it was packed: something else is writing to it",
            hint: "let the other program finish and try again")
    }

    // MARK: Header and directory

    /// Where the data begins: behind a header that has room for the largest numbers that may come.
    private static func reservedHeader(_ plan: PackPlan) throws(Problem) -> Int {
        let most = plan.files.reduce(1 << 20) { $0 + $1.source.size }
        let digits = String(repeating: "0", count: String(most).utf8.count + 1)
        let widest = Int("1" + digits) ?? .max
        let fixed = try Header.layout(
            plan.files.map { (ArchiveFormat.streamName($0.path), DType.u8, [0]) }
                + [(ArchiveFormat.directoryName, DType.u8, [0])],
            metadata: metadata(
                content: String(repeating: "0", count: 64), directory: String(repeating: "0", count: 64), widest),
            order: .asGiven)
        let room = 8 + fixed.headerLength + (plan.files.count + 1) * 3 * digits.utf8.count
        guard room <= ArchiveFormat.largestHeader else {
            throw Problem(
                .output, "too-many-files", "are too many files for one archive",
                hint: "pack them in parts")
        }
        return (room + 7) / 8 * 8
    }

    private static func metadata(content: String, directory: String, _ size: Int) -> [(key: String, value: String)] {
        [
            (ArchiveFormat.versionKey, ArchiveFormat.version), (ArchiveFormat.contentKey, content),
            (ArchiveFormat.directoryKey, "\(directory) \(size)"),
        ]
    }

    private func finish() throws(Problem) -> PackResult {
        let (streams, position) = (state.value.streams, state.value.position)
        let directory = assembled(state.value)
        let text = directory.encoded()
        let packed = try ZlibText.deflate(text)
        guard text.count <= ArchiveFormat.largestDirectory(position) else {
            throw Problem(
                .output, "too-many-files", "need a directory of \(text.count) bytes, more than readers accept",
                hint: "pack them in parts")
        }
        let header = try Header.layout(
            zip(plan.files, streams).map { (ArchiveFormat.streamName($0.path), DType.u8, [$1]) }
                + [(ArchiveFormat.directoryName, DType.u8, [packed.count])],
            metadata: Self.metadata(content: directory.content, directory: SHA256.hex(text), text.count),
            order: .asGiven)
        try output.write(header.encoded(paddedTo: dataStart), at: 0)
        try output.write(packed, at: position)
        try output.finish(size: position + packed.count)
        let files = directory.files
        return PackResult(
            inputSize: files.reduce(0) { $0 + $1.size }, fileCount: files.count, size: position + packed.count,
            overhead: dataStart + packed.count, content: directory.content, adapter: directory.adapterDigest,
            usesBase: directory.baseName != nil, codes: counts(directory))
    }

    private func counts(_ directory: ArchiveDirectory) -> (plain: Int, differences: Int, copies: Int, merged: Int) {
        var result = (plain: 0, differences: 0, copies: 0, merged: 0)
        for entry in directory.files {
            for part in directory.parts[entry.parts] {
                switch part.code {
                case .bytes, .rotated, .joint: result.plain += 1
                case .difference, .grouped: result.differences += 1
                case .copy: result.copies += 1
                case .merged: result.merged += 1
                }
            }
        }
        return result
    }

    private func assembled(_ state: borrowing State) -> ArchiveDirectory {
        var directory = ArchiveDirectory()
        directory.isFile = request.input.isFile
        directory.binding = request.binding
        directory.sources = plan.sources
        if !plan.sources.isEmpty { directory.baseName = request.base?.name ?? "" }
        if plan.usesRecipe { directory.recipe = request.recipe?.text }
        directory.directories = request.input.emptyDirectories
        directory.tokens = state.tokens
        directory.chunks = state.chunks
        var (token, chunk) = (0, 0)
        for (at, file) in plan.files.enumerated() {
            let first = directory.parts.count
            for (index, part) in file.parts.enumerated() {
                let made = ArchivePart(
                    code: part.code, start: part.range.lowerBound, size: part.range.count,
                    digest: state.partDigests[at][index], chunk: part.code.planes == 0 ? 0 : part.chunk,
                    firstToken: token, firstChunk: chunk)
                directory.parts.append(made)
                token += made.chunkCount * part.code.planes
                chunk += made.chunkCount
            }
            directory.entries.append(
                ArchiveEntry(
                    path: file.path, size: file.source.size, digest: state.fileDigests[at],
                    parts: first..<directory.parts.count))
        }
        directory.content = directory.computedContent
        return directory
    }
}
