import Fixtures
import Problems
import Testing

@testable import Safetensors

/// Layouts that other programs write, and questions that only the index can settle.
@Suite struct CheckpointVariantTests {
    private let directory: Scratch
    private let one = "model-00001-of-00002.safetensors"
    private let two = "model-00002-of-00002.safetensors"

    init() throws { directory = try Scratch() }

    private func weights(_ name: String, _ tensors: String...) throws {
        try directory.write(name, TensorFile(tensors.map { .init($0, "U8", [1], bytes: [7]) }).encoded)
    }

    private func index(_ map: String, name: String = "model.safetensors.index.json") throws {
        try directory.write(name, "{\"metadata\":{\"total_size\":1.0},\"weight_map\":{\(map)}}")
    }

    private func open() throws(Problem) -> Checkpoint { try Checkpoint.open(path: directory.path) }

    /// mlx-lm writes an index even for one file.
    @Test func singleFileWithItsIndex() throws {
        try weights("model.safetensors", "a")
        try index("\"a\":\"model.safetensors\"")
        let checkpoint = try open()
        #expect(checkpoint.problems == [])
        #expect(checkpoint.index?.totalSize == 1)
    }

    /// diffusers names its models otherwise.
    @Test func otherIndexName() throws {
        try weights("diffusion_pytorch_model-00001-of-00001.safetensors", "a")
        try index(
            "\"a\":\"diffusion_pytorch_model-00001-of-00001.safetensors\"",
            name: "diffusion_pytorch_model.safetensors.index.json")
        #expect(try open().problems == [])
    }

    /// Of a tensor in two files the one that the index names counts, though it is an error.
    @Test(arguments: [0, 1]) func theIndexDecides(_ shard: Int) throws {
        try weights(one, "a", "b")
        try weights(two, "a", "c")
        try index("\"c\":\"\(two)\",\"b\":\"\(one)\",\"a\":\"\([one, two][shard])\"")
        let checkpoint = try open()
        #expect(checkpoint.problems.map(\.code) == ["duplicate-tensor"])
        #expect(checkpoint.lookup("a")?.shard == shard)
        #expect(checkpoint.tensors.map(\.info.name).sorted() == ["a", "b", "c"])
        for place in checkpoint.tensors { #expect(checkpoint.lookup(place.info.name)?.info == place.info) }
    }

    /// To Swift these names are equal; in files they are two, here in two shards.
    @Test func namesAreBytes() throws {
        try weights(one, "\u{E9}")
        try weights(two, "e\u{301}")
        try index("\"e\u{301}\":\"\(two)\",\"\u{E9}\":\"\(one)\"")
        let checkpoint = try open()
        #expect(checkpoint.problems.map(\.code) == ["wrong-total-size"])
        #expect(checkpoint.lookup("\u{E9}")?.shard == 0)
        #expect(checkpoint.lookup("e\u{301}")?.shard == 1)
    }

    @Test func missingIndexCountsWhatIsThere() throws {
        try weights("model-00001-of-00003.safetensors", "a")
        try weights("model-00003-of-00003.safetensors", "b")
        let problem = try #require(throws: Problem.self) { try open() }
        #expect(problem.code == "missing-index")
        #expect(problem.message.contains("2 of the checkpoint's 3 files"))
    }

    @Test func lonelyOnlyShard() throws {
        try weights("model-00001-of-00001.safetensors", "a")
        #expect(try open().problems == [])
    }

    /// All that is wrong is said at once.
    @Test func everythingAtOnce() throws {
        try weights(one, "a", "b")
        try weights(two, "c")
        let map = [
            ("a", two), ("b", one), ("c", two), ("d", one), ("e", "gone.safetensors"), ("f", "../f.safetensors"),
        ]
        try index(map.map { "\"\($0.0)\":\"\($0.1)\"" }.joined(separator: ","))
        let checkpoint = try open()
        #expect(
            checkpoint.problems.map(\.code).sorted() == [
                "absent-tensor", "missing-shard", "unsafe-name", "wrong-shard",
            ])
        let list = #expect(throws: ProblemList.self) { try checkpoint.requireSound() }
        #expect(list?.problems.count == 4)
    }
}
