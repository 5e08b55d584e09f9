import CKernels
import Console
import Problems

extension Terminal {
    /// Says so if `ADAPTERKIT_CPU` names no level of this CPU.
    public func warnOfUnknownLevel() {
        guard !ak_level_variable_ok() else { return }
        report(
            Problem(
                .warning, .usage, "bad-level", "ADAPTERKIT_CPU names no level that this CPU has, so it is ignored",
                hint: "use baseline, v3 or v4"))
    }
}
