import Fixtures
import Foundation
import Testing

/// Adapters that have no sum, one reason at a time; nothing is written and nothing changed.
@Suite struct CombineRefusalTests {
    private static let saved = Pair.prefix + "lm_head.weight"

    private let scratch: Scratch
    private let a: Factors
    private let path: String

    init() throws {
        scratch = try Scratch()
        var random = SeededRandom(test: "CombineRefusalTests")
        a = Factors.random(["layers.0.q_proj", "layers.1.q_proj"], out: 8, into: 6, rank: 2, alpha: 4, &random)
        path = try a.write(as: "a", in: scratch)
    }

    /// A copy of the first adapter with changes.
    private func changed(_ name: String, _ body: (inout Factors) -> Void) throws -> String {
        var result = a
        body(&result)
        return try result.write(as: name, in: scratch)
    }

    /// An adapter that replaces the head by `values`.
    private func saving(_ values: [Double], as name: String) throws -> String {
        try changed(name) {
            $0.others = [TensorFile.Tensor(Self.saved, "F32", [5, 6], values)]
            $0.fields = ["modules_to_save": ["lm_head"]]
        }
    }

    private func refused(
        _ method: String, _ operands: [String], _ options: [String] = [], code: String, status: Int32 = 1,
        _ messages: [String], hint: String?
    ) throws {
        let before = contents(of: scratch.path)
        let line = [method] + operands + ["-o", scratch("out")] + options
        let answer = Tools.run("adapter-combine", line)
        #expect(answer.status == status, "\(answer.err)")
        #expect(answer.errors == messages.map { "adapter-combine: error: " + $0 })
        if let hint { #expect(answer.hints == ["hint: " + hint]) }
        #expect(answer.out.isEmpty)
        let document = try Tools.run("adapter-combine", line + ["--json"]).json()
        #expect(document["schema"] as? String == "adapterkit.problems")
        #expect(codes(document).contains(code), "\(codes(document))")
        #expect(contents(of: scratch.path) == before)
    }

    @Test func dora() throws {
        let golden = Golden.path("dora-linear-f32") + "/adapter"
        try refused(
            "stack", [golden], code: "dora",
            [
                "\(golden)/adapter_model.safetensors: is DoRA: it scales whole rows of the weights by a magnitude, which is no delta that could be added"
            ], hint: "merge it with adapter-merge, then make a plain adapter of the result with adapter-extract")
    }

    @Test func differentBase() throws {
        let other = try changed("b") { $0.fields = ["base_model_name_or_path": "someone/other"] }
        let words = "\(other)/adapter_config.json: names the base 'someone/other', while '\(path)' names 'base'"
        try refused(
            "stack", [path, other], code: "different-base", [words],
            hint: "adapters of different bases do not add up; if it is the same base, say --allow different-base")
        let allowed = Tools.combine("stack", [path + ":2", other], scratch("out"), "--allow", "different-base")
        #expect(allowed.status == 0, "\(allowed.err)")
        #expect(allowed.warnings == ["adapter-combine: warning: " + words])
        let config = try WrittenAdapter(scratch("out")).config
        #expect(config["base_model_name_or_path"] as? String == "base")
    }

    @Test func theSameBaseElsewhere() throws {
        let other = try changed("b") { $0.fields = ["base_model_name_or_path": "/data/models/Base/"] }
        let answer = Tools.combine("stack", [path + ":2", other], scratch("out"))
        #expect(answer.status == 0, "\(answer.err)")
        #expect(
            answer.warnings == [
                "adapter-combine: warning: \(other)/adapter_config.json: names the base '/data/models/Base/', while '\(path)' names 'base'"
            ])
    }

    @Test func shapeMismatch() throws {
        let other = try changed("b") { $0.modules[1].a = Matrix(2, 5, [Double](repeating: 1, count: 10)) }
        try refused(
            "stack", [path, other], code: "shape-mismatch",
            [
                "\(other)/adapter_model.safetensors: tensor '\(Pair.key("layers.1.q_proj", "A"))': A [2, 5] and B [8, 2] do not go with A [2, 6] and B [8, 2] of '\(path)'"
            ], hint: "the adapters were trained on different bases, or on different kinds of modules")
    }

