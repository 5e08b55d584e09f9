import Console
import Files
import Problems

extension Arguments {
    /// The value of an option that is a part of a whole: above 0, and up to 1.
    public func fraction(_ name: String) throws(Problem) -> Double? {
        guard let value = try number(name, in: 0...1) else { return nil }
        guard value > 0 else {
            throw Problem(.usage, "bad-value", "--\(name) must be above 0, and at most 1")
        }
        return value
    }
}

/// The output directory and the report of a tool that makes an adapter.
public struct AdapterOutput {
    /// The directory to make.
    public let path: String
    /// The file for the report.
    public let report: String?
    private let replacing: Bool

    /// Reads `--output`, `--report` and `--force`, and refuses places that cannot be.
    public init(_ arguments: Arguments, inputs: [String]) throws {
        guard let path = arguments.value("output") else {
            throw Problem(.usage, "no-output", "there is no output", hint: "name it with -o OUT")
        }
        guard !path.hasSuffix(".safetensors") else {
            throw Problem(
                .usage, "bad-output", file: path,
                "is the name of a file, but an adapter is a directory: its config belongs to it",
                hint: "write -o \(shellQuoted(String(path.dropLast(".safetensors".count))))")
        }
        self.path = path
        report = arguments.value("report")
        replacing = arguments.flag("force")
        try StagedOutput.split(path)
        try requireSeparate(output: path, from: inputs)
        if let report {
            guard report != "-" else {
                throw Problem(
                    .usage, "bad-report", "--report needs the name of a file", hint: "--json prints the same on stdout")
            }
            try requireSeparate(output: report, from: inputs)
            try requireApart(report: report, output: path)
            try StagedOutput.checkPlace(path: report, shape: .file, replacing: replacing)
        }
        try StagedOutput.checkPlace(path: path, shape: .directory, replacing: replacing)
    }

    /// Begins the output.
    public func stage() throws -> StagedOutput {
        try StagedOutput(path: path, shape: .directory, replacing: replacing)
    }

    /// Writes the report, if one is wanted.
    public func write(_ document: JSON) throws {
        guard let report else { return }
        try writeFile(Array((document.pretty + "\n").utf8), to: report, replacing: replacing)
    }
}
