import Fixtures
import Foundation
import Testing

/// The archive's bytes depend on the input, the options and zlib only.
@Suite struct PackDeterminismTests {
    private static let ways: [(options: [String], environment: [String: String])] = [
        ([], [:]), (["--threads", "1"], [:]), (["--threads", "2"], [:]), (["--threads", "5"], [:]),
        ([], ["ADAPTERKIT_CPU": "baseline"]), ([], ["ADAPTERKIT_CPU": "v3"]), ([], ["ADAPTERKIT_CPU": "v4"]),
        (["--threads", "3"], ["LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"]),
    ]

    /// Tensors of several chunks each, of all widths, and other files.
    private func input(_ scratch: Scratch) throws -> String {
        var random = SeededRandom(test: "PackDeterminismTests")
        let tensors = [("BF16", 400_000), ("F32", 100_001), ("F64", 40_000), ("F16", 1_000), ("F8_E4M3", 300_000)].map {
            TensorFile.Tensor($0.0, $0.0, [$0.1], random.numbers($0.1, size: 0.02))
        }
        try scratch.write("in/model.safetensors", TensorFile(tensors).encoded)
        try scratch.write("in/text/long.txt", (0..<60_000).map { "line \($0 * 7 % 1000)\n" }.joined())
        for number in 0..<20 { try scratch.write("in/small/\(number)", random.content()) }
        return scratch("in")
    }

    private func archive(
        _ input: String, _ scratch: Scratch, _ options: [String], _ environment: [String: String] = [:]
    ) throws -> [UInt8] {
        let arguments = [input, "-o", scratch("archive"), "--force"] + options
        let answer = Tools.run("adapter-pack", arguments, environment: environment)
        try #require(answer.status == 0, "\(answer.err)")
        return try bytes(of: scratch("archive"))
    }

    @Test(arguments: ["fast", "default", "best"]) func threadsAndCPUs(_ level: String) throws {
        let scratch = try Scratch()
        let input = try input(scratch)
        let wanted = try archive(input, scratch, ["--level", level])
        for way in Self.ways {
            let found = try archive(input, scratch, ["--level", level] + way.options, way.environment)
            #expect(found == wanted, "\(way)")
        }
        // Names, times and modes of what is packed are nowhere in it.
        _ = Tools.shell(
            "mv \"$1\" \"$2\" && touch -d 2001-01-01 \"$2\"/* && chmod -R u=rwX,go= \"$2\"", input, scratch("other"))
        #expect(try archive(scratch("other"), scratch, ["--level", level]) == wanted)
    }

    @Test func differencesToABase() throws {
        let scratch = try Scratch()
        let golden = try Golden.Case("all-linear-sharded-bf16")
        #expect(Tools.merge(golden.base, golden.adapters, scratch("merged")).status == 0)
        let adapters = golden.adapters.flatMap { ["--adapter", $0] }
        for options in [["--base", golden.base], ["--base", golden.base] + adapters] {
            let wanted = try archive(scratch("merged"), scratch, options)
            for way in Self.ways {
                #expect(
                    try archive(scratch("merged"), scratch, options + way.options, way.environment) == wanted, "\(way)")
            }
        }
    }

    /// Levels, threads and CPUs change how a content is packed, and never what it is.
    @Test func oneContentForAll() throws {
        let scratch = try Scratch()
        let input = try input(scratch)
        let sums = Tools.shell(
            "cd \"$1\" && find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum", input)
        let digest = Tools.shell("printf %s \"$1\" | sha256sum | cut -c-64", sums.out).out
        var sizes: [Int] = []
        for level in ["fast", "default", "best"] {
            sizes.append(try archive(input, scratch, ["--level", level]).count)
            #expect(try Tools.listing(scratch("archive"))["content"] as? String == String(digest.dropLast()))
            #expect(Tools.run("adapter-unpack", [scratch("archive"), "--manifest"]).out == sums.out)
            for way in Self.ways {
                let answer = Tools.run(
                    "adapter-unpack", [scratch("archive"), "-o", scratch("out"), "--force"] + way.options,
                    environment: way.environment)
                #expect(answer.status == 0, "\(answer.err)")
                #expect(contents(of: scratch("out")) == contents(of: input), "\(level) \(way)")
            }
        }
        #expect(sizes[0] >= sizes[1] && sizes[1] >= sizes[2], "\(sizes)")
    }
}
