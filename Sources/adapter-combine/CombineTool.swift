import Adapters
import CKernels
import Composition
import Console
import Files
import Problems
import Reports
import Safetensors
import Tensors

/// `adapter-combine`: one adapter from several.
@main
enum CombineTool {
    static let tool = Tool(
        name: "adapter-combine", summary: "make one adapter from several, or a smaller one from one",
        usage: ["METHOD ADAPTER[:WEIGHT]... -o OUT [options]"],
        description: [
            "Combines adapters of pairs of factors by what they do, their deltas weight · scale · B·A, not by their factors. OUT is a plain PEFT "
                + "adapter. Each method:",
            "stack: the sum of all deltas, exactly, by putting the factors side by side; ranks add up. subtract: the first delta "
                + "minus all others, likewise. linear: the same sum at the rank of the largest adapter, exact where that "
                + "is enough. svd: the best approximation of the sum at --rank, --energy or --ratio. resize: the same for one "
                + "adapter.",
            "ties, dare-linear, dare-ties and magnitude-prune drop single changes: the smallest ones, or random ones (DARE, which "
                + "makes the others larger); the names with ties elect a sign for each weight and take the mean of the changes that "
                + "have it. They work on the dense deltas, of which only blocks are ever in memory, and the result is "
                + "approximated at --rank; with --on factors, on A and B separately, as PEFT's methods of these names do.",
            "factor-linear is PEFT's 'linear': it sums the factors, so that the product has cross terms B₁·A₂ that belong to no "
                + "adapter. It is there to reproduce old results.",
            "Singular values come from small cores, never from a dense delta, and the errors in the report are measured on the "
                + "factors as they are stored. The result's bytes depend on inputs and options only. DoRA and two different "
                + "replacements of one module have no sum and are refused.",
        ],
        options: [
            Option("output", short: "o", value: "OUT", help: "The directory to make."),
            Option("force", short: "f", help: "Replace OUT if it exists."),
            Option(
                "base", short: "b", value: "BASE",
                help:
                    "The model that the adapters are for; needed for the names of kohya's and GGUF adapters, and to make pairs of "
                    + "factors of LoHa and LoKr."),
        ] + Option.truncation + [
            Option(
                "dtype", value: "TYPE",
                help: "Store the factors in this type. Without it, in one that loses nothing but float32's rounding.",
                choices: DType.words, group: "What is kept"),
            Option(
                "density", value: "D", help: "The part of all changes that is kept, above 0 and up to 1.",
                group: "Sparse methods"),
            Option(
                "on", help: "Work on the deltas (the default) or on the factors.", choices: ["deltas", "factors"],
                group: "Sparse methods"),
            Option(
                "sign", help: "Elect signs by the sum of the changes (total, the default) or by their number.",
                choices: ["total", "frequency"], group: "Sparse methods"),
            Option(
                "seed", value: "N",
                help: "The seed of everything random; 0 without it. The same seed gives the same bytes.",
                group: "Sparse methods"),
            Option("report", value: "FILE", help: "Write rank, norm and errors of each module as JSON."),
            Option("modules", short: "m", help: "List all modules on stderr, not only those that lost most."),
            Option(
                "allow", value: "CODE", repeats: true, help: "Count this kind of error as a warning.",
                choices: CombineRequest.allowable),
            Option("threads", short: "t", value: "N", help: "Use N threads; by default one for each CPU."),
        ],
        operands: [
            ("METHOD", CombineMethod.allCases.map(\.rawValue).joined(separator: ", ") + "."),
            (
                "ADAPTER[:WEIGHT]...",
                "Adapters: directories, their files, or archives. A weight multiplies the delta."
            ),
        ],
        examples: [
            ("adapter-combine stack style facts:0.5 -o both", "both at once, exactly"),
            ("adapter-combine subtract tuned unwanted -o cleaned", "take one out of another"),
            ("adapter-combine resize big --energy 0.99 -o small", "as small as 1 % of loss allows"),
            ("adapter-combine ties a b c --density 0.2 --rank 32 -o one", "TIES on the deltas"),
        ],
        versionDetails: { [unsafe "CPU level: \(String(cString: ak_level_name(ak_level())))"] })

    static func main() {
        tool.run { arguments, terminal in
            terminal.warnOfUnknownLevel()
            let request = try request(arguments)
            try request.check()
            let output = try AdapterOutput(arguments, inputs: request.operands.map(\.path))
            let threads = try arguments.int("threads", in: 1...1024) ?? Workers.processors
            let plan = try CombinePlan(request)
            return try combine(plan, output, threads, arguments, terminal)
        }
    }

    private static func request(_ arguments: Arguments) throws -> CombineRequest {
        let word = arguments.operands[0]
        guard let method = CombineMethod(rawValue: word) else {
            throw Problem(
                .usage, "unknown-method", "'\(word)' is no method",
                hint: "the methods are " + CombineMethod.allCases.map(\.rawValue).joined(separator: ", ")
                    + "; write adapter-combine METHOD ADAPTER... -o OUT")
        }
        var request = CombineRequest(
            method, try arguments.operands.dropFirst().map(AdapterOperand.init), version: adapterKitVersion)
        request.truncation = try arguments.truncation()
        request.base = arguments.value("base")
        request.scratch = arguments.value("output")
        request.isPerModule = arguments.flag("per-module")
        request.domain = arguments.value("on").flatMap(CombineRequest.Domain.init) ?? .deltas
        request.density = try arguments.fraction("density")
        request.election = arguments.value("sign").flatMap(CombineRequest.Election.init) ?? .total
        request.seed = UInt64(try arguments.int("seed", in: 0...Int.max) ?? 0)
        request.dtype = arguments.value("dtype").flatMap(DType.init(word:))
        request.allowed = Set(arguments.values("allow"))
        return request
    }

    private static func combine(
        _ plan: CombinePlan, _ output: AdapterOutput, _ threads: Int, _ arguments: Arguments, _ terminal: Terminal
    ) throws -> Int32 {
        let started = Clock.now
        let stage = try output.stage()
        let progress = Progress(terminal, label: "combining", totalBytes: Combiner.totalWork(of: plan))
        defer { progress.finish() }
        let result = try Combiner(plan, threads: threads) { progress.advance(by: $0) }.run(to: stage)
        try checkInterrupted()
        let summary = CombineSummary(plan: plan, result: result, path: output.path, seconds: Clock.now - started)
        try stage.commit()
        try output.write(summary.document)
        progress.finish()
        terminal.report(result.remarks)
        summary.show(on: terminal, all: arguments.flag("modules"))
        return 0
    }
}
