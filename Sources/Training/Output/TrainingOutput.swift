import Adapters
import Archives
import Composition
import Files
import Problems
import Safetensors
import StrictJSON

/// Where a training's result goes: an adapter's directory, or for full fine-tuning an archive, an extracted adapter or a
/// model.
public struct TrainingOutput {
    private let job: TrainingJob

    /// Prepares to write what `job` made.
    public init(_ job: TrainingJob) { self.job = job }

    /// Whether the output is one file.
    public static func isFile(_ request: TrainingRequest) -> Bool {
        request.plan.method == .full && request.fullOutput == .archive
    }

    /// Refuses an output that cannot be made, before anything is computed.
    public static func check(_ request: TrainingRequest) throws(Problem) {
        try StagedOutput.checkPlace(
            path: request.output, shape: isFile(request) ? .file : .directory, replacing: request.replaces)
    }

    /// Writes everything, whole or not at all; returns its bytes, and the losses of what is stored.
    ///
    /// - Parameter threads: for packing and extraction.
    public func write(threads: Int) throws -> (bytes: Int, losses: TextLosses) {
        let request = job.request
        guard job.plan.method == .full else {
            let losses = try job.finishRecord()
            return (try adapter(), losses)
        }
        if request.fullOutput == .adapter {
            return try ExtractedOutput(job, threads: threads).write { _ = try model(to: $0, []) }
        }
        // Losses are to be those of what is stored.
        try ModelFiles(job.trainer.model, base: job.base.checkpoint, config: [], dtype: request.dtype).roundValues()
        let losses = try job.finishRecord()
        let metadata = job.record.metadata(version: request.version, binding: nil)
        if request.fullOutput == .model {
            let stage = try StagedOutput(path: request.output, shape: .directory, replacing: request.replaces)
            let bytes = try model(to: stage, metadata)
            try stage.write("training.json", job.record.bytes)
            try checkInterrupted()
            try stage.commit()
            return (bytes, losses)
        }
        // The tuned model is needed only meanwhile.
        let scratch = try StagedOutput(scratchBeside: request.output)
        _ = try model(to: scratch, metadata)
        try scratch.write("training.json", job.record.bytes)
        return (try pack(scratch.stagePath, threads), losses)
    }

    private func adapter() throws -> Int {
        let request = job.request
        let files = try AdapterFiles(
            job.trainer.model, baseName: job.baseName, name: lastComponent(of: request.output),
            metadata: job.record.metadata(version: request.version, binding: try binding())
        ).encoded()
        let stage = try StagedOutput(path: request.output, shape: .directory, replacing: request.replaces)
        for (name, bytes) in files { try stage.write(name, bytes) }
        try stage.write("training.json", job.record.bytes)
        try checkInterrupted()
        try stage.commit()
        return files.reduce(0) { $0 + $1.bytes.count }
    }

    /// Digests of what the adapter changes; all that it stands on, where it changes no weights.
    private func binding() throws -> String {
        let model = job.trainer.model
        var names: Set<String> = []
        for block in model.blocks {
            for linear in block.linears where linear.update != nil { names.insert(linear.weight.name) }
        }
        let all = Set(job.base.checkpoint.tensors.map(\.info.name))
        names.formUnion(model.trained.map(\.name).filter(all.contains))
        return try StoredBinding.text(
            to: names.isEmpty ? all : names, of: job.base.checkpoint, threads: job.request.options.threads)
    }

    /// Writes the tuned model; returns the bytes of its weights.
    private func model(to stage: StagedOutput, _ metadata: [(key: String, value: String)]) throws -> Int {
        let checkpoint = job.base.checkpoint
        var config = Array(((checkpoint.config ?? .null).encoded(indent: 2) + "\n").utf8)
        if let folder = checkpoint.directory {
            let source = try folder.source("config.json")
            config = try source.readAll(limit: 1 << 28)
            for name in checkpoint.otherFiles where Self.isCarried(name) {
                let source = try folder.source(name)
                let file = try stage.create(name, size: source.size)
                try file.copy(from: source, at: 0, count: source.size, to: 0)
                try file.finish()
            }
        }
        if let dtype = job.request.dtype { config = try Self.naming(dtype, in: config) }
        return try ModelFiles(job.trainer.model, base: checkpoint, config: config, dtype: job.request.dtype)
            .write(to: stage, metadata: metadata)
    }

    /// The config with the dtype that the weights have now, or transformers would round them to the old one.
    private static func naming(_ dtype: DType, in config: [UInt8]) throws(Problem) -> [UInt8] {
        guard var object = try JSONValue.parse(config, allowNonFinite: true).object else { return config }
        let before = object
        for key in ["torch_dtype", "dtype"] where object[key] != nil { object[key] = .string(dtype.torchName) }
        if object == before { return config }
        return Array((JSONValue.object(object).encoded(indent: 2) + "\n").utf8)
    }

    /// Files that belong to a model, whatever its weights are.
    private static func isCarried(_ name: String) -> Bool {
        TokenizerFiles.contains(name) || name == "generation_config.json"
    }

    private func pack(_ tuned: String, _ threads: Int) throws -> Int {
        let request = job.request
        var packing = PackRequest(try PackInput(path: tuned))
        packing.base = try BaseFiles(path: request.base)
        let stage = try StagedOutput(path: request.output, shape: .file, replacing: request.replaces)
        let file = try stage.createGrowing(lastComponent(of: request.output))
        let result = try ArchiveWriter.write(packing, to: file, threads: threads) { _ in }
        try checkInterrupted()
        try stage.commit()
        return result.size
    }
}
