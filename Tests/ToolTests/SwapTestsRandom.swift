import Fixtures
import Foundation
import Testing

/// Whatever was done before, a swap gives the bytes of a fresh merge onto the pristine base.
@Suite struct SwapTestsRandom {
    private static let dtypes = ["BF16", "F16", "F32", "F64", "F8_E4M3", "F8_E5M2"]

    /// One model, with what is done to it.
    private struct Sequence {
        let served: Served
        let names: [String]
        var live: [String] = []
        var log: [String] = []
        var refusals = 0

        init(dtype: String, _ random: inout SeededRandom) throws {
            let scratch = try Scratch()
            let model = RandomModel(dtype: dtype, &random)
            try model.write(as: "pristine/model", in: scratch, &random)
            names = (0..<3).map { scratch("adapter-\($0)") }
            for at in names.indices { try model.writeAdapter(as: "adapter-\(at)", in: scratch, &random) }
            served = try Served(scratch, base: scratch("pristine/model"))
        }

        private func operands(_ random: inout SeededRandom) -> [String] {
            let count = random.below(4) == 0 ? 2 : 1
            return names.shuffled(using: &random).prefix(count).map { name in
                name + random.pick(["", "", ":0.5", ":-1", ":2", ":0.3"])
            }
        }

        private func limit(_ random: inout SeededRandom) -> [String] {
            random.below(4) == 0 ? ["--limit", random.pick(["1", "700", "2kB", "1MB"])] : []
        }

        mutating func step(_ random: inout SeededRandom) throws {
            var arguments: [String]
            var next = live
            switch random.below(10) {
            case 0..<6:
                next = random.below(6) == 0 && !live.isEmpty ? live : operands(&random)
                arguments = ["use"] + next + (random.below(3) == 0 ? ["--keep"] : []) + limit(&random)
            case 6, 7:
                next = []
                arguments = ["base"] + limit(&random)
            case 8:
                let kept = try served.kept().filter { $0 != "base" }
                arguments = ["forget"] + (random.below(2) == 0 || kept.isEmpty ? ["--all"] : [random.pick(kept)])
            default:
                arguments = ["recover"]
                // New stamps on the same bytes are no change.
                if random.below(2) == 0 { _ = Tools.shell("touch \"$1\"/*.safetensors", served.model) }
            }
            log.append(arguments.joined(separator: " "))
            let answer = Tools.swap(served.model, arguments)
            let wanted = served.wanted(next)
            if wanted == nil {
                // What a merge refuses, a swap does, and changes nothing.
                #expect(answer.status == 1, "\(log): \(answer.status) \(answer.err)")
                refusals += 1
            } else {
                let isNothing = arguments[0] == "forget" && answer.err.contains("was never swapped")
                #expect(answer.status == 0 || isNothing, "\(log): \(answer.status) \(answer.err)")
                live = next
            }
            try check(isWhole: answer.status == 0)
        }

        func check(isWhole: Bool) throws {
            let (found, wanted) = (served.found, served.wanted(live) ?? [:])
            let differing = Set(found.keys).union(wanted.keys).filter { found[$0] != wanted[$0] }
            #expect(differing.isEmpty, "\(log): \(differing.sorted())")
            guard exists(served.statePath) else { return }
            let strays = try served.strays()
            #expect(!isWhole || strays.isEmpty, "\(log): \(strays)")
        }

        mutating func finish() throws {
            let deep = served.swap("status", "--deep")
            #expect(deep.status == 0, "\(log): \(deep.err)")
            let answer = served.swap("base")
            log.append("base")
            live = []
            #expect(answer.status == 0, "\(log): \(answer.err)")
            try check(isWhole: true)
            #expect(contents(of: served.model) == contents(of: served.pristine), "\(log)")
        }
    }

    @Test func sequences() throws {
        var random = SeededRandom(test: "SwapTestsRandom")
        var (steps, refusals) = (0, 0)
        for number in 0..<(thoroughness ?? 1) * 12 {
            var sequence = try Sequence(dtype: Self.dtypes[number % Self.dtypes.count], &random)
            for _ in 0..<4 + random.below(6) {
                try sequence.step(&random)
                steps += 1
            }
            try sequence.finish()
            refusals += sequence.refusals
        }
        #expect(refusals < steps / 2, "hardly anything was swapped: \(refusals) of \(steps)")
        print("SwapTestsRandom: \(steps) steps, \(refusals) of them refused")
    }
}
