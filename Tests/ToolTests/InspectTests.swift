import Fixtures
import Foundation
import Testing

/// What `adapter-inspect` says of files as they are.
@Suite struct InspectTests {
    /// The facts that `--json` gives of one path.
    private func item(_ path: String, _ options: String...) throws -> [String: Any] {
        let answer = Tools.inspect([path, "--json"] + options)
        let document = try answer.json()
        #expect(document["schema"] as? String == "adapterkit.inspect" && document["version"] as? Int == 1)
        return try #require((document["items"] as? [[String: Any]])?.first)
    }

    /// PEFT gives the output projection inside an attention module the alpha of that module, and adds its delta twice.
    @Test func outputProjectionsScaleAsTheirModule() throws {
        let scratch = try Scratch()
        let adapter = try scratch.copy(Golden.path("multihead-attention-f32") + "/adapter", as: "adapter")
        var config = try object(in: adapter + "/adapter_config.json")
        config["alpha_pattern"] = ["attn": 3]
        try write([UInt8](try JSONSerialization.data(withJSONObject: config)), to: adapter + "/adapter_config.json")
        let modules = try #require(try item(adapter)["modules"] as? [[String: Any]])
        let scales = modules.map { "\($0["path"] ?? "") \($0["alpha"] ?? "") \($0["scale"] ?? "")" }
        #expect(scales == ["attn 3.0 0.75", "attn.out_proj 3.0 1.5", "lin 8.0 2.0"])
    }

