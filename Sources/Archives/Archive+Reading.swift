import Files
import Problems
import Safetensors

/// Bytes of packed files: the chunks that they are in are read and inflated.
extension Archive {
    /// Reads bytes of a packed file; the chunks that they are in were inflated, and may be kept for the next call.
    func read(_ entry: ArchiveEntry, into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Problem) {
        var done = 0
        // The first part that ends after the offset.
        var (low, high) = (entry.parts.lowerBound, entry.parts.upperBound)
        while low < high {
            let middle = (low + high) / 2
            if directory.parts[middle].end <= offset { low = middle + 1 } else { high = middle }
        }
        while done < buffer.count {
            guard low < entry.parts.upperBound else {
                throw Problem(.internalFault, "short-read", file: path, "a packed file was read beyond its end")
            }
            let part = directory.parts[low]
            let start = offset + done - part.start
            let count = min(part.size - start, buffer.count - done)
            let target = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done..<(done + count)])
            try unsafe read(part, of: entry, from: start, into: target)
            done += count
            low += 1
        }
    }

    private func read(
        _ part: ArchivePart, of entry: ArchiveEntry, from start: Int, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Problem) {
        if case .copy(let source) = part.code {
            let place = try sourcePlace(source, entry)
            return try unsafe place.file.read(into: buffer, at: place.offset + start)
        }
        if case .merged = part.code {
            throw Problem(
                .incompatible, "needs-merge", file: path,
                "holds '\(entry.path.excerpt)' as adapters to merge again, so it cannot be read in parts",
                hint: "unpack it first: adapter-unpack \(shellQuoted(path)) --base BASE -o DIR")
        }
        var done = 0
        while done < buffer.count {
            let index = (start + done) / part.chunk
            let within = start + done - index * part.chunk
            let chunk = try cache.chunk(part.firstChunk + index) { (coder) throws(Problem) in
                try self.decoded(part, index, of: entry, with: coder)
            }
            let count = min(chunk.count - within, buffer.count - done)
            unsafe chunk.withUnsafeBytes { bytes in
                unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done..<(done + count)]).copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: bytes[within..<(within + count)]))
            }
            done += count
        }
    }

    private func decoded(
        _ part: ArchivePart, _ index: Int, of entry: ArchiveEntry, with coder: ChunkCoder
    ) throws(Problem) -> [UInt8] {
        let size = min(part.chunk, part.size - index * part.chunk)
        var problem: Problem?
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: size) { target, filled in
            do throws(Problem) {
                try unsafe decode(
                    part, index, of: entry, with: coder,
                    into: UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(target)[..<size]))
                filled = size
            } catch {
                problem = error
            }
        }
        if let problem { throw problem }
        return bytes
    }

    /// Decodes chunk number `index` of a part into `target`, which has its size.
    func decode(
        _ part: ArchivePart, _ index: Int, of entry: ArchiveEntry, with coder: ChunkCoder,
        into target: UnsafeMutableRawBufferPointer
    ) throws(Problem) {
        var base: [UInt8]?
        if let source = part.code.source {
            let place = try sourcePlace(source, entry)
            base = try place.file.read(at: place.offset + index * part.chunk, count: target.count)
        }
        try unsafe decode(part, index, of: entry, with: coder, base: base, into: target)
    }

    /// The same with the source's bytes at hand.
    func decode(
        _ part: ArchivePart, _ index: Int, of entry: ArchiveEntry, with coder: ChunkCoder, base: [UInt8]?,
        into target: UnsafeMutableRawBufferPointer
    ) throws(Problem) {
        let planes = part.code.planes
        let first = part.firstToken + index * planes
        let tokens = directory.tokens[first..<(first + planes)]
        let length = tokens.reduce(0) { $0 + Int($1.length) }
        let stream = try unsafe coder.load(
            file, at: entry.stream.lowerBound + directory.chunks[part.firstChunk + index], count: length)
        let flaw = unsafe withBytes(of: base) { source in
            unsafe coder.decode(stream, tokens, part.code, base: source, into: target)
        }
        guard let flaw else { return }
        throw damage(entry, part, "has a chunk that \(flaw), at byte \(part.start + index * part.chunk)")
    }

    /// The problem of a damaged entry, with the tensor's name where it is one.
    func damage(_ entry: ArchiveEntry, _ part: ArchivePart?, _ what: String) -> Problem {
        let tensor = part.flatMap { tensorName(entry, $0) }
        return Problem(
            .malformed, "damaged", file: path, tensor: tensor, "is damaged: '\(entry.path)' \(what)",
            hint: "the archive is damaged: get it again")
    }

    /// The name of the tensor that a part holds, from the packed header.
    ///
    /// Only the first part is read for it, so that its own damage cannot lead here again.
    private func tensorName(_ entry: ArchiveEntry, _ part: ArchivePart) -> String? {
        guard part.start > 0, let first = entry.parts.first.map({ directory.parts[$0] }), first.start == 0,
            first.size > 8, first.size <= Header.largestHeader,
            let bytes = try? PackedFile(self, entry).read(at: 0, count: first.size)
        else { return nil }
        let size = entry.size - first.size
        guard let header = try? Header.parse(json: Array(bytes[8...]), dataLength: size, file: path) else { return nil }
        return header.tensors.first { $0.byteCount > 0 && first.size + $0.begin == part.start }?.name
    }

    private func sourcePlace(_ source: Int, _ entry: ArchiveEntry) throws(Problem) -> BaseFiles.Place {
        guard let base else { throw needsBase(entry) }
        return try base.place(of: directory.sources[source])
    }
}

/// Lends the bytes of an array that may not be there.
func withBytes<R>(of array: [UInt8]?, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
    guard let array else { return body(nil) }
    return unsafe array.withUnsafeBytes { unsafe body($0) }
}
