import Glibc
import Problems
import Testing

@testable import Console

/// A tool with one of everything.
let sample = Tool(
    name: "adapter-sample", summary: "join adapters with a base model",
    usage: ["BASE ADAPTER[:WEIGHT]... -o DIR"],
    description: ["Adds each adapter's update to the base.", ".Says \\ so."],
    options: [
        Option("output", short: "o", value: "DIR", help: "Where to write. It must not exist yet."),
        Option("force", short: "f", help: "Replace the output."),
        Option("dtype", value: "TYPE", help: "The type of the weights.", choices: ["f32", "f16", "bf16"]),
        Option("max-shard-size", value: "SIZE", help: "The most bytes in a file.", group: "Performance"),
        Option("threads", short: "t", value: "N", help: "How many threads work.", group: "Performance"),
        Option("skip", value: "NAME", repeats: true, help: "Leave this module out."),
        Option("cache", help: "Keep what was read: [all].", negatable: true),
        Option("trace", help: "For tests.", hidden: true),
    ],
    operands: [
        ("BASE", "The base model's directory."), ("ADAPTER[:WEIGHT]...", "Adapters to add. Each may have a weight."),
    ],
    examples: [("adapter-sample base style -o out", "Merge one adapter.")],
    exitCodes: [(0, "Done."), (64, "The command line makes no sense.")])

/// What `body` writes to the two streams of a tool, neither of which is a terminal.
func captured(
    environment: [String: String] = [:], _ body: (Terminal.Streams) -> Void
) -> (output: String, diagnostics: String) {
    let output = memoryFile()
    let diagnostics = memoryFile()
    defer {
        close(output)
        close(diagnostics)
    }
    body(.init(output: output, diagnostics: diagnostics, environment: { environment[$0] }))
    return (contents(output), contents(diagnostics))
}

/// What a terminal of the sample tool writes.
func spoken(
    quiet: Bool = false, json: Bool = false, progress: Bool = true, environment: [String: String] = [:],
    _ body: (Terminal) -> Void
) -> (output: String, diagnostics: String) {
    captured(environment: environment) { streams in
        let terminal = Terminal(
            tool: "adapter-sample", quiet: quiet, json: json, progress: progress, streams: streams)
        body(terminal)
        #expect(throws: Never.self) { try terminal.flush() }
    }
}

/// A file without a name, removed when closed.
private func memoryFile() -> Int32 {
    var path = Array("/tmp/console-tests-XXXXXX".utf8CString)
    let descriptor = mkstemp(&path)
    unlink(path)
    return descriptor
}

private func contents(_ descriptor: Int32) -> String {
    var bytes = [UInt8](repeating: 0, count: Int(lseek(descriptor, 0, SEEK_END)))
    let count = pread(descriptor, &bytes, bytes.count, 0)
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
}