    @Test func adapterInText() {
        let path = Golden.path("rank-pattern-rslora-bf16") + "/adapter"
        let answer = Tools.inspect([path, "--modules"])
        #expect(answer.status == 0 && answer.err.isEmpty)
        #expect(
            answer.out == """
                \(path): rsLoRA adapter
                  base          base
                  rank          4 (2 modules), 9 (2 modules)
                  alpha         8
                  scale         2.667 (2 modules), 4 (2 modules)
                  modules       4: q_proj ×2, v_proj ×2
                  layers        0-1
                  parameters    688 in 8 tensors, 2.75 kB of F32
                  saved by      PEFT 0.21.2
                  file          \(path)/adapter_model.safetensors
                  identity      801a5d1430909f2332a7b35bad0f91d71737e5bda93ecfe79dfb8616cd5ba9a5

                module                           kind    rank  alpha  scale       A       B  dtype  parameters
                model.layers.0.self_attn.q_proj  linear     4      8      4  4 × 16  16 × 4  F32           128
                model.layers.0.self_attn.v_proj  linear     9      8  2.667  9 × 16   8 × 9  F32           216
                model.layers.1.self_attn.q_proj  linear     4      8      4  4 × 16  16 × 4  F32           128
                model.layers.1.self_attn.v_proj  linear     9      8  2.667  9 × 16   8 × 9  F32           216

                """)
    }

    @Test func otherMethodsAreNoError() {
        let path = "\(Golden.directory)/refused/prefix-tuning/adapter"
        let answer = Tools.inspect([path])
        #expect(answer.status == 0 && answer.err.isEmpty)
        #expect(
            answer.out == """
                \(path): PREFIX_TUNING adapter
                  base          base
                  parameters    24 in 1 tensor, 96 B of F32
                  task          CAUSAL_LM
                  saved by      PEFT 0.21.2
                  tokens        3
                  dimension     4
                  model layers  1
                  submodules    1
                  projection    false
                  encoder       4
                  file          \(path)/adapter_model.safetensors
                  identity      ad269bf85e956178b0a8d20c6a92a30d45a13b7b0ba696b8c635116f76903c10
                  merge         cannot be merged: peft_type is PREFIX_TUNING: it is learned input, not a change of \
                weights, so there is nothing to merge

                """)
    }

    @Test func modelInText() {
        let path = Golden.path("all-linear-sharded-bf16") + "/base"
        let answer = Tools.inspect([path])
        #expect(answer.status == 0 && answer.err.isEmpty)
        #expect(
            answer.out == """
                \(path): llama model
                  architecture  LlamaForCausalLM
                  files         3, by model.safetensors.index.json
                  tensors       21
                  parameters    4,304
                  size          8.61 kB of BF16
                  layers        0-1
                  vocabulary    24 × 16
                  output head   separate (lm_head.weight)
                  metadata      format=pt

                """)
    }

    /// The count of PEFT itself, and that everything is there.
    @Test(arguments: Golden.cases) func everyCase(_ golden: Golden.Case) throws {
        let about = try object(in: golden.path + "/case.json")
        for entry in about["adapters"] as? [[String: Any]] ?? [] {
            let path = "\(golden.path)/\(entry["path"] as? String ?? "")"
            let item = try item(path, "--norms", "--base", golden.base, "--tensors")
            #expect(item["type"] as? String == "adapter" && item["mergeable"] as? Bool == true)
            #expect(item["lora_parameters"] as? Int == entry["lora_parameters"] as? Int)
            let file = try TensorFile(path: path + "/adapter_model.safetensors")
            #expect(item["parameters"] as? Int == file.tensors.reduce(0) { $0 + $1.shape.reduce(1, *) })
            #expect(item["bytes"] as? Int == file.tensors.reduce(0) { $0 + $1.bytes.count })
            #expect((item["tensors"] as? [Any])?.count == file.tensors.count)
            for module in item["modules"] as? [[String: Any]] ?? [] {
                let (norm, spectral) = (module["norm"] as? Double ?? 0, module["spectral_norm"] as? Double ?? 0)
                #expect(module["finite"] as? Bool == true && norm > 0 && spectral > 0 && spectral <= norm)
                let relative = try #require(module["relative_norm"] as? Double, "\(module["path"] ?? "")")
                #expect(relative > 0 && relative < 2)
            }
        }
        let model = try item(golden.base)
        #expect(model["type"] as? String == "model" && model["tied"] as? Bool == about["tied"] as? Bool)
        #expect(try model["tensor_count"] as? Int == tensors(in: golden.base).count)
    }

    @Test func whatKindsThereAre() throws {
        func methods(_ name: String) -> String {
            String(
                Tools.inspect([Golden.path(name) + "/adapter"]).out.prefix { $0 != "\n" }.split(separator: ": ").last
                    ?? "")
        }
        #expect(methods("dora-linear-f32") == "DoRA adapter")
        #expect(methods("classifier-f32") == "LoRA adapter with a saved module (score)")
        #expect(methods("bias-all-bf16") == "LoRA adapter with 6 biases")
        #expect(methods("lora-bias-bf16").hasSuffix("biases of lora_B"))
        #expect(methods("tied-tokens-bf16") == "LoRA adapter with 2 trainable tokens")
        #expect(methods("mixtral-both-bf16") == "LoRA adapter with 4 adapted parameters")
        let moe = try item(Golden.path("mixtral-both-bf16") + "/adapter", "--norms")
        let module = try #require((moe["modules"] as? [[String: Any]])?.first)
        #expect(module["path"] as? String == "model.layers.0.mlp.experts.down_proj")
        #expect(module["kind"] as? String == "experts" && module["expert_count"] as? Int == 3)
        #expect((module["experts"] as? [Any])?.count == 3)
    }

    /// One path after the other; what is wrong with one does not hide the others.
    @Test func severalPaths() throws {
        let good = Golden.path("linear-qv-f32") + "/adapter"
        let malformed = "\(Golden.directory)/malformed/gap.safetensors"
        let answer = Tools.inspect([good, malformed, "/does/not/exist", Golden.path("linear-qv-f32") + "/base"])
        #expect(answer.status == 65)
        #expect(answer.errors.count == 2)
        #expect(answer.out.contains(": LoRA adapter\n") && answer.out.contains(": llama model\n"))
        let items = try Tools.inspect([good, "/does/not/exist", "--json"]).json()["items"] as? [[String: Any]]
        #expect(items?.map { $0["type"] as? String } == ["adapter", "unreadable"])
        #expect(Tools.inspect(["/does/not/exist"]).status == 66)
    }

    @Test func contentCountsNotNames() throws {
        let scratch = try Scratch()
        let adapter = try scratch.copy(Golden.path("linear-qv-f32") + "/adapter", as: "a")
        for name in ["adapter_model.safetensors", "adapter_config.json"] {
            let answer = Tools.inspect(["\(adapter)/\(name)"])
            #expect(answer.status == 0 && answer.out.contains(": LoRA adapter\n"), "\(name): \(answer.err)")
        }
        let bare = try scratch.copy(adapter + "/adapter_model.safetensors", as: "weights.bin")
        let answer = Tools.inspect([bare])
        #expect(answer.status == 0 && answer.out.hasPrefix("\(bare): safetensors file\n"))
        #expect(
            answer.out.contains("the names are those of PEFT LoRA, but no adapter_config.json lies beside the file"))
        let sharded = Golden.path("all-linear-sharded-f32") + "/base"
        #expect(Tools.inspect([sharded + "/model.safetensors.index.json"]).out.contains("  files         5, by model"))
        #expect(Tools.inspect([sharded + "/config.json"]).out.contains("  files         5, by model"))
        #expect(
            Tools.inspect([sharded + "/model-00001-of-00005.safetensors"]).out
                .contains(": one of 5 files of a llama model\n"))
        let pickle = Tools.inspect(["\(Golden.directory)/refused/pickle-only/adapter"])
        #expect(pickle.status == 65 && pickle.err.contains("is a Python pickle"))
        let named = Tools.inspect(["\(Golden.directory)/refused/pickle-only/adapter/adapter_model.bin"])
        #expect(named.status == 65 && named.err.contains("hint: convert it once where you trust it: "))
        let text = scratch("notes.json")
        try write(Array(#"{"a": 1}"#.utf8), to: text)
        #expect(Tools.inspect([text]).status == 65)
        #expect(Tools.inspect([try scratch.directory("empty")]).status == 66)
    }

    @Test(arguments: Golden.names(in: Golden.directory + "/safetensors").filter { $0.hasSuffix(".safetensors") })
    func anyFile(_ name: String) throws {
        let path = "\(Golden.directory)/safetensors/\(name)"
        let answer = Tools.inspect([path, "--tensors"])
        #expect(answer.status == 0, "\(answer.err)")
        #expect(answer.out.hasPrefix("\(path): safetensors file"))
        // Names must not steer the terminal.
        #expect(!answer.out.utf8.contains { $0 < 0x20 && $0 != 0x0A || $0 == 0x7F })
        #expect(try item(path, "--tensors")["type"] as? String == "tensors")
    }

    @Test func mergesTellWhereTheyCameFrom() throws {
        let scratch = try Scratch()
        let (base, adapter) = try Pair().write(in: scratch)
        #expect(Tools.merge(base, [adapter + ":0.5"], scratch("out")).status == 0)
        let answer = Tools.inspect([scratch("out")])
        #expect(answer.status == 0, "\(answer.err)")
        #expect(answer.out.contains("  merged by     adapter-merge 0."))
        #expect(answer.out.contains("  and adapter   adapter × 0.5 ("))
        let merge = try #require(try item(scratch("out"))["merge"] as? [String: Any])
        let sources = try #require(merge["adapters"] as? [[String: Any]])
        #expect(sources[0]["weight"] as? Double == 0.5 && (sources[0]["sha256"] as? String)?.count == 64)
    }

    @Test func textFromFilesCannotSteerTheTerminal() throws {
        let scratch = try Scratch()
        var pair = Pair()
        pair.config["base_model_name_or_path"] = "ba\u{1B}[31mse"
        pair.config["task_type"] = "a\nb"
        let answer = Tools.inspect([try pair.writeAdapter(as: "adapter", in: scratch)])
        #expect(answer.out.contains("  base          ba\\u{1B}[31mse\n"))
        #expect(answer.out.contains("  task          a\\u{A}b\n"))
    }

    @Test func contradictionsAreErrors() throws {
        let scratch = try Scratch()
        var pair = Pair()
        pair.set(Pair.key("layers.0.q_proj", "B"), nil)
        let adapter = try pair.writeAdapter(as: "adapter", in: scratch)
        let answer = Tools.inspect([adapter])
        #expect(answer.status == 1 && answer.errors.count == 1)
        #expect(answer.err.contains("has no matching 'lora_B'"))
        #expect(answer.out.contains("  modules       7: "))
    }

    @Test func valuesThatAreNotFinite() throws {
        let scratch = try Scratch()
        var pair = Pair(modules: ["layers.0.q_proj", "layers.1.q_proj"])
        pair.change(Pair.key("layers.0.q_proj", "A")) { $0.bytes.replaceSubrange(0..<4, with: [0, 0, 0xC0, 0x7F]) }
        let (base, adapter) = try pair.write(in: scratch)
        let answer = Tools.inspect([adapter, "--norms", "--base", base, "--plot", scratch("a.svg")])
        #expect(answer.status == 0, "\(answer.err)")
        let row = answer.out.split(separator: "\n").first { $0.hasPrefix("layers.0.q_proj") } ?? ""
        #expect(
            row.split(separator: "  ", omittingEmptySubsequences: true).map { $0.trimmingCharacters(in: .whitespaces) }
                == ["layers.0.q_proj", "2", "2", "not finite", "-", "-", "-"])
        #expect(answer.out.contains("\n1 delta is not finite; "))
        #expect(String(decoding: try bytes(of: scratch("a.svg")), as: UTF8.self).contains(">not finite</text>"))
    }
}

extension Tools {
    static func inspect(_ arguments: [String]) -> Answer { run("adapter-inspect", arguments) }
}
