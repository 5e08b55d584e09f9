import Files
import Problems
import StrictJSON

/// One generation taking the place of another, so that a stop at any point can be finished or taken back.
///
/// The protocol is in `formats/swap-state.md`. Everything new is durable before the journal is written; after the exchange
/// only forward is left.
struct Exchange {
    /// What becomes of the record that gives the base back.
    enum Undo: String, Sendable {
        /// The one that was written goes to its place.
        case new
        /// There is none any more.
        case none
    }

    /// The directory that takes the model's place, in the state's directory: `next` or `kept/ID`.
    let next: String
    /// Where the one goes that was there: `kept/ID`, or `old`, which is removed.
    let old: String
    let undo: Undo
    /// The identities of the two directories before.
    let liveNumber: UInt
    let nextNumber: UInt
    /// The state when it is done.
    let state: SwapState
    /// Whether files are exchanged one by one, and that has begun.
    var isByFile = false

    static let schema = "adapterkit.swap-journal"

    // MARK: Doing it

    /// Writes the journal, exchanges, and finishes; what is left over then is for `sweep`.
    func run(_ place: SwapPlace, _ directory: Directory) throws(Problem) {
        try directory.write(text, as: SwapPlace.journalName)
        if place.isInside {
            try byFile().advance(place, directory)
        } else {
            try advance(place, directory)
        }
    }

    private func byFile() -> Exchange {
        var copy = self
        copy.isByFile = true
        return copy
    }

    /// Files can be renamed from the state's directory into the model's unless a mount is between them.
    private func requireOneMount(_ place: SwapPlace, _ directory: Directory) throws(Problem) {
        let model = try place.model()
        // What a link leads to may be anywhere.
        let file = try model.entries().first { $0.kind == .file && !model.isLink($0.name) }
        guard let file, try !model.isOneMount(with: directory, file: file.name, trial: ".trial.partial") else { return }
        throw Problem(
            .io, "other-mount", file: place.path,
            "is on another mount than '\(directory.path)', the state of its swaps, so nothing can be exchanged",
            hint: "unmount it there, or swap it by a path where nothing is mounted over it")
    }

    /// Goes on from wherever it stopped, up to the end; what is left over then is for `sweep`.
    func advance(_ place: SwapPlace, _ directory: Directory) throws(Problem) {
        if isByFile {
            try directory.write(text, as: SwapPlace.journalName)
            try moveFiles(place, directory)
        } else {
            let (holder, name) = try directory.place(of: next, making: false)
            if place.parent.identity(of: place.name)?.number == liveNumber {
                guard try holder.exchange(name, with: place.name, in: place.parent) else {
                    try requireOneMount(place, directory)
                    return try byFile().advance(place, directory)
                }
            }
            // Also where it was done before a stop: nothing says that it had come to the disk.
            try place.parent.makeDurable()
            try holder.makeDurable()
        }
        try putAway(directory)
        try finish(directory)
    }

    /// The directory that was live gets the place that it is to have.
    private func putAway(_ directory: Directory) throws(Problem) {
        let (holder, name) = try directory.place(of: next, making: false)
        guard !isByFile, holder.identity(of: name)?.number == liveNumber else { return }
        let (target, newName) = try directory.place(of: old, making: true)
        try target.removeAll(newName)
        try holder.move(name, to: target, as: newName)
        try target.makeDurable()
        try holder.makeDurable()
    }

    private func finish(_ directory: Directory) throws(Problem) {
        switch undo {
        case .new:
            if directory.has(SwapPlace.nextUndoName) {
                try directory.move(SwapPlace.nextUndoName, to: directory, as: SwapPlace.undoName)
            }
        case .none: try directory.removeFile(SwapPlace.undoName)
        }
        try directory.write(Array(state.value.encoded(indent: 1).utf8), as: SwapPlace.stateName)
        try directory.removeFile(SwapPlace.journalName)
        try directory.makeDurable()
    }

    /// Whether files are exchanged one by one, so that the directory's identity says nothing.
    func hasBegun(_ place: SwapPlace, _ directory: Directory) -> Bool {
        if place.isInside || directory.has(Self.movingName) { return true }
        return ((try? Self.interrupted(directory)) ?? nil)?.isByFile ?? false
    }

    /// Forgets what was made for an exchange that did not take place.
    func takeBack(_ directory: Directory, _ before: SwapState?) throws(Problem) {
        try directory.removeFile(SwapPlace.journalName)
        try directory.makeDurable()
        try Self.sweep(directory, before)
    }

