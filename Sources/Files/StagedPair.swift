import Glibc
import Problems
import Synchronization

/// Outputs that are one file, and two outputs that belong together.
extension StagedOutput {
    /// Gives both their names, `record` first: it is never missing where `output` is there.
    ///
    /// If `output` does not get its name, `record` is taken back, and what was there before has its place again. Only a
    /// run that is killed in between leaves a record alone.
    public static func commit(_ record: StagedOutput, then output: StagedOutput) throws(Problem) {
        do throws(Problem) {
            try record.commit(syncsAll: false, keepsOld: true)
            try output.commit()
        } catch {
            // With its name, the output is there, even if nobody knows for how long.
            if output.finished.load(ordering: .relaxed) { record.settle() } else { record.retract() }
            throw error
        }
        record.settle()
    }

    /// The error of an output that is whole, but did not get its name.
    func unnamed(_ code: Int) -> Problem {
        SystemErrors.problem(-code, "give the finished output its name", path, output: true)
    }

    /// Gives a file its name.
    ///
    /// - Parameter keepsOld: whether a file that is replaced stays in the stage.
    func commitFile(keepsOld: Bool) throws(Problem) {
        let inside = "\(stageName)/\(name)"
        // What is no file any more is not taken away, whatever is to become of the old one.
        if keepsOld, replacing, Directory.kind(of: path) == .file {
            let code = System.exchange(inside, name, in: parent.descriptor.raw)
            if code >= 0 {
                holdsOld.store(true, ordering: .relaxed)
                return finished.store(true, ordering: .relaxed)
            }
            // There is nothing to exchange, or the file system cannot.
            guard [ENOENT, EINVAL, ENOSYS].contains(Int32(-code)) else { throw unnamed(code) }
        }
        var code = replacing ? -Int(EEXIST) : System.renameNew(inside, name, in: parent.descriptor.raw)
        if code == -Int(EINVAL) || code == -Int(ENOSYS) {
            code =
                Directory.kind(of: path) == nil ? System.rename(inside, name, in: parent.descriptor.raw) : -Int(EEXIST)
        }
        if code == -Int(EEXIST), replacing { code = System.rename(inside, name, in: parent.descriptor.raw) }
        guard code >= 0 else { throw unnamed(code) }
        finished.store(true, ordering: .relaxed)
        Self.removeTree(stageName, in: parent)
    }

    /// Drops the file that was there before.
    private func settle() {
        if holdsOld.load(ordering: .relaxed) { Self.removeTree(stageName, in: parent) }
    }

    /// Takes the name away again, or gives it back to the file that had it.
    private func retract() {
        guard finished.load(ordering: .relaxed) else { return }
        let directory = parent.descriptor.raw
        if holdsOld.load(ordering: .relaxed) {
            _ = System.exchange("\(stageName)/\(name)", name, in: directory)
            Self.removeTree(stageName, in: parent)
        } else {
            _ = System.remove(name, in: directory, isDirectory: false)
        }
    }
}
