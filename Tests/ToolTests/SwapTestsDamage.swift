import Fixtures
import Foundation
import Glibc
import Testing

/// What something else changed, and what broke, is named before anything is written.
@Suite struct SwapTestsDamage {
    private static let shard = "model-00001-of-00002.safetensors"
    private static let untouched = "model-00002-of-00002.safetensors"

    private let served: Served

    init() throws { served = try Served(small: Scratch()) }

    /// Turns one bit of a file, in place.
    private func flip(_ path: String, at offset: Int = -1) throws {
        var data = try bytes(of: path)
        data[offset < 0 ? data.count + offset : offset] ^= 0x10
        let file = open(path, O_WRONLY)
        defer { close(file) }
        #expect(pwrite(file, &data, data.count, 0) == data.count)
    }

    /// What a command is refused with; nothing is changed by it, but who had the lock.
    private func refused(_ arguments: [String], _ status: Int32 = 1) -> Answer {
        let before = contents(of: served.scratch.path)
        let answer = Tools.swap(served.model, arguments)
        #expect(answer.status == status, "\(arguments): \(answer.status) \(answer.err)")
        let changed = differing(before, contents(of: served.scratch.path)).filter { !$0.hasSuffix("/lock") }
        #expect(changed.isEmpty, "\(arguments) changed \(changed)")
        return answer
    }

    private func expectNamed(_ words: String, _ arguments: [[String]], _ status: Int32 = 1) {
        for command in arguments {
            let answer = refused(command, status)
            #expect(answer.errors.contains { $0.contains(words) }, "\(command): \(answer.err)")
            #expect(!answer.hints.isEmpty)
        }
    }

    private var everything: [[String]] {
        [
            ["use", served.a], ["use", served.b], ["use", served.b, "--keep"], ["base"],
            ["use", served.b, "--dry-run"],
        ]
    }

    @Test(arguments: [shard, untouched, "config.json", "sub/notes", "model.safetensors.index.json"])
    func aBitOfTheModel(_ name: String) throws {
        try served.demand(["use", served.a])
        try flip("\(served.model)/\(name)")
        expectNamed(
            "\(served.model)/\(name): was changed by something else since the last swap", everything + [["status"]])
        let deep = refused(["status", "--deep"])
        #expect(deep.errors.contains { $0.contains("\(name): has other bytes than adapter-swap wrote or found there") })
        try flip("\(served.model)/\(name)")
        try served.demand(["base"])
        #expect(served.found == contents(of: served.pristine))
    }

    /// Small files come back from the record, whatever became of the copies in the model.
    @Test(arguments: ["config.json", "generation_config.json"], ["remove", "edit"])
    func smallFilesComeBack(_ name: String, _ way: String) throws {
        try Data("{\"max_length\": 7}\n".utf8).write(to: URL(fileURLWithPath: "\(served.model)/generation_config.json"))
        let base = contents(of: served.model)
        for command in [["base"], ["use", served.b]] {
            try served.demand(["use", served.a])
            let path = "\(served.model)/\(name)"
            if way == "remove" {
                try FileManager.default.removeItem(atPath: path)
            } else {
                try Data((try bytes(of: path)) + [10]).write(to: URL(fileURLWithPath: path))
            }
            _ = refused(command)
            try served.demand(command + ["--allow", "foreign-change"])
            #expect(served.found["/\(name)"] ?? served.found[name] == base["/\(name)"] ?? base[name])
            try served.demand(["base"])
            #expect(served.found == base, "\(command)")
        }
    }

    /// What takes adapters out is never overwritten where nothing says of which model it is.
    @Test(arguments: [[], ["--keep"]]) func aLostState(_ options: [String]) throws {
        try served.demand(["use", served.a] + options)
        let state = "\(served.statePath)/state.json"
        let saved = try bytes(of: state)
        try FileManager.default.removeItem(atPath: state)
        let left = options.isEmpty ? "undo" : "kept"
        expectNamed("\(state): is missing, but '\(left)' is there", everything + [["status"]], 66)
        try Data(saved).write(to: URL(fileURLWithPath: state))
        try served.demand(["base"])
        #expect(served.found == contents(of: served.pristine))
    }

