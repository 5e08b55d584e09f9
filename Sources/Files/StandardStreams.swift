import Glibc
import Problems

/// Bytes that come in by standard input or go out by standard output.
public enum StandardStreams {
    private static let piece = 1 << 20

    /// Whether standard output is a terminal, where bytes do harm.
    public static var outputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// Copies standard input to a file without a name, of which it is read like any other.
    ///
    /// - Parameter check: is told, after each piece, of what has come, and throws if that cannot be right.
    public static func spoolInput(
        check: (OutputFile) throws(Problem) -> Void = { _ throws(Problem) in }
    ) throws(Problem) -> OutputFile {
        let spool = try OutputFile(temporaryFor: "standard input")
        var buffer = [UInt8](repeating: 0, count: piece)
        var done = 0
        while true {
            let count = try readInput(into: &buffer)
            if count == 0 { return spool }
            try spool.write(Array(buffer[..<count]), at: done)
            done += count
            spool.grew(to: done)
            try check(spool)
        }
    }

    /// What messages call the input at `path`, where `-` is standard input.
    public static func inputName(_ path: String) -> String { path == "-" ? "standard input" : path }

    /// All bytes of the file at `path`, or of standard input where that is `-`.
    public static func readInput(_ path: String, limit: Int) throws(Problem) -> [UInt8] {
        if path == "-" { return try spoolInput().readAll(limit: limit) }
        do throws(Problem) {
            return try InputFile(path: path).readAll(limit: limit)
        } catch {
            guard error.code == "not-a-file", Directory.kind(of: path) != .directory else { throw error }
            var copy = error
            copy.hint = "write - in its place, and send it by a pipe: COMMAND | TOOL ... -"
            throw copy
        }
    }

    /// Waits for some bytes of standard input, and returns how many have come; none at its end.
    ///
    /// - Throws: `interrupted` if a signal comes meanwhile, or came before.
    static func readInput(into buffer: inout [UInt8]) throws(Problem) -> Int {
        // Any thread may be the one that a signal interrupts, so this one has to look by itself.
        var ready = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
        repeat { try checkInterrupted() } while unsafe poll(&ready, 1, 100) == 0 || ready.revents == 0
        let count = unsafe buffer.withUnsafeMutableBytes { target in
            System.retrying { unsafe Glibc.read(STDIN_FILENO, target.baseAddress, target.count) }
        }
        guard count >= 0 else { throw SystemErrors.problem(-count, "read", "standard input") }
        return count
    }

    /// Writes `count` bytes of a file to standard output.
    public static func write(_ source: any ByteSource, count: Int) throws(Problem) {
        var done = 0
        while done < count {
            try checkInterrupted()
            let bytes = try source.read(at: done, count: min(piece, count - done))
            try write(bytes)
            done += bytes.count
        }
    }

    /// Writes bytes to standard output.
    public static func write(_ bytes: [UInt8]) throws(Problem) {
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { source in
                System.retrying {
                    unsafe Glibc.write(STDOUT_FILENO, source.baseAddress?.advanced(by: done), bytes.count - done)
                }
            }
            guard count > 0 else {
                throw SystemErrors.problem(count == 0 ? Int(EIO) : -count, "write", "standard output")
            }
            done += count
        }
    }
}

/// Standard input line by line, as somebody types it.
public struct InputLines {
    private var pending: [UInt8] = []

    /// Begins with what comes next.
    public init() {}

    /// The next line, without what ends it; `nil` at the end of input.
    ///
    /// - Throws: `interrupted` if a signal comes while it waits; what was typed of the line is gone then.
    public mutating func next() throws(Problem) -> String? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                defer { pending.removeFirst(end + 1) }
                return String(decoding: pending[..<end], as: UTF8.self)
            }
            let count: Int
            do throws(Problem) {
                count = try StandardStreams.readInput(into: &buffer)
            } catch {
                pending = []
                throw error
            }
            guard count > 0 else {
                defer { pending = [] }
                return pending.isEmpty ? nil : String(decoding: pending, as: UTF8.self)
            }
            pending += buffer[..<count]
        }
    }
}
