import CPosix
import Problems

/// Refuses an output that is one of the inputs, or a directory that holds one of them.
///
/// - Parameter inputs: paths of the files and directories that are read.
public func requireSeparate(output: String, from inputs: [String]) throws(Problem) {
    let identity: FileIdentity
    switch Directory.kind(of: output) {
    case .directory: identity = try Directory(path: output).identity
    case .file: identity = try InputFile(path: output).identity
    default: return
    }
    for input in inputs {
        guard try !places(of: input).contains(identity) else {
            throw Problem(
                .output, "output-is-input", file: output,
                "is where the input '\(input)' is, and inputs are never changed", hint: "choose another output")
        }
    }
}

/// The input itself and every directory above it.
private func places(of input: String) throws(Problem) -> [FileIdentity] {
    switch Directory.kind(of: input) {
    case .directory: try Directory(path: input).lineage()
    case .file: try [InputFile(path: input).identity] + Directory(path: parentPath(of: input)).lineage()
    default: []
    }
}

/// The directory part of `path`, `.` if it has none.
public func parentPath(of path: String) -> String {
    var trimmed = path[...]
    while trimmed.count > 1 && trimmed.last == "/" { trimmed = trimmed.dropLast() }
    guard let slash = trimmed.lastIndex(of: "/") else { return "." }
    return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
}

/// Throws if a signal asked this process to stop.
public func checkInterrupted() throws(Problem) {
    let signal = ak_signal_seen()
    guard signal == 0 else {
        throw Problem(.interrupted, "interrupted", "stopped by signal \(signal); nothing was left behind")
    }
}
