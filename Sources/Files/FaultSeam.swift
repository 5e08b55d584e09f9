#if FAULT_SEAM
    import Glibc
    import Synchronization

    /// Makes one chosen system call fail or die, in debug builds only.
    ///
    /// `ADAPTERKIT_FAULT=write:3:ENOSPC` fails the third write with "no space left", `any:7:KILL` kills the process just
    /// before its seventh change of the file system. The tests walk through all values until a run succeeds.
    /// `ADAPTERKIT_NO_EXCHANGE=1` besides makes a file system of one that cannot exchange two names.
    final class FaultSeam: Sendable {
        static let shared = FaultSeam()

        private let operation: String
        private let target: Int
        private let action: Action
        private let count = Atomic<Int>(0)
        /// Whether two names can be exchanged here.
        let canExchange = unsafe getenv("ADAPTERKIT_NO_EXCHANGE") == nil

        private enum Action: Sendable {
            case fail(Int32), kill, interrupt
        }

        private static let names: [String: Int32] = [
            "ENOSPC": ENOSPC, "EIO": EIO, "EDQUOT": EDQUOT, "EACCES": EACCES, "EROFS": EROFS, "EXDEV": EXDEV,
            "EOPNOTSUPP": EOPNOTSUPP, "EINVAL": EINVAL, "EMFILE": EMFILE,
        ]

        private init() {
            let request = unsafe getenv("ADAPTERKIT_FAULT").map { unsafe String(cString: $0) } ?? ""
            let parts = request.split(separator: ":").map(String.init)
            operation = parts.first ?? ""
            target = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
            switch parts.count > 2 ? parts[2] : "" {
            case "KILL": action = .kill
            case "TERM": action = .interrupt
            case let name: action = .fail(Self.names[name] ?? EIO)
            }
        }

        /// The errno that this change must fail with, if it is the chosen one.
        func next(_ what: Mutation) -> Int32? {
            guard target > 0, operation == "any" || operation == what.rawValue else { return nil }
            guard count.add(1, ordering: .relaxed).newValue == target else { return nil }
            switch action {
            case .fail(let code): return code
            case .kill: kill(getpid(), SIGKILL)
            case .interrupt: kill(getpid(), SIGTERM)
            }
            return nil
        }
    }
#endif
