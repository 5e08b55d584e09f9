import Fixtures
import Foundation
import Problems
import Safetensors
import Testing

@testable import Adapters

/// The pairs that the real libraries wrote.
@Suite struct GoldenPairTests {
    static let cases = TestFiles.names(TestFiles.golden + "/cases")
    static let refused = TestFiles.names(TestFiles.golden + "/refused").filter {
        exists(TestFiles.golden + "/refused/\($0)/case.json")
    }

    /// What is said of good pairs, besides nothing.
    static let remarks: [String: [String]] = [
        "classifier-new-head-bf16": ["note new-tensor"], "layers-excluded-bf16": ["note unused-target"],
        "multihead-attention-bf16": ["note applied-twice"], "multihead-attention-f32": ["note applied-twice"],
        "patterns-overlap-bf16": ["warning overlapping-patterns", "warning overlapping-patterns"],
        "patterns-regex-bf16": ["warning overlapping-patterns"],
        "resized-lora-bf16": ["note vocabulary-resized"], "resized-vocabulary-bf16": ["note vocabulary-resized"],
        "bert-tied-embedding-f32": ["note untied"], "tied-resized-tokens-bf16": ["note vocabulary-resized"],
        "tied-resized-embedding-bf16": ["note vocabulary-resized", "note untied"],
        "tied-resized-head-f32": ["note vocabulary-resized", "note untied"],
        "tied-resized-saved-f32": ["note vocabulary-resized", "note untied"],
        "tied-tokens-and-head-f32": ["note untied"], "tied-tokens-apart-f32": ["note untied"],
        "tied-tokens-head-bf16": ["note untied"],
        "tied-resized-bf16": ["note vocabulary-resized"],
        "tied-both-different-bf16": ["note untied"], "tied-both-different-f32": ["note untied"],
        "tied-embedding-bf16": ["note untied"], "tied-head-bf16": ["note untied"], "tied-head-f32": ["note untied"],
        "tied-saved-different-bf16": ["note untied"], "tied-saved-embedding-bf16": ["note untied"],
    ]

    /// Why the others are refused, where it is not that the method is another one.
    static let reasons: [String: [String]] = [
        "alora": ["activated-lora"], "arrow": ["arrow"], "bdlora": ["bdlora"], "gptq-base": ["quantized-base"],
        "grouped-conv": ["grouped-convolution"], "kasa": ["kasa"],
        "layer-replication": ["layer-replication", "unmatched-module", "unmatched-module"], "olora": ["base-changed"],
        "pickle-only": ["pickle"], "pissa": ["base-changed"], "qalora": ["qalora"],
    ]

    @Test func theyAreThere() { #expect(Self.cases.count >= 75 && Self.refused.count >= 15) }

    @Test(arguments: cases) func goodPairsGiveNoFalseAlarm(_ name: String) throws {
        let path = TestFiles.golden + "/cases/" + name
        let base = try Checkpoint.open(path: path + "/base")
        #expect(base.problems.isEmpty)
        for adapter in ["adapter", "adapter2"] where exists("\(path)/\(adapter)") {
            let resolution = Resolution(adapter: try Adapter(path: "\(path)/\(adapter)"), base: base)
            let codes = resolution.problems.codes
            #expect(resolution.fits && !resolution.updates.isEmpty)
            #expect(codes == Self.remarks[name] ?? [], "\(resolution.problems)")
            let about = try object(in: path + "/case.json")
            let changed = Set((about["changed"] as? [String] ?? []) + (about["added"] as? [String] ?? []))
            if adapter == "adapter", !exists("\(path)/adapter2") {
                #expect(Set(resolution.updates.map(\.name)) == changed)
            } else {
                #expect(Set(resolution.updates.map(\.name)).isSubset(of: changed))
            }
            #expect(try DeepCheck.problems(of: Adapter(path: "\(path)/\(adapter)")).isEmpty)
        }
    }

    @Test(arguments: refused) func refusalsSayWhy(_ name: String) throws {
        let path = TestFiles.golden + "/refused/" + name
        let about = try object(in: path + "/case.json")
        let base = path + "/" + (about["base"] as? String ?? "base")
        var errors: [Problem] = []
        do throws(Problem) {
            let adapter = try Adapter(path: path + "/adapter")
            let checkpoint = try Checkpoint.open(path: exists(base) ? base : path + "/../base")
            errors = Resolution(adapter: adapter, base: checkpoint).problems.errors
        } catch {
            errors = [error]
        }
        #expect(errors.map(\.code) == Self.reasons[name] ?? ["not-lora"])
        #expect(errors.allSatisfy { $0.message.utf8.count > 20 && $0.file != nil })
    }
}
