import Files
import Problems
import Safetensors
import Synchronization

/// Where a chunk of the base is, and what gives it back.
struct RestoredPlace {
    let part: UndoPart
    let chunk: UndoChunk
    /// The path of the file that it is in, for messages.
    let path: String
    /// The tensor; `nil` for a header, or a file without tensors.
    let name: String?
    let dtype: DType
    /// Where it begins in the tensor or file.
    let offset: Int
    /// Where its stream begins among the streams.
    let stream: Int
    /// Opens the merged model's file of the same path.
    let other: () throws(Problem) -> any ByteSource
}

/// A file of the base that is not there, made of the merged model and its record where it is read.
public final class RestoredFile: ByteSource {
    /// The path that it would have beside the merged model's files, for messages.
    public let path: String
    /// Bytes.
    public let size: Int
    /// Tells it from other files.
    public let identity: FileIdentity
    /// Its path in the base.
    let name: String
    let file: UndoFile
    private let joined = Mutex<Joined?>(nil)

    private struct Joined: Sendable {
        unowned let base: RestoredBase
        /// The tensors, where there are any.
        var header: Header?
    }

    init(_ file: UndoFile, name: String, path: String, _ identity: FileIdentity) {
        self.file = file
        self.path = path
        self.identity = identity
        self.name = name
        size = file.size
    }

    /// Reads its header, if it has one.
    func join(_ base: RestoredBase) throws(Problem) {
        joined.withLock { $0 = Joined(base: base, header: nil) }
        guard !file.tensors.isEmpty else { return }
        let found: Header
        do throws(Problem) {
            let text = try read(at: 0, count: file.head.size)
            let length = text.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            guard text.count >= 8, length == UInt64(text.count - 8) else {
                throw UndoFormat.damaged("holds a header of another length than it says")
            }
            found = try Header.parse(json: Array(text[8...]), dataLength: size - text.count, file: path)
        } catch {
            throw Problem(error.kind, error.code, file: base.record.path, error.message, hint: error.hint)
        }
        let sizes = zip(found.tensors, file.tensors).map { ($0.byteCount, $1.size) }
        guard found.tensors.count == file.tensors.count, sizes.allSatisfy({ $0 == $1 }) else {
            throw UndoFormat.damaged("holds a header that does not go with its chunks").at(file: base.record.path)
        }
        joined.withLock { $0 = Joined(base: base, header: found) }
    }

    private var own: Joined {
        guard let found = joined.withLock({ $0 }) else {
            preconditionFailure("a restored file is joined before it is read")
        }
        return found
    }

    /// Its header.
    var header: Header? { own.header }

    /// What stands before the names of its tensors where it is a file of a pipeline's component.
    private var prefix: String {
        let parts = name.split(separator: "/")
        return parts.count > 1 ? parts.dropLast().joined(separator: "/") + "." : ""
    }

    /// Chunks of tensor number `tensor`, or of the header or the whole file for -1.
    func place(_ tensor: Int, _ chunk: Int) -> RestoredPlace {
        let (base, info) = (own.base, tensor < 0 ? nil : own.header?.tensors[tensor])
        let part = tensor < 0 ? file.head : file.tensors[tensor]
        let before = part.chunks[..<chunk]
        let name = name
        return RestoredPlace(
            part: part, chunk: part.chunks[chunk], path: path, name: info.map { prefix + $0.name },
            dtype: info?.dtype ?? .u8,
            offset: before.reduce(0) { $0 + $1.size }, stream: before.reduce(part.start) { $0 + $1.stream },
            other: { () throws(Problem) in
                var parts = name.split(separator: "/").map(String.init)
                let last = parts.removeLast()
                guard var place = base.directory else {
                    throw UndoFormat.damaged("refers to a file beside the merged one").at(file: base.record.path)
                }
                for part in parts { place = try place.folder(part) }
                let source: any ByteSource
                do throws(Problem) {
                    source = try place.source(last)
                } catch {
                    throw Problem(
                        .incompatible, "not-the-merge", file: error.file ?? base.merged.path,
                        "is missing or cannot be read, though the record says that the merge copied it from the base",
                        hint: "put it back as it was in the base")
                }
                guard source.size == part.size else {
                    throw Problem(
                        .incompatible, "not-the-merge", file: source.path,
                        "has \(source.size) bytes, but the base's file, which the merge copied, had \(part.size)",
                        hint: "it was changed since, or '\(base.record.path)' is the record of another merge")
                }
                return source
            })
    }

