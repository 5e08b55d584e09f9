import Files
import Problems

/// The names in a checkpoint's directory, sorted into what they are.
struct DirectoryListing {
    /// All names but those of directories.
    let names: [String]
    /// Names of safetensors files.
    let weights: [String]
    /// The index to follow, if there is one.
    let indexName: String?
    /// Names of regular files that are neither weights nor the config.
    let otherFiles: [String]

    private static let suffix = ".safetensors"

    /// Sorts the entries; `index` is the index that the user chose.
    init(_ entries: [DirectoryEntry], index: String?) {
        names = entries.filter { $0.kind != .directory }.map(\.name)
        weights = names.filter { $0.hasSuffix(Self.suffix) }
        otherFiles = entries.filter { $0.kind == .file }.map(\.name).filter {
            !$0.hasSuffix(Self.suffix) && $0 != "config.json"
        }
        let indexes = names.filter { $0.hasSuffix(Self.suffix + ".index.json") }
        let usual = CheckpointFiles.indexName
        let variants = indexes.isEmpty ? names.filter { WeightNames(indexOfVariant: $0) != nil } : []
        let single = [usual, WeightNames(stem: WeightNames.diffusers, variant: nil).index].first(
            where: indexes.contains)
        let isPlain = weights.contains { WeightNames($0)?.variant == nil }
        let lone = indexes.count == 1 ? indexes[0] : variants.count == 1 && !isPlain ? variants[0] : nil
        indexName = index ?? single ?? lone
    }

    /// The only file of weights of a directory without an index, or why there is none.
    func onlyWeights(in directory: any Folder) throws(Problem) -> String {
        if weights.isEmpty { throw noWeights(directory) }
        if names.contains("adapter_config.json"), weights.allSatisfy({ $0.hasPrefix("adapter_") }) {
            throw Problem(
                .missing, "no-model", file: directory.path, "is an adapter, but a model was needed",
                hint: "BASE comes first, then the adapters")
        }
        // Of a model and its variants, as diffusers has them, the model itself counts.
        let plain = WeightNames.diffusers + Self.suffix
        if weights.contains(plain) { return plain }
        let totals = weights.compactMap(Self.total)
        if let total = totals.max(), weights.count > 1 || total > 1 {
            throw Problem(
                .missing, "missing-index", file: directory.path(of: CheckpointFiles.indexName),
                "is missing, though \(totals.count) of the checkpoint's \(total) files are there",
                hint: "the download is incomplete: download it again")
        }
        guard weights.count == 1 else {
            throw Problem(
                .malformed, "several-files", file: directory.path,
                "holds \(weights.count) .safetensors files and no index that says how they belong together",
                hint: "name one of the files, or add \(CheckpointFiles.indexName)")
        }
        return weights[0]
    }

    private func noWeights(_ directory: any Folder) -> Problem {
        let isPickle = names.contains {
            $0.hasPrefix("pytorch_model") && ($0.hasSuffix(".bin") || $0.hasSuffix(".json"))
                || $0.hasPrefix("consolidated") && $0.hasSuffix(".pth")
        }
        if isPickle {
            return Problem(
                .malformed, "pickle", file: directory.path,
                "holds its weights as Python pickles, which can run code when they are loaded, so they are never read here",
                hint:
                    "convert it once where you trust it: python -c \"from transformers import AutoModelForCausalLM as M; "
                    + "M.from_pretrained('MODEL').save_pretrained('converted')\", with the model's directory for MODEL")
        }
        let isGGUF = names.contains { $0.hasSuffix(".gguf") }
        let isAdapter = names.contains { $0.hasPrefix("adapter_") }
        return Problem(
            .missing, "no-model", file: directory.path, "holds no .safetensors files",
            hint: isAdapter
                ? "this looks like an adapter; BASE comes first, then the adapters"
                : isGGUF ? "use the safetensors files that the GGUF file was made from" : "name a model's directory")
    }

    /// N of a name like `model-00001-of-0000N.safetensors`.
    private static func total(_ name: String) -> Int? {
        guard let range = name.ranges(of: "-of-").last else { return nil }
        let digits = name[range.upperBound...].utf8.prefix { (0x30...0x39).contains($0) }
        return Int(Substring(digits))
    }
}
