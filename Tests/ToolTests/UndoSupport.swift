import Fixtures
import Foundation
import Testing

extension Tools {
    static func unmerge(_ merged: String, _ record: String, _ output: String, _ options: String...) -> Answer {
        run("adapter-unmerge", [merged, "--undo", record, "-o", output] + options)
    }
}

/// A merge with its record, from which the base is to come back.
struct UndoSample {
    let scratch = Scratch.made()
    /// What the base holds.
    let wanted: [String: [UInt8]]

    /// Merges `base`, which is copied, so that nothing can read the original later.
    init(_ base: String, _ adapters: [String], _ options: [String] = []) throws {
        wanted = contents(of: base)
        try merge(base, adapters, options, to: "merged", record: "undo")
    }

    /// The little pair, or another adapter for it.
    init(pair: Pair = Pair(), options: [String] = []) throws {
        let (base, adapter) = try pair.write(in: scratch)
        wanted = contents(of: base)
        try merge(base, [adapter], options, to: "merged", record: "undo")
    }

    func merge(_ base: String, _ adapters: [String], _ options: [String], to out: String, record: String) throws {
        let answer = Tools.run(
            "adapter-merge", [base] + adapters + ["-o", scratch(out), "--undo", scratch(record)] + options)
        try #require(answer.status == 0, "\(answer.err)")
    }

    /// Takes the merge back; the restored directory must be the base, and nothing else may appear.
    func check(_ what: String = "", _ options: [String] = []) throws {
        let before = Set(scratch.names)
        let answer = Tools.run(
            "adapter-unmerge", [scratch("merged"), "--undo", scratch("undo"), "-o", scratch("back")] + options)
        #expect(answer.status == 0, "\(what): \(answer.err)")
        #expect(answer.out.contains("all digests agree"), "\(what): \(answer.out)")
        let found = contents(of: scratch("back"))
        #expect(found == wanted, "\(what): \(Self.differences(found, wanted))")
        _ = Tools.shell("rm -rf \"$1\"", scratch("back"))
        #expect(Set(scratch.names) == before, "\(what)")
    }

    /// Names of what is not the same.
    static func differences(_ a: [String: [UInt8]], _ b: [String: [UInt8]]) -> [String] {
        Set(a.keys).union(b.keys).filter { a[$0] != b[$0] }.sorted()
    }

    /// Runs adapter-unmerge on files that are no good; checks that nothing wrong came of it, and gives its answer.
    func refused(_ merged: String, _ record: String, _ what: String, _ options: [String] = []) throws -> Answer {
        let before = Set(scratch.names)
        let answer = Tools.run(
            "adapter-unmerge", [merged, "--undo", record, "-o", scratch("back")] + options)
        if answer.status == 0 {
            #expect(contents(of: scratch("back")) == wanted, "\(what): other bytes")
            _ = Tools.shell("rm -rf \"$1\"", scratch("back"))
        } else {
            #expect([1, 65, 66].contains(answer.status), "\(what): \(answer.status) \(answer.err)")
            #expect(!answer.errors.isEmpty && answer.out.isEmpty, "\(what): \(answer.err)")
        }
        #expect(Set(scratch.names) == before, "\(what): left \(scratch.names)")
        return answer
    }
}

extension Scratch {
    /// A new one, where throwing is not possible.
    fileprivate static func made() -> Scratch {
        guard let scratch = try? Scratch() else { preconditionFailure("there is no room for temporary files") }
        return scratch
    }
}
