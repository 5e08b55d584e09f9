import Fixtures
import Foundation
import Testing

/// What adapter-extract refuses, its output and its report.
@Suite struct ExtractUsageTests {
    private let scratch: Scratch
    private let base: String
    private let tuned: String

    init() throws {
        scratch = try Scratch()
        let model = Model()
        var changed = model
        changed.add(.diagonal(8, 6, [2, 1]), to: "model.layers.0.self_attn.q_proj")
        base = try model.write(as: "base", in: scratch)
        tuned = try changed.write(as: "tuned", in: scratch)
    }

    private func refused(
        _ arguments: [String], _ status: Int32, _ messages: [String], hint: String?, code: String? = nil
    ) throws {
        let before = contents(of: scratch.path)
        let answer = Tools.run("adapter-extract", arguments)
        #expect(answer.status == status, "\(answer.err)")
        #expect(answer.errors == messages.map { "adapter-extract: error: " + $0 })
        #expect(answer.hints == (hint.map { ["hint: " + $0] } ?? []))
        #expect(answer.out.isEmpty)
        if let code {
            #expect(codes(try Tools.run("adapter-extract", arguments + ["--json"]).json()).contains(code))
        }
        #expect(contents(of: scratch.path) == before)
    }

    private func other(_ name: String, _ body: (inout Model) -> Void) throws -> String {
        var model = Model()
        body(&model)
        return try model.write(as: name, in: scratch)
    }

    private func line(_ base: String, _ tuned: String, _ options: String...) -> [String] {
        [base, tuned, "-o", scratch("out")] + (options.isEmpty ? ["--rank", "2"] : options)
    }

    @Test func sameModel() throws {
        let copy = try scratch.copy(base, as: "copy")
        for other in [base, copy, base + "/model.safetensors"] {
            try refused(
                line(base, other), 1,
                ["\(other): is the same model as '\(base)' in every tensor, so there is nothing to extract"],
                hint: "is it the right checkpoint?", code: "no-difference")
        }
    }

    @Test func otherModels() throws {
        let narrow = try other("narrow") { model in
            for at in model.tensors.indices where model.tensors[at].name.hasSuffix("k_proj.weight") {
                let old = model.tensors[at]
                model.tensors[at] = TensorFile.Tensor(old.name, "F32", [3, 6], Array(old.values.prefix(18)))
            }
        }
        let messages = (0..<2).map {
            "\(narrow): tensor 'model.layers.\($0).self_attn.k_proj.weight': has shape [3, 6], but [4, 6] in the base '\(base)'"
        }
        try refused(
            line(base, narrow), 1, messages, hint: "both must be checkpoints of one model", code: "shape-mismatch")
        let renamed = try other("renamed") { model in
            for at in model.tensors.indices { model.tensors[at].name = "net." + model.tensors[at].name }
        }
        try refused(
            line(base, renamed), 1,
            [
                "\(renamed): has no tensor in common with '\(base)': it has 'net.model.embed_tokens.weight', the base 'model.embed_tokens.weight'"
            ], hint: "both must be checkpoints of one model, with the same names", code: "different-models")
    }

    @Test(arguments: [Double.nan, -.infinity]) func nonFinite(_ value: Double) throws {
        let name = "model.layers.1.self_attn.o_proj"
        let broken = try other("broken") { model in model.change(name + ".weight") { $0[11] = value } }
        let message =
            "or the same tensor of the base has values that are NaN or infinite, so they have no difference"
        for options in [["--rank", "2"], ["--energy", "0.9"]] {
            try refused(
                [base, broken, "-o", scratch("out")] + options, 1,
                ["\(broken)/model.safetensors: tensor '\(name).weight': \(message)"],
                hint: "training diverged, or a file is damaged", code: "non-finite")
        }
        try refused(
            line(broken, base), 1, ["\(base)/model.safetensors: tensor '\(name).weight': \(message)"],
            hint: "training diverged, or a file is damaged", code: "non-finite")
    }

