import Glibc

/// Time for what lasts.
public enum Clock {
    /// Seconds since some fixed point.
    public static var now: Double { Double(Posix.now()) / 1e9 }

    /// Waits.
    public static func sleep(milliseconds: UInt32) { _ = usleep(milliseconds * 1000) }
}
