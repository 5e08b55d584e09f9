import CKernels
import CZlib
import Files
import Problems

/// Codes and decodes chunks; used by one thread at a time, since it keeps its buffers.
@safe final class ChunkCoder: @unchecked Sendable {
    private var values = AlignedBuffer()
    private var planes = AlignedBuffer()
    private var coded = AlignedBuffer()
    private var packed = AlignedBuffer()
    private let inflater = Inflater()

    /// Reads a chunk's stream; the bytes are good until the next call.
    func load(_ file: any ByteSource, at offset: Int, count: Int) throws(Problem) -> UnsafeRawBufferPointer {
        let target = unsafe packed.reserve(count)
        try unsafe file.read(into: target, at: offset)
        return UnsafeRawBufferPointer(target)
    }

    /// Cuts `chunk` into planes and codes each: the bytes for the stream, which are good until the next call, and tokens.
    ///
    /// - Parameter base: the source's bytes at the same place, where the code needs them.
    func encode(
        _ chunk: UnsafeRawBufferPointer, _ code: PartCode, base: UnsafeRawBufferPointer?, with encoder: PlaneEncoder
    ) -> (stream: UnsafeRawBufferPointer, tokens: [PlaneToken]) {
        let count = chunk.count / code.width
        let planes = unsafe split(chunk, code, base: base, count)
        let target = unsafe coded.reserve(planes.count)
        var tokens: [PlaneToken] = []
        var (done, start) = (0, 0)
        for index in 0..<code.planes {
            let size = code.planeSize(index, count)
            let plane = unsafe UnsafeRawBufferPointer(rebasing: planes[start..<(start + size)])
            let room = unsafe UnsafeMutableRawBufferPointer(rebasing: target[done..<(done + size)])
            start += size
            if let length = unsafe encoder.encode(plane, into: room, isNumeric: code != .bytes) {
                tokens.append(PlaneToken(length: UInt32(length), check: nil))
                done += length
            } else {
                unsafe room.copyMemory(from: plane)
                tokens.append(PlaneToken(length: UInt32(size), check: unsafe adler(plane)))
                done += size
            }
        }
        return unsafe (UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(target)[..<done]), tokens)
    }

    /// Bytes that a chunk would about take.
    func estimate(_ chunk: UnsafeRawBufferPointer, _ code: PartCode, with encoder: PlaneEncoder) -> Double {
        let count = chunk.count / code.width
        let planes = unsafe split(chunk, code, base: nil, count)
        var (start, sum) = (0, 0.0)
        for index in 0..<code.planes {
            let size = code.planeSize(index, count)
            sum += unsafe encoder.estimate(UnsafeRawBufferPointer(rebasing: planes[start..<(start + size)]))
            start += size
        }
        return sum
    }

    private func split(
        _ chunk: UnsafeRawBufferPointer, _ code: PartCode, base: UnsafeRawBufferPointer?, _ count: Int
    ) -> UnsafeRawBufferPointer {
        let width = code.width
        if case .bytes = code { return unsafe chunk }
        let planes = unsafe self.planes.reserve(code.planesSize(chunk.count))
        let bytes = unsafe planes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        if case .joint = code {
            unsafe ak_joint_split(width, chunk.baseAddress, bytes, count)
            return UnsafeRawBufferPointer(planes)
        }
        var source = chunk.baseAddress
        var isRotated = true
        if code.source != nil {
            isRotated = false
            let values = unsafe self.values.reserve(2 * chunk.count)
            unsafe ak_zigzag_difference(width, chunk.baseAddress, base?.baseAddress, values.baseAddress, count)
            unsafe source = UnsafeRawPointer(values.baseAddress)
            if case .grouped(_, let shift, _) = code {
                let ordered = unsafe values.baseAddress?.advanced(by: chunk.count)
                unsafe ak_group_gather(width, source, base?.baseAddress, ordered, count, Int32(shift))
                unsafe source = UnsafeRawPointer(ordered)
            }
        }
        unsafe ak_planes_split(width, source, bytes, count, isRotated)
        return UnsafeRawBufferPointer(planes)
    }

    /// Decodes the planes of a chunk into `target`; tells what is wrong with the stream, if anything.
    func decode(
        _ stream: UnsafeRawBufferPointer, _ tokens: ArraySlice<PlaneToken>, _ code: PartCode,
        base: UnsafeRawBufferPointer?, into target: UnsafeMutableRawBufferPointer
    ) -> String? {
        let count = target.count / code.width
        let isPlain = code == .bytes
        let planes = unsafe isPlain ? target : self.planes.reserve(code.planesSize(target.count))
        var (done, start) = (0, 0)
        for (index, token) in tokens.enumerated() {
            let size = code.planeSize(index, count)
            let source = unsafe UnsafeRawBufferPointer(rebasing: stream[done..<(done + Int(token.length))])
            let plane = unsafe UnsafeMutableRawBufferPointer(rebasing: planes[start..<(start + size)])
            start += size
            if let check = token.check {
                guard unsafe adler(source) == check else { return "does not have its checksum" }
                unsafe plane.copyMemory(from: source)
            } else if unsafe !inflater.run(source, into: plane) {
                return "is no whole zlib stream of the right length"
            }
            done += Int(token.length)
        }
        if isPlain { return nil }
        unsafe join(planes, code, base: base, count, into: target)
        return nil
    }

    private func join(
        _ planes: UnsafeMutableRawBufferPointer, _ code: PartCode, base: UnsafeRawBufferPointer?, _ count: Int,
        into target: UnsafeMutableRawBufferPointer
    ) {
        let width = code.width
        let bytes = unsafe UnsafePointer(planes.baseAddress?.assumingMemoryBound(to: UInt8.self))
        if case .joint = code {
            unsafe ak_joint_join(width, bytes, target.baseAddress, count)
            return
        }
        guard code.source != nil else {
            unsafe ak_planes_join(width, bytes, target.baseAddress, count, true)
            return
        }
        let values = unsafe self.values.reserve(2 * target.count)
        unsafe ak_planes_join(width, bytes, values.baseAddress, count, false)
        var source = values.baseAddress
        if case .grouped(_, let shift, _) = code {
            let ordered = unsafe values.baseAddress?.advanced(by: target.count)
            unsafe ak_group_scatter(width, source, base?.baseAddress, ordered, count, Int32(shift))
            unsafe source = ordered
        }
        unsafe ak_zigzag_undo(width, source, base?.baseAddress, target.baseAddress, count)
    }
}

/// Memory that grows as needed, aligned for any element.
@safe struct AlignedBuffer: ~Copyable {
    private var memory = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)

    deinit { unsafe memory.deallocate() }

    /// Room for `count` bytes; what was in it before is gone.
    mutating func reserve(_ count: Int) -> UnsafeMutableRawBufferPointer {
        if unsafe memory.count < count || memory.baseAddress == nil {
            unsafe memory.deallocate()
            // Rounded up, so that offsets of half the size are aligned, too.
            unsafe memory = .allocate(byteCount: (max(count, 64) + 127) / 128 * 128, alignment: 64)
        }
        return unsafe UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
    }
}