    @Test func damagedAndMissing() throws {
        let short = try scratch.copy(tuned, as: "short") + "/model.safetensors"
        let whole = try bytes(of: short)
        try write(Array(whole.dropLast(3)), to: short)
        let data = whole.count - 8 - Int(whole[0]) - Int(whole[1]) * 256
        try refused(
            line(base, scratch("short")), 65,
            ["\(short): has \(data - 3) bytes of data, but its header describes \(data) (byte \(whole.count - 3))"],
            hint: "the file ends 3 bytes early: download it again", code: "truncated")
        try refused(
            line(scratch("no"), scratch("none")), 66,
            ["\(scratch("no")): does not exist", "\(scratch("none")): does not exist"],
            hint: "name a model's directory, or a .safetensors file")
    }

    @Test func usage() throws {
        try refused(
            [base, tuned, "--rank", "2"], 64, ["there is no output"], hint: "name it with -o OUT", code: "no-output")
        try refused(
            [base, "-o", scratch("out"), "--rank", "2"], 64, ["TUNED is missing"],
            hint: "usage: adapter-extract BASE TUNED -o OUT --rank R | --energy E | --ratio X")
        try refused(
            [base, tuned, "-o", scratch("out")], 64, ["it is not said how much is to be kept"],
            hint: "say --rank 32, --energy 0.9 or --ratio 100", code: "no-rank")
        try refused(
            line(base, tuned, "--rank", "0"), 64,
            ["option '--rank' is '0', but must be a whole number from 1 to 1000000"], hint: nil)
        try refused(
            line(base, tuned, "--energy", "1.5"), 64,
            ["option '--energy' is '1.5', but must be a number from 0.0 to 1.0"], hint: nil)
        try refused(
            [base, tuned, "-o", scratch("out.safetensors"), "--rank", "2"], 64,
            [
                "\(scratch("out.safetensors")): is the name of a file, but an adapter is a directory: its config belongs to it"
            ], hint: "write -o '\(scratch("out"))'", code: "bad-output")
        for input in [base, tuned] {
            try refused(
                [base, tuned, "-o", input, "--rank", "2", "--force"], 73,
                ["\(input): is where the input '\(input)' is, and inputs are never changed"],
                hint: "choose another output", code: "output-is-input")
            try refused(
                [base, tuned, "-o", input + "/new", "--rank", "2"], 73,
                ["\(input)/new: would be inside the input '\(input)', and inputs are never changed"],
                hint: "choose another output")
        }
        try refused(
            line(base, tuned, "--rank", "2", "--report", scratch("out/report.json")), 64,
            ["\(scratch("out/report.json")): is a part of the output '\(scratch("out"))', but the report is not"],
            hint: "write the report somewhere else", code: "report-in-output")
    }

    @Test func theReportIsTheDocument() throws {
        let report = scratch("report.json")
        let line = [base, tuned, "-o", scratch("out"), "--rank", "2", "--report", report]
        let answer = Tools.run("adapter-extract", line + ["--json"])
        #expect(answer.status == 0, "\(answer.err)")
        #expect(try bytes(of: report) == Array(answer.out.utf8))
        let document = try answer.json()
        #expect(document["base"] as? String == base && document["tuned"] as? String == tuned)
        #expect(document["rank"] as? Int == 2 && document["parameters"] as? Int == 2 * (8 + 6))
        let size = try bytes(of: scratch("out/adapter_model.safetensors")).count
        #expect(document["bytes"] as? Int == size)
        let before = contents(of: scratch("out"))
        try refused(
            line, 73, ["\(report): exists already"],
            hint: "choose another name, or replace it with --force")
        try refused(
            [base, tuned, "-o", scratch("out"), "--rank", "1"], 73, ["\(scratch("out")): exists already"],
            hint: "choose another name, or replace it with --force", code: "exists")
        #expect(Tools.extract(base, tuned, scratch("out"), "--rank", "1", "--force").status == 0)
        #expect(contents(of: scratch("out")) != before)
        #expect(Tools.run("adapter-extract", line + ["--force"]).status == 0)
        #expect(contents(of: scratch("out")) == before)
        #expect(scratch.names == ["base", "out", "report.json", "tuned"])
    }
}