    /// Removes what the state does not speak of: what was interrupted left it.
    static func sweep(_ directory: Directory, _ state: SwapState?) throws(Problem) {
        for name in [SwapPlace.oldName, SwapPlace.nextName] { try directory.removeAll(name) }
        for name in [SwapPlace.nextUndoName, movingName] { try directory.removeFile(name) }
        for entry in try directory.entries() where entry.name.hasPrefix(".") && entry.name.hasSuffix(".partial") {
            try directory.removeAll(entry.name)
        }
        // Without a state there is no telling what records and generations are good for, so they stay.
        guard let state else { return }
        if !state.hasUndo { try directory.removeFile(SwapPlace.undoName) }
        guard directory.has(SwapPlace.keptName) else { return }
        if state.kept.isEmpty { return try directory.removeAll(SwapPlace.keptName) }
        let kept = try directory.openDirectory(SwapPlace.keptName, follow: false)
        let known = Set(state.kept.map(\.id))
        for entry in try kept.entries() where !known.contains(entry.name) { try kept.removeAll(entry.name) }
    }

    // MARK: File by file

    /// Where directories cannot be exchanged: the old files get second names, then the new ones are renamed over them, the
    /// index last.
    private func moveFiles(_ place: SwapPlace, _ directory: Directory) throws(Problem) {
        let model = try place.model()
        let (holder, name) = try directory.place(of: next, making: false)
        let (oldHolder, oldName) = try directory.place(of: old, making: true)
        // It is the last to go; without it, and without what is new, all was moved before a stop.
        guard directory.has(Self.movingName) || holder.has(name) else { return }
        try oldHolder.makeDirectory(oldName)
        let target = try oldHolder.openDirectory(oldName, follow: false)
        if !directory.has(Self.movingName) {
            let listing = try FileListing(model)
            for path in listing.emptyDirectories { _ = try target.place(of: path + "/-", making: true) }
            for file in listing.files {
                let (from, fromName) = try model.place(of: file.path, making: false)
                let (to, toName) = try target.place(of: file.path, making: true)
                if !to.has(toName) { try from.link(fromName, to: to, as: toName) }
                try to.makeDurable()
            }
            try oldHolder.makeDurable()
            try directory.write([], as: Self.movingName)
        }
        if holder.has(name) {
            let source = try holder.openDirectory(name, follow: false)
            for path in Self.ordered(try FileListing(source, standing: model).files.map(\.path)) {
                let (from, fromName) = try source.place(of: path, making: false)
                let (to, toName) = try model.place(of: path, making: true)
                try from.move(fromName, to: to, as: toName)
                try to.makeDurable()
            }
        }
        let wanted = Set(state.live.files.map(\.path))
        // What else came in after a stop is not ours to remove.
        let former = Set(try FileListing(target, standing: model).files.map(\.path))
        for file in try FileListing(model).files where !wanted.contains(file.path) && former.contains(file.path) {
            let (from, fromName) = try model.place(of: file.path, making: false)
            try from.removeFile(fromName)
            try from.makeDurable()
        }
        try holder.removeAll(name)
        try holder.makeDurable()
        try directory.removeFile(Self.movingName)
    }

    private static let movingName = "moving"

    /// Weights first, then what else there is, the index last.
    private static func ordered(_ paths: [String]) -> [String] {
        let isIndex = { (path: String) in path.hasSuffix(".index.json") }
        let isWeights = { (path: String) in path.hasSuffix(".safetensors") }
        return paths.filter(isWeights) + paths.filter { !isWeights($0) && !isIndex($0) } + paths.filter(isIndex)
    }

    // MARK: Text

    private var text: [UInt8] {
        let object = JSONObject([
            ("schema", .string(Self.schema)), ("version", .number(JSONNumber(1))), ("next", .string(next)),
            ("old", .string(old)), ("undo", .string(undo.rawValue)), ("live", .string(String(liveNumber))),
            ("new", .string(String(nextNumber))), ("by_file", .bool(isByFile)), ("state", state.value),
        ])
        return Array(JSONValue.object(object).encoded(indent: 1).utf8)
    }

    /// The exchange that was interrupted, if one was.
    static func interrupted(_ directory: Directory) throws(Problem) -> Exchange? {
        let file = directory.path(of: SwapPlace.journalName)
        guard let object = try directory.document(SwapPlace.journalName)?.object else { return nil }
        guard object["schema"]?.string == schema, object["version"]?.number?.int == 1,
            let next = object["next"]?.string,
            let old = object["old"]?.string, let undo = object["undo"]?.string.flatMap(Undo.init),
            let live = object["live"]?.string.flatMap({ UInt($0) }),
            let new = object["new"]?.string.flatMap({ UInt($0) }),
            let isByFile = object["by_file"]?.bool, let state = object["state"],
            [next, old].allSatisfy({ path in
                let parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
                return parts.count <= 2 && parts.allSatisfy(Directory.checkComponent)
            })
        else { throw SwapState.damaged(file, "is no journal of a swap") }
        return Exchange(
            next: next, old: old, undo: undo, liveNumber: live, nextNumber: new,
            state: try SwapState(state, file: file), isByFile: isByFile)
    }
}
