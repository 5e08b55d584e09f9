import Fixtures
import Testing

/// Sums of which nothing, or next to nothing, is left.
@Suite struct CombineCancelTests {
    private static let paths = ["layers.0.q_proj", "layers.1.q_proj"]

    private let scratch: Scratch
    private let a: Factors
    private let path: String

    init() throws {
        scratch = try Scratch()
        var random = SeededRandom(test: "CombineCancelTests")
        a = Factors.random(Self.paths, out: 8, into: 6, rank: 2, alpha: 4, &random)
        path = try a.write(as: "a", in: scratch)
    }

    /// The same product from other factors, in the modules at `places`; powers of two lose nothing.
    private func turned(_ places: [Int], as name: String) throws -> String {
        var result = a
        for at in places {
            result.modules[at].a = 0.5 * a.modules[at].a
            result.modules[at].b = 2 * a.modules[at].b
        }
        return try result.write(as: name, in: scratch)
    }

    private func expectRefused(_ method: String, _ operands: [String], _ words: String, _ options: [String] = []) {
        let before = contents(of: scratch.path)
        let answer = Tools.run("adapter-combine", [method] + operands + ["-o", scratch("out")] + options)
        #expect(answer.status == 1, "\(answer.err)")
        #expect(answer.errors == ["adapter-combine: error: \(path): \(words)"])
        #expect(answer.hints == ["hint: --allow zero-delta writes it all the same"])
        #expect(answer.out.isEmpty)
        #expect(contents(of: scratch.path) == before)
    }

    private static let same =
        "the adapters have the same factors and cancel: the result is zero in all 2 modules"
    private static let rounding = "the deltas cancel but for rounding in all 2 modules, though the factors differ"

    @Test func anAdapterLessItself() throws {
        let copy = try scratch.copy(path, as: "copy")
        expectRefused("subtract", [path, copy], Self.same)
        expectRefused("stack", [path + ":0.5", path + ":0.25", copy + ":-0.75"], Self.same)
        expectRefused("svd", [path, copy + ":-1"], Self.same, ["--rank", "1"])
        expectRefused("linear", [path, copy + ":-1"], Self.same)
        let json = Tools.combine("subtract", [path, path], scratch("out"), "--json")
        #expect(try codes(json.json()) == ["zero-delta"])
    }

    @Test func zeroIfTheUserSaysSo() throws {
        let answer = Tools.combine("subtract", [path, path], scratch("out"), "--allow", "zero-delta", "--json")
        #expect(answer.status == 0, "\(answer.err)")
        #expect(answer.warnings == ["adapter-combine: warning: \(path): \(Self.same)"])
        #expect(try codes(answer.json(), "warnings") == ["zero-delta"])
        let found = try WrittenAdapter(scratch("out"))
        #expect(found.config["r"] as? Int == 1 && found.config["lora_alpha"] as? Int == 1)
        for module in Self.paths {
            #expect(found.tensors[Pair.key(module, "A")]?.shape == [1, 6])
            #expect(found.tensors[Pair.key(module, "B")]?.shape == [8, 1])
            #expect(facts(try answer.json(), module)["rank"] as? Int == 0)
            #expect(facts(try answer.json(), module)["norm"] as? Double == 0)
        }
        #expect(found.tensors.values.allSatisfy { $0.bytes.allSatisfy { $0 == 0 } })
    }

    @Test func otherFactorsOfTheSameDelta() throws {
        let other = try turned([0, 1], as: "other")
        expectRefused("subtract", [path, other], Self.rounding)
        expectRefused("svd", [path, other + ":-1"], Self.rounding, ["--rank", "2"])
        var twice = a
        twice.alpha = 8
        expectRefused("subtract", [path, try twice.write(as: "twice", in: scratch) + ":0.5"], Self.rounding)
        let answer = Tools.combine("subtract", [path, other], scratch("out"), "--allow", "zero-delta")
        #expect(answer.status == 0, "\(answer.err)")
        #expect(answer.warnings == ["adapter-combine: warning: \(path): \(Self.rounding)"])
        for module in Self.paths {
            let delta = try #require(WrittenAdapter(scratch("out")).delta(module))
            #expect(delta.largest < 1e-14)
        }
    }

    /// One module has the same factors in both adapters, the other the same product: nothing is left of either.
    @Test func bothKindsAtOnce() throws {
        let other = try turned([1], as: "other")
        let answer = Tools.combine("subtract", [path, other], scratch("out"))
        #expect(answer.status == 1)
        #expect(!exists(scratch("out")))
    }

    @Test func someModulesCancel() throws {
        var random = SeededRandom(test: "someModulesCancel")
        var other = a
        other.modules[1] = Factors.random([Self.paths[1]], out: 8, into: 6, rank: 2, &random).modules[0]
        let second = try other.write(as: "other", in: scratch)
        let answer = Tools.combine("subtract", [path, second], scratch("out"), "--json")
        #expect(answer.status == 0, "\(answer.err)")
        #expect(
            answer.lines("note") == [
                "adapter-combine: note: 1 of 2 modules have the same factors in the adapters, cancel, and are zero in the result"
            ])
        #expect(facts(try answer.json(), Self.paths[0])["rank"] as? Int == 0)
        #expect(facts(try answer.json(), Self.paths[1])["rank"] as? Int == 4)
        let found = try WrittenAdapter(scratch("out"))
        #expect(found.delta(Self.paths[0])?.largest == 0)
        let wanted = 2 * (a.modules[1].b * a.modules[1].a - other.modules[1].b * other.modules[1].a)
        #expect(try #require(found.delta(Self.paths[1])).distance(to: wanted) <= 1e-6 * wanted.largest)

        other.modules[0].a = 0.5 * a.modules[0].a
        other.modules[0].b = 2 * a.modules[0].b
        let third = try other.write(as: "third", in: scratch)
        let rounding = Tools.combine("subtract", [path, third], scratch("rounding"))
        #expect(rounding.status == 0, "\(rounding.err)")
        #expect(
            rounding.warnings == [
                "adapter-combine: warning: tensor 'layers.0.q_proj': cancels but for rounding"
            ])
    }

    @Test func weightsOfZero() throws {
        let none = Tools.combine("stack", [path + ":0", path + ":0"], scratch("out"))
        #expect(none.status == 1)
        #expect(none.errors == ["adapter-combine: error: every adapter has weight 0, so nothing is left"])
        #expect(none.hints == ["hint: give weights that are not 0"])
        var random = SeededRandom(test: "weightsOfZero")
        let other = Factors.random(["layers.7.v_proj"], out: 3, into: 6, rank: 5, &random)
        let silent = try other.write(as: "silent", in: scratch)
        let answer = Tools.combine("stack", [silent + ":0", path], scratch("out"))
        #expect(answer.status == 0, "\(answer.err)")
        #expect(answer.lines("note") == ["adapter-combine: note: \(silent): has weight 0 and is left out"])
        #expect(try tensors(in: scratch("out")) == tensors(in: path))
    }
}
