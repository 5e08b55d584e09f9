import Glibc

/// A process that runs, with the files that hold what it says.
final class RunningTool {
    /// What its standard input is.
    enum Input {
        /// What is at this path.
        case file(String)
        /// A terminal, which is to be its own.
        case terminal(String)
        /// What is open here.
        case descriptor(Int32)
    }

    private let process: pid_t
    private let out: Int32
    private let err: Int32

    init(process: pid_t, out: Int32, err: Int32) { (self.process, self.out, self.err) = (process, out, err) }

    deinit {
        close(out)
        close(err)
    }

    /// What it said so far.
    var output: String { Self.text(in: out) }
    var diagnostics: String { Self.text(in: err) }

    func send(_ signal: Int32) { kill(process, signal) }

    /// Whether it has a handler for signals, so that one means to it what it should.
    var handlesSignals: Bool {
        let file = open("/proc/\(process)/status", O_RDONLY)
        guard file >= 0 else { return false }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 8192)
        let count = read(file, &bytes, bytes.count)
        let status = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
        guard let caught = status.firstMatch(of: /SigCgt:\s*([0-9a-f]+)/)?.1 else { return false }
        return (UInt64(caught, radix: 16) ?? 0) >> (UInt64(SIGINT) - 1) & 1 == 1
    }

    /// Waits until something is so, for half a minute at most; whether it came.
    func until(_ condition: () -> Bool) -> Bool {
        for _ in 0..<3000 {
            if condition() { return true }
            usleep(10_000)
        }
        return false
    }

    /// Waits for the end.
    func wait() -> Answer {
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        return answer(status)
    }

    /// The same, for half a minute at most; then it is killed, and there is no answer.
    func waitABit() -> Answer? {
        var status: Int32 = 0
        if until({ waitpid(process, &status, WNOHANG) == process }) { return answer(status) }
        kill(process, SIGKILL)
        _ = wait()
        return nil
    }

    private func answer(_ status: Int32) -> Answer {
        let signal = status & 0x7F
        return Answer(status: signal == 0 ? (status >> 8) & 0xFF : -signal, out: output, err: diagnostics)
    }

    private static func text(in file: Int32) -> String {
        var status = stat()
        fstat(file, &status)
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        let count = pread(file, &bytes, bytes.count, 0)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}

/// The side of a terminal on which somebody types.
final class Keyboard {
    private let keys: Int32
    /// The path of the terminal.
    let path: String

    /// As posix_openpt, unlockpt and ptsname do it, which Swift does not show.
    init?() {
        keys = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        var (lock, number): (Int32, Int32) = (0, 0)
        guard keys >= 0, ioctl(keys, 0x4004_5431 /* TIOCSPTLCK */, &lock) == 0,
            ioctl(keys, 0x8004_5430 /* TIOCGPTN */, &number) == 0
        else { return nil }
        path = "/dev/pts/\(number)"
    }

    deinit { close(keys) }

    func type(_ text: String) { _ = write(keys, text, text.utf8.count) }
}
