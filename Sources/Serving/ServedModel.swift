import Adapters
import Archives
import Merging
import Problems
import Safetensors
import Synchronization
import Tensors

/// A model in memory: a base that is opened once, and adapters that are attached, weighted and detached while it computes.
///
/// The base is never written to, neither in its file nor in memory: y = Wx + Σ weight · s · B(Ax). After `detach`, every
/// result has the bits that it had before `attach`. See `examples/attach/main.swift`.
///
/// **Memory.** A tensor of the base is read when a layer that needs it is first asked for, and kept as the file has it: two
/// bytes a weight for bfloat16, one for FP8. Rows are widened on the fly; a computation needs its input and output in
/// float64 besides, and where weights lie (in × out) or are looked up by row, one adapter's A in float64. The first use of a
/// DoRA layer takes a pass over its weight, in some megabytes. `unload` forgets the base's tensors. An adapter is read whole
/// when it is attached, and kept in its own dtype until it is detached and the last snapshot with it is gone.
///
/// **Threads.** All methods may be called from any thread. Layers and snapshots have the set of adapters of the time when
/// they were asked for, from the beginning of a computation to its end; changes wait for each other, and no computation
/// ever waits for them.
///
/// **What is refused** is what a merge of the same adapters refuses, with the same codes, all problems at once: adapters
/// that do not fit, and those without a defined sum (`replaced-twice`, `weighted-replacement`, `several-dora`,
/// `weighted-dora`, `rows-and-delta`, ...). Then the model stays as it was.
public final class ServedModel: Sendable {
    private let base: ServedBase
    private let current: Mutex<ModelSnapshot>
    /// Held by whoever changes the set of adapters, for as long as that takes.
    private let changes = Mutex(Changes())

    private struct Changes: Sendable {
        var entries: [Entry] = []
        var count = 0
    }

    /// One adapter of the set.
    private struct Entry: Sendable {
        let id: AttachmentID
        let held: HeldAdapter
        var weight: Double
        let notes: [Problem]
    }

    /// Serves a checkpoint that is open, with nothing attached.
    ///
    /// - Parameter threads: how many compute one large product together; `nil` for one for each processor.
    /// - Throws: what is wrong with the checkpoint.
    public init(_ checkpoint: Checkpoint, threads: Int? = nil) throws(ProblemList) {
        try checkpoint.requireSound()
        base = ServedBase(checkpoint, threads: threads ?? Workers.processors)
        current = Mutex(ModelSnapshot(base, attachments: [], changed: []))
    }

    /// Opens the model at `path` (a directory, an index, a file of weights, or an archive), reading headers only.
    public convenience init(path: String, threads: Int? = nil) throws(ProblemList) {
        let checkpoint: Checkpoint
        do throws(Problem) {
            checkpoint = try Checkpoint.openModel(path: path)
        } catch {
            throw ProblemList([error])
        }
        try self.init(checkpoint, threads: threads)
    }

    /// The base.
    public var checkpoint: Checkpoint { base.checkpoint }

    /// Bytes of the base's tensors that are in memory.
    public var loadedBytes: Int { base.weights.byteCount }

    /// Forgets the base's tensors; they are read again when they are needed.
    ///
    /// Layers that there are keep theirs.
    public func unload() { base.weights.removeAll() }

    // MARK: Computing

    /// The model as it is now.
    ///
    /// Whoever computes through several layers takes one snapshot, so that all see the same adapters.
    public func snapshot() -> ModelSnapshot { current.withLock { $0 } }

    /// A linear layer of the model as it is now; see `ModelSnapshot.linear`.
    public func linear(_ name: String, expert: Int? = nil, layout: WeightLayout? = nil) throws(Problem) -> LinearLayer {
        try snapshot().linear(name, expert: expert, layout: layout)
    }

    /// An embedding of the model as it is now; see `ModelSnapshot.embedding`.
    public func embedding(_ name: String) throws(Problem) -> EmbeddingLayer { try snapshot().embedding(name) }

