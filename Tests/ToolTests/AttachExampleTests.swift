import Fixtures
import Foundation
import Testing

/// The example of adapters on a model in memory does what it says, from directories as from archives.
@Suite struct AttachExampleTests {
    private static let data = "\(Golden.root)/examples/data"
    private static let layer = "model.layers.0.self_attn.q_proj"

    @Test func attachesAndDetaches() throws {
        let scratch = try Scratch()
        let (law, scripture) = ("\(Self.data)/adapter-law", "\(Self.data)/adapter-scripture")
        let answer = Tools.run("attach-example", ["\(Self.data)/base", Self.layer, law, scripture + ":0.5"])
        #expect(answer.status == 0, "\(answer.out)")
        let lines = answer.out.split(separator: "\n").map(String.init)
        let labels = lines.map { $0.split(separator: ":").first.map(String.init) ?? "" }
        #expect(
            labels == [
                "base", "with \(law)", "with \(scripture)", "without the first", "the snapshot still", "base again",
                "the same bits",
            ])
        let numbers = lines.map { $0.components(separatedBy: ": ").last ?? "" }
        #expect(numbers[0] == numbers[5] && numbers[2] == numbers[4])
        #expect(Set(numbers[..<4]).count == 4)
        // Packed, both give the same numbers.
        for (source, name) in [("\(Self.data)/base", "base.packed"), (law, "law.packed")] {
            #expect(Tools.run("adapter-pack", [source, "-o", scratch(name)]).status == 0)
        }
        let packed = Tools.run(
            "attach-example", [scratch("base.packed"), Self.layer, scratch("law.packed"), scripture + ":0.5"])
        #expect(packed.status == 0, "\(packed.out)")
        let again = packed.out.split(separator: "\n").map { $0.components(separatedBy: ": ").last ?? "" }
        #expect(again == numbers)
    }

    @Test func saysWhatIsWrong() {
        #expect(Tools.run("attach-example", []).status == 64)
        let base = "\(Golden.directory)/cases/conv1d-f32/base"
        let misfit = Tools.run("attach-example", [base, "first", "\(Self.data)/adapter-law"])
        #expect(misfit.status == 1)
        let errors = misfit.out.split(separator: "\n").filter { $0.hasPrefix("error: ") }
        #expect(errors.count > 1 && errors.allSatisfy { $0.hasSuffix("[unmatched-module]") }, "\(misfit.out)")
        let unknown = Tools.run("attach-example", [base, "nothing", "\(Self.data)/adapter-law"])
        #expect(unknown.status == 1 && unknown.out.contains("is not in the base"))
    }
}