    /// Makes some of its bytes.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Problem) {
        guard offset >= 0, buffer.count <= size, offset <= size - buffer.count else {
            throw Problem(.internalFault, "short-read", file: path, "was read beyond its end")
        }
        let found = own
        var done = 0
        if offset < file.head.size, buffer.count > 0 {
            done = min(buffer.count, file.head.size - offset)
            let target = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<done])
            try unsafe read(-1, file.head, from: offset, into: target, found.base)
        }
        guard done < buffer.count, let header = found.header else { return }
        // The first tensor that ends behind the offset.
        let at = offset + done - header.dataStart
        var (low, high) = (0, header.tensors.count)
        while low < high {
            let middle = (low + high) / 2
            if header.tensors[middle].end <= at { low = middle + 1 } else { high = middle }
        }
        while done < buffer.count, low < header.tensors.count {
            let tensor = header.tensors[low]
            let start = offset + done - header.dataStart - tensor.begin
            let count = min(tensor.byteCount - start, buffer.count - done)
            if count > 0 {
                let target = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
                try unsafe read(low, file.tensors[low], from: start, into: target, found.base)
            }
            done += count
            low += 1
        }
    }

    /// The digest of a chunk, against which it is held when it is made.
    public func knownDigest(of bytes: Range<Int>) -> String? {
        guard let header else { return nil }
        let start = bytes.lowerBound - header.dataStart
        guard let tensor = header.tensors.firstIndex(where: { $0.begin <= start && start < $0.end }) else { return nil }
        var begin = header.tensors[tensor].begin
        for chunk in file.tensors[tensor].chunks {
            if begin == start { return chunk.size == bytes.count ? chunk.digest : nil }
            begin += chunk.size
        }
        return nil
    }

    private func read(
        _ tensor: Int, _ part: UndoPart, from start: Int, into buffer: UnsafeMutableRawBufferPointer,
        _ base: RestoredBase
    ) throws(Problem) {
        var (done, begin) = (0, 0)
        for (at, chunk) in part.chunks.enumerated() {
            defer { begin += chunk.size }
            let within = start + done - begin
            guard within < chunk.size, done < buffer.count else { continue }
            let count = min(chunk.size - within, buffer.count - done)
            let target = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
            try unsafe base.read(self, tensor: tensor, chunk: at, from: within, into: target)
            done += count
        }
    }
}

/// The files of a restored base as a folder.
public final class RestoredFolder: Folder {
    /// The path of the merged model, for messages.
    public let path: String
    private let base: RestoredBase
    private let prefix: String

    init(_ base: RestoredBase, _ prefix: String) {
        self.base = base
        self.prefix = prefix
        path = prefix.isEmpty ? base.merged.path : "\(base.merged.path)/\(prefix.dropLast())"
    }

    /// What lies at its top.
    public func entries() -> [DirectoryEntry] {
        var kinds: [String: DirectoryEntry] = [:]
        let directories = base.record.directory.directories.map { ($0 + "/", 0) }
        let linked = base.record.directory.linked.map { ($0, (try? base.linked($0).size) ?? 0) }
        for (path, size) in base.files.values.map({ ($0.name, $0.size) }) + directories + linked
        where path.hasPrefix(prefix) {
            let rest = path.dropFirst(prefix.count)
            guard let first = rest.split(separator: "/").first.map(String.init) else { continue }
            let isFile = first.utf8.count == rest.utf8.count
            kinds[first] = DirectoryEntry(name: first, kind: isFile ? .file : .directory, size: isFile ? size : 0)
        }
        return kinds.values.sorted { Array($0.name.utf8).lexicographicallyPrecedes(Array($1.name.utf8)) }
    }

    /// Opens a file.
    public func source(_ name: String) throws(Problem) -> any ByteSource {
        guard let file = base.files[prefix + name] else {
            if base.record.directory.linked.contains(prefix + name) { return try base.linked(prefix + name) }
            throw Problem(.missing, "missing", file: path(of: name), "does not exist")
        }
        return file
    }

    /// Opens a folder.
    public func folder(_ name: String) throws(Problem) -> any Folder { RestoredFolder(base, prefix + name + "/") }

    /// The path of `name` in it.
    public func path(of name: String) -> String { "\(path)/\(name)" }
}
