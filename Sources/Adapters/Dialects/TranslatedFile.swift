import Files
import Problems
import Safetensors
import Synchronization

/// A tensor of an adapter in the form in which all dialects are alike.
struct TranslatedTensor: Sendable {
    /// Where its bytes come from.
    enum Content: Sendable {
        /// They are a tensor of the file, as it is.
        case stored(TensorInfo)
        /// They are computed when they are needed.
        case computed(@Sendable () throws(Problem) -> [UInt8])
    }

    let name: String
    let dtype: DType
    let shape: [Int]
    let content: Content

    /// The tensor as the file has it, under its own name; `shape` may say the same elements otherwise.
    init(_ tensor: TensorInfo, shape: [Int]? = nil) {
        name = tensor.name
        dtype = tensor.dtype
        self.shape = shape ?? tensor.shape
        content = .stored(tensor)
    }

    /// A tensor that is computed, by the name of the one that it says most about.
    init(
        _ name: String, _ dtype: DType, _ shape: [Int], computed: @escaping @Sendable () throws(Problem) -> [UInt8]
    ) {
        self.name = name
        self.dtype = dtype
        self.shape = shape
        content = .computed(computed)
    }
}

/// A safetensors file that nobody wrote: the tensors of another dialect, turned or computed when they are read.
final class TranslatedFile: ByteSource {
    let path: String
    let identity: FileIdentity
    let size: Int
    private let header: Header
    private let head: [UInt8]
    private let contents: [TranslatedTensor.Content]
    private let file: SafetensorsFile?
    private let kept = Mutex<[(place: Int, bytes: [UInt8])]>([])
    /// Computed tensors that stay: the two factors of a module, and those of its neighbour.
    private static let most = 4

    /// Puts the file together.
    ///
    /// - Parameters:
    ///   - file: what stored tensors are read from.
    ///   - source: the file that all came from, for path and identity.
    init(
        _ tensors: [TranslatedTensor], file: SafetensorsFile?, source: any ByteSource,
        metadata: [(key: String, value: String)]?
    ) throws(Problem) {
        path = source.path
        identity = source.identity
        self.file = file
        header = try Header.layout(tensors.map { ($0.name, $0.dtype, $0.shape) }, metadata: metadata, order: .asGiven)
        contents = tensors.map(\.content)
        head = header.encoded()
        size = header.dataStart + header.dataLength
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Problem) {
        guard offset >= 0, buffer.count <= size, offset <= size - buffer.count else {
            throw Problem(.internalFault, "short-read", file: path, "was read beyond its end")
        }
        var done = 0
        if offset < head.count {
            done = min(buffer.count, head.count - offset)
            unsafe copy(head, offset, done, into: buffer, at: 0)
        }
        var place = first(ending: offset + done - head.count)
        while done < buffer.count {
            let tensor = header.tensors[place]
            let start = offset + done - header.dataStart - tensor.begin
            let count = min(buffer.count - done, tensor.byteCount - start)
            if count > 0 {
                let target = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
                switch contents[place] {
                case .stored(let stored): try unsafe file?.read(stored, bytes: start..<start + count, into: target)
                case .computed(let make): try unsafe copy(bytes(place, make), start, count, into: target, at: 0)
                }
                done += count
            }
            place += 1
        }
    }

    /// The first tensor that ends behind a byte of the data.
    private func first(ending byte: Int) -> Int {
        var (low, high) = (0, header.tensors.count)
        while low < high {
            let middle = (low + high) / 2
            if header.tensors[middle].end > byte { high = middle } else { low = middle + 1 }
        }
        return low
    }

    private func copy(
        _ bytes: [UInt8], _ start: Int, _ count: Int, into buffer: UnsafeMutableRawBufferPointer, at place: Int
    ) {
        unsafe bytes.withUnsafeBytes {
            unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[place..<place + count]).copyMemory(
                from: UnsafeRawBufferPointer(rebasing: $0[start..<start + count]))
        }
    }

    private func bytes(_ place: Int, _ make: () throws(Problem) -> [UInt8]) throws(Problem) -> [UInt8] {
        if let found = kept.withLock({ $0.first { $0.place == place }?.bytes }) { return found }
        let made = try make()
        guard made.count == header.tensors[place].byteCount else {
            throw Problem(
                .internalFault, "bad-size", file: path, tensor: header.tensors[place].name,
                "was computed with \(made.count) bytes, not \(header.tensors[place].byteCount)")
        }
        kept.withLock { list in
            list.append((place, made))
            if list.count > Self.most { list.removeFirst() }
        }
        return made
    }
}
