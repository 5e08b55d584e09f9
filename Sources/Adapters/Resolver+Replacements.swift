import Problems
import Safetensors
import Tensors

extension Resolver {
    /// Finds the place of a parameter that the adapter replaces whole.
    mutating func place(_ replacement: Replacement) {
        let tensor = replacement.tensor
        let name = replacement.module + "." + replacement.parameter
        // PEFT trains a new head of another size in the place of an old one: `ignore_mismatched_sizes` in transformers.
        let grows =
            traits.hasVocabulary(replacement.module)
            || (BaseTraits.isClassifier(replacement.module) && isAnnounced(replacement.module))
        let fits = { (weight: TensorInfo) in
            let shape = weight.shape
            return shape == tensor.shape
                || (grows && shape.count == tensor.shape.count && shape.dropFirst() == tensor.shape.dropFirst())
        }
        switch names.find(name, fits: fits) {
        case .found(let weight):
            note(name, weight.name)
            declare(replacement)
            replace(weight, by: tensor)
            let isLearned = isSaved(replacement.module) || replacement.parameter != "weight"
            update(weight) { $0.replacesBase = !isLearned && (replacement.isBaseLayer || grows) }
        case .wrongShape(let candidates):
            if candidates.count > 1 { return ambiguous(tensor, candidates) }
            error(
                "shape-mismatch", tensor,
                "shape \(tensor.shape) was to replace '\(candidates[0].name)' \(candidates[0].shape)",
                hint: "the adapter was trained on a different base")
        case .ambiguous(let candidates): ambiguous(tensor, candidates)
        case .absent: placeNew(replacement, name)
        }
    }

    private mutating func replace(_ weight: TensorInfo, by tensor: TensorInfo) {
        if let other = updates[weight.name]?.replacement {
            do throws(Problem) {
                // PEFT saves embeddings in `modules_to_save` twice, once with those words in the name; and a parameter that
                // two modules share, once for each.
                let isShared = traits.headCompanions.contains { $0.source == weight.name }
                if isShared || Self.isSavedTwice(tensor, other),
                    try TensorValues.equal(adapter.file, tensor, adapter.file, other)
                {
                    return
                }
            } catch {
                return problems.append(error)
            }
            return error("duplicate-tensor", tensor, "replaces '\(weight.name)', and so does '\(other.name)'")
        }
        let module = ParameterName.module(of: weight.name)
        let isClassifier = BaseTraits.isClassifier(module)
        let (code, what) =
            isClassifier ? ("head-resized", "number of labels") : ("vocabulary-resized", "vocabulary")
        if weight.shape != tensor.shape, !problems.contains(where: { $0.code == code }) {
            problems.append(
                Problem(
                    .note, .incompatible, code, file: adapter.file.path, tensor: tensor.name,
                    "changes the \(what) from \(weight.shape[0]) to \(tensor.shape[0])"
                        + (isClassifier ? "" : " rows")))
        }
        update(weight) {
            $0.replacement = tensor
            $0.shape = tensor.shape
        }
    }

    /// Whether a file has the same parameter under the name with `modules_to_save` as well.
    private static func isSavedTwice(_ a: TensorInfo, _ b: TensorInfo) -> Bool {
        [a, b].contains { $0.name.contains(".modules_to_save.") }
    }

    /// A parameter that the base does not have: the tied head, or a new head that the config announces.
    private mutating func placeNew(_ replacement: Replacement, _ name: String) {
        let tensor = replacement.tensor
        if replacement.parameter == "bias", !isAnnounced(replacement.module) {
            return error(
                "no-bias", tensor, "replaces a bias, but the base has no '\(name)'",
                hint: "the adapter was trained on a different base")
        }
        guard isAnnounced(replacement.module) else { return absent(tensor, name) }
        if let other = updates[name]?.replacement {
            do throws(Problem) {
                let isTwice = Self.isSavedTwice(tensor, other)
                if isTwice, try TensorValues.equal(adapter.file, tensor, adapter.file, other) { return }
            } catch {
                return problems.append(error)
            }
            return error("duplicate-tensor", tensor, "replaces '\(name)', and so does '\(other.name)'")
        }
        var entry = TensorUpdate(name: name, source: nil, shape: tensor.shape)
        entry.replacement = tensor
        updates[name] = entry
        problems.append(
            Problem(
                .note, .incompatible, "new-tensor", file: adapter.file.path, tensor: tensor.name,
                "is new: the base has no '\(name)', so the merged model gets it from the adapter"))
    }

