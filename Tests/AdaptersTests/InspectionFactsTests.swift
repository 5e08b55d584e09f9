import Adapters
import Fixtures
import Foundation
import Safetensors
import Testing

@Suite struct InspectionFactsTests {
    @Test func placesOfNames() {
        let place = NamePlace("model.layers.12.mlp.experts.3.w1")
        #expect(
            place.stack == "model.layers" && place.layer == 12 && place.kind == "mlp.experts.*.w1" && place.leaf == "w1"
        )
        #expect(NamePlace("lm_head").layer == nil && NamePlace("lm_head").leaf == "lm_head")
        #expect(NamePlace("blocks.0").layer == nil && NamePlace("blocks.0").leaf == "blocks.0")
        #expect(NamePlace("0.conv.1").leaf == "conv.*" && NamePlace("0.conv.1").layer == 0)
        #expect(NamePlace("").leaf == "" && NamePlace("a..b.99999999999999999999.c").layer == nil)
    }

    @Test func layersAreCompressed() {
        let paths = [0, 1, 2, 5, 7, 8].map { "model.layers.\($0).q" } + ["vision.blocks.3.q", "head"]
        let sets = LayerSet.of(paths)
        #expect(sets.map(\.stack) == ["model.layers", "vision.blocks"])
        #expect(sets.map(\.ranges) == ["0-2, 5, 7-8", "3"])
    }

    /// PEFT's own count of the parameters that it trained.
    @Test(arguments: TestFiles.names(TestFiles.golden + "/cases")) func loraParameters(name: String) throws {
        let path = "\(TestFiles.golden)/cases/\(name)"
        let text = try JSONSerialization.jsonObject(with: Data(bytes(of: path + "/case.json"))) as? [String: Any]
        for entry in text?["adapters"] as? [[String: Any]] ?? [] {
            let facts = AdapterFacts(try Adapter(path: "\(path)/\(entry["path"] as? String ?? "")"))
            #expect(facts.lowRankParameterCount == entry["lora_parameters"] as? Int)
            #expect(facts.problems.allSatisfy { $0.severity != .error } && facts.obstacles.isEmpty)
        }
    }

    /// Rank, alpha and scale must be those that a merge uses.
    @Test(arguments: TestFiles.names(TestFiles.golden + "/cases")) func scalesAreThoseOfTheMerge(name: String) throws {
        let path = "\(TestFiles.golden)/cases/\(name)"
        for adapter in TestFiles.names(path) where adapter.hasPrefix("adapter") {
            let facts = AdapterFacts(try Adapter(path: "\(path)/\(adapter)"))
            let resolution = Resolution(adapter: facts.adapter, base: try Checkpoint.open(path: path + "/base"))
            let own = Dictionary(uniqueKeysWithValues: facts.modules.map { ($0.path, $0) })
            for term in resolution.updates.flatMap(\.terms) {
                let module = try #require(own[term.module], "\(term.module)")
                #expect(module.rank == term.rank && module.alpha == term.alpha && module.scale == term.scale)
            }
        }
    }

    @Test func soundButNotMergeable() throws {
        let path = TestFiles.golden + "/refused"
        for name in ["prefix-tuning", "prompt-tuning", "pissa", "qalora", "bdlora", "kasa", "unknown-peft-type"] {
            let facts = AdapterFacts(try Adapter(path: "\(path)/\(name)/adapter"))
            #expect(facts.problems.isEmpty && facts.obstacles.count == 1, "\(name)")
        }
    }
}
