/// An open file descriptor, closed exactly once.
struct Descriptor: ~Copyable, Sendable {
    let raw: Int32

    init(_ raw: Int) { self.raw = Int32(truncatingIfNeeded: raw) }

    deinit { System.close(raw) }
}
