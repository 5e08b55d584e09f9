import Fixtures
import Problems
import Testing

@testable import Safetensors

/// A checkpoint of two files and what can be wrong with it.
private struct Model {
    let directory: Scratch
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    var path: String { directory.path }

    init() throws { directory = try Scratch() }

    func shard(_ name: String, _ tensors: [String]) throws {
        try directory.write(name, TensorFile(tensors.map { .init($0, "U8", [4], bytes: [1, 2, 3, 4]) }).encoded)
    }

    func index(_ map: [(String, String)], totalSize: String = "12", name: String = "model.safetensors.index.json")
        throws
    {
        let pairs = map.map { "\"\($0.0)\":\"\($0.1)\"" }.joined(separator: ",")
        try directory.write(name, "{\"metadata\":{\"total_size\":\(totalSize)},\"weight_map\":{\(pairs)}}")
    }

    /// a and b in the first file, c in the second.
    static func sound() throws -> Model {
        let model = try Model()
        try model.shard(model.names[0], ["a", "b"])
        try model.shard(model.names[1], ["c"])
        try model.index([("a", model.names[0]), ("b", model.names[0]), ("c", model.names[1])])
        return model
    }

    func open(_ suffix: String = "") throws(Problem) -> Checkpoint { try Checkpoint.open(path: path + suffix) }

    /// Severity and code of each problem of a checkpoint that could be opened.
    func problems() throws -> [String] { try open().problems.map { "\($0.severity) \($0.code)" } }

    func refusal(_ suffix: String = "") throws -> Problem { try #require(throws: Problem.self) { try open(suffix) } }
}

@Suite struct CheckpointTests {
    @Test func shardsWithAnIndex() throws {
        let model = try Model.sound()
        for suffix in ["", "/", "/model.safetensors.index.json"] {
            let checkpoint = try model.open(suffix)
            #expect(checkpoint.problems.isEmpty)
            #expect(checkpoint.tensors.map(\.info.name) == ["a", "b", "c"])
            #expect(checkpoint.shards.map(\.name) == model.names)
            #expect(checkpoint.lookup("c")?.shard == 1)
            #expect(checkpoint.lookup("d") == nil)
            #expect(checkpoint.index?.totalSize == 12)
            try checkpoint.requireSound()
        }
    }

