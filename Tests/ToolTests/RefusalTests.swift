import Fixtures
import Testing

/// Adapters that no file-level merge can take.
@Suite struct RefusalTests {
    /// What the one reason must say, by case; the exit code is 1 unless told.
    static let reasons: [String: (words: [String], code: Int32)] = [
        "alora": (["'alora_invocation_tokens' is set", "only after its invocation tokens"], 1),
        "arrow": (["'arrow_config' is set", "for each token"], 1),
        "bdlora": (["'use_bdlora' is set", "block-diagonal"], 1),
        "gptq-base": (["quantised with 'gptq'"], 1), "grouped-conv": (["tensor '", "convolution with groups"], 1),
        "kasa": (["'kasa_config' is set", "base weights before training"], 1),
        "layer-replication": (["'layer_replication' is set", "layers are repeated"], 1),
        "olora": (["'init_lora_weights' is 'olora'", "changed base weights"], 1),
        "p-tuning": (["peft_type is P_TUNING", "learned input"], 1),
        "pickle-only": (["adapter_model.bin: is a Python pickle"], 65),
        "pissa": (["'init_lora_weights' is 'pissa'", "changed base weights"], 1),
        "prefix-tuning": (["peft_type is PREFIX_TUNING", "learned input"], 1),
        "prompt-tuning": (["peft_type is PROMPT_TUNING", "learned input"], 1),
        "qalora": (["'use_qalora' is set", "pooled input"], 1),
        "unknown-peft-type": (["peft_type is ", "not known here"], 1),
    ]

    @Test func everyCaseHasItsReason() { #expect(Golden.refused == Self.reasons.keys.sorted()) }

    @Test(arguments: reasons.keys.sorted()) func refused(_ name: String) throws {
        let scratch = try Scratch()
        let directory = "\(Golden.directory)/refused/\(name)"
        let about = try object(in: directory + "/case.json")
        let base = try "\(directory)/" + #require(about["base"] as? String)
        let adapter = try "\(directory)/" + #require(about["adapter"] as? String)
        let reason = try #require(Self.reasons[name])
        for answer in [Tools.verify(base, adapter), Tools.merge(base, [adapter], scratch("out"))] {
            #expect(answer.status == reason.code, "\(answer.err)")
            let first = try #require(answer.errors.first)
            for words in reason.words { #expect(first.contains(words), "\(first)") }
            // The layers that a replicated model would have are missing one by one as well.
            #expect(answer.errors.count == (name == "layer-replication" ? 3 : 1), "\(answer.err)")
            #expect(!answer.hints.isEmpty)
        }
        let verdict = name == "pickle-only" ? ": cannot be read" : ": does not fit: "
        #expect(Tools.verify(base, adapter).out.contains(verdict))
        #expect(scratch.names.isEmpty)
    }

    @Test func changedBaseIsTakenIfTheUserSaysSo() throws {
        let scratch = try Scratch()
        let (base, adapter) = ("\(Golden.directory)/refused/base", "\(Golden.directory)/refused/pissa/adapter")
        let answer = Tools.merge(base, [adapter], scratch("out"), "--allow", "base-changed")
        #expect(answer.status == 0, "\(answer.err)")
        #expect(answer.errors.isEmpty)
        #expect(answer.warnings.count { $0.contains("'init_lora_weights' is 'pissa'") } == 1)
        let verified = Tools.verify(base, adapter, options: ["--allow", "base-changed", "--merged", scratch("out")])
        #expect(verified.status == 0, "\(verified.err)")
    }
}
