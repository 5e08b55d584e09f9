import CPosix
import Glibc

/// The C library as this module needs it: the only unsafe code here.
enum Posix {
    /// The value of an environment variable.
    static func environment(_ name: String) -> String? {
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }

    /// Writes all of `bytes`; the errno of what stopped it, or 0.
    static func write(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
        var start = 0
        while start < bytes.count {
            let written = unsafe bytes.withUnsafeBytes { all in
                unsafe Glibc.write(descriptor, all.baseAddress?.advanced(by: start), all.count - start)
            }
            if written > 0 {
                start += written
            } else if errno == EAGAIN {
                // Another program made the pipe or terminal that we share non-blocking: wait until it has room.
                var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = unsafe poll(&wait, 1, -1)
            } else if errno != EINTR {
                return errno
            }
        }
        return 0
    }

    /// The errno of writing to a pipe that nobody reads.
    static let brokenPipe = EPIPE

    /// An errno in words.
    static func reason(_ code: Int32) -> String {
        switch code {
        case ENOSPC: "no space left on the device"
        case EIO: "the device reported an input/output error"
        case EBADF: "it is closed"
        default: unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
        }
    }

    /// Whether `descriptor` is a terminal.
    static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

    /// Nanoseconds of a clock that only goes forward.
    static func now() -> Int {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }

    /// The place of the first argument that is no UTF-8, which Swift would change without a word.
    static func firstInvalidArgument() -> Int? {
        for place in 1..<max(1, Int(CommandLine.argc)) {
            guard let text = unsafe CommandLine.unsafeArgv[place] else { continue }
            let bytes = unsafe UnsafeBufferPointer(start: text, count: strlen(text))
            let isValid = unsafe String(validating: bytes.map(UInt8.init(bitPattern:)), as: UTF8.self) != nil
            if !isValid { return place }
        }
        return nil
    }

    /// Makes this process fit to run a tool: signals noted instead of fatal, and descriptors 0 to 2 taken.
    static func prepare() {
        // A closed standard stream would give its number to the next file opened, and diagnostics would land in that
        // file. What is opened here instead refuses the use the stream is for.
        for (descriptor, flags) in [(Int32(0), O_WRONLY), (1, O_RDONLY), (2, O_RDONLY)]
        where fcntl(descriptor, F_GETFD) == -1 {
            _ = unsafe open("/dev/null", flags)
        }
        // Both become errors of the call that met them: a reader that has gone, and a file beyond `ulimit -f`.
        for number in [SIGPIPE, SIGXFSZ] { _ = signal(number, SIG_IGN) }
        ak_watch_signals()
    }
}