    /// Status says no more than is so, and what may help.
    @Test func statusOfWhatIsGone() throws {
        try served.demand(["use", served.a])
        #expect(
            served.swap("status").out.contains("all as they were left (by size, time and inode; --deep reads them)"))
        #expect(served.swap("status", "--deep").out.contains("all as they were left (all bytes read)"))
        try FileManager.default.removeItem(atPath: "\(served.statePath)/undo")
        let answer = served.swap("status")
        #expect(answer.status == 66 && answer.out.contains("way back:  none: the record is missing"), "\(answer.out)")
        let kept = try Served(small: Scratch())
        try kept.demand(["use", kept.a, "--keep"])
        try Data("x".utf8).write(to: URL(fileURLWithPath: "\(kept.statePath)/kept/base/config.json"))
        let damaged = kept.swap("status")
        #expect(
            damaged.hints.contains(
                "hint: put the file back as it was: it is the base, which nothing else can give back"))
    }

    private static var hasOtherDisk: Bool {
        let device = { (path: String) in
            (try? FileManager.default.attributesOfItem(atPath: path))?[.systemNumber] as? Int
        }
        return device("/dev/shm") != nil && device("/dev/shm") != device(FileManager.default.temporaryDirectory.path)
    }

    /// Where files lead to another disk, and directories cannot be exchanged, all goes file by file.
    @Test(.enabled(if: hasOtherDisk, "needs another file system at /dev/shm")) func linksToAnotherDisk() throws {
        let other = "/dev/shm/adapterkit-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: other) }
        _ = Tools.shell(
            "cp -a \"$1\" \"$2\" && for f in \"$1\"/*; do test -d \"$f\" || ln -sf \"$2/${f##*/}\" \"$f\"; done",
            served.model, other)
        for command in [["use", served.a], ["use", served.b], ["base"]] {
            try served.demand(command, environment: ["ADAPTERKIT_NO_EXCHANGE": "1"])
            let operands = command[0] == "use" ? [command[1]] : []
            #expect(served.found == served.wanted(operands), "\(command)")
        }
    }

    private static var canMount: Bool {
        Tools.shell("unshare -m true 2>/dev/null || unshare -Urm true").status == 0
    }

    /// A model that is mounted over itself, or lies in the lower layer of an overlay: file by file, and back.
    @Test(.enabled(if: canMount, "needs unshare(1) and the right to mount"), arguments: ["bind", "overlay"])
    func mounts(_ kind: String) throws {
        let prepare =
            kind == "bind"
            ? "mount --bind \"$1\" \"$1\"; M=$1"
            : "mkdir $4/t; mount -t tmpfs none $4/t; mkdir $4/t/low $4/t/up $4/t/wk $4/t/all; cp -a \"$1\" $4/t/low/m; "
                + "mount -t overlay none -o lowerdir=$4/t/low,upperdir=$4/t/up,workdir=$4/t/wk $4/t/all; M=$4/t/all/m"
        let swap = "adapter-swap"
        let merged = served.scratch("merged")
        #expect(Tools.merge(served.pristine, [served.b], merged).status == 0)
        let text = """
            set -e; \(prepare)
            \(swap) $M use $2 --quiet; \(swap) $M use $3 --quiet
            for f in $4/merged/*.safetensors; do cmp $f $M/$(basename $f); done
            \(swap) $M base --quiet; rm -rf $M/.adapterkit-swap; diff -r $5 $M
            """
        try text.write(toFile: served.scratch("script"), atomically: true, encoding: .utf8)
        let answer = Tools.shell(
            "U=-m; unshare -m true 2>/dev/null || U=-Urm; unshare $U sh \"$@\"", served.scratch("script"), served.model,
            served.a, served.b, served.scratch.path, served.pristine)
        #expect(answer.status == 0, "\(answer.out) \(answer.err)")
    }

    @Test func aShardReplacedByHand() throws {
        try served.demand(["use", served.a])
        let path = "\(served.model)/\(Self.shard)"
        _ = Tools.shell("cp \"$1\" \"$2.new\" && mv \"$2.new\" \"$2\"", "\(served.pristine)/\(Self.shard)", path)
        expectNamed("\(path): was changed by something else since the last swap", everything + [["status"]])
    }

    @Test func aMissingFile() throws {
        try served.demand(["use", served.a])
        for name in [Self.shard, "sub/notes"] {
            let path = "\(served.model)/\(name)"
            _ = Tools.shell("mv \"$1\" \"$2\"", path, served.scratch("away"))
            expectNamed(
                "\(path): is missing: something else removed it since the last swap", everything + [["status"]])
            _ = Tools.shell("mv \"$2\" \"$1\"", path, served.scratch("away"))
        }
        try served.demand(["base"])
    }

    @Test func anAddedFile() throws {
        try served.demand(["use", served.a])
        for name in ["more.txt", "sub/more", ".more"] {
            try served.scratch.write("served/model/\(name)", "m")
            expectNamed(
                "\(served.model)/\(name): was added by something else since the last swap, and would be lost",
                everything + [["status"]])
            #expect(unlink("\(served.model)/\(name)") == 0)
        }
        try served.demand(["base"])
    }

    /// What cannot be carried along is refused from the start.
    @Test func linksAndPipes() throws {
        try served.demand(["base"])
        try served.scratch.link("served/model/linked", to: "sub")
        expectNamed("/linked: is a link to a directory", [["use", served.a]])
        unlink(served.model + "/linked")
        try served.scratch.link("served/model/nowhere", to: "not/there")
        expectNamed("/nowhere: is neither a file nor a directory", [["use", served.a]])
        unlink(served.model + "/nowhere")
        #expect(mkfifo(served.model + "/pipe", 0o600) == 0)
        // Not by `expectNamed`, which would read it.
        let answer = served.swap("use", served.a)
        #expect(answer.status == 1 && answer.err.contains("/pipe: is neither a file nor a directory"), "\(answer.err)")
    }

    /// Any bit of the record: nothing else gives the base back.
    @Test func aBitOfTheRecord() throws {
        try served.demand(["use", served.a])
        let path = served.statePath + "/undo"
        let size = try bytes(of: path).count
        var random = SeededRandom(test: "SwapTestsDamage.aBitOfTheRecord")
        for _ in 0..<(thoroughness ?? 1) * 6 {
            let offset = random.below(size)
            try flip(path, at: offset)
            for command in [["use", served.b], ["base"], ["use", served.b, "--keep"], ["status", "--deep"]] {
                let before = served.found
                let answer = Tools.swap(served.model, command)
                #expect(
                    answer.status == 65 || answer.status == 1, "\(offset), \(command): \(answer.status) \(answer.err)")
                #expect(answer.err.contains(path), "\(offset), \(command): \(answer.err)")
                #expect(served.found == before)
                #expect(try served.strays().isEmpty)
            }
            try flip(path, at: offset)
        }
        #expect(rename(path, path + ".away") == 0)
        expectNamed(
            "\(path): is missing, and without it the base cannot be given back",
            [["base"], ["use", served.b], ["status"]], 66)
        #expect(rename(path + ".away", path) == 0)
        try served.demand(["base"])
        #expect(served.found == contents(of: served.pristine))
    }

    @Test func theAdapter() throws {
        let path = served.a + "/adapter_model.safetensors"
        try served.demand(["use", served.a])
        let merged = served.found
        // Another adapter by its bytes is another generation, though its path is the same.
        try flip(path)
        try served.demand(["use", served.a])
        #expect(served.found != merged)
        #expect(served.found == served.wanted([served.a], anew: true))
        try flip(path)
        let whole = try bytes(of: path)
        for count in [0, 7, 40, whole.count - 1] {
            try Fixtures.write(Array(whole[..<count]), to: path)
            let answer = refused(["use", served.a], 65)
            #expect(answer.err.contains(path), "\(answer.err)")
        }
        #expect(unlink(path) == 0)
        #expect(refused(["use", served.a], 66).err.contains(served.a))
        #expect(refused(["use", served.b, served.scratch("nowhere")], 66).err.contains("nowhere"))
    }

    @Test(arguments: ["base", "a"]) func aGenerationThatIsKept(_ name: String) throws {
        for adapter in [served.a, served.b] { try served.demand(["use", adapter, "--keep"]) }
        let id = try #require(
            try served.kept().first { name == "base" ? $0 == "base" : $0 != "base" })
        let root = "\(served.statePath)/kept/\(id)"
        let other = served.scratch("b2")
        _ = Tools.shell("cp -r \"$1\" \"$2\"", served.a, other)
        // Of the base, all that is made anew depends on it; of a merge, only itself.
        let commands = name == "base" ? [["base"], ["use", other]] : [["use", served.a]]
        try flip("\(root)/\(Self.shard)")
        expectNamed(
            "\(root): holds a generation that was changed by something else: \(Self.shard)", commands + [["status"]])
        try flip("\(root)/\(Self.shard)")
        // New stamps on the same bytes, as after a copy, are no damage.
        for command in commands { try served.demand(command) }
        #expect(served.found == served.wanted([[], [other], [served.a]][name == "base" ? 1 : 2]))
    }

    @Test func theStateItself() throws {
        try served.demand(["use", served.a])
        let path = served.statePath + "/state.json"
        let text = try bytes(of: path)
        for (damaged, words, status) in [
            (Array("{".utf8), "is no JSON", Int32(65)), (Array("{}".utf8), "is no state of swaps", 65),
            ([], "is no JSON", 65),
            (
                Array(
                    String(decoding: text, as: UTF8.self).replacingOccurrences(
                        of: "\"version\": 1", with: "\"version\": 9"
                    ).utf8), "version 9", 65
            ),
            (
                Array(
                    String(decoding: text, as: UTF8.self).replacingOccurrences(of: "sub/notes", with: "../notes").utf8),
                "names a file that is none", 65
            ),
        ] {
            try Fixtures.write(damaged, to: path)
            expectNamed(words, [["use", served.b], ["base"], ["status"], ["forget", "--all"]], status)
        }
        try Fixtures.write(text, to: path)
        try Fixtures.write(Array("{}".utf8), to: served.statePath + "/journal.json")
        expectNamed("is no journal of a swap", [["recover"]], 65)
        #expect(unlink(served.statePath + "/journal.json") == 0)
        try served.demand(["base"])
    }

    /// A model in whose place another directory was put while a swap was interrupted.
    @Test func anotherDirectory() throws {
        for number in 1...400 {
            let answer = Tools.swap(
                served.model, ["use", served.a], environment: ["ADAPTERKIT_FAULT": "any:\(number):KILL"])
            try #require(answer.status == -9)
            if exists(served.statePath + "/journal.json") { break }
        }
        _ = Tools.shell("mv \"$1\" \"$1.away\" && cp -r \"$1.away\" \"$1\"", served.model)
        expectNamed("is another directory than the two that the interrupted swap was about", [["recover"]])
        _ = Tools.shell("rm -r \"$1\" && mv \"$1.away\" \"$1\"", served.model)
        try served.demand(["recover"])
        #expect(served.found == contents(of: served.pristine))
    }
}
