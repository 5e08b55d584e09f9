import Fixtures
import Foundation
import Testing

/// Adapters that are bound to their base.
@Suite struct PackBindTests {
    private static let tensor = "model.layers.0.self_attn.q_proj.weight"

    private func sample(_ scratch: Scratch) throws -> (base: String, packed: String) {
        let base = try scratch.copy(Golden.path("linear-qv-bf16") + "/base", as: "base")
        let answer = Tools.pack(Golden.path("linear-qv-bf16") + "/adapter", scratch("packed"), "--bind", base)
        try #require(answer.status == 0 && answer.err.isEmpty, "\(answer.err)")
        #expect(answer.out.contains("; bound to 4 tensors of the base\n"))
        return (base, scratch("packed"))
    }

    private func combine(_ base: String, _ packed: String, _ scratch: Scratch, _ options: [String] = []) -> [Answer] {
        [
            Tools.verify(base, packed, options: options),
            Tools.run("adapter-merge", [base, packed, "-o", scratch("merged"), "--force"] + options),
        ]
    }

    @Test func theBaseItself() throws {
        let scratch = try Scratch()
        let (base, packed) = try sample(scratch)
        for answer in combine(base, packed, scratch) {
            #expect(answer.status == 0 && answer.errors.isEmpty && answer.warnings.isEmpty, "\(answer.err)")
        }
        #expect(Tools.unpack(packed, scratch("out")).status == 0, "unpacking needs no base")
        #expect(contents(of: scratch("out")) == contents(of: Golden.path("linear-qv-bf16") + "/adapter"))
        #expect(
            Tools.run("adapter-unpack", [packed, "--list"]).out.hasSuffix("\nbound    to a base, by 4 tensors of it\n"))
        #expect(
            Tools.run("adapter-inspect", [packed]).out.hasSuffix("\n  bound         to a base, by 4 tensors of it\n"))
        let free = Tools.pack(Golden.path("linear-qv-bf16") + "/adapter", scratch("free"))
        #expect(free.status == 0)
        for answer in [
            Tools.run("adapter-unpack", [scratch("free"), "--list"]), Tools.run("adapter-inspect", [scratch("free")]),
        ] { #expect(!answer.out.contains("to a base, by")) }
    }

    /// The digests are those of the base's bytes, as anybody can compute them.
    @Test func digests() throws {
        let scratch = try Scratch()
        let (base, packed) = try sample(scratch)
        let bound = try #require(Tools.listing(packed)["bound"] as? [String: Any])
        let tensors = try #require(bound["tensors"] as? [[String: String]])
        let file = try TensorFile(path: base + "/model.safetensors")
        #expect(tensors.count == 4)
        for entry in tensors {
            let tensor = try #require(file[entry["name"] ?? ""])
            try scratch.write("tensor", tensor.bytes)
            #expect(Tools.shell("sha256sum < \"$1\"", scratch("tensor")).out.prefix(64) == entry["sha256"] ?? "")
        }
        #expect((bound["config"] as? String)?.count == 64)
        #expect(try Tools.pack(base, scratch("x"), "--json").json()["bound"] as? Bool == false)
    }

    @Test func aTensorThatDiffers() throws {
        let scratch = try Scratch()
        let (base, packed) = try sample(scratch)
        try PackBaseTests.change(base + "/model.safetensors", Self.tensor)
        let wanted =
            "\(base)/model.safetensors: tensor '\(Self.tensor)': differs from the one to which '\(packed)' is bound"
        for answer in combine(base, packed, scratch) {
            #expect(answer.status == 1)
            #expect(answer.errors.count == 1 && answer.errors[0].hasSuffix(": error: " + wanted), "\(answer.err)")
            #expect(
                answer.hints == [
                    "hint: use the base that it was made for; --allow bound-tensor uses this one all the same"
                ])
        }
        #expect(!exists(scratch("merged")))
        for answer in combine(base, packed, scratch, ["--allow", "bound-config"]) { #expect(answer.status == 1) }
        for answer in combine(base, packed, scratch, ["--allow", "bound-tensor"]) {
            #expect(answer.status == 0, "\(answer.err)")
            #expect(answer.warnings.count == 1 && answer.warnings[0].hasSuffix(": warning: " + wanted), "\(answer.err)")
        }
    }

    /// What the adapter does not change may differ.
    @Test func otherTensorsMayDiffer() throws {
        let scratch = try Scratch()
        let (base, packed) = try sample(scratch)
        try PackBaseTests.change(base + "/model.safetensors", "model.norm.weight")
        for answer in combine(base, packed, scratch) { #expect(answer.status == 0, "\(answer.err)") }
    }

    /// A config with numbers, escapes and nested values, to be written in several ways.
    private static let config =
        #"{"model_type":"llama","n":[1,2.50,1e-05],"o":{"b":null,"a":"\u00e9\/"},"hidden_act":"silu"}"#
    private static let sameConfigs = [
        #"{"hidden_act":"silu","model_type":"llama","n":[1,2.50,1e-05],"o":{"a":"é/","b":null}}"#,
        "{ \n \"o\" : {\"a\":\"\u{E9}/\",\t\"b\": null}, \"n\":[1 , 2.50,1e-05], \"hidden_act\":\"silu\",\"model_type\":\"llama\"}\n",
        #"{"_name_or_path":"elsewhere","transformers_version":"99"# + "\"," + config.dropFirst(),
    ]
    private static let otherConfigs = [
        config.replacing("silu", with: "gelu"), config.replacing("2.50", with: "2.5"),
        config.replacing("[1,", with: "[1.0,"),
        config.replacing("[1,2.50,", with: "[2.50,1,"), config.replacing(",\"hidden_act\":\"silu\"", with: ""),
        config.replacing("\"b\":null", with: "\"_name_or_path\":null"), config.replacing("}}", with: "},\"x\":1}"),
    ]

    /// The config in another order and with other spaces is the same; another value is not.
    @Test func configs() throws {
        let scratch = try Scratch()
        let base = try scratch.copy(Golden.path("linear-qv-bf16") + "/base", as: "base")
        try scratch.write("base/config.json", Self.config)
        let packed = scratch("packed")
        #expect(Tools.pack(Golden.path("linear-qv-bf16") + "/adapter", packed, "--bind", base).status == 0)
        for config in Self.sameConfigs {
            try scratch.write("base/config.json", config)
            for answer in combine(base, packed, scratch) { #expect(answer.status == 0, "\(config) \(answer.err)") }
        }
        for config in Self.otherConfigs where config != Self.config {
            try scratch.write("base/config.json", config)
            let answer = Tools.verify(base, packed)
            #expect(answer.status == 1 && answer.errors.count == 1, "\(config) \(answer.err)")
        }
        for answer in combine(base, packed, scratch, ["--allow", "bound-tensor"]) {
            #expect(answer.status == 1)
            #expect(answer.errors.count == 1, "\(answer.err)")
            #expect(
                answer.errors.first?.contains(": error: \(base): has another config.json than the base ") == true,
                "\(answer.err)")
            #expect(
                answer.hints == [
                    "hint: use the base that it was made for; --allow bound-config uses this one all the same"
                ])
        }
        for answer in combine(base, packed, scratch, ["--allow", "bound-config"]) {
            #expect(answer.status == 0 && answer.warnings.count == 1, "\(answer.err)")
        }
        _ = Tools.shell("rm \"$1\"", base + "/config.json")
        #expect(Tools.verify(base, packed).errors.first?.contains("has no config.json") == true)
    }

    @Test func bothDiffer() throws {
        let scratch = try Scratch()
        let (base, packed) = try sample(scratch)
        try PackBaseTests.change(base + "/model.safetensors", Self.tensor)
        try scratch.write("base/config.json", "{\"model_type\": \"other\"}")
        let answer = Tools.run("adapter-verify", [base, packed, "--json"])
        #expect(answer.status == 1)
        let document = try answer.json()
        let problems = try #require(document["problems"] as? [[String: Any]])
        let errors = problems.filter { $0["severity"] as? String == "error" }.compactMap { $0["code"] as? String }
        #expect(errors == ["bound-config", "bound-tensor"])
        #expect(document["fits"] as? Bool == false)
        let allowed = combine(base, packed, scratch, ["--allow", "bound-config", "--allow", "bound-tensor"])
        for answer in allowed { #expect(answer.status == 0 && answer.warnings.count == 2, "\(answer.err)") }
    }

    /// What does not fit is not bound.
    @Test func anAdapterThatDoesNotFit() throws {
        let scratch = try Scratch()
        let answer = Tools.pack(
            Golden.path("gpt2-bf16") + "/adapter", scratch("packed"), "--bind", Golden.path("linear-qv-bf16") + "/base")
        #expect(answer.status == 1 && !answer.errors.isEmpty)
        let model = Tools.pack(
            Golden.path("linear-qv-bf16") + "/base", scratch("packed"), "--bind",
            Golden.path("linear-qv-bf16") + "/base")
        #expect(model.status == 66 && model.errors.count == 1, "\(model.err)")
        #expect(scratch.names.isEmpty)
    }
}
