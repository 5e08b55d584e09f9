import Problems
import StrictJSON

/// Holds what the files contain against what the index says, in time linear in both.
struct CheckpointAssembly {
    private let files: CheckpointFiles
    /// The tensors that count.
    private(set) var tensors: [Checkpoint.Place] = []
    /// Finds the tensors that count.
    private(set) var names = NameTable()
    /// What is wrong between the files and the index.
    private(set) var problems: [Problem] = []

    /// All tensors of the files; those that occur again are in `copies`, by the first one's place.
    private var all: [Checkpoint.Place] = []
    private var copies: [Int: [Int]] = [:]
    private var uses: [Use] = []

    private enum Use { case none, counted, misplaced, copy }

    init(_ files: CheckpointFiles) { self.files = files }

    mutating func run() {
        collect()
        if let index = files.index {
            reportCopies()
            follow(index)
            reportOrphans()
            checkSize(index)
        } else {
            tensors = all
        }
    }

    private mutating func collect() {
        let count = files.shards.reduce(0) { $0 + $1.file.header.tensors.count }
        all.reserveCapacity(count)
        for (shard, entry) in files.shards.enumerated() {
            for tensor in entry.file.header.tensors {
                let hash = NameTable.hash(tensor.name)
                if let first = names.place(of: tensor.name, hash, in: all) {
                    copies[first, default: []].append(all.count)
                } else {
                    names.insert(all.count, hash)
                }
                all.append(Checkpoint.Place(info: tensor, shard: shard))
            }
        }
        uses = Array(repeating: .none, count: all.count)
    }

    private func fileName(_ place: Int) -> String { files.shards[all[place].shard].name }

    private mutating func reportCopies() {
        for (first, others) in copies.sorted(by: { $0.key < $1.key }) {
            for other in others { uses[other] = .copy }
            let list = ([first] + others).map(fileName).joined(separator: ", ")
            report(
                .error, "duplicate-tensor", files.path, all[first].info.name,
                "is in \(others.count + 1) files: \(list)",
                hint: "remove it from all files but the one that the index names")
        }
    }

    /// Marks the tensors that the index names, in the files that it names.
    private mutating func follow(_ index: ShardIndex) {
        for (entry, shard) in zip(index.weightMap, index.shardOfEntry) {
            // Of what is in a file that cannot be opened, that file's problem says enough.
            guard let opened = files.openedShards[shard] else { continue }
            guard let first = names.place(of: entry.tensor, in: all) else {
                report(
                    .error, "absent-tensor", files.path, entry.tensor,
                    "should be in '\(entry.shard)', as the index says, but it is in no file",
                    hint: "download the index and the files again, from the same revision")
                continue
            }
            if let place = ([first] + (copies[first] ?? [])).first(where: { all[$0].shard == opened }) {
                uses[place] = .counted
                if place != first { uses[first] = .copy }
            } else {
                uses[first] = .misplaced
                report(
                    .error, "wrong-shard", files.path, entry.tensor,
                    "should be in '\(entry.shard)', as the index says, but it is in '\(fileName(first))'",
                    hint: "download the index and the files again, from the same revision")
            }
        }
        keepCounted()
    }

    private mutating func keepCounted() {
        if uses.allSatisfy({ $0 == .counted }) {
            tensors = all
            return
        }
        tensors = zip(all, uses).filter { $0.1 == .counted }.map(\.0)
        names = NameTable()
        for at in tensors.indices { names.insert(at, NameTable.hash(tensors[at].info.name)) }
    }

    private mutating func reportOrphans() {
        for place in all.indices where uses[place] == .none {
            report(
                .warning, "orphan-tensor", files.shards[all[place].shard].file.path, all[place].info.name,
                "is not in the index, so it is ignored",
                hint: "some loaders use it all the same: remove it, or add it to the index")
        }
    }

    private mutating func checkSize(_ index: ShardIndex) {
        if let odd = index.oddTotalSize {
            problems.append(
                Problem(
                    .warning, .malformed, "wrong-total-size", file: files.path,
                    "has an index that says total_size \(odd.excerpt), which is no number of bytes"))
        }
        guard let said = index.totalSize, problems.isEmpty, files.openedShards.allSatisfy({ $0 != nil }) else { return }
        let size = tensors.reduce(0) { sum, place in
            let (total, overflow) = sum.addingReportingOverflow(place.info.byteCount)
            return overflow ? Int.max : total
        }
        guard said != size else { return }
        problems.append(
            Problem(
                .warning, .malformed, "wrong-total-size", file: files.path,
                "has \(size) bytes of tensors, but its index says total_size \(said)"))
    }

    private mutating func report(
        _ severity: Problem.Severity, _ code: String, _ file: String, _ tensor: String, _ message: String,
        hint: String? = nil
    ) {
        problems.append(Problem(severity, .malformed, code, file: file, tensor: tensor, message, hint: hint))
    }
}
