import Fixtures
import Foundation
import Testing

/// `adapter-verify --for`: command lines, answers and exit codes.
@Suite struct VerifyForTests {
    private func pair(in scratch: Scratch) throws -> (base: String, adapter: String) {
        var pair = Pair()
        pair.config["use_rslora"] = true
        return try pair.write(in: scratch)
    }

    @Test func eachProgramHasItsAnswer() throws {
        let scratch = try Scratch()
        let (base, adapter) = try self.pair(in: scratch)
        let answer = Tools.run("adapter-verify", [adapter, "--for", "vllm", "--for", "llama.cpp", "--for", "mlx"])
        #expect(answer.status == 1)
        #expect(
            answer.out == """
                vllm: would load and be applied
                llama.cpp: would not load, or would compute something else: 1 error, 1 note
                mlx: would not load, or would compute something else: 1 error

                """)
        #expect(
            answer.errors == [
                "adapter-verify: error: \(adapter)/adapter_config.json: says 'use_rslora', which llama.cpp's converter ignores: "
                    + "'layers.0.k_proj' would have the scale 2.0, not 2.8284",
                "adapter-verify: error: \(adapter)/adapter_model.safetensors: is in PEFT's format, but mlx-lm reads "
                    + "adapters.safetensors with a config of its own",
            ])
        #expect(answer.hints.first?.contains("multiplies the scales in") == true)
        // A base, and the same program twice.
        let both = Tools.verify(base, adapter, options: ["--for", "vllm", "--for=vllm"])
        #expect(both.status == 0 && both.out == "vllm: would load and be applied\n" && both.err.isEmpty)
        // Two adapters without a base are told apart.
        let two = Tools.verify(adapter, adapter, options: ["--for", "peft"])
        #expect(two.out == String(repeating: "\(adapter): peft: would load and be applied\n", count: 2))
    }

    @Test func theFoldedAdapterIsRight() throws {
        let scratch = try Scratch()
        let (_, adapter) = try self.pair(in: scratch)
        #expect(Tools.combine("stack", [adapter], scratch("plain")).status == 0)
        let answer = Tools.run("adapter-verify", [scratch("plain"), "--for", "llama.cpp", "-q"])
        #expect(answer.status == 0 && answer.err.isEmpty)
        #expect(Tools.run("adapter-pack", [adapter, "-o", scratch("packed.adapter")]).status == 0)
        let packed = Tools.run("adapter-verify", [scratch("packed.adapter"), "--for", "vllm"])
        #expect(packed.status == 1 && packed.hints == ["hint: unpack it with adapter-unpack"])
    }

    @Test func whatIsBrokenForAllIsToldOnce() throws {
        let scratch = try Scratch()
        var pair = Pair()
        pair.set(Pair.key("layers.0.q_proj", "B"), nil)
        let (base, adapter) = try pair.write(in: scratch)
        for paths in [[adapter], [base, adapter]] {
            let answer = Tools.run("adapter-verify", paths + ["--for", "peft", "--for", "vllm"])
            #expect(answer.status == 1 && answer.errors.count == 1)
            #expect(answer.errors.first?.hasSuffix("has no matching 'lora_B' in the file") == true)
            let line = "would not load, or would compute something else: 1 error of the adapter itself"
            #expect(answer.out == "peft: \(line)\nvllm: \(line)\n")
        }
        let absent = Tools.run("adapter-verify", [scratch("none"), "--for", "peft"])
        #expect(absent.status == 66 && absent.out == "peft: cannot be said, since the adapter cannot be read\n")
    }

    @Test func theDocument() throws {
        let scratch = try Scratch()
        let (base, adapter) = try self.pair(in: scratch)
        let document = try Tools.run("adapter-verify", [adapter, "--for", "llama.cpp", "--json"]).json()
        #expect(document["base"] is NSNull && document["fits"] is NSNull && document["merged"] is NSNull)
        #expect((document["problems"] as? [Any])?.isEmpty == true)
        let answers = try #require(document["for"] as? [[String: Any]])
        #expect(answers.count == 1 && answers[0]["target"] as? String == "llama.cpp")
        #expect(answers[0]["adapter"] as? String == adapter && answers[0]["ok"] as? Bool == false)
        let codes = (answers[0]["problems"] as? [[String: Any]])?.compactMap { $0["code"] as? String }
        #expect(codes == ["rslora", "conversion"])
        let plain = try Tools.verify(base, adapter, options: ["--json"]).json()
        #expect(plain["for"] is NSNull && plain["fits"] as? Bool == true)
    }

    @Test(
        arguments: [
            (["ADAPTER"], "ADAPTER is missing", "usage: adapter-verify BASE ADAPTER..."),
            (
                ["ADAPTER", "--for", "vlm"],
                "option '--for' is 'vlm', but must be one of: peft, vllm, llama.cpp, mlx, diffusers",
                "did you mean 'vllm'?"
            ),
            (
                ["ADAPTER", "--for", "peft", "--merged", "x"], "--for and --merged are two questions",
                "ask them one after the other"
            ),
        ] as [([String], String, String)])
    func refused(_ line: [String], _ message: String, _ hint: String) {
        let answer = Tools.run("adapter-verify", line)
        #expect(answer.status == 64 && answer.errors == ["adapter-verify: error: " + message])
        #expect(answer.hints == ["hint: " + hint])
    }
}