    @Test func rankMismatch() throws {
        let other = try changed("b") {
            for at in $0.modules.indices {
                $0.modules[at].a = Matrix(3, 6, [Double](repeating: 1, count: 18))
                $0.modules[at].b = Matrix(8, 3, [Double](repeating: 1, count: 24))
            }
        }
        let messages = a.modules.map {
            "tensor '\($0.path)': has ranks 2 and 3, and factors of different ranks cannot be added"
        }
        try refused(
            "factor-linear", [path, other], code: "rank-mismatch", messages, hint: "linear adds the deltas")
        try refused(
            "ties", [path, other], ["--density", "0.5", "--on", "factors"], code: "rank-mismatch", messages,
            hint: "leave --on factors out")
    }

    @Test func replacements() throws {
        let values = (0..<30).map(Double.init)
        let first = try saving(values, as: "b")
        let second = try saving(values.reversed(), as: "c")
        try refused(
            "stack", [first, second], code: "replaced-twice",
            [
                "\(second)/adapter_model.safetensors: tensor '\(Self.saved)': replaces a parameter that '\(first)' replaces by other values; two replacements have no sum"
            ], hint: "leave one of the adapters out")
        try refused(
            "stack", [path, first + ":0.5"], code: "weighted-replacement",
            [
                "\(first)/adapter_model.safetensors: tensor '\(Self.saved)': is a whole parameter, for which a weight of 0.5 makes no sense"
            ], hint: "give this adapter the weight 1")
        var random = SeededRandom(test: "replacements")
        let head = Factors.random(["lm_head"], out: 5, into: 6, rank: 2, &random)
        let third = try head.write(as: "d", in: scratch)
        try refused(
            "stack", [first, third], code: "replaced-and-adapted",
            [
                "\(first)/adapter_model.safetensors: tensor '\(Self.saved)': replaces 'lm_head', which another of the adapters changes by a delta; one adapter cannot do both"
            ], hint: "adapter-merge BASE ONE OTHER -o OUT applies both")
        // The same replacement twice is one.
        let copy = try saving(values, as: "copy")
        let answer = Tools.combine("stack", [first, copy], scratch("out"))
        #expect(answer.status == 0, "\(answer.err)")
        let found = try WrittenAdapter(scratch("out"))
        #expect(found.tensors[Self.saved]?.values == values)
        #expect(found.config["modules_to_save"] as? [String] == ["lm_head"])
    }

    /// One adapter replaces rows of an embedding that the other changes as a whole: adapter-merge and PEFT refuse that.
    @Test(arguments: [
        ("embedding-bf16", "tokens-list-bf16"), ("tied-head-f32", "tied-tokens-head-bf16"),
        ("saved-head-bf16", "tokens-dict-bf16"),
    ]) func rowsOfWhatAnotherChanges(_ first: String, _ second: String) throws {
        let operands = [first, second].map { Golden.path($0) + "/adapter" }
        let answer = Tools.combine("stack", operands, scratch("out"))
        #expect(answer.status == 1)
        #expect(!exists(scratch("out")))
    }

    @Test func biases() throws {
        let golden = Golden.path("lora-bias-bf16") + "/adapter"
        for (method, options) in [("ties", ["--density", "0.5"]), ("factor-linear", [])] {
            try refused(
                method, [golden], options, code: "lora-bias",
                ["\(golden): the adapters have biases of lora_B, for which \(method) is not defined"],
                hint: "stack, subtract, linear and svd add them up")
        }
    }

    @Test(arguments: [Double.nan, .infinity]) func nonFinite(_ value: Double) throws {
        for (half, name) in [("A", "b"), ("B", "c")] {
            let other = try changed(name) {
                if half == "A" { $0.modules[1].a[1, 2] = value } else { $0.modules[1].b[3, 1] = value }
            }
            let message =
                "\(other)/adapter_model.safetensors: tensor '\(Pair.key("layers.1.q_proj", half))': has values that are NaN or infinite, so it has no sum with anything"
            let hint = "training diverged, or the file is damaged: take an earlier checkpoint"
            for (method, options) in [
                ("stack", []), ("svd", ["--rank", "1"]), ("svd", ["--energy", "0.9"]), ("ties", ["--density", "0.5"]),
                ("dare-linear", ["--density", "0.5", "--on", "factors"]), ("factor-linear", []),
            ] { try refused(method, [path, other], options, code: "non-finite", [message], hint: hint) }
        }
    }

