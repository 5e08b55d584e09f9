import Files
import Problems

/// What one thread packs with.
@safe final class PackWorker {
    private let coder = ChunkCoder()
    private let encoder: PlaneEncoder
    private var chunk = AlignedBuffer()
    private var base = AlignedBuffer()
    /// The chunk that was read last, and its stream.
    private(set) var read = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    private(set) var stream = unsafe UnsafeRawBufferPointer(start: nil, count: 0)

    init(_ level: ArchiveLevel) { encoder = PlaneEncoder(level: level) }

    /// Reads bytes of a file; they are in `read` until the next call.
    func load(_ source: any ByteSource, _ range: Range<Int>) throws(Problem) {
        let target = unsafe chunk.reserve(range.count)
        try unsafe source.read(into: target, at: range.lowerBound)
        unsafe read = UnsafeRawBufferPointer(target)
        unsafe stream = UnsafeRawBufferPointer(start: nil, count: 0)
    }

    /// Codes what was read; the bytes are in `stream` until the next call.
    ///
    /// - Parameters:
    ///   - place: the source, where the code needs one.
    ///   - offset: where the chunk begins in it.
    func encode(_ code: PartCode, _ place: BaseFiles.Place?, at offset: Int) throws(Problem) -> [PlaneToken] {
        var source: UnsafeRawBufferPointer?
        if let place {
            let target = unsafe base.reserve(read.count)
            try unsafe place.file.read(into: target, at: place.offset + offset)
            unsafe source = UnsafeRawBufferPointer(target)
        }
        let (bytes, tokens) = unsafe coder.encode(read, code, base: source, with: encoder)
        unsafe stream = bytes
        return tokens
    }

    private static let sampleSize = 64 << 10

    /// How floating-point numbers are best cut, by a sample from the middle of a part.
    func floatCode(_ part: PlannedPart, _ source: any ByteSource) throws(Problem) -> PartCode {
        guard case .rotated(let width) = part.code, width > 1 else { return part.code }
        let size = min(part.range.count, Self.sampleSize)
        let start = part.range.lowerBound + (part.range.count - size) / 2 / width * width
        try load(source, start..<start + size)
        let rotated = unsafe coder.estimate(read, .rotated(width: width), with: encoder)
        let joint = unsafe coder.estimate(read, .joint(width: width), with: encoder)
        // Few different numbers, or rows that come back: whole elements match where their planes do not.
        if let bytes = unsafe encoder.matchEstimate(read), Double(bytes) < min(rotated, joint) * 0.97 { return .bytes }
        return joint < rotated * 0.999 ? .joint(width: width) : part.code
    }

    /// The code that makes a few chunks of a part smallest: alone, as differences, or as differences in groups.
    func bestCode(
        _ part: PlannedPart, _ source: any ByteSource, _ place: BaseFiles.Place, _ shift: Int
    ) throws(Problem) -> PartCode {
        let width = part.width
        var candidates: [PartCode] = [.difference(width: width, source: 0), part.code]
        if width > 1 || shift > 0 { candidates.insert(.grouped(width: width, shift: shift, source: 0), at: 0) }
        var sizes = Array(repeating: 0, count: candidates.count)
        let count = (part.range.count + part.chunk - 1) / part.chunk
        for index in Set([0, count / 2, count - 1]).sorted() {
            let start = index * part.chunk
            let end = min(part.range.count, start + part.chunk)
            try load(source, part.range.lowerBound + start..<part.range.lowerBound + end)
            for (at, code) in candidates.enumerated() {
                let tokens = try encode(code, code.source == nil ? nil : place, at: start)
                sizes[at] += tokens.reduce(0) { $0 + Int($1.length) }
            }
        }
        return zip(candidates, sizes).min { $0.1 < $1.1 }?.0 ?? part.code
    }
}
