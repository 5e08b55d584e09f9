import CKernels
import Problems

/// Where rows of elements differ from others: a bit for each, in rows of whole words.
@unsafe package struct DifferenceMarks {
    let words: UnsafePointer<UInt64>
    let rows: Int
    let columns: Int

    package init(_ words: UnsafePointer<UInt64>, rows: Int, columns: Int) {
        unsafe self.words = words
        unsafe self.rows = rows
        unsafe self.columns = columns
    }
}

/// Codes bytes whose nearly equal counterpart will be there again when they are wanted: streams of undo records.
///
/// The streams are specified in `formats/undo-record.md`. One for each thread, since it keeps zlib's memory.
@safe package final class DifferenceCoder: @unchecked Sendable {
    /// What the first byte of a stream says.
    private enum Kind: UInt8 {
        /// How far it is from one element that differs to the next, and by how much they do.
        case sparse
        /// All differences in zigzag form, ordered by the reference's exponents, in planes.
        case differences
        /// The elements themselves, rotated left by one bit, in planes.
        case plain
    }

    /// The sparse form is taken where it has no more than a token for so many elements.
    private static let sparsest = 6

    private let encoder = PlaneEncoder(level: .fast)
    private let inflater = Inflater()
    private var first = AlignedBuffer()
    private var second = AlignedBuffer()
    private var coded = AlignedBuffer()

    package init() {}

    // MARK: Encoding

    /// The stream from which `bytes` come back, given `reference`; empty if they are equal.
    ///
    /// - Parameters:
    ///   - width: bytes of an element: 1, 2, 4 or 8.
    ///   - shift: where in an element of the reference eight bits are that tell how large it is.
    ///   - reference: as many bytes; `nil` if there is nothing to compare with.
    ///   - marks: where elements of two bytes differ, if that is known.
    package func encode(
        _ bytes: UnsafeRawBufferPointer, width: Int, shift: Int, reference: UnsafeRawBufferPointer?,
        marks: DifferenceMarks? = nil
    ) -> [UInt8] {
        guard bytes.count > 0 else { return [] }
        guard let reference = unsafe reference else { return unsafe plain(bytes, width) }
        if let sparse = unsafe sparse(bytes, reference, width, marks) { return sparse }
        let differences = unsafe differences(bytes, reference, width, shift)
        let plain = unsafe plain(bytes, width)
        return differences.count <= plain.count ? differences : plain
    }

    private func sparse(
        _ bytes: UnsafeRawBufferPointer, _ reference: UnsafeRawBufferPointer, _ width: Int, _ marks: DifferenceMarks?
    ) -> [UInt8]? {
        let count = bytes.count / width
        let most = count / Self.sparsest + 1
        let tokens = most + count / 126 + 2
        let room = unsafe first.reserve(tokens + most + most * width)
        let start = unsafe room.baseAddress?.assumingMemoryBound(to: UInt8.self)
        var found = unsafe ak_sparse()
        unsafe found.tokens = start
        unsafe found.values = start?.advanced(by: tokens)
        unsafe found.rests = start?.advanced(by: tokens + most)
        let isSparse =
            if let marks = unsafe marks {
                unsafe ak_sparse_gather_marked(
                    bytes.baseAddress?.assumingMemoryBound(to: UInt16.self),
                    reference.baseAddress?.assumingMemoryBound(to: UInt16.self), marks.words, marks.rows,
                    marks.columns, &found, most)
            } else {
                unsafe ak_sparse_gather(width, bytes.baseAddress, reference.baseAddress, count, &found, most)
            }
        guard isSparse else { return nil }
        guard unsafe found.token_count > 0 else { return [] }
        var stream = [Kind.sparse.rawValue]
        let sections = unsafe [
            UnsafeRawBufferPointer(start: found.tokens, count: found.token_count),
            UnsafeRawBufferPointer(start: found.values, count: found.value_count),
            UnsafeRawBufferPointer(start: found.rests, count: found.rest_count),
        ]
        for at in 0..<3 { unsafe append(sections[at], .huffman, to: &stream) }
        return stream
    }

    private func differences(
        _ bytes: UnsafeRawBufferPointer, _ reference: UnsafeRawBufferPointer, _ width: Int, _ shift: Int
    ) -> [UInt8] {
        let count = bytes.count / width
        let values = unsafe first.reserve(bytes.count)
        let ordered = unsafe second.reserve(bytes.count)
        unsafe ak_zigzag_difference(width, bytes.baseAddress, reference.baseAddress, values.baseAddress, count)
        unsafe ak_group_gather(
            width, values.baseAddress, reference.baseAddress, ordered.baseAddress, count, Int32(shift))
        unsafe ak_planes_split(
            width, ordered.baseAddress, values.baseAddress?.assumingMemoryBound(to: UInt8.self), count, false)
        return unsafe planes(UnsafeRawBufferPointer(values), width, [Kind.differences.rawValue, UInt8(shift)])
    }

    private func plain(_ bytes: UnsafeRawBufferPointer, _ width: Int) -> [UInt8] {
        guard width > 1 else { return unsafe planes(bytes, 1, [Kind.plain.rawValue]) }
        let values = unsafe first.reserve(bytes.count)
        unsafe ak_planes_split(
            width, bytes.baseAddress, values.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count / width, true
        )
        return unsafe planes(UnsafeRawBufferPointer(values), width, [Kind.plain.rawValue])
    }

    private func planes(_ values: UnsafeRawBufferPointer, _ width: Int, _ start: [UInt8]) -> [UInt8] {
        var stream = start
        let count = values.count / width
        for plane in 0..<width {
            let part = unsafe UnsafeRawBufferPointer(rebasing: values[plane * count..<(plane + 1) * count])
            unsafe append(part, width > 1 ? .numbers : .bytes, to: &stream)
        }
        return stream
    }

    /// Adds a section: its length, the length of its stream, and that; equal lengths mean that it is stored as it is.
    private func append(_ section: UnsafeRawBufferPointer, _ content: PlaneContent, to stream: inout [UInt8]) {
        let room = unsafe coded.reserve(section.count)
        let length = unsafe encoder.encode(section, into: room, content)
        for number in [section.count, length ?? section.count] {
            stream += (0..<4).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
        }
        if let length {
            unsafe stream.append(contentsOf: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(room)[..<length]))
        } else {
            unsafe stream.append(contentsOf: section)
        }
    }

    // MARK: Decoding

    /// Makes the bytes again in `target`, which holds the reference; false if the stream is none for so many bytes.
    package func decode(_ stream: [UInt8], width: Int, into target: UnsafeMutableRawBufferPointer) -> Bool {
        guard let first = stream.first else { return true }
        guard target.count % width == 0, let kind = Kind(rawValue: first) else { return false }
        return unsafe stream.withUnsafeBytes { bytes in
            switch kind {
            case .sparse: unsafe joinSparse(bytes, width, target)
            case .differences: unsafe joinDifferences(bytes, width, target)
            case .plain: unsafe joinPlain(bytes, width, target)
            }
        }
    }

    private func joinSparse(
        _ stream: UnsafeRawBufferPointer, _ width: Int, _ target: UnsafeMutableRawBufferPointer
    ) -> Bool {
        let count = target.count / width
        var at = 1
        // What these bytes can say at most of so many elements.
        let limits = [2 * count + 2, count, count * width]
        var lengths: [Int] = []
        let room = unsafe first.reserve(limits.reduce(0, +))
        var start = 0
        for limit in limits {
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: room[start...])
            guard let length = unsafe section(stream, &at, upTo: limit, into: rest) else { return false }
            lengths.append(length)
            start += length
        }
        guard at == stream.count else { return false }
        var found = unsafe ak_sparse()
        let base = unsafe room.baseAddress?.assumingMemoryBound(to: UInt8.self)
        unsafe found.tokens = base
        unsafe found.values = base?.advanced(by: lengths[0])
        unsafe found.rests = base?.advanced(by: lengths[0] + lengths[1])
        unsafe (found.token_count, found.value_count, found.rest_count) = (lengths[0], lengths[1], lengths[2])
        return unsafe ak_sparse_scatter(width, &found, target.baseAddress, count)
    }

    private func joinDifferences(
        _ stream: UnsafeRawBufferPointer, _ width: Int, _ target: UnsafeMutableRawBufferPointer
    ) -> Bool {
        let count = target.count / width
        guard stream.count >= 2, unsafe Int(stream[1]) < 8 * width else { return false }
        let shift = unsafe Int32(stream[1])
        let planes = unsafe first.reserve(target.count)
        guard unsafe joinPlanes(stream, from: 2, width, planes) else { return false }
        let ordered = unsafe second.reserve(target.count)
        unsafe ak_planes_join(
            width, planes.baseAddress?.assumingMemoryBound(to: UInt8.self), ordered.baseAddress, count, false)
        unsafe ak_group_scatter(
            width, ordered.baseAddress, target.baseAddress, planes.baseAddress, count, shift)
        unsafe ak_zigzag_undo(width, planes.baseAddress, target.baseAddress, target.baseAddress, count)
        return true
    }

    private func joinPlain(
        _ stream: UnsafeRawBufferPointer, _ width: Int, _ target: UnsafeMutableRawBufferPointer
    ) -> Bool {
        guard width > 1 else { return unsafe joinPlanes(stream, from: 1, 1, target) }
        let planes = unsafe first.reserve(target.count)
        guard unsafe joinPlanes(stream, from: 1, width, planes) else { return false }
        unsafe ak_planes_join(
            width, planes.baseAddress?.assumingMemoryBound(to: UInt8.self), target.baseAddress, target.count / width,
            true)
        return true
    }

    private func joinPlanes(
        _ stream: UnsafeRawBufferPointer, from start: Int, _ width: Int, _ target: UnsafeMutableRawBufferPointer
    ) -> Bool {
        let count = target.count / width
        var at = start
        for plane in 0..<width {
            let part = unsafe UnsafeMutableRawBufferPointer(rebasing: target[plane * count..<(plane + 1) * count])
            guard unsafe section(stream, &at, upTo: count, into: part) == count else { return false }
        }
        return at == stream.count
    }

    /// Reads a section of at most `limit` bytes; its length, or `nil` if there is none.
    private func section(
        _ stream: UnsafeRawBufferPointer, _ at: inout Int, upTo limit: Int, into target: UnsafeMutableRawBufferPointer
    ) -> Int? {
        guard stream.count - at >= 8 else { return nil }
        let numbers = [0, 4].map { start in
            (0..<4).reduce(0) { unsafe $0 | Int(stream[at + start + $1]) << (8 * $1) }
        }
        at += 8
        guard numbers[0] <= limit, numbers[1] <= numbers[0], numbers[1] <= stream.count - at else { return nil }
        let source = unsafe UnsafeRawBufferPointer(rebasing: stream[at..<at + numbers[1]])
        let room = unsafe UnsafeMutableRawBufferPointer(rebasing: target[..<numbers[0]])
        at += numbers[1]
        if numbers[0] == numbers[1] {
            unsafe room.copyMemory(from: source)
        } else if unsafe !inflater.run(source, into: room) {
            return nil
        }
        return numbers[0]
    }
}
