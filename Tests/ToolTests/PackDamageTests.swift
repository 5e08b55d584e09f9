import Fixtures
import Foundation
import Testing

/// Damaged archives: refused with nothing left behind, and the damage has a name.
@Suite struct PackDamageTests {
    private static let tensors = TensorFile([
        .init("first", "BF16", [5, 8], (0..<40).map { Double($0 % 7) - 3.25 }),
        .init("second", "F32", [60], (0..<60).map { Double($0) / 3 }),
    ])

    /// A small archive, and the directory that it holds.
    private struct Sample {
        let scratch: Scratch
        let whole: [UInt8]
        let wanted: [String: [UInt8]]

        init() throws {
            scratch = try Scratch()
            try scratch.write("in/a.txt", String(repeating: "hello, ", count: 9))
            try scratch.write("in/d/w.safetensors", tensors.encoded)
            try scratch.write("in/none", "")
            try scratch.directory("in/e")
            let answer = Tools.pack(scratch("in"), scratch("whole"))
            try #require(answer.status == 0, "\(answer.err)")
            whole = try bytes(of: scratch("whole"))
            wanted = contents(of: scratch("in"))
            try scratch.directory("work")
        }

        var names: [String] { Golden.names(in: scratch("work")) }

        /// Unpacks damaged bytes; gives the answer, and checks that nothing wrong came of it.
        func unpack(_ bytes: [UInt8], _ what: String) throws -> Answer {
            try scratch.write("damaged", bytes)
            let answer = Tools.unpack(scratch("damaged"), scratch("work/out"))
            if answer.status == 0 {
                #expect(contents(of: scratch("work/out")) == wanted, "\(what): other bytes")
                _ = Tools.shell("rm -rf \"$1\"", scratch("work/out"))
            } else {
                #expect([1, 65].contains(answer.status), "\(what): \(answer.status) \(answer.err)")
                #expect(answer.errors.count == 1 && answer.out.isEmpty, "\(what): \(answer.err)")
                let begin = "adapter-unpack: error: \(scratch("damaged")): "
                #expect(answer.errors.first?.hasPrefix(begin) == true, "\(what): \(answer.err)")
            }
            #expect(names.isEmpty, "\(what): left \(names)")
            return answer
        }

        /// Where the stream of a packed file begins and ends.
        func stream(_ path: String) throws -> Range<Int> {
            let file = try TensorFile(path: scratch("whole"))
            let sizes = file.tensors.map(\.bytes.count)
            let at = try #require(file.tensors.firstIndex { $0.name == path })
            let start = whole.count - sizes.reduce(0, +) + sizes[..<at].reduce(0, +)
            return start..<start + sizes[at]
        }
    }

    /// Every 61st bit: all places within a byte come by, and every part of the archive.
    @Test(arguments: 0..<4) func flippedBits(_ piece: Int) throws {
        let sample = try Sample()
        var refused = 0
        let bits = Array(stride(from: piece * 61, to: 8 * sample.whole.count, by: 4 * 61))
        for bit in bits {
            var damaged = sample.whole
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            if try sample.unpack(damaged, "bit \(bit)").status != 0 { refused += 1 }
        }
        #expect(refused >= bits.count - 2, "hardly any bit is without effect: \(refused) of \(bits.count)")
    }

    @Test func cuts() throws {
        let sample = try Sample()
        let lengths = Set(Array(0...10) + stride(from: 11, to: sample.whole.count, by: 37) + [sample.whole.count - 1])
        for length in lengths.sorted() {
            let answer = try sample.unpack(Array(sample.whole[..<length]), "\(length) bytes")
            #expect(answer.status == 65, "\(length) bytes: \(answer.err)")
        }
        #expect(try sample.unpack(sample.whole + [0], "a byte more").status == 65)
    }

    /// The same through a pipe, to a pipe: nothing wrong goes out.
    @Test func damageThroughPipes() throws {
        let sample = try Sample()
        var random = SeededRandom(test: "damageThroughPipes")
        for _ in 0..<60 {
            var damaged = sample.whole
            let bit = random.below(8 * damaged.count)
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            try sample.scratch.write("damaged", damaged)
            let answer = Tools.shell(
                "adapter-unpack - a.txt -o - < \"$1\" > \"$2\"", sample.scratch("damaged"), sample.scratch("out"))
            let out = try bytes(of: sample.scratch("out"))
            #expect(out == (answer.status == 0 ? sample.wanted["a.txt"] : []), "bit \(bit): \(answer.err)")
            // A name that is damaged is not found.
            #expect([0, 65, 66].contains(answer.status), "bit \(bit): \(answer.status) \(answer.err)")
        }
    }

    private func problems(_ sample: Sample, _ at: Int) throws -> (unpack: Answer, test: Answer) {
        var damaged = sample.whole
        damaged[at] ^= 0x10
        let unpack = try sample.unpack(damaged, "byte \(at)")
        return (unpack, Tools.run("adapter-unpack", [sample.scratch("damaged"), "--test"]))
    }

    @Test func damageHasAName() throws {
        let sample = try Sample()
        let damaged = "error: \(sample.scratch("damaged")): "
        let text = try sample.stream("a.txt")
        let first = try problems(sample, (text.lowerBound + text.upperBound) / 2)
        let wanted =
            "adapter-unpack: \(damaged)is damaged: 'a.txt' has a chunk that is no whole zlib stream of the right length, "
            + "at byte 0"
        #expect(first.unpack.errors == [wanted])
        #expect(first.test.errors == [wanted])
        #expect(first.test.status == 65 && first.test.out.isEmpty)
        #expect(first.unpack.hints == ["hint: the archive is damaged: get it again"])
        // The last bytes of a file of tensors are a plane of the last one.
        let tensors = try sample.stream("d/w.safetensors")
        let last = try problems(sample, tensors.upperBound - 1)
        let start = Self.tensors.encoded.count - 240
        for answer in [last.unpack, last.test] {
            let line = try #require(answer.errors.first)
            #expect(
                line.hasPrefix(
                    "adapter-unpack: \(damaged)tensor 'second': is damaged: 'd/w.safetensors' has a chunk that "))
            #expect(line.hasSuffix(", at byte \(start)"))
        }
        #expect(contents(of: sample.scratch("in")) == sample.wanted)
    }

    /// A damaged file in an archive is no reason not to get another one.
    @Test func whatIsWholeCanBeHad() throws {
        let sample = try Sample()
        var damaged = sample.whole
        damaged[try sample.stream("d/w.safetensors").upperBound - 1] ^= 1
        try sample.scratch.write("damaged", damaged)
        let archive = sample.scratch("damaged")
        #expect(Tools.run("adapter-unpack", [archive, "a.txt", "-o", sample.scratch("a")]).status == 0)
        #expect(try bytes(of: sample.scratch("a")) == sample.wanted["a.txt"])
        #expect(Tools.run("adapter-unpack", [archive, "first", "-o", sample.scratch("first")]).status == 0)
        #expect(try TensorFile(path: sample.scratch("first")).tensors == [Self.tensors.tensors[0]])
        for name in ["second", "d", "d/w.safetensors"] {
            let answer = Tools.run("adapter-unpack", [archive, name, "-o", sample.scratch("other")])
            #expect(answer.status == 65 && !exists(sample.scratch("other")), "\(name): \(answer.err)")
        }
        #expect(Tools.run("adapter-unpack", [archive, "--list"]).status == 0)
        #expect(sample.scratch.names == ["a", "damaged", "first", "in", "whole", "work"])
    }
}
