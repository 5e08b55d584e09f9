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

    private static func spawn(
        _ path: String, _ arguments: [String], _ environment: [String: String], stdout: String? = nil
    ) -> Answer {
        // Nameless files hold what the tool says, so that no pipe can fill up.
        let (out, err) = (namelessFile(), namelessFile())
        defer {
            close(out)
            close(err)
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
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
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var words = ([path] + arguments).map { strdup($0) } + [nil]
        var variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in words + variables { free(text) } }
        var process = pid_t()
        let code = posix_spawn(&process, path, &actions, &attributes, &words, &variables)
        guard code == 0 else { return Answer(status: 127, out: "", err: "cannot run \(path): error \(code)") }
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        let signal = status & 0x7F
        return Answer(status: signal == 0 ? (status >> 8) & 0xFF : -signal, out: text(in: out), err: text(in: err))
    }

    private static func namelessFile() -> Int32 {
        let directory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : NSTemporaryDirectory()
        var template = Array("\(directory)/adapterkit-test-XXXXXX".utf8CString)
        let file = mkstemp(&template)
        unlink(template)
        _ = fcntl(file, F_SETFD, FD_CLOEXEC)
        return file
    }

    private static func text(in file: Int32) -> String {
        var status = stat()
        fstat(file, &status)
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        let count = pread(file, &bytes, bytes.count, 0)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}
