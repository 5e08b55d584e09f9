import Fixtures
import Foundation
import Testing

/// One adapter taken through all tools: what each one makes of it.
struct DialectTools {
    static let columns = ["inspect", "verify", "merge", "undo", "combine", "pack", "swap", "convert to"]
    static let targets = ["PEFT", "kohya", "diffusers", "MLX", "GGUF"]

    let golden: DialectCase
    private let scratch: Scratch
    /// What went neither right nor was refused as it should be.
    private(set) var faults: [String] = []

    init(_ golden: DialectCase) throws {
        self.golden = golden
        scratch = try Scratch()
    }

    /// The cells of its row.
    mutating func cells() throws -> [String] {
        var cells = [
            cell(Tools.run("adapter-inspect", [golden.adapter])), cell(Tools.verify(golden.base, golden.adapter)),
        ]
        cells += try merge()
        cells += try [combine(), pack(), swap()]
        // What is refused altogether is refused for each target.
        let targets = Self.targets.filter { $0 != golden.dialectName }.prefix(golden.merges ? 5 : 1)
        let reached = try targets.filter { try convert($0) }
        return cells + [reached.isEmpty ? "refused" : reached.joined(separator: ", ")]
    }

    /// `yes`, or `refused` where the tool says why.
    private mutating func cell(_ answer: Answer, _ what: String = "") -> String {
        if answer.status == 0 { return "yes" }
        let isNamed =
            [1, 65].contains(answer.status) && !answer.errors.isEmpty && answer.err.contains(Golden.directory)
        if !isNamed { faults.append("\(golden.name) \(what): exit code \(answer.status), \(answer.err)") }
        return "refused"
    }

    private mutating func expect(_ isRight: Bool, _ what: String) {
        if !isRight { faults.append("\(golden.name): \(what)") }
    }

    /// Compares a model with what the library made of the base.
    private mutating func compare(_ model: String, _ what: String) throws {
        let wrong = try golden.differences(model)
        expect(wrong.isEmpty, "\(what): \(wrong.prefix(3))")
    }

    private mutating func merge() throws -> [String] {
        let (out, back) = (golden.place("out", in: scratch), golden.place("back", in: scratch))
        let merged = cell(Tools.merge(golden.base, [golden.adapter], out, "--undo", scratch("undo")), "merge")
        guard merged == "yes" else {
            expect(scratch.names.isEmpty, "a refused merge left \(scratch.names)")
            return [merged, merged]
        }
        try compare(out, "merge")
        let undone = Tools.unmerge(out, scratch("undo"), back)
        expect(undone.status == 0 && contents(of: back) == contents(of: golden.base), "undo: \(undone.err)")
        return [merged, undone.status == 0 ? "yes" : "refused"]
    }

    private mutating func combine() throws -> String {
        let cell = cell(
            Tools.combine("stack", [golden.adapter], scratch("stack"), "--base", golden.base, "--quiet"), "combine")
        if cell == "yes" { try mergesAlike(scratch("stack"), "combine") }
        return cell
    }

    /// Merges what was made of the adapter, which must give the same.
    private mutating func mergesAlike(_ adapter: String, _ what: String) throws {
        let out = golden.place("merged from \(what)", in: scratch)
        let answer = Tools.merge(golden.base, [adapter], out, "--quiet")
        guard answer.status == 0 else { return expect(false, "\(what), merged: \(answer.err)") }
        try compare(out, what)
    }

    private mutating func pack() throws -> String {
        let bind = golden.merges ? ["--bind", golden.base] : []
        let packed = Tools.run("adapter-pack", [golden.adapter, "-o", scratch("packed")] + bind)
        let cell = cell(packed, "pack")
        guard cell == "yes" else { return cell }
        let unpacked = Tools.unpack(scratch("packed"), scratch("unpacked"))
        expect(contents(of: scratch("unpacked")) == contents(of: golden.adapter), "unpack: \(unpacked.err)")
        return cell
    }

    private mutating func swap() throws -> String {
        let served = try scratch.copy(golden.base, as: "served")
        let cell = cell(Tools.run("adapter-swap", [served, "use", golden.adapter]), "swap")
        if cell == "yes" {
            try compare(served, "swap")
            let back = Tools.run("adapter-swap", [served, "base"])
            expect(back.status == 0, "swap back: \(back.err)")
        }
        expect(tree(served) == tree(golden.base), "swap and back")
        return cell
    }

    /// The files that count: a swap keeps its state in a hidden directory.
    private func tree(_ path: String) -> [String: [UInt8]] { contents(of: path).filter { !$0.key.hasPrefix(".") } }

    private mutating func convert(_ target: String) throws -> Bool {
        let out = scratch(target == "GGUF" ? "converted.gguf" : "converted-\(target)")
        let options = ["-o", out, "--to", target.lowercased(), "--base", golden.base, "--quiet"]
        let cell = cell(Tools.run("adapter-convert", [golden.adapter] + options), "convert to \(target)")
        if cell == "yes" { try mergesAlike(out, "convert to \(target)") }
        return cell == "yes"
    }
}
