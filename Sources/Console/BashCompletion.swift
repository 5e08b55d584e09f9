extension Tool {
    /// A completion script for bash.
    var bashCompletion: String {
        let function = "_" + name.replacing("-", with: "_")
        return """
            # bash completion for \(name)
            \(function)() {
                local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} word
                COMPREPLY=()
                # bash hands over --name=value as three words.
                if [[ $cur == = ]]; then
                    cur=
                elif [[ $prev == = && COMP_CWORD -gt 1 ]]; then
                    prev=${COMP_WORDS[COMP_CWORD-2]}
                fi
                for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
                    if [[ $word == -- ]]; then
                        \(bashOperands)
                        return
                    fi
                done
                case $prev in
            \(bashCases)    esac
                if [[ $cur == -* ]]; then
                    mapfile -t COMPREPLY < <(compgen -W '\(longNames.joined(separator: " "))' -- "$cur")
                    return
                fi
                \(bashOperands)
            }
            complete -F \(function) \(name)

            """
    }

    /// All long forms that completions offer.
    var longNames: [String] {
        options.filter { !$0.hidden }.flatMap { $0.negatable ? ["--\($0.name)", "--no-\($0.name)"] : ["--\($0.name)"] }
    }

    private var bashCases: String {
        var cases = ""
        for option in options where option.value != nil && !option.hidden {
            let forms = (option.short.map { "-\($0)|" } ?? "") + "--" + option.name
            let action = Self.bashAction(option.completion).map { "            \($0)\n" } ?? ""
            cases += "        \(forms))\n\(action)            return ;;\n"
        }
        return cases
    }

    private var bashOperands: String {
        operands.isEmpty ? "COMPREPLY=()" : Self.bashAction(.files) ?? ""
    }

    private static func bashAction(_ completion: Option.Completion) -> String? {
        // compopt fails outside a completion, as when a test calls the function.
        let names = "compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen"
        return switch completion {
        case .words(let words):
            "mapfile -t COMPREPLY < <(compgen -W '\(words.joined(separator: " "))' -- \"$cur\")"
        case .directories: names + " -d -- \"$cur\")"
        case .files: names + " -f -- \"$cur\")"
        case .nothing: nil
        }
    }
}
