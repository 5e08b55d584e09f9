import Digests
import Files
import Problems
import Synchronization

/// Unpacks files of an archive, or only reads them; every byte is held against its digest.
public final class Unpacker: Sendable {
    /// Where a file goes; `nil` if it is only read.
    public typealias Target = @Sendable (Archive.Item) throws(Problem) -> OutputFile?

    private struct Unit: Sendable {
        let entry: Int
        let part: Int
        /// The bytes of the file.
        let range: Range<Int>
        let index: Int
    }

    private struct State: ~Copyable {
        var fileSum: SHA256? = SHA256()
        var partSum: SHA256? = SHA256()
    }

    /// With more files than this, the disk is waited for once at the end, not with each file.
    private static let fewFiles = 64

    /// Whether files are left for the output as a whole to be made durable.
    public var leavesSync: Bool { entries.count > Self.fewFiles }

    /// Bytes after which the disk is told to begin.
    private static let writeback = 8 << 20

    private let archive: Archive
    private let entries: [Int]
    private let units: [Unit]
    private let checksParts: Bool
    private let checksDigests: Bool
    private let merged: BaseFiles?
    private let state = OrderedState(State())
    private let files: Mutex<[Int: OutputFile]>
    private let progress: @Sendable (Int) -> Void

    /// Prepares to unpack.
    ///
    /// - Parameters:
    ///   - paths: the files to unpack; `nil` for all, with the inputs of a recipe if `checksParts`.
    ///   - checksParts: whether each tensor is held against its own digest, besides the file's.
    ///   - checksDigests: whether there are digests to hold against; without the base, only streams can be checked.
    ///   - merged: the files in which the recipe's tensors are.
    public init(
        _ archive: Archive, paths: Set<String>?, checksParts: Bool, checksDigests: Bool = true,
        merged: BaseFiles? = nil,
        progress: @escaping @Sendable (Int) -> Void
    ) {
        self.archive = archive
        self.checksParts = checksParts
        self.checksDigests = checksDigests
        self.merged = merged
        self.progress = progress
        let directory = archive.directory
        entries = directory.entries.indices.filter { at in
            let entry = directory.entries[at]
            return paths.map { $0.contains(entry.path) } ?? (checksParts || !entry.isInput)
        }
        var units: [Unit] = []
        for at in entries {
            for index in directory.entries[at].parts {
                let part = directory.parts[index]
                if part.code.planes == 0 && !checksDigests { continue }
                let step = part.code.planes == 0 ? ArchiveFormat.byteChunk : part.chunk
                for (number, start) in stride(from: 0, to: part.size, by: step).enumerated() {
                    let end = min(part.size, start + step)
                    units.append(
                        Unit(entry: at, part: index, range: part.start + start..<part.start + end, index: number))
                }
            }
        }
        self.units = units
        files = Mutex([:])
    }

    /// Bytes of the files at `paths`, or of all.
    public static func size(_ archive: Archive, _ paths: Set<String>?) -> Int {
        archive.directory.entries.reduce(0) { $0 + (paths?.contains($1.path) ?? true ? $1.size : 0) }
    }

    /// Bytes that will be unpacked.
    public var size: Int { entries.reduce(0) { $0 + archive.directory.entries[$1].size } }

    /// Unpacks with `threads` threads; the files are durable when it returns.
    public func run(threads: Int, to target: @escaping Target) throws(Problem) {
        for at in entries where archive.directory.entries[at].size == 0 {
            let entry = archive.directory.entries[at]
            if checksDigests, entry.digest.text != SHA256.hex([]) {
                throw archive.damage(entry, nil, "does not have its digest")
            }
            try target(archive.item(entry))?.finish(size: 0, isDurable: !leavesSync)
        }
        try OrderedWork.run(
            units.count, threads: threads, worker: { UnpackWorker() },
            make: { (at, worker) throws(Problem) in try self.decode(self.units[at], worker, target) },
            settle: { (at, _, worker) throws(Problem) in try self.settle(self.units[at], worker) })
    }

    /// The file that a unit goes to; opened with its first unit, and closed with its last, since there are limits.
    private func file(of unit: Unit, _ target: Target) throws(Problem) -> OutputFile? {
        try files.withLock { (open) throws(Problem) in
            if let known = open[unit.entry] { return known }
            let made = try target(archive.item(archive.directory.entries[unit.entry]))
            open[unit.entry] = made
            return made
        }
    }