    /// Whether the config itself names the module as replaced; PEFT's classes add the heads of classifiers.
    private func isSaved(_ module: String) -> Bool {
        adapter.config.modulesToSave.contains { ".\(module).".contains(".\($0).") }
    }

    /// Whether `modules_to_save` names the module; PEFT adds the heads of classifiers by itself.
    private func isAnnounced(_ module: String) -> Bool {
        let announced = adapter.config.modulesToSave + adapter.config.classifierHeads
        return announced.contains { ".\(module).".contains(".\($0).") }
    }

    private mutating func declare(_ replacement: Replacement) {
        // LN tuning consists of replacements.
        if !adapter.config.isFile || adapter.config.type == "LN_TUNING" || replacement.isBaseLayer
            || isAnnounced(replacement.module)
            || traits.hasVocabulary(replacement.module)
        {
            return
        }
        if replacement.parameter == "bias", adapter.config.bias != "none" { return }
        error(
            "undeclared-replacement", replacement.tensor,
            "replaces a whole parameter, but the config announces it neither in 'modules_to_save' nor as a bias",
            hint: "PEFT loads such a tensor without a word; so it is used here", severity: .warning)
    }

    /// Finds the embedding whose rows are replaced.
    mutating func place(_ rows: TokenRows) {
        let name = rows.module + ".weight"
        switch names.find(name, fits: { $0.shape.count == 2 && $0.shape[1] == rows.tensor.shape[1] }) {
        case .found(let weight):
            note(name, weight.name)
            let count = (updates[weight.name]?.shape ?? weight.shape)[0]
            if let bad = rows.rows.first(where: { !(0..<count).contains($0) }) {
                return error(
                    "row-count", rows.tensor, "replaces row \(bad), but '\(weight.name)' has \(count) rows",
                    hint: "the adapter was trained on a base with a larger vocabulary")
            }
            if let other = updates[weight.name]?.tokenRows {
                return error(
                    "duplicate-tensor", rows.tensor,
                    "replaces rows of '\(weight.name)', and so does '\(other.tensor.name)'")
            }
            update(weight) { $0.tokenRows = rows }
        case .wrongShape(let candidates):
            error(
                "shape-mismatch", rows.tensor,
                "shape \(rows.tensor.shape) has rows that do not fit '\(candidates[0].name)' \(candidates[0].shape)",
                hint: "the adapter was trained on a different base")
        case .ambiguous(let candidates): ambiguous(rows.tensor, candidates)
        case .absent: absent(rows.tensor, name)
        }
    }

    /// Embedding and head must have the same rows in the end.
    mutating func checkVocabulary() {
        let resized = updates.values.filter { update in
            guard let source = update.source, let weight = base.lookup(source)?.info else { return false }
            let module = ParameterName.module(of: source)
            return weight.shape != update.shape && !BaseTraits.isClassifier(module)
        }
        guard let first = resized.min(by: { $0.name < $1.name }), let rows = first.shape.first else { return }
        guard let source = first.source, let old = base.lookup(source)?.info.shape.first else { return }
        for entry in base.tensors where entry.info.shape.contains(old) {
            let module = ParameterName.module(of: entry.info.name)
            let isMatrix = entry.info.shape.count == 2 && entry.info.name.hasSuffix(".weight")
            let isBias = entry.info.shape.count == 1 && isHeadBias(entry.info.name, module)
            let isLogits = entry.info.name.hasSuffix("final_logits_bias")
            guard isBias || isLogits || (isMatrix && traits.hasVocabulary(module)) else { continue }
            let now = updates[entry.info.name]?.shape ?? entry.info.shape
            guard isLogits ? now.last != rows : entry.info.shape.first == old && now.first != rows else { continue }
            problems.append(
                Problem(
                    .incompatible, "vocabulary-mismatch", file: adapter.file.path, tensor: first.replacement?.name,
                    "gives '\(first.name)' \(rows) rows, but '\(entry.info.name)' stays at \(old)",
                    hint: "PEFT saves only the one that is adapted: adapt both, or resize the base itself and save it"))
        }
    }

    /// Whether a vector has one number for each word: the bias of the head, also where several heads share it.
    private func isHeadBias(_ name: String, _ module: String) -> Bool {
        (name.hasSuffix(".bias") && traits.isHead(module))
            || traits.headCompanions.contains { [$0.target, $0.source].contains(name) }
    }
}