    @Test func singleFiles() throws {
        let model = try Model()
        try model.shard("model.safetensors", ["a"])
        try model.directory.write("config.json", #"{"model_type":"llama","x":NaN}"#)
        try model.directory.write("tokenizer.json", "{}")
        for suffix in ["", "/model.safetensors"] {
            let checkpoint = try model.open(suffix)
            #expect(checkpoint.problems.isEmpty)
            #expect(checkpoint.tensors.count == 1 && checkpoint.index == nil)
            #expect(checkpoint.config?.object?["model_type"]?.string == "llama")
        }
        #expect(try model.open().otherFiles == ["tokenizer.json"])
        let odd = try Model()
        try odd.shard("lonely-name.safetensors", ["a"])
        #expect(try odd.open().tensors.count == 1)
        #expect(try odd.problems().isEmpty)
    }

    @Test func damagedConfigIsAProblemOfTheCheckpoint() throws {
        let model = try Model.sound()
        try model.directory.write("config.json", #"{"a":1,"a":2}"#)
        let problems = try model.open().problems
        #expect(problems.map(\.code) == ["json-duplicate"])
        #expect(problems[0].file == model.path + "/config.json")
    }

    @Test func missingShard() throws {
        let model = try Model.sound()
        try model.index([("a", model.names[0]), ("b", model.names[0]), ("c", "model-00009-of-00009.safetensors")])
        let checkpoint = try model.open()
        let problem = try #require(checkpoint.problems.first)
        #expect(problem.kind == .missing && problem.code == "missing-shard")
        #expect(problem.file == model.path + "/model-00009-of-00009.safetensors")
        #expect(problem.message.contains("1 tensors"))
        #expect(try model.problems().dropFirst().allSatisfy { $0.hasPrefix("warning orphan") })
        #expect(throws: ProblemList.self) { try checkpoint.requireSound() }
        #expect(checkpoint.tensors.map(\.info.name) == ["a", "b"])
    }

    @Test func damagedShardsAreAllReported() throws {
        let model = try Model.sound()
        for name in model.names { try model.directory.write(name, Array(bytes(of: model.directory(name)).dropLast())) }
        let problems = try model.open().problems
        #expect(problems.map(\.code) == ["truncated", "truncated"])
        #expect(problems.map(\.file) == model.names.map { model.directory($0) })
    }

    @Test func wrongShardAndAbsentTensor() throws {
        let model = try Model.sound()
        try model.index([("a", model.names[1]), ("b", model.names[0]), ("c", model.names[1]), ("d", model.names[1])])
        let problems = try model.open().problems
        #expect(problems.map(\.code) == ["wrong-shard", "absent-tensor"])
        #expect(problems.map(\.tensor) == ["a", "d"])
        #expect(problems[0].message.contains(model.names[0]) && problems[0].message.contains(model.names[1]))
        #expect(problems.allSatisfy { $0.kind == .malformed && $0.severity == .error })
    }

    @Test func orphansAreIgnoredWithAWarning() throws {
        let model = try Model.sound()
        try model.shard("extra.safetensors", ["x"])
        try model.shard("adapter_model.safetensors", ["y"])
        try model.index([("a", model.names[0]), ("c", model.names[1])], totalSize: "8")
        #expect(try model.problems() == ["warning orphan-file", "warning orphan-tensor"])
        let checkpoint = try model.open()
        #expect(checkpoint.lookup("b") == nil && checkpoint.lookup("x") == nil)
        #expect(checkpoint.problems[1].tensor == "b")
    }

    @Test func tensorInTwoShards() throws {
        let model = try Model.sound()
        try model.shard(model.names[1], ["c", "a"])
        let problem = try #require(try model.open().problems.first)
        #expect(problem.code == "duplicate-tensor" && problem.tensor == "a")
        #expect(problem.message.contains("in 2 files: \(model.names[0]), \(model.names[1])"))
        #expect(try model.problems() == ["error duplicate-tensor"])
    }

    @Test(arguments: [
        ("12", true), ("12.0", true), ("1.2e1", true), ("13", false), ("12.5", false), ("1e400", false),
        ("\"12\"", false),
        ("null", true),
    ])
    func totalSize(_ text: String, _ isQuiet: Bool) throws {
        let model = try Model.sound()
        let map = [("a", model.names[0]), ("b", model.names[0]), ("c", model.names[1])]
        try model.index(map, totalSize: text)
        #expect(try model.problems() == (isQuiet ? [] : ["warning wrong-total-size"]))
    }

    /// Nothing outside of the directory is opened, whatever the index says.
    @Test(arguments: [
        "../x.safetensors", "/etc/passwd", "a/b.safetensors", "", ".", "..", "x\\u0000y.safetensors",
        "./model.safetensors",
        "/tmp/x.safetensors", "..\\u002fx.safetensors", "model.txt", "~", "sub/../x.safetensors",
        "pytorch_model-00001.bin",
    ])
    func namesOfTheIndexStayInside(_ name: String) throws {
        let outer = try Scratch()
        try outer.write("x.safetensors", TensorFile([.init("c", "U8", [1], bytes: [1])]).encoded)
        try outer.write("model/a/b.safetensors", TensorFile([.init("c", "U8", [1], bytes: [1])]).encoded)
        try outer.write("model/model.txt", TensorFile([.init("c", "U8", [1], bytes: [1])]).encoded)
        try outer.write(
            "model/model.safetensors.index.json", #"{"weight_map":{"c":"\#(name)","d":"\#(name)"}}"#)
        let checkpoint = try Checkpoint.open(path: outer("model"))
        #expect(checkpoint.shards.isEmpty && checkpoint.tensors.isEmpty)
        #expect(checkpoint.problems.count == 1)
        let problem = checkpoint.problems[0]
        #expect(problem.code == (name.hasSuffix(".bin") ? "pickle" : "unsafe-name"))
        #expect(problem.kind == .malformed && problem.tensor == "c")
    }

    @Test(arguments: [
        ("", "json-syntax"), ("[]", "json-syntax"), ("{}", "bad-index"), (#"{"weight_map":[]}"#, "bad-index"),
        (#"{"weight_map":{"a":1}}"#, "bad-index"), (#"{"weight_map":{"a":"x","a":"y"}}"#, "json-duplicate"),
        (#"{"weight_map":{},"weight_map":{}}"#, "json-duplicate"), (#"{"weight_map":{}} x"#, "json-trailing"),
        (#"{"metadata":{"total_size":1,"total_size":2},"weight_map":{}}"#, "json-duplicate"),
        ("\u{FEFF}{}", "json-bom"),
        (#"{"weight_map":{"a":null}}"#, "bad-index"), (#"{"weight_map":{"a":"x"}"#, "json-syntax"),
    ])
    func damagedIndex(_ text: String, _ code: String) throws {
        let model = try Model.sound()
        try model.directory.write("model.safetensors.index.json", text)
        let problem = try model.refusal()
        #expect(problem.code == code && problem.kind == .malformed)
        #expect(problem.file == model.path + "/model.safetensors.index.json")
    }

    @Test func whatIsNoCheckpoint() throws {
        let model = try Model()
        #expect(try model.refusal("/none").code == "no-model")
        #expect(try model.refusal("/none").kind == .missing)
        #expect(try model.refusal().code == "no-model")
        try model.directory.write("pytorch_model.bin", [0x80, 0x02])
        #expect(try model.refusal().code == "pickle")
        #expect(try model.refusal().hint?.contains("save_pretrained") == true)
        try model.shard("model-00001-of-00002.safetensors", ["a"])
        #expect(try model.refusal().code == "missing-index")
        let several = try Model()
        for name in ["x", "y"] { try several.shard(name + ".safetensors", ["a"]) }
        #expect(try several.refusal().code == "several-files")
        let adapter = try Model()
        try adapter.shard("adapter_model.safetensors", ["a"])
        try adapter.directory.write("adapter_config.json", "{}")
        #expect(try adapter.refusal().code == "no-model")
        #expect(try adapter.refusal().hint?.contains("BASE comes first") == true)
    }

    @Test func bothASingleFileAndAnIndex() throws {
        let model = try Model.sound()
        try model.shard("model.safetensors", ["z"])
        let checkpoint = try model.open()
        #expect(checkpoint.tensors.map(\.info.name) == ["z"])
        #expect(try model.problems() == ["warning two-models", "warning orphan-file", "warning orphan-file"])
        // An index named by the user counts.
        #expect(try model.open("/model.safetensors.index.json").tensors.count == 3)
    }

    /// As the Hub's cache lays files out: names are links to blobs elsewhere.
    @Test func linkedShards() throws {
        let outer = try Scratch()
        let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
        try outer.directory("snapshots/main")
        for (at, tensor) in ["a", "b"].enumerated() {
            try outer.write("blobs/\(at)", TensorFile([.init(tensor, "U8", [1], bytes: [1])]).encoded)
            try outer.link("snapshots/main/" + names[at], to: "../../blobs/\(at)")
        }
        try outer.write("blobs/i", #"{"weight_map":{"a":"\#(names[0])","b":"\#(names[1])"}}"#)
        try outer.link("snapshots/main/model.safetensors.index.json", to: "../../blobs/i")
        let checkpoint = try Checkpoint.open(path: outer("snapshots/main"))
        #expect(checkpoint.problems.isEmpty && checkpoint.tensors.count == 2)
        try outer.link("snapshots/main/more.safetensors", to: "../../blobs/gone")
        #expect(try Checkpoint.open(path: outer("snapshots/main")).problems.map(\.code) == ["orphan-file"])
    }

    @Test(.timeLimit(.minutes(1))) func indexOfManyFilesEndsSoon() throws {
        let model = try Model.sound()
        try model.index((0..<20_000).map { ("t\($0)", "missing-\($0).safetensors") })
        let problems = try model.open().problems
        #expect(problems.count { $0.code == "missing-shard" } == 20_000)
    }

    @Test func namesAreBytes() throws {
        let model = try Model()
        try model.shard("model.safetensors", ["\u{e9}", "e\u{301}"])
        let checkpoint = try model.open()
        #expect(checkpoint.tensors.count == 2)
        #expect(checkpoint.lookup("\u{e9}")?.info.begin != checkpoint.lookup("e\u{301}")?.info.begin)
    }
}
