import Adapters
import Archives
import Files
import Problems
import Safetensors
import StrictJSON

/// A merged model as what makes it: the base and adapters.
public enum MergeRecipe {
    /// Merges `operands` into `base` and finds the tensors of the model at `path` that come out the same, bit for bit.
    ///
    /// - Parameters:
    ///   - scratch: a path beside which the merge may be kept meanwhile; nothing stays there.
    ///   - progress: is told of bytes as they are done.
    /// - Returns: the recipe, and the names of tensors that the adapters change to something else.
    public static func make(
        base: String, operands: [AdapterOperand], model path: String, scratch: String, version: String, threads: Int,
        progress: @escaping @Sendable (Int) -> Void
    ) throws -> (recipe: PackRecipe, different: [String]) {
        let inputs = LoadedInputs(base: base, operands: operands)
        guard inputs.isSound else { throw ProblemList(inputs.problems) }
        let model = try Checkpoint.openModel(path: path)
        try model.requireSound()
        var options = MergeOptions(version: version)
        options.dtype = dtype(inputs, model)
        let plan = try MergePlan(inputs, options: options)
        let stage = try StagedOutput(scratchBeside: scratch)
        _ = try Merger(plan: plan, output: stage, progress: progress).run(threads: threads)
        let merged = try BaseFiles(path: stage.stagePath)
        var (same, different): ([(file: String, tensor: String)], [String]) = ([], [])
        var bytes = 0
        let changed = plan.shards.flatMap(\.tensors).filter { !$0.isCopy || $0.isChanged }
        for tensor in changed {
            if let place = model.lookup(tensor.name), place.info.shape == tensor.shape,
                try merged.holds(place.info, of: model.shards[place.shard].file)
            {
                same.append((model.shards[place.shard].name, tensor.name))
                bytes += place.info.byteCount
            } else {
                different.append(tensor.name)
            }
        }
        return (PackRecipe(text: text(plan), inputs: files(plan), tensors: same, tensorBytes: bytes), different)
    }

    /// Makes the tensors of a recipe again, in a directory that is gone with what is returned.
    public static func remake(
        _ archive: Archive, base: String, scratch: String, threads: Int, progress: @escaping @Sendable (Int) -> Void
    ) throws -> (stage: StagedOutput, files: BaseFiles) {
        guard let recipe = archive.recipe, case .array(let items)? = recipe["adapters"] else {
            throw malformed(archive)
        }
        let checkpoint = try Checkpoint.openModel(path: base)
        try checkpoint.requireSound()
        var adapters: [(adapter: Adapter, weight: Double)] = []
        for item in items {
            guard let object = item.object, let number = object["input"]?.number?.int,
                let weight = object["weight"]?.number.flatMap({ Double($0.text) })
            else { throw malformed(archive) }
            adapters.append((try Adapter(archive.folder("//input/\(number)/")), weight))
        }
        let inputs = LoadedInputs(
            base: checkpoint, adapters: adapters, allowed: Set(LoadedInputs.allowableInMerge))
        guard inputs.isSound else { throw ProblemList(inputs.problems) }
        var options = MergeOptions(version: "")
        options.dtype = recipe["dtype"]?.string.flatMap(DType.init(word:))
        let plan = try MergePlan(inputs, options: options)
        let stage = try StagedOutput(scratchBeside: scratch)
        _ = try Merger(plan: plan, output: stage, progress: progress).run(threads: threads)
        return (stage, try BaseFiles(path: stage.stagePath))
    }

    private static func malformed(_ archive: Archive) -> Problem {
        Problem(
            .malformed, "bad-archive", file: archive.path, "has a recipe that is none",
            hint: "the archive is damaged: get it again")
    }

    /// The type that the model was cast to, if it was.
    private static func dtype(_ inputs: LoadedInputs, _ model: Checkpoint) -> DType? {
        for entry in inputs.entries {
            for update in entry.resolution?.updates ?? [] {
                guard let source = update.source, let from = inputs.base?.lookup(source)?.info.dtype,
                    let to = model.lookup(update.name)?.info.dtype
                else { continue }
                if from != to { return to }
            }
        }
        return nil
    }

    private static func text(_ plan: MergePlan) -> JSONObject {
        let adapters = plan.inputs.enumerated().map { at, input -> JSONValue in
            .object(
                JSONObject([
                    ("input", .number(JSONNumber(text: String(at)))),
                    ("name", .string(Origin.name(of: input.adapter.path))),
                    ("weight", .number(JSONNumber(text: Origin.text(input.weight)))),
                ]))
        }
        let dtype: JSONValue = plan.options.dtype.map { .string($0.rawValue.lowercased()) } ?? .null
        return JSONObject([("adapters", .array(adapters)), ("dtype", dtype)])
    }

    private static func files(_ plan: MergePlan) -> [(path: String, source: any ByteSource)] {
        plan.inputs.enumerated().flatMap { at, input -> [(path: String, source: any ByteSource)] in
            let adapter = input.adapter
            let config = MemorySource(
                adapter.configBytes, path: adapter.configPath, identity: adapter.source.identity.entry(0))
            let tensors: (path: String, source: any ByteSource) = ("\(at)/adapter_model.safetensors", adapter.source)
            return adapter.configBytes.isEmpty ? [tensors] : [("\(at)/adapter_config.json", config), tensors]
        }
    }
}