    @Test func tooLarge() throws {
        try refused(
            "stack", [path + ":1e39", path + ":1e-3"], ["--dtype", "float16"], code: "overflow",
            ["tensor 'layers.0.q_proj': has values that are too large for F16"], hint: "say --dtype float32")
    }

    @Test func damagedAndMissing() throws {
        let whole = try bytes(of: path + "/adapter_model.safetensors")
        let short = try scratch.copy(path, as: "short") + "/adapter_model.safetensors"
        try write(Array(whole.dropLast(7)), to: short)
        let missing = scratch("missing")
        let dora = Golden.path("dora-linear-f32") + "/adapter"
        let data = whole.count - 8 - Int(whole[0]) - Int(whole[1]) * 256
        let messages = [
            "\(missing): does not exist",
            "\(short): has \(data - 7) bytes of data, but its header describes \(data) (byte \(whole.count - 7))",
            "\(dora)/adapter_model.safetensors: is DoRA: it scales whole rows of the weights by a magnitude, which is no delta that could be added",
        ]
        try refused(
            "stack", [path, missing], code: "no-adapter", status: 66, [messages[0]],
            hint: "name an adapter's directory, or its file")
        try refused(
            "stack", [scratch("short"), path], code: "truncated", status: 65, [messages[1]],
            hint: "the file ends 7 bytes early: download it again")
        try refused(
            "stack", [missing, scratch("short"), path, dora], code: "dora", status: 66, messages, hint: nil)
        try refused(
            "svd", [dora, path, scratch("short")], ["--rank", "3"], code: "truncated", status: 65,
            [messages[2], messages[1]], hint: nil)
    }

    /// Other kinds merge, but have no factors to add up.
    @Test func otherKinds() throws {
        var random = SeededRandom(2)
        for (type, fields, parts, hint) in [
            ("LOKR", #","r":1,"alpha":1"#, [("lokr_w1", [2, 3]), ("lokr_w2", [4, 2])], "adapter-convert --to peft"),
            ("IA3", "", [("ia3_l", [8, 1])], "adapter-extract"),
        ] {
            let tensors = parts.map { name, shape in
                TensorFile.Tensor(
                    "\(Pair.prefix)layers.0.q_proj.\(name)", "F32", shape, random.numbers(shape.reduce(1, *)))
            }
            try scratch.write("b/adapter_model.safetensors", TensorFile(tensors).encoded)
            try scratch.write(
                "b/adapter_config.json", #"{"peft_type":"\#(type)"\#(fields),"target_modules":["q_proj"]}"#)
            let answer = Tools.run("adapter-combine", ["stack", path, scratch("b"), "-o", scratch("out")])
            #expect(answer.status == 1)
            #expect(answer.errors.count == 1 && answer.errors[0].contains("which is no product B·A"), "\(answer.err)")
            #expect(answer.hints.contains { $0.contains(hint) }, "\(answer.err)")
        }
    }

    /// Whatever adapter-merge refuses for what the adapter is, no method takes either; but a quantised base is no matter.
    @Test(arguments: Golden.refused.filter { $0 != "gptq-base" }) func otherMethods(_ name: String) throws {
        let adapter = "\(Golden.directory)/refused/\(name)/adapter"
        for options in [["stack", adapter], ["ties", adapter, "--density", "0.5"]] {
            let answer = Tools.run("adapter-combine", options + ["-o", scratch("out")])
            #expect(answer.status == (name == "pickle-only" ? 65 : 1), "\(answer.err)")
            #expect(answer.errors.count == 1, "\(answer.err)")
            #expect(!answer.hints.isEmpty)
        }
        #expect(scratch.names == ["a"])
    }
}
