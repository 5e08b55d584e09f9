import Fixtures
import Foundation
import Testing

/// What `adapter-swap` says and refuses, and which models it takes.
@Suite struct SwapTestsUsage {
    private let served: Served

    init() throws { served = try Served(small: Scratch()) }

    @Test(arguments: [
        ([], "takes"), (["nothing"], "'nothing' is no command"), (["use"], "'use' needs adapters"),
        (["base", "x"], "'base' takes nothing more than the model, but 'x' was given"),
        (["status", "x"], "'status' takes nothing more than the model, but 'x' was given"),
        (["recover", "x"], "'recover' takes nothing more than the model, but 'x' was given"),
        (["forget"], "'forget' needs generations, or --all, and not both"),
        (["forget", "x", "--all"], "'forget' needs generations, or --all, and not both"),
        (["base", "--keep"], "--keep goes with use, not with 'base'"),
        (["status", "--limit", "1"], "--limit goes with use and base, not with 'status'"),
        (["base", "--deep"], "--deep goes with status, not with 'base'"),
        (["recover", "--dry-run"], "--dry-run goes with use and base and forget, not with 'recover'"),
        (["base", "--all"], "--all goes with forget, not with 'base'"),
        (["recover", "--allow", "overflow"], "--allow goes with use and base, not with 'recover'"),
        (["use", "a", "--limit", "much"], "'--limit' is 'much'"),
        (["use", "a", "--threads", "0"], "'--threads' is '0'"),
    ]) func usage(_ arguments: [String], _ words: String) throws {
        let before = contents(of: served.scratch.path)
        let answer = Tools.swap(served.model, arguments)
        #expect(answer.status == 64, "\(answer.err)")
        #expect(words == "takes" || answer.errors.first?.contains(words) == true, "\(answer.err)")
        #expect(contents(of: served.scratch.path) == before)
    }

    @Test func noModel() throws {
        for command in [["use", served.a], ["base"], ["status"], ["recover"], ["forget", "--all"]] {
            let nowhere = Tools.swap(served.scratch("nowhere"), command)
            #expect(nowhere.status == 66)
            #expect(nowhere.errors == ["adapter-swap: error: \(served.scratch("nowhere")): does not exist"])
            let file = served.model + "/config.json"
            #expect(Tools.swap(file, command).errors == ["adapter-swap: error: \(file): is no directory"])
        }
        let empty = try served.scratch.directory("empty")
        #expect(Tools.swap(empty, ["use", served.a]).status != 0)
    }

    @Test func whatItSays() throws {
        let never = served.swap("status")
        #expect(never.status == 0 && never.out == "\(served.model): was never swapped: it is what was put there\n")
        #expect(!exists(served.statePath), "to ask makes nothing")
        #expect(served.swap("recover").out == "\(served.model): no swap was interrupted\n")
        let forget = served.swap("forget", "--all")
        #expect(forget.status == 1 && forget.err.contains("was never swapped, so nothing is kept"))
        let use = served.swap("use", served.a + ":0.5", served.b)
        #expect(use.status == 0 && use.err.isEmpty, "\(use.err)")
        #expect(use.out.hasPrefix("\(served.model): is now base + a:0.5 + b ("), "\(use.out)")
        let again = served.swap("use", served.a + ":0.5", served.b)
        #expect(again.out.hasPrefix("\(served.model): is already base + "), "\(again.out)")
        let status = served.swap("status")
        #expect(status.out.hasPrefix("\(served.model): base + a:0.5 + b, since 20"), "\(status.out)")
        #expect(status.out.contains("\nway back:  a record of "))
        #expect(served.swap("base").out.hasPrefix("\(served.model): is now the pristine base ("))
        #expect(served.swap("base").out.hasPrefix("\(served.model): is already the pristine base, in "))
        try served.demand(["use", served.a, "--keep"])
        #expect(served.swap("status").out.contains("\nway back:  the base is kept as it is\n"))
        let needed = served.swap("forget", "base")
        #expect(
            needed.status == 1
                && needed.err.contains("has adapters in it that only the base which is kept can take out"))
        let unknown = served.swap("forget", "0123456789abcdef")
        #expect(unknown.status == 1 && unknown.err.contains("keeps no generation '0123456789abcdef'"))
        try served.demand(["base"])
        let (id, kept) = (try #require(try served.kept().first), served.swap("forget", "a"))
        #expect(kept.out == "\(served.model): forgot \(id)\n", "\(kept.err)")
    }

    @Test func json() throws {
        let never = try served.swap("status", "--json").json()
        #expect(never["live"] is NSNull && never["base_sha256"] is NSNull)
        let first = try served.swap("use", served.a + ":2", "--json").json()
        #expect(first["schema"] as? String == "adapterkit.swap" && first["outcome"] as? String == "merged")
        #expect((first["undo_bytes"] as? Int ?? 0) > 0 && (first["written_bytes"] as? Int ?? 0) > 0)
        #expect(try served.swap("use", served.a + ":2", "--json").json()["outcome"] as? String == "unchanged")
        let kept = try served.swap("use", served.b, "--keep", "--json").json()
        #expect(kept["outcome"] as? String == "merged" && kept["undo_bytes"] is NSNull)
        let status = try served.swap("status", "--deep", "--json").json()
        #expect(status["schema"] as? String == "adapterkit.swap-status" && status["interrupted"] as? Bool == false)
        #expect((status["problems"] as? [Any])?.isEmpty == true && status["holder"] is NSNull)
        let live = status["live"] as? [String: Any] ?? [:]
        let adapter = (live["adapters"] as? [[String: Any]])?.first ?? [:]
        #expect(adapter["name"] as? String == "b" && adapter["weight"] as? Double == 1)
        #expect(adapter["path"] as? String == served.b)
        #expect(try served.kept() == ["base"])
        #expect(try served.swap("base", "--json").json()["outcome"] as? String == "exchanged")
        let forgot = try served.swap("forget", "--all", "--json").json()
        #expect((forgot["generations"] as? [String])?.count == 1)
        #expect(try served.swap("recover", "--json").json()["outcome"] as? String == "nothing")
    }

