import CPosix
import Glibc

/// Time for what lasts, and what a run took.
public enum Clock {
    /// Seconds since some fixed point.
    public static var now: Double { Double(Posix.now()) / 1e9 }

    /// Waits.
    public static func sleep(milliseconds: UInt32) { _ = usleep(milliseconds * 1000) }

    /// The most bytes of memory that this process had at once.
    public static var peakMemory: Int { Int(ak_peak_memory()) }
}
