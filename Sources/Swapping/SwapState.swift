import Adapters
import Digests
import Files
import Problems
import StrictJSON

/// What is in a model's directory, or in one that is kept: the base, or the base with adapters.
struct Generation: Sendable {
    struct Adapter: Sendable {
        let name: String
        let path: String
        let digest: String
        let weight: Double
        /// What tells that the adapter's files are still those, without reading them.
        let stamp: String
    }

    struct File: Sendable, Equatable {
        let path: String
        var stamp: FileStamp
        let check: FileCheck
    }

    /// `base`, or 16 digits of a digest of what was merged.
    let id: String
    let adapters: [Adapter]
    let since: String
    var files: [File]
    /// Whether it stays when another one takes its place.
    var isKept: Bool
    /// When it was last in use, for the limit.
    var used: Int

    var isBase: Bool { id == "base" }
}

/// Everything that is known about a model whose adapters are swapped (`formats/swap-state.md`).
struct SwapState: Sendable {
    static let schema = "adapterkit.swap-state"
    static let version = 1

    /// SHA-256 of the manifest of the pristine base's files.
    var base: String
    /// SHA-256 of each of them, by path.
    var baseFiles: [(path: String, digest: String)]
    var live: Generation
    var kept: [Generation]
    /// Whether the record `undo` gives the base back.
    var hasUndo: Bool

    /// The base, if it is kept as it is.
    var keptBase: Generation? { kept.first { $0.isBase } }
}

// MARK: Text

extension SwapState {
    var value: JSONValue {
        .object(
            JSONObject([
                ("schema", .string(Self.schema)), ("version", .number(JSONNumber(Self.version))),
                ("base", .string(base)),
                (
                    "base_files",
                    .object(JSONObject(baseFiles.map { ($0.path, .string($0.digest)) }))
                ), ("undo", .bool(hasUndo)), ("live", live.value), ("kept", .array(kept.map(\.value))),
            ]))
    }

    init(_ value: JSONValue, file: String) throws(Problem) {
        guard let object = value.object, object["schema"]?.string == Self.schema,
            let version = object["version"]?.number?.int
        else { throw Self.damaged(file, "is no state of swaps") }
        guard version == Self.version else {
            throw Problem(
                .malformed, "swap-version", file: file,
                "has version \(version) of the swap state, but only \(Self.version) is known here",
                hint: "get a newer version of this program")
        }
        guard let base = object["base"]?.string, let hasUndo = object["undo"]?.bool, let live = object["live"],
            let kept = object["kept"]?.array
        else { throw Self.damaged(file, "lacks a field") }
        self.base = base
        baseFiles = (object["base_files"]?.object?.entries ?? []).compactMap { entry in
            entry.value.string.map { (entry.key, $0) }
        }
        self.hasUndo = hasUndo
        self.live = try Generation(live, file: file)
        self.kept = try kept.map { (value) throws(Problem) in try Generation(value, file: file) }
    }

    static func damaged(_ file: String, _ what: String) -> Problem {
        Problem(
            .malformed, "bad-swap-state", file: file, what,
            hint:
                "it was changed or damaged; to start over, put a pristine base in the model's place and remove the state's directory"
        )
    }
}

extension Generation {
    var value: JSONValue {
        let adapters = adapters.map { adapter -> JSONValue in
            .object(
                JSONObject([
                    ("name", .string(adapter.name)), ("path", .string(adapter.path)),
                    ("sha256", .string(adapter.digest)),
                    ("weight", .number(JSONNumber(text: Origin.text(adapter.weight)))),
                    ("stamp", .string(adapter.stamp)),
                ]))
        }
        let files = files.map { file -> JSONValue in
            .object(
                JSONObject([
                    ("path", .string(file.path)), ("size", .number(JSONNumber(file.stamp.size))),
                    ("modified", .number(JSONNumber(file.stamp.modified))),
                    ("inode", .string(String(file.stamp.inode))), (file.check.method.rawValue, .string(file.check.hex)),
                ]))
        }
        return .object(
            JSONObject([
                ("id", .string(id)), ("adapters", .array(adapters)), ("since", .string(since)), ("kept", .bool(isKept)),
                ("used", .number(JSONNumber(used))), ("files", .array(files)),
            ]))
    }

    init(_ value: JSONValue, file: String) throws(Problem) {
        guard let object = value.object, let id = object["id"]?.string, Directory.checkComponent(id),
            let adapters = object["adapters"]?.array, let since = object["since"]?.string,
            let isKept = object["kept"]?.bool, let used = object["used"]?.number?.int,
            let files = object["files"]?.array
        else { throw SwapState.damaged(file, "describes a generation that is none") }
        self.id = id
        self.since = since
        self.isKept = isKept
        self.used = used
        self.adapters = try adapters.map { (value) throws(Problem) in
            guard let object = value.object, let name = object["name"]?.string, let path = object["path"]?.string,
                let digest = object["sha256"]?.string, let weight = object["weight"]?.number?.double,
                let stamp = object["stamp"]?.string
            else { throw SwapState.damaged(file, "names an adapter that is none") }
            return Adapter(name: name, path: path, digest: digest, weight: weight, stamp: stamp)
        }
        self.files = try files.map { (value) throws(Problem) in
            guard let object = value.object, let path = object["path"]?.string, let size = object["size"]?.number?.int,
                let modified = object["modified"]?.number?.int,
                let inode = object["inode"]?.string.flatMap({ UInt($0) }), !path.isEmpty,
                path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
                    .allSatisfy(Directory.checkComponent),
                let method = FileCheck.Method.allCases.first(where: { object[$0.rawValue] != nil }),
                let hex = object[method.rawValue]?.string
            else { throw SwapState.damaged(file, "names a file that is none") }
            return File(
                path: path, stamp: FileStamp(size: size, modified: modified, inode: inode),
                check: FileCheck(method, hex))
        }
    }
}

extension Directory {
    /// Reads a JSON document of the state; `nil` if there is none.
    func document(_ name: String) throws(Problem) -> JSONValue? {
        guard has(name) else { return nil }
        let file = try openFile(name)
        do throws(Problem) {
            return try JSONValue.parse(try file.readAll(limit: 256 << 20))
        } catch {
            throw SwapState.damaged(file.path, "is no JSON: \(error.message)")
        }
    }
}