    /// All bytes, and all stamps of files and directories.
    private func all() -> String {
        Tools.shell("cd \"$1\" && find . -printf '%p %i %m %s %T@ %l\\n' | sort", served.scratch.path).out
    }

    @Test func dryRun() throws {
        let steps: [[String]] = [
            ["use", served.a], ["use", served.b, "--keep"], ["use", served.a, "--keep"], ["base"], ["use", served.b],
            ["base"], ["forget", "--all"], ["use", served.b],
        ]
        for step in steps {
            let before = (all(), contents(of: served.scratch.path).filter { !$0.key.hasSuffix("/lock") })
            let dry = Tools.swap(served.model, step + ["--dry-run"])
            #expect(dry.status == 0, "\(step): \(dry.err)")
            #expect(dry.out.contains("nothing was changed") || step[0] == "forget", "\(step): \(dry.out)")
            // Who has the lock is written down, as long as the state is there.
            let changed = differing(
                before.1, contents(of: served.scratch.path).filter { !$0.key.hasSuffix("/lock") })
            #expect(changed.isEmpty, "\(step): \(changed)")
            if step == steps[0] { #expect(Golden.names(in: served.scratch("served")) == ["model"]) }
            let lines = { (text: String) in
                text.split(separator: "\n").filter { !$0.contains("/lock ") && !$0.hasPrefix("./served ") }
            }
            #expect(lines(before.0) == lines(all()), "\(step)")
            try served.demand(step)
        }
    }

    @Test func allowedCodes() throws {
        var random = SeededRandom(5)
        let zero = Factors([("layers.0.q_proj", Matrix.random(2, 6, &random), 0 * Matrix.random(8, 2, &random))])
        let path = try zero.write(as: "zero", in: served.scratch)
        let refused = served.swap("use", path)
        #expect(refused.status == 1 && refused.err.contains("--allow zero-delta"), "\(refused.err)")
        #expect(served.found == contents(of: served.pristine))
        let allowed = served.swap("use", path, "--allow", "zero-delta")
        #expect(allowed.status == 0 && allowed.warnings.count == 2, "\(allowed.err)")
        try served.demand(["base"])
        #expect(served.found == contents(of: served.pristine))
    }

    /// The model is where a link leads, and the state lies there; the link stays.
    @Test func modelBehindALink() throws {
        try served.scratch.link("link", to: "served/model")
        let link = served.scratch("link")
        for (step, wanted) in [
            (["use", served.a], [served.a]), (["use", served.b, "--keep"], [served.b]), (["base"], []),
        ] {
            let answer = Tools.swap(link + (step == ["base"] ? "/" : ""), step)
            #expect(answer.status == 0, "\(answer.err)")
            #expect(served.found == served.wanted(wanted))
            #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == "served/model")
        }
        #expect(served.scratch.names.filter { $0.hasPrefix(".") }.isEmpty && exists(served.statePath))
    }

    /// A download cache has snapshots of relative links to files that are named by their digests.
    @Test(arguments: [false, true]) func cacheOfLinks(_ byFile: Bool) throws {
        let scratch = served.scratch
        let environment = byFile ? ["ADAPTERKIT_NO_EXCHANGE": "1"] : [:]
        let model = try scratch.directory("hub/snapshots/main")
        for (name, content) in contents(of: served.pristine) where !name.hasSuffix("/") {
            let blob = name.replacingOccurrences(of: "/", with: "_")
            try scratch.write("hub/blobs/\(blob)", content)
            let depth = name.split(separator: "/").count - 1
            if depth > 0 { try scratch.directory("hub/snapshots/main/sub") }
            try scratch.link(
                "hub/snapshots/main/\(name)", to: String(repeating: "../", count: 2 + depth) + "blobs/\(blob)")
        }
        try scratch.directory("hub/snapshots/main/empty")
        let blobs = contents(of: scratch("hub/blobs"))
        let keep = Tools.swap(model, ["use", served.a, "--keep"], environment: environment)
        #expect(keep.status == 1 && keep.err.contains("has relative symbolic links"), "\(keep.err)")
        for (step, wanted) in [(["use", served.a], [served.a]), (["use", served.b], [served.b]), (["base"], [])] {
            let answer = Tools.swap(model, step, environment: environment)
            #expect(answer.status == 0, "\(step): \(answer.err)")
            #expect(differing(contents(of: model), served.wanted(wanted) ?? [:]).isEmpty, "\(step)")
            #expect(contents(of: scratch("hub/blobs")) == blobs, "the blobs are other snapshots', too")
            let strays = try served.strays(in: scratch("hub/snapshots/.main.adapterkit-swap"))
            #expect(strays.isEmpty, "\(strays)")
        }
        #expect(Tools.swap(model, ["status", "--deep"]).status == 0)
    }
}
