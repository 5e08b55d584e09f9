import Foundation
import Glibc

/// What one run of a tool gave.
struct Answer {
    /// The exit code; for a process that a signal ended, the negative signal.
    let status: Int32
    let out: String
    let err: String

    /// The lines of stderr that say `what`, without the tool's name: `error: ...`.
    func lines(_ what: String) -> [String] {
        err.split(separator: "\n").map(String.init).filter { $0.contains(": \(what): ") }
    }

    var errors: [String] { lines("error") }
    var warnings: [String] { lines("warning") }
    var hints: [String] { err.split(separator: "\n").map(String.init).filter { $0.hasPrefix("hint: ") } }

    /// The document on stdout.
    func json() throws -> [String: Any] {
        try JSONSerialization.jsonObject(with: Data(out.utf8)) as? [String: Any] ?? [:]
    }
}

/// The tools that were built with these tests.
enum Tools {
    /// Where the tools are: beside the test bundle.
    static let directory: String = {
        let bundle = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: bundle).deletingLastPathComponent().path
    }()

    private static let surroundings = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("ADAPTERKIT_") }

    /// Whether adapter-inspect is more than a place for it.
    static let hasInspect = run("adapter-inspect", ["--version"]).out.hasPrefix("adapter-inspect")

    /// Runs a tool to its end.
    ///
    /// - Parameters:
    ///   - environment: variables besides this process's own.
    ///   - stdout: a file to open for its output.
    static func run(
        _ tool: String, _ arguments: [String], environment: [String: String] = [:], stdout: String? = nil
    ) -> Answer {
        spawn("\(directory)/\(tool)", arguments, surroundings.merging(environment) { $1 }, stdout: stdout)
    }

    /// Runs a shell script with `arguments` as `$1` and so on, the tools' directory first on the PATH.
    static func shell(_ script: String, _ arguments: String...) -> Answer {
        let path = "\(directory):\(surroundings["PATH"] ?? "/usr/bin:/bin")"
        return spawn("/bin/sh", ["-c", script, "sh"] + arguments, surroundings.merging(["PATH": path]) { $1 })
    }

    static func merge(_ base: String, _ adapters: [String], _ output: String, _ options: String...) -> Answer {
        run("adapter-merge", [base] + adapters + ["-o", output] + options)
    }

    static func combine(_ method: String, _ adapters: [String], _ output: String, _ options: String...) -> Answer {
        run("adapter-combine", [method] + adapters + ["-o", output] + options)
    }

    static func extract(_ base: String, _ tuned: String, _ output: String, _ options: String...) -> Answer {
        run("adapter-extract", [base, tuned, "-o", output] + options)
    }

    static func verify(_ base: String, _ adapters: String..., options: [String] = []) -> Answer {
        run("adapter-verify", [base] + adapters + options)
    }

    /// Begins to run a tool, with what `input` leads to as standard input.
    static func start(_ tool: String, _ arguments: [String], input: RunningTool.Input) -> RunningTool? {
        start("\(directory)/\(tool)", arguments, surroundings, input: input)
    }

    private static func spawn(
        _ path: String, _ arguments: [String], _ environment: [String: String], stdout: String? = nil
    ) -> Answer {
        start(path, arguments, environment, input: .file("/dev/null"), stdout: stdout)?.wait()
            ?? Answer(status: 127, out: "", err: "cannot run \(path)")
    }

    private static func start(
        _ path: String, _ arguments: [String], _ environment: [String: String], input: RunningTool.Input,
        stdout: String? = nil
    ) -> RunningTool? {
        // Nameless files hold what the tool says, so that no pipe can fill up.
        let (out, err) = (namelessFile(), namelessFile())
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        switch input {
        case .file(let path), .terminal(let path): posix_spawn_file_actions_addopen(&actions, 0, path, O_RDWR, 0)
        case .descriptor(let number): posix_spawn_file_actions_adddup2(&actions, number, 0)
        }
        if let stdout {
            posix_spawn_file_actions_addopen(&actions, 1, stdout, O_WRONLY, 0)
        } else {
            posix_spawn_file_actions_adddup2(&actions, out, 1)
        }
        posix_spawn_file_actions_adddup2(&actions, err, 2)
        // Threads of a test block signals, and children would inherit that.
        var attributes = posix_spawnattr_t()
        var none = sigset_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        var flags = Int16(POSIX_SPAWN_SETSIGMASK)
        // Who leads a session and opens a terminal is sent its Ctrl-C.
        if case .terminal = input { flags |= 0x80 /* POSIX_SPAWN_SETSID */ }
        posix_spawnattr_setflags(&attributes, flags)
        var words = ([path] + arguments).map { strdup($0) } + [nil]
        var variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in words + variables { free(text) } }
        var process = pid_t()
        let code = posix_spawn(&process, path, &actions, &attributes, &words, &variables)
        guard code == 0 else {
            close(out)
            close(err)
            return nil
        }
        return RunningTool(process: process, out: out, err: err)
    }

    private static func namelessFile() -> Int32 {
        let directory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : NSTemporaryDirectory()
        var template = Array("\(directory)/adapterkit-test-XXXXXX".utf8CString)
        let file = mkstemp(&template)
        unlink(template)
        _ = fcntl(file, F_SETFD, FD_CLOEXEC)
        return file
    }
}