    /// The values of any parameter of the model as it is now; see `ModelSnapshot.tensor`.
    public func tensor(_ name: String) throws(Problem) -> (shape: [Int], values: [Float]) {
        try snapshot().tensor(name)
    }

    // MARK: Adapters

    /// What is attached, in the order in which deltas are summed: that of attachment.
    public var attachments: [Attachment] { snapshot().attachments }

    /// Attaches an adapter: reads all of it, and holds it against the base and the other adapters.
    ///
    /// - Parameters:
    ///   - adapter: an adapter that is open; the same one may be attached several times, and then counts several times.
    ///   - weight: what its delta is multiplied by; 0 leaves it out until `setWeight`.
    ///   - allowing: codes of errors to take for warnings: those of `LoadedInputs.allowable`, `non-finite` and
    ///     `zero-delta`, without which an adapter that was never trained is refused.
    /// - Returns: what the other methods know it by.
    @discardableResult public func attach(
        _ adapter: Adapter, weight: Double = 1, allowing: Set<String> = []
    ) throws(ProblemList) -> AttachmentID {
        try Self.check(weight, adapter)
        // The long part, reading, keeps no other change waiting.
        let (held, notes) = try AdapterChecks.hold(adapter, base, allowed: allowing)
        return try changes.withLock { (changes) throws(ProblemList) in
            let id = AttachmentID(number: changes.count + 1)
            let entries = changes.entries + [Entry(id: id, held: held, weight: weight, notes: notes)]
            try install(entries)
            changes.entries = entries
            changes.count += 1
            return id
        }
    }

    /// Opens the adapter at `path` (PEFT's directory, its file, or an archive) and attaches it.
    @discardableResult public func attach(
        path: String, weight: Double = 1, allowing: Set<String> = []
    ) throws(ProblemList) -> AttachmentID {
        let adapter: Adapter
        do throws(Problem) {
            adapter = try Adapter(path: path)
        } catch {
            throw ProblemList([error])
        }
        return try attach(adapter, weight: weight, allowing: allowing)
    }

    /// Gives an attached adapter another weight; reads nothing but what must be compared.
    public func setWeight(_ id: AttachmentID, _ weight: Double) throws(ProblemList) {
        try changes.withLock { (changes) throws(ProblemList) in
            var entries = changes.entries
            let at = try Self.place(id, entries)
            try Self.check(weight, entries[at].held.adapter)
            entries[at].weight = weight
            try install(entries)
            changes.entries = entries
        }
    }

    /// Detaches an adapter: from now on the model computes as if it had never been there.
    public func detach(_ id: AttachmentID) throws(ProblemList) {
        try changes.withLock { (changes) throws(ProblemList) in
            var entries = changes.entries
            entries.remove(at: try Self.place(id, entries))
            try install(entries)
            changes.entries = entries
        }
    }

    private static func place(_ id: AttachmentID, _ entries: [Entry]) throws(ProblemList) -> Int {
        if let at = entries.firstIndex(where: { $0.id == id }) { return at }
        throw ProblemList([Problem(.usage, "not-attached", "no adapter \(id) is attached to this model")])
    }

    private static func check(_ weight: Double, _ adapter: Adapter) throws(ProblemList) {
        if weight.isFinite { return }
        throw ProblemList([
            Problem(
                .usage, "bad-weight", file: adapter.path, "was given the weight \(weight), which is no finite number")
        ])
    }

    /// Makes `entries` the set that computations see, if it has a defined sum.
    private func install(_ entries: [Entry]) throws(ProblemList) {
        let tensors = try AdapterChecks.sum(entries.map { ($0.held, $0.weight) }, base)
        let attachments = entries.map {
            Attachment(id: $0.id, adapter: $0.held.adapter, weight: $0.weight, notes: $0.notes)
        }
        let made = ModelSnapshot(base, attachments: attachments, changed: tensors)
        current.withLock { $0 = made }
    }
}
