import CPosix
import Problems

/// Refuses an output that is one of the inputs, a file of one, or a directory that holds one.
///
/// - Parameter inputs: paths of the files and directories that are read.
public func requireSeparate(output: String, from inputs: [String]) throws(Problem) {
    let identity: FileIdentity
    let kind = Directory.kind(of: output)
    switch kind {
    case .directory: identity = try Directory(path: output).identity
    case .file: identity = try InputFile(path: output).identity
    default: return try requireOutside(output, inputs)
    }
    for input in inputs {
        guard try !(kind == .file ? files(of: input) : places(of: input)).contains(identity) else {
            throw Problem(
                .output, "output-is-input", file: output,
                "is where the input '\(input)' is, and inputs are never changed", hint: "choose another output")
        }
    }
    try requireOutside(output, inputs)
}

/// Refuses a report that would be written into the output: it would be lost when the output is exchanged.
///
/// - Parameter what: what messages call it.
public func requireApart(report: String, output: String, what: String = "report") throws(Problem) {
    let parent = parentPath(of: report)
    var isInside = lastComponent(of: report) == lastComponent(of: output) && parent == parentPath(of: output)
    isInside = isInside || parent == parentPath(of: output + "/x")
    if !isInside, Directory.kind(of: output) == .directory, Directory.kind(of: parent) == .directory {
        isInside = try Directory(path: parent).identity == Directory(path: output).identity
    }
    guard !isInside else {
        throw Problem(
            .usage, "\(what.split(separator: " ")[0])-in-output", file: report,
            "is a part of the output '\(output)', but the \(what) is not", hint: "write the \(what) somewhere else")
    }
}

/// Refuses an output below a directory that is an input: what is there is never changed, not even by a new file.
private func requireOutside(_ output: String, _ inputs: [String]) throws(Problem) {
    guard Directory.kind(of: parentPath(of: output)) == .directory else { return }
    let lineage = try Directory(path: parentPath(of: output)).lineage()
    for input in inputs {
        let isIndex = input.hasSuffix(".index.json") && Directory.kind(of: input) == .file
        guard isIndex || Directory.kind(of: input) == .directory else { continue }
        guard try !lineage.contains(Directory(path: isIndex ? parentPath(of: input) : input).identity) else {
            throw Problem(
                .output, "output-in-input", file: output,
                "would be inside the input '\(input)', and inputs are never changed", hint: "choose another output")
        }
    }
}

/// The input, if it is a directory, and every directory above it.
private func places(of input: String) throws(Problem) -> [FileIdentity] {
    switch Directory.kind(of: input) {
    case .directory: try Directory(path: input).lineage()
    case .file: try Directory(path: parentPath(of: input)).lineage()
    default: []
    }
}

/// The files that are read, or may be, when `input` is: those of a directory, or the file and the configs beside it.
private func files(of input: String) throws(Problem) -> [FileIdentity] {
    let kind = Directory.kind(of: input)
    guard kind == .file || kind == .directory else { return [] }
    let directory = try Directory(path: kind == .file ? parentPath(of: input) : input)
    var result = kind == .file ? [try InputFile(path: input).identity] : []
    let isWhole = kind == .directory || input.hasSuffix(".index.json")
    for entry in try directory.entries() where entry.kind == .file {
        guard isWhole || entry.name == "config.json" || entry.name == "adapter_config.json" else { continue }
        if let file = try? directory.openFile(entry.name) { result.append(file.identity) }
    }
    return result
}

/// `path` as one word of a POSIX shell, for hints that are meant to be pasted.
public func shellQuoted(_ path: String) -> String {
    "'" + path.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
}

/// The directory part of `path`, `.` if it has none.
///
/// A slash is a byte, whatever comes after it: to Swift, a slash and a combining accent are one character.
public func parentPath(of path: String) -> String {
    let trimmed = withoutTrailingSlashes(path)
    guard let end = trimmed.lastIndex(of: slash) else { return trimmed.isEmpty && !path.isEmpty ? "/" : "." }
    let parent = withoutTrailingSlashes(Substring(trimmed[..<end]))
    return parent.isEmpty ? "/" : String(Substring(parent))
}

/// The last part of `path`, without slashes behind it.
public func lastComponent(of path: String) -> String {
    let trimmed = withoutTrailingSlashes(path)
    return String(Substring(trimmed.lastIndex(of: slash).map { trimmed[trimmed.index(after: $0)...] } ?? trimmed))
}

private let slash = UInt8(ascii: "/")

private func withoutTrailingSlashes(_ path: some StringProtocol) -> Substring.UTF8View {
    var bytes = Substring(path).utf8
    while bytes.last == slash { bytes = bytes.dropLast() }
    return bytes
}

/// Throws if a signal asked this process to stop.
public func checkInterrupted() throws(Problem) {
    let signal = ak_signal_seen()
    guard signal == 0 else {
        throw Problem(.interrupted, "interrupted", "stopped by signal \(signal); nothing was left behind")
    }
}
