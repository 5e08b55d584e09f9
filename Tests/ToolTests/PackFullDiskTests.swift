import Fixtures
import Testing

/// Disks that are really full, and limits that are really reached.
@Suite struct PackFullDiskTests {
    /// A directory with a little that cannot be made smaller, and its archive.
    private func sample(_ scratch: Scratch) throws {
        var random = SeededRandom(5)
        for name in ["a", "d/b"] { try scratch.write("in/\(name)", random.bytes(20_000)) }
        #expect(Tools.pack(scratch("in"), scratch("packed")).status == 0)
    }

    @Test(arguments: [2, 6]) func smallFileSystem(_ pages: Int) throws {
        let scratch = try Scratch()
        try sample(scratch)
        let disk = try scratch.directory("disk")
        guard Tools.shell("mount -t tmpfs -o size=$1 none \"$2\"", String(pages * 4096), disk).status == 0 else {
            print("SKIPPED: a full disk: file systems cannot be mounted here")
            return
        }
        defer { _ = Tools.shell("umount \"$1\"", disk) }
        let unpack = Tools.unpack(scratch("packed"), disk + "/out")
        #expect(
            unpack.errors.first?.hasPrefix("adapter-unpack: error: \(disk)/out: needs 40.0 kB, but only ") == true,
            "\(unpack.err)")
        let pack = Tools.pack(scratch("in"), disk + "/out")
        #expect(pack.errors.first?.contains("no space left on the device") == true, "\(pack.err)")
        for answer in [unpack, pack] {
            #expect(answer.status == 74 && answer.errors.count == 1 && answer.hints.count == 1, "\(answer.err)")
        }
        #expect(Golden.names(in: disk).isEmpty)
    }

    @Test func fileSizeLimit() throws {
        let scratch = try Scratch()
        try sample(scratch)
        for command in ["adapter-pack \"$1/in\" -o \"$1/out\"", "adapter-unpack \"$1/packed\" -o \"$1/out\""] {
            let answer = Tools.shell("ulimit -f 4; exec \(command)", scratch.path)
            #expect(answer.status == 74, "\(command): \(answer.err)")
            #expect(
                answer.errors.first?.contains("the file would be larger than the file system or a limit allows")
                    == true,
                "\(answer.err)")
            #expect(scratch.names == ["in", "packed"], "\(scratch.names)")
        }
    }

    @Test func fewOpenFiles() throws {
        let scratch = try Scratch()
        try sample(scratch)
        for command in ["adapter-pack \"$1/in\" -o \"$1/out\"", "adapter-unpack \"$1/packed\" -o \"$1/out\""] {
            var left: Set<String> = []
            for limit in 5...40 {
                let answer = Tools.shell("ulimit -n \(limit); exec \(command)", scratch.path)
                let names = scratch.names.filter { $0.hasPrefix(".out") }
                left.formUnion(names)
                _ = Tools.shell("cd \"$1\" && rm -rf out .out*", scratch.path)
                if answer.status == 0 { break }
                #expect(answer.status == 74, "\(limit): \(answer.err)")
                let words = "this process has too many files open"
                #expect(answer.errors.first?.contains(words) == true, "\(limit): \(answer.err)")
                #expect(limit < 40, "40 open files must be enough for two")
            }
            #expect(left.isEmpty, "\(left)")
        }
    }
}
