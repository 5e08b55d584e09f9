import Files
import Problems
import Safetensors
import Synchronization
import Tensors

/// Writes the base of a merge again, from the merged model and its record.
public final class Unmerger: Sendable {
    /// Bytes of a file that any thread may write at any time.
    private struct Piece: Sendable {
        let file: Int
        let bytes: Range<Int>
    }

    private let base: RestoredBase
    private let files: [RestoredFile]
    private let name: String?
    private let skipping: Set<String>
    private let output: StagedOutput?
    private let progress: @Sendable (Int) -> Void
    private let state: Mutex<State>

    private struct State: Sendable {
        var outputs: [OutputFile] = []
        var pieces: [Piece] = []
        var left: [Int] = []
        var next = 0
        var problem: Problem?
    }

    /// Prepares to write the base into `output`.
    ///
    /// - Parameters:
    ///   - output: where the base goes; with `nil`, everything is made and checked, and nothing written.
    ///   - skipping: files that are not written, since they come into the output in another way.
    ///   - progress: is told of bytes as they are done, from any thread.
    public init(
        _ base: RestoredBase, output: StagedOutput?, skipping: Set<String> = [],
        progress: @escaping @Sendable (Int) -> Void
    ) {
        self.base = base
        self.output = output
        self.progress = progress
        self.skipping = skipping
        files = base.files.values.filter { !$0.file.isAside && !skipping.contains($0.name) }.sorted {
            Array($0.name.utf8).lexicographicallyPrecedes(Array($1.name.utf8))
        }
        // A base that was one file takes the name that the output has.
        name = base.record.isFile ? output.map { lastComponent(of: $0.path) } : nil
        state = Mutex(State())
    }

    /// Writes all files, durably, with `threads` threads.
    public func run(threads: Int) throws(Problem) {
        try prepare()
        Workers.run(threads) { _ in
            do throws(Problem) {
                while let piece = self.take() {
                    try checkInterrupted()
                    try self.write(piece)
                }
            } catch {
                self.state.withLock { if $0.problem == nil { $0.problem = error } }
            }
        }
        if let problem = state.withLock({ $0.problem }) { throw problem }
        for path in base.record.directory.linked where !skipping.contains(path) {
            let source = try base.linked(path)
            guard let file = try output?.create(path: path, size: source.size) else { continue }
            try file.copy(from: source, at: 0, count: source.size, to: 0)
            try file.finish()
        }
        for parts in base.record.directory.directories.map({ $0.split(separator: "/").map(String.init) }) {
            try output?.makeDirectory(parts)
        }
    }

    /// Names and sizes of the files that it makes.
    public var restored: [(name: String, size: Int)] { files.map { (name ?? $0.name, $0.size) } }

    private func prepare() throws(Problem) {
        var made = State()
        for (at, file) in files.enumerated() {
            if let output { made.outputs.append(try output.create(path: name ?? file.name, size: file.size)) }
            let pieces = file.chunks.map { Piece(file: at, bytes: $0) }
            made.pieces += pieces
            made.left.append(pieces.count)
            if pieces.isEmpty, output != nil { try made.outputs[at].finish() }
        }
        let prepared = made
        state.withLock { $0 = prepared }
    }

    private func take() -> Piece? {
        state.withLock { state in
            guard state.problem == nil, state.next < state.pieces.count else { return nil }
            state.next += 1
            return state.pieces[state.next - 1]
        }
    }

    private func write(_ piece: Piece) throws(Problem) {
        let bytes = try files[piece.file].read(at: piece.bytes.lowerBound, count: piece.bytes.count)
        guard output != nil else { return progress(bytes.count) }
        let output = state.withLock { $0.outputs[piece.file] }
        try output.write(bytes, at: piece.bytes.lowerBound)
        output.startWriteback(ofWindowsEndingIn: piece.bytes)
        progress(piece.bytes.count)
        let isWhole = state.withLock { state in
            state.left[piece.file] -= 1
            return state.left[piece.file] == 0
        }
        if isWhole { try output.finish() }
    }
}

extension RestoredFile {
    /// The ranges of its chunks.
    var chunks: [Range<Int>] {
        var result: [Range<Int>] = []
        var start = 0
        for part in [file.head] + file.tensors {
            for chunk in part.chunks {
                result.append(start..<start + chunk.size)
                start += chunk.size
            }
        }
        return result
    }
}
