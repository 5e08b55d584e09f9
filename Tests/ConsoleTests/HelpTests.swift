import Testing

@testable import Console

@Suite struct HelpTests {
    @Test func shortHelp() {
        #expect(sample.shortHelp == expectedShortHelp)
        #expect(sample.shortHelp.split(separator: "\n").allSatisfy { $0.count < 80 })
    }

    @Test func longHelp() {
        let (head, tail) = (expectedLongHelpHead, expectedLongHelpTail)
        #expect(sample.longHelp.hasPrefix(head), "\(sample.longHelp)")
        #expect(sample.longHelp.hasSuffix(tail), "\(sample.longHelp)")
    }

    @Test func everyToolHasTheStandardExitCodes() {
        let tool = Tool(
            name: "t", summary: "s", usage: [""], description: [], options: [], operands: [], examples: [])
        #expect(Tool.standardExitCodes.map(\.code) == [0, 1, 64, 65, 66, 70, 73, 74, 130])
        #expect(tool.longHelp.contains("\n  65   A file breaks its format.\n"))
        let details = Tool(
            name: "t", summary: "", usage: [], description: [], options: [], operands: [], examples: [],
            versionDetails: { ["kernels: avx2"] })
        #expect(details.versionText == "t 0.1.0 (AdapterKit)\nkernels: avx2")
    }

    @Test func wrapping() {
        let lines = Tool.wrapped(String(repeating: "word ", count: 40), indent: 4)
        #expect(lines.count == 3)
        #expect(lines.allSatisfy { $0.hasPrefix("    word") && $0.count < 80 })
        #expect(Option("x", help: "See e.g. that. More.").brief == "See e.g. that")
    }
}

@Suite struct GeneratedTests {
    @Test func manPage() {
        for fragment in [
            ".TH ADAPTER\\-SAMPLE 1 \"\" \"AdapterKit 0.1.0\" \"User Commands\"\n.SH NAME\n"
                + "adapter\\-sample \\- join adapters with a base model\n.SH SYNOPSIS\n.B adapter\\-sample\n"
                + "BASE ADAPTER[:WEIGHT]... \\-o DIR\n.SH DESCRIPTION\n"
                + "Adds each adapter\\(aqs update to the base.\n.PP\n\\&.Says \\e so.\n.SH OPERANDS\n",
            ".TP\n\\fB\\-o\\fR, \\fB\\-\\-output\\fR \\fIDIR\\fR\nWhere to write. It must not exist yet.\n",
            ".TP\n\\fB\\-\\-[no\\-]cache\\fR\n", ".SS \"Performance\"\n", "One of: f32, f16, bf16.\n",
            ".SH EXAMPLES\n.PP\nMerge one adapter.\n.PP\n.RS 4\n.nf\nadapter\\-sample base style \\-o out\n.fi\n.RE\n",
            ".SH EXIT STATUS\n.TP\n.B 0\nDone.\n.TP\n.B 64\nThe command line makes no sense.\n",
        ] {
            #expect(sample.manPage.contains(fragment), "\(fragment)")
        }
        #expect(!sample.manPage.contains("trace"))
    }