    private func decode(_ unit: Unit, _ worker: UnpackWorker, _ target: Target) throws(Problem) {
        let entry = archive.directory.entries[unit.entry]
        let part = archive.directory.parts[unit.part]
        let bytes = unsafe worker.reserve(unit.range.count)
        switch part.code {
        case .merged: try unsafe readMerged(entry, part, unit, bytes)
        case .copy: try unsafe archive.read(entry, into: bytes, at: unit.range.lowerBound)
        default:
            if checksDigests {
                try unsafe archive.decode(part, unit.index, of: entry, with: worker.coder, into: bytes)
            } else {
                try unsafe archive.checkStreams(part, unit.index, of: entry, with: worker.coder, into: bytes)
            }
        }
        guard let file = try file(of: unit, target) else { return }
        try unsafe file.write(UnsafeRawBufferPointer(bytes), at: unit.range.lowerBound)
    }

    private func readMerged(
        _ entry: ArchiveEntry, _ part: ArchivePart, _ unit: Unit, _ target: UnsafeMutableRawBufferPointer
    ) throws(Problem) {
        guard let source = part.code.source, let merged else { throw archive.needsBase(entry) }
        let name = archive.directory.sources[source].name
        guard let place = merged.tensor(name, size: part.size) else {
            throw archive.damage(entry, part, "has a tensor that its recipe does not make")
        }
        try unsafe place.file.read(into: target, at: place.offset + unit.range.lowerBound - part.start)
    }

    private func settle(_ unit: Unit, _ worker: UnpackWorker) throws(Problem) {
        let entry = archive.directory.entries[unit.entry]
        let part = archive.directory.parts[unit.part]
        progress(unit.range.count)
        // Since pieces come in order here, all before this one is written: let the disk begin with it.
        let end = unit.range.upperBound
        if (end - unit.range.count) / Self.writeback != end / Self.writeback,
            let file = files.withLock({ $0[unit.entry] })
        {
            let start = max(0, (end / Self.writeback - 1) * Self.writeback)
            file.startWriteback(at: start, count: end - start)
        }
        guard checksDigests else { return }
        let isPartEnd = unit.range.upperBound == part.end
        let isFileEnd = unit.range.upperBound == entry.size
        let checksPart = checksParts && entry.parts.count > 1
        unsafe state.value.fileSum?.update(worker.bytes)
        if checksPart {
            unsafe state.value.partSum?.update(worker.bytes)
            if isPartEnd {
                let digest = state.value.partSum.take()?.finish()
                state.value.partSum = SHA256()
                guard digest == part.digest.text else {
                    throw archive.damage(entry, part, "has a part without its digest")
                }
            }
        }
        guard isFileEnd else { return }
        let digest = state.value.fileSum.take()?.finish()
        state.value.fileSum = SHA256()
        guard digest == entry.digest.text, entry.parts.count > 1 || digest == part.digest.text else {
            throw archive.damage(entry, nil, "does not have its digest")
        }
        if let file = files.withLock({ $0.removeValue(forKey: unit.entry) }) {
            try file.finish(size: entry.size, isDurable: !leavesSync)
        }
    }
}

/// What one thread unpacks with.
@safe final class UnpackWorker {
    let coder = ChunkCoder()
    private var buffer = AlignedBuffer()
    /// The bytes that were unpacked last.
    private(set) var bytes = unsafe UnsafeRawBufferPointer(start: nil, count: 0)

    func reserve(_ count: Int) -> UnsafeMutableRawBufferPointer {
        let target = unsafe buffer.reserve(count)
        unsafe bytes = UnsafeRawBufferPointer(target)
        return unsafe target
    }
}

extension Archive {
    /// Reads everything that needs no base and holds it against all digests; writes nothing.
    public func test(threads: Int) throws(Problem) {
        let unpacker = Unpacker(
            self, paths: nil, checksParts: true, checksDigests: baseName == nil || base != nil
        ) { _ in }
        try unpacker.run(threads: threads) { _ in nil }
    }

    /// Checks that the streams of a chunk are whole, without the source that would make sense of them.
    func checkStreams(
        _ part: ArchivePart, _ index: Int, of entry: ArchiveEntry, with coder: ChunkCoder,
        into target: UnsafeMutableRawBufferPointer
    ) throws(Problem) {
        let zeros = part.code.source == nil ? nil : [UInt8](repeating: 0, count: target.count)
        try unsafe decode(part, index, of: entry, with: coder, base: zeros, into: target)
    }
}
