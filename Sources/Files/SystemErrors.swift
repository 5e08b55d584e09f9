import Glibc
import Problems

/// Turns a failed system call into a sentence, a kind and a next step.
enum SystemErrors {
    /// The problem that `code` (a positive errno) stands for when `doing` failed on `path`.
    static func problem(_ code: Int, _ doing: String, _ path: String, output: Bool = false) -> Problem {
        let (reason, hint) = sentence(Int32(truncatingIfNeeded: code))
        let kind: Problem.Kind =
            switch Int32(truncatingIfNeeded: code) {
            case ENOENT, ENOTDIR: output ? .output : .missing
            case EEXIST, EACCES, EPERM, EROFS, EISDIR, ENOTEMPTY: output ? .output : .io
            default: .io
            }
        return Problem(kind, "system-error", file: path, "cannot \(doing): \(reason)", hint: hint)
    }

    /// A number of bytes in groups of three digits: `82,984 bytes`.
    static func bytes(_ count: Int) -> String {
        var text = String(count)
        var place = text.count - 3
        while place > 0 {
            text.insert(",", at: text.index(text.startIndex, offsetBy: place))
            place -= 3
        }
        return text + (count == 1 ? " byte" : " bytes")
    }

    private static func sentence(_ code: Int32) -> (String, String?) {
        switch code {
        case ENOENT: ("no such file or directory", "check the path")
        case ENOTDIR: ("a part of the path is not a directory", "check the path")
        case EISDIR: ("it is a directory", nil)
        case EACCES, EPERM: ("permission denied", "check who owns it and its mode (ls -ld)")
        case EROFS: ("the file system is mounted read-only", "choose another output directory")
        case ENOSPC: ("no space left on the device", "free space, or choose an output on another disk (df -h)")
        case EDQUOT: ("your disk quota is used up", "free space, or choose an output elsewhere (quota -s)")
        case EFBIG: ("the file would be larger than the file system or a limit allows", "check ulimit -f")
        case EIO:
            ("the device reported an input/output error", "look at the system log (dmesg): the disk may be failing")
        case EMFILE: ("this process has too many files open", "raise the limit (ulimit -n)")
        case ENFILE: ("the system has too many files open", nil)
        case ENAMETOOLONG: ("the name is too long", nil)
        case ELOOP: ("too many levels of symbolic links", nil)
        case ENODEV, ENXIO: ("the device is gone", nil)
        case EEXIST: ("it exists already", nil)
        case ENOMEM: ("the system is out of memory", nil)
        case ESTALE: ("the network file handle is stale", "try again")
        case ETXTBSY: ("the file is being executed", nil)
        default: (unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)", nil)
        }
    }
}
