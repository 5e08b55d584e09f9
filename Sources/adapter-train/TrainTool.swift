import CKernels
import Console
import Files
import Problems
import Reports
import Tensors
import Training

/// `adapter-train`: adapters from a base and text; a small base from nothing.
@main
enum TrainTool {
    static let tool = Tool(
        name: "adapter-train", summary: "train an adapter on a frozen base",
        usage: ["BASE --data FILE -o OUT", "pretrain CONFIG --data FILE -o OUT"],
        description: [
            "Trains on the text in FILE what --method says, and nothing else: the rest of BASE is frozen, has neither gradient "
                + "nor optimizer state, and what lies below the lowest trained layer is computed once for each sequence and "
                + "kept. BASE is a model of the Llama family (Llama, Mistral, Qwen2) as transformers writes it.",
            "FILE is plain text; JSON lines (.jsonl, .json) with \"prompt\" and \"completion\", of which only the completion is learned, "
                + "or \"text\", or \"input_ids\" (or \"ids\", \"tokens\"), or arrays of ids; or token ids (.safetensors, a tensor of one of these "
                + "names). Text becomes ids by the base's "
                + "tokenizer.json, or byte by byte where its vocabulary is bytes.",
            "OUT is a directory that PEFT loads (lora, prefix), or the adapters library with use_safetensors=True (bottleneck); "
                + "for full fine-tuning an archive of what changed, which adapter-unpack makes a model of again. It names its base by SHA-256, and "
                + "holds the record of its training. The same command gives the same bytes.",
            "`pretrain` makes a small base from nothing: CONFIG is a config.json of the Llama family. Of the options it takes "
                + "--dtype and --max-shard-size, those of the course (but --cache-limit and --no-cache), "
                + "of the text (but --retain) and of the records (but --base-name and --gradients).",
        ],
        options: TrainOptions.all,
        operands: [
            ("BASE", "The base: a directory, its index, one .safetensors file or an archive; or the word pretrain."),
            ("[CONFIG]", "After pretrain: the config.json of the model to make."),
        ],
        examples: [
            ("adapter-train llama/ --data notes.txt -o notes-lora", "LoRA on the last half of the layers"),
            (
                "adapter-train llama/ --data qa.jsonl -o qa --rank 16 --layers all --targets q_proj,v_proj --epochs 5",
                "on two modules of all layers"
            ),
            (
                "adapter-train llama/ --data qa.jsonl -o qa --validation-share 0.1 --patience 3 --plot loss.svg",
                "stop when held-out text gets no better"
            ),
            ("adapter-train pretrain config.json --data corpus.txt -o base --steps 2000", "a base of your own"),
        ],
        versionDetails: { [unsafe "CPU level: \(String(cString: ak_level_name(ak_level())))"] })

    static func main() {
        tool.run { arguments, terminal in
            terminal.warnOfUnknownLevel()
            if arguments.operands[0] == "pretrain" { return try Pretraining(arguments, terminal).run() }
            guard arguments.operands.count == 1 else {
                throw Problem(
                    .usage, "too-many-operands", "'\(arguments.operands[1].excerpt)' is one operand too many",
                    hint: "only pretrain takes a CONFIG; adapters to go on from are named with --from")
            }
            return try TrainingRun(arguments, terminal).run()
        }
    }
}
