import Adapters
import CKernels
import Console
import Files
import Generation
import Problems
import Reports
import Safetensors
import Tensors
import Tokenization

/// `adapter-generate`: text from a base with adapters that are attached in memory.
@main
enum GenerateTool {
    static let tool = Tool(
        name: "adapter-generate", summary: "make text with a base and adapters that are attached in memory",
        usage: [
            "BASE [ADAPTER[:WEIGHT]...] [--prompt TEXT]", "BASE [ADAPTER[:WEIGHT]...] --batch FILE",
            "BASE [ADAPTER[:WEIGHT]...] --perplexity FILE", "BASE [ADAPTER[:WEIGHT]...] --prompt TEXT --logits FILE",
        ],
        description: [
            "Continues a prompt with a model of the Llama family (Llama, Mistral, Qwen2) and the adapters named, all at once: "
                + "y = Wx + the sum of weight · scale · B(Ax). Nothing is merged and nothing of the base is changed. Adapters are "
                + "LoRA and its relatives, as pairs of factors, PEFT's prefix tuning, or bottleneck adapters of the 'adapters' "
                + "library; packed or not.",
            "The prompt is --prompt, a file, or standard input. At a terminal without a prompt a session begins: each line is a "
                + "prompt, and /use, /base and /weight change the adapters in between; /help lists all commands.",
            "A batch is a file of JSON lines: {\"prompt\": \"...\", \"adapter\": \"PATH[:WEIGHT]\"}. 'adapter' may be a list, or null "
                + "for the base alone; without it, the adapters of the command line are used. A line may have its own max_tokens, "
                + "temperature, top_k, top_p, seed, stop and ignore_eos. Each adapter is read once.",
            "FILE may be - for standard input, with --prompt-file, --batch and --perplexity (a text): what a command prints comes by "
                + "a pipe, as in COMMAND | adapter-generate BASE --batch -.",
            "The next token is the likeliest, unless --temperature, --top-k or --top-p is given; then it is drawn, and the same "
                + "--seed draws the same. The number of threads does not change any result.",
        ],
        options: [
            Option("prompt", short: "p", value: "TEXT", help: "Continue TEXT.", group: "Input"),
            Option("prompt-file", value: "FILE", help: "Continue what FILE holds.", group: "Input"),
            Option("ids", value: "IDS", help: "Continue these token ids, as in \"1 2 3\".", group: "Input"),
            Option(
                "batch", value: "FILE",
                help: "Continue the prompt of each line of FILE, and print a JSON line for each, in order.",
                group: "Input"),
            Option("max-tokens", short: "n", value: "N", help: "Make at most N tokens; 128 without it."),
            Option(
                "temperature", value: "T",
                help: "Divide the logits by T and draw; 0 takes the likeliest. 1 if only --top-k or --top-p is given."),
            Option("top-k", value: "K", help: "Draw from the K likeliest tokens."),
            Option("top-p", value: "P", help: "Draw from the likeliest tokens that have the probability P together."),
            Option("seed", value: "N", help: "The seed of what is drawn. Without it, one is chosen and told."),
            Option("stop", value: "TEXT", repeats: true, help: "End the text where TEXT comes, and leave it out."),
            Option("ignore-eos", help: "Go on when the model ends its text."),
            Option(
                "lookahead", value: "N",
                help:
                    "Guess up to N tokens from the text so far, and check them at once: the text is the same, sooner. "
                    + "3 without it, 0 for none."),
            Option(
                "logits", value: "FILE",
                help:
                    "Instead of text, write the logits of all positions of the prompt as safetensors: 'logits' and 'ids'.",
                group: "For comparisons"),
            Option(
                "perplexity", value: "FILE",
                help:
                    "Instead of text, say how well the model predicts FILE: a text, or what adapter-train reads: .safetensors with "
                    + "'input_ids' (or 'ids', 'tokens'), or .jsonl with \"prompt\" and \"completion\", of which the completion counts, "
                    + "\"text\", \"input_ids\" or an array of ids in each line.",
                group: "For comparisons"),
            Option(
                "window", value: "N",
                help:
                    "With --perplexity: look at N tokens at a time. Without it, what the model was made for, at most 2048.",
                group: "For comparisons"),
            Option(
                "stride", value: "N",
                help:
                    "With --perplexity: begin a window every N tokens; those seen before are context. Without it, --window.",
                group: "For comparisons"),
            Option("force", short: "f", help: "With --logits: replace FILE if it exists.", group: "For comparisons"),
            Option(
                "allow", value: "CODE", repeats: true, help: "Count this kind of error as a warning.",
                choices: AdapterShelf.allowable),
            Option("threads", short: "t", value: "N", help: "Use N threads; by default one for each CPU."),
        ],
        operands: [
            ("BASE", "The model: a directory with config.json and weights as transformers writes it, or an archive."),
            (
                "[ADAPTER[:WEIGHT]...]",
                "Adapters: directories, their files, or archives; all are attached at once."
            ),
        ],
        examples: [
            ("adapter-generate llama/ style/ --prompt 'Once upon a time'", "a base with an adapter"),
            ("adapter-generate llama/ facts:0.5 tone", "a session with two, which can be changed"),
            ("adapter-generate llama/ --batch requests.jsonl > answers.jsonl", "each line with its own adapter"),
            ("adapter-generate llama/ style/ --perplexity held-out.txt", "how well it predicts a text"),
        ],
        versionDetails: { [unsafe "CPU level: \(String(cString: ak_level_name(ak_level())))"] })

    static func main() {
        tool.run { arguments, terminal in
            terminal.warnOfUnknownLevel()
            let request = try Request(arguments)
            let started = Clock.now
            let shelf = try AdapterShelf(
                path: request.base, threads: request.threads, allowing: Set(arguments.values("allow")))
            let tokenizer = try BaseTokenizer.load(shelf.model.checkpoint, shelf.config)
            terminal.report(shelf.model.checkpoint.problems)
            let run = GenerateRun(
                request: request, shelf: shelf, tokenizer: tokenizer, terminal: terminal, started: started)
            do {
                return try run.run()
            } catch let list as ProblemList where !terminal.json {
                throw ProblemList(list.problems.gathered)
            }
        }
    }
}