    @Test func bash() {
        for fragment in [
            "_adapter_sample() {\n",
            "        -o|--output)\n            compopt -o filenames 2>/dev/null; "
                + "mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")\n            return ;;\n",
            "        --dtype)\n            mapfile -t COMPREPLY < <(compgen -W 'f32 f16 bf16' -- \"$cur\")\n",
            "        -t|--threads)\n            return ;;\n", " --cache --no-cache --json ",
            "complete -F _adapter_sample adapter-sample\n",
        ] {
            #expect(sample.bashCompletion.contains(fragment), "\(fragment)")
        }
        #expect(!sample.bashCompletion.contains("trace"))
    }

    @Test func zsh() {
        #expect(sample.zshCompletion.hasPrefix("#compdef adapter-sample\n"))
        for fragment in [
            "  '(-o --output)'{-o+,--output=}'[Where to write]:DIR:_files -/' \\\n",
            "  '--dtype=[The type of the weights]:TYPE:(f32 f16 bf16)' \\\n",
            "  '--cache[Keep what was read\\: \\[all\\]]' \\\n",
            "  '(--cache)--no-cache[Not: Keep what was read\\: \\[all\\]]' \\\n",
            "  '*--skip=[Leave this module out]:NAME: ' \\\n", "  '1:BASE:_files' \\\n",
            "  '*:ADAPTER\\[\\:WEIGHT\\]...:_files'\n",
        ] {
            #expect(sample.zshCompletion.contains(fragment), "\(fragment)")
        }
        #expect(!sample.zshCompletion.contains("trace"))
    }

    @Test func fish() {
        for fragment in [
            "complete -c adapter-sample -s o -l output -x -a '(__fish_complete_directories)' -d 'Where to write'\n",
            "complete -c adapter-sample -l dtype -x -a 'f32 f16 bf16' -d 'The type of the weights'\n",
            "complete -c adapter-sample -s f -l force -d 'Replace the output'\n",
            "complete -c adapter-sample -l skip -x -d 'Leave this module out'\n",
            "complete -c adapter-sample -l no-cache -d 'Not: Keep what was read: [all]'\n",
        ] {
            #expect(sample.fishCompletion.contains(fragment), "\(fragment)")
        }
        #expect(!sample.fishCompletion.contains("trace"))
    }

    @Test func quoting() {
        let tool = Tool(
            name: "t", summary: "", usage: [], description: [],
            options: [Option("base", value: "BASE", help: "The model's \\ base.")], operands: [], examples: [])
        #expect(tool.zshCompletion.contains("'--base=[The model'\\''s \\\\ base]:BASE:_files'"))
        #expect(tool.fishCompletion.contains("complete -c t -l base -r -F -d 'The model\\'s \\\\ base'\n"))
        #expect(tool.fishCompletion.contains("complete -c t -f\n"))
        #expect(tool.manPage.contains("\nThe model\\(aqs \\e base.\n"))
    }
}

private let expectedShortHelp = """
    adapter-sample: join adapters with a base model

    Usage: adapter-sample BASE ADAPTER[:WEIGHT]... -o DIR

    Operands:
      BASE                       The base model's directory
      ADAPTER[:WEIGHT]...        Adapters to add

    Options:
      -o, --output DIR           Where to write
      -f, --force                Replace the output
          --dtype TYPE           The type of the weights (f32, f16, bf16)
          --skip NAME            Leave this module out
          --[no-]cache           Keep what was read: [all]

    Performance:
          --max-shard-size SIZE  The most bytes in a file
      -t, --threads N            How many threads work

    Common options:
          --json                 Print one JSON document instead of text
      -q, --quiet                Print errors only: no warnings, notes, hints or
                                 progress
          --no-progress          Show no progress bar
      -h, --help                 Print help and stop: -h in brief, --help in full
      -V, --version              Print the version and stop
          --generate KIND        Print the manual page, or a completion script for
                                 a shell, and stop (man, bash, zsh, fish)

    'adapter-sample --help' says more.

    """

private let expectedLongHelpHead = """
    adapter-sample: join adapters with a base model

    Usage: adapter-sample BASE ADAPTER[:WEIGHT]... -o DIR

    Adds each adapter's update to the base.

    .Says \\ so.

    Operands:
      BASE
          The base model's directory.
      ADAPTER[:WEIGHT]...
          Adapters to add. Each may have a weight.

    Options:
      -o, --output DIR
          Where to write. It must not exist yet.
      -f, --force
          Replace the output.
      --dtype TYPE
          The type of the weights. One of: f32, f16, bf16.
      --skip NAME
          Leave this module out. May be repeated.
      --[no-]cache
          Keep what was read: [all].

    Performance:
      --max-shard-size SIZE
          The most bytes in a file.

    """

private let expectedLongHelpTail = """
      --generate KIND
          Print the manual page, or a completion script for a shell, and stop. One
          of: man, bash, zsh, fish.

    Examples:
      adapter-sample base style -o out
          Merge one adapter.

    Exit status:
      0    Done.
      64   The command line makes no sense.

    """
