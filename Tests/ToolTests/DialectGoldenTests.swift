import Fixtures
import Foundation
import Testing

/// Adapters of other dialects and kinds, as their own libraries wrote them.
@Suite struct DialectGoldenTests {
    @Test func everyCaseIsFound() {
        #expect(DialectCase.names == DialectCase.all.map(\.name))
        #expect(DialectCase.all.count == 132)
        #expect(Set(DialectCase.refusedHere.keys).isSubset(of: DialectCase.names))
    }

    @Test(arguments: DialectCase.all) func merge(_ golden: DialectCase) throws {
        let scratch = try Scratch()
        let out = golden.place("out", in: scratch)
        let merged = Tools.merge(golden.base, [golden.adapter], out, "--quiet")
        let verified = Tools.verify(golden.base, golden.adapter)
        guard golden.merges else {
            for answer in [merged, verified] { refused(golden, answer) }
            #expect(scratch.names.isEmpty)
            return
        }
        try #require(merged.status == 0, "\(merged.err)")
        #expect(try golden.differences(out) == [])
        #expect(verified.status == 0 && verified.out.contains(": fits: "), "\(verified.err)")
    }

    private func refused(_ golden: DialectCase, _ answer: Answer) {
        let (status, words) = DialectCase.refusedHere[golden.name] ?? (1, " ")
        #expect(answer.status == status, "\(answer.err)")
        #expect(answer.errors.count == 1, "\(answer.err)")
        #expect(answer.errors.allSatisfy { $0.contains(golden.adapter) }, "\(answer.err)")
        #expect(answer.err.contains(words), "\(answer.err)")
    }

    /// One process looks at all of them.
    @Test func inspect() throws {
        let answer = Tools.run("adapter-inspect", ["--json"] + DialectCase.all.map(\.adapter))
        #expect(answer.status == 65, "there is a pickle among them")
        #expect(answer.errors.count == 1, "the pickle: \(answer.err)")
        let items = try #require(answer.json()["items"] as? [[String: Any]])
        try #require(items.count == DialectCase.all.count)
        for (golden, item) in zip(DialectCase.all, items) {
            guard DialectCase.refusedHere[golden.name]?.status != 65 else {
                #expect(item["type"] as? String == "unreadable")
                continue
            }
            #expect(item["type"] as? String == "adapter", "\(golden.name)")
            #expect(item["dialect"] as? String == golden.dialectName, "\(golden.name)")
            #expect(item["mergeable"] as? Bool == golden.merges, "\(golden.name)")
            let method = item["method"] as? String ?? ""
            #expect(Self.methods(golden).contains(method), "\(golden.name): \(method)")
        }
    }

    /// What the kind may be called.
    private static func methods(_ golden: DialectCase) -> [String] {
        let locon = golden.name.contains("dora") ? ["DoRA", "DoRA and LoRA with magnitudes"] : ["LoRA"]
        let names = [
            "lora": ["LoRA"], "alora": ["LoRA"], "locon": locon, "dora": ["DoRA"],
            "loha": ["LoHa", "LoHa with magnitudes"], "lokr": ["LoKr", "LoKr with magnitudes"], "oft": ["OFT"],
            "boft": ["BOFT"], "hra": ["HRA"], "ia3": ["IA3", "IA3 of the 'adapters' library"],
            "vera": ["VeRA", "VERA"], "adalora": ["ADALORA"], "ln-tuning": ["LN_TUNING"], "xlora": ["XLORA"],
            "prefix-tuning": ["PREFIX_TUNING"], "prompt-tuning": ["PROMPT_TUNING"], "bottleneck": ["BOTTLENECK"],
            "trainable-tokens": ["trainable tokens"], "diff": ["full difference", "whole parameters"],
            "glora": ["GLoRA"],
        ]
        return names[golden.kind] ?? []
    }
}
