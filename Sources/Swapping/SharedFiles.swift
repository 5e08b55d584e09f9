import Files
import Merging
import Problems
import Safetensors

/// Files that a new generation shares with one that is there, as second names of the same file.
struct SharedFiles {
    private let source: Directory
    /// Their paths.
    let paths: Set<String>
    private let emptyDirectories: [String]

    /// What lists files, or belongs to an adapter, and would be wrong beside merged weights.
    private static let dropped: Set<String> = ["SHA256SUMS", "adapter_config.json"]

    /// - Parameters:
    ///   - base: the base's directory, if it is there.
    ///   - live: else the model's, with what it shares with the base.
    init(_ plan: MergePlan, base: Directory?, live: (directory: Directory, linked: [String])?) throws(Problem) {
        let shards = Set(plan.base.shards.map(\.name))
        let untouched = Set(plan.untouchedFiles)
        let documents = try Merger.documentNames(of: plan)
        let candidates: [String]
        if let base {
            let listing = try FileListing(base)
            source = base
            candidates = listing.files.map(\.path)
            emptyDirectories = listing.emptyDirectories
        } else if let live {
            source = live.directory
            candidates = live.linked
            emptyDirectories = try FileListing(live.directory).emptyDirectories
        } else {
            throw Problem(.internalFault, "no-base", "there is no base to share files with")
        }
        paths = Set(
            candidates.filter { path in
                shards.contains(path)
                    ? untouched.contains(path) : !documents.contains(path) && !Self.dropped.contains(path)
            })
    }

    /// Gives the files names in `target`, too, and makes the empty directories.
    func link(into target: Directory) throws(Problem) {
        for path in paths.sorted() { try Self.link(path, from: source, into: target) }
        for path in emptyDirectories { try target.place(of: path + "/-", making: true).directory.makeDurable() }
    }

    static func link(_ path: String, from source: Directory, into target: Directory) throws(Problem) {
        let (from, name) = try source.place(of: path, making: false)
        let (to, newName) = try target.place(of: path, making: true)
        try from.link(name, to: to, as: newName)
        try to.makeDurable()
    }

    /// Bytes of weights that are written.
    func writtenSize(_ plan: MergePlan) -> Int {
        plan.files.reduce(0) { $0 + (paths.contains($1.name) ? 0 : $1.size) }
    }
}
