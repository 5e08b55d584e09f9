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

    /// The sparse form is taken where no more than one of so many elements differs.
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
    package func encode(
        _ bytes: UnsafeRawBufferPointer, width: Int, shift: Int, reference: UnsafeRawBufferPointer?
    ) -> [UInt8] {
        guard bytes.count > 0 else { return [] }
        guard let reference = unsafe reference else { return unsafe plain(bytes, width) }
        let count = bytes.count / width
        let differing = unsafe ak_sparse_count(width, bytes.baseAddress, reference.baseAddress, count)
        if isSparse(differing, count) {
            return unsafe sparse(width, count, differing) { out in
                unsafe ak_sparse_gather(width, bytes.baseAddress, reference.baseAddress, count, differing, out)
            }
        }
        return unsafe dense(bytes, width, shift, reference)
    }

    /// The same for elements of two bytes of which it is known where they differ.
    package func encode(
        _ bytes: UnsafeRawBufferPointer, shift: Int, reference: UnsafeRawBufferPointer, marks: DifferenceMarks
    ) -> [UInt8] {
        let (words, rows, columns) = unsafe (marks.words, marks.rows, marks.columns)
        let (elements, others) = unsafe (
            bytes.assumingMemoryBound(to: UInt16.self).baseAddress,
            reference.assumingMemoryBound(to: UInt16.self).baseAddress
        )
        let differing = unsafe ak_marked_count(words, rows, columns)
        if isSparse(differing, rows * columns) {
            return unsafe sparse(2, rows * columns, differing) { out in
                unsafe ak_sparse_gather_marked(elements, others, words, rows, columns, differing, out)
            }
        }
        return unsafe dense(bytes, 2, shift, reference)
    }

    private func isSparse(_ differing: Int, _ count: Int) -> Bool { differing <= count / Self.sparsest + 1 }

    /// Gaps and differences, as `gather` writes them; it returns how many bytes these are.
    private func sparse(
        _ width: Int, _ count: Int, _ differing: Int, _ gather: (UnsafeMutablePointer<UInt8>) -> Int
    ) -> [UInt8] {
        guard differing > 0 else { return [] }
        let room = unsafe first.reserve(1 + ak_sparse_room(width, count, differing))
        guard let start = unsafe room.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return [] }
        unsafe start[0] = Kind.sparse.rawValue
        let length = unsafe gather(start + 1)
        return unsafe [UInt8](UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(room)[..<(1 + length)]))
    }

    /// The shorter one of the forms that hold all elements.
    private func dense(
        _ bytes: UnsafeRawBufferPointer, _ width: Int, _ shift: Int, _ reference: UnsafeRawBufferPointer
    ) -> [UInt8] {
        let differences = unsafe differences(bytes, reference, width, shift)
        let plain = unsafe plain(bytes, width)
        return differences.count <= plain.count ? differences : plain
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
            unsafe append(part, isNumeric: width > 1, to: &stream)
        }
        return stream
    }

    /// Adds a section: its length, the length of its stream, and that; equal lengths mean that it is stored as it is.
    private func append(_ section: UnsafeRawBufferPointer, isNumeric: Bool, to stream: inout [UInt8]) {
        let room = unsafe coded.reserve(section.count)
        let length = unsafe encoder.encode(section, into: room, isNumeric: isNumeric)
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
            case .sparse:
                unsafe ak_sparse_scatter(
                    width, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self).advanced(by: 1), bytes.count - 1,
                    target.baseAddress, target.count / width)
            case .differences: unsafe joinDifferences(bytes, width, target)
            case .plain: unsafe joinPlain(bytes, width, target)
            }
        }
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
