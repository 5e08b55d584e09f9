import Adapters
import Composition
import Files
import Merging
import Problems
import Safetensors

/// Full fine-tuning stored as an adapter of low rank: extracted, measured as it is, and bound to its base.
struct ExtractedOutput {
    private let job: TrainingJob
    private let threads: Int
    private var request: TrainingRequest { job.request }

    private static let weights = "adapter_model.safetensors"

    init(_ job: TrainingJob, threads: Int) { (self.job, self.threads) = (job, threads) }

    /// Writes the adapter; returns its bytes, and the losses of base and adapter.
    ///
    /// - Parameter tuned: writes the tuned model.
    func write(tuned: (StagedOutput) throws -> Void) throws -> (bytes: Int, losses: TextLosses) {
        let scratch = try StagedOutput(scratchBeside: request.output)
        let stage = try StagedOutput(path: request.output, shape: .directory, replacing: request.replaces)
        try extract(tuned, to: scratch)
        let adapter = try Adapter(path: scratch.stagePath)
        try takeValues(of: adapter)
        let losses = try job.finishRecord()
        let config = adapter.configBytes
        let tensors = try tensors(of: adapter.file)
        try stage.write("adapter_config.json", config)
        try stage.write(Self.weights, tensors)
        try stage.write("training.json", job.record.bytes)
        try checkInterrupted()
        try stage.commit()
        return (config.count + tensors.count, losses)
    }

    private func extract(_ tuned: (StagedOutput) throws -> Void, to scratch: StagedOutput) throws {
        let model = try StagedOutput(scratchBeside: request.output)
        try tuned(model)
        var extraction = ExtractRequest(base: request.base, tuned: model.stagePath, version: request.version)
        extraction.truncation.rank = request.extractedRank
        extraction.baseName = job.baseName
        // The tuned model has no name: it is gone when this is done.
        extraction.tunedName = lastComponent(of: request.output)
        extraction.seed = request.options.seed
        _ = try Extractor(extraction, threads: threads).plan { _ in }.run(to: scratch) { _ in }
    }

    /// Puts what base and adapter give together into the trained parameters.
    private func takeValues(of adapter: Adapter) throws {
        let inputs = LoadedInputs(
            base: job.base.checkpoint, adapters: [(adapter, 1)], allowed: Set(LoadedInputs.allowableInMerge))
        guard inputs.isSound else { throw ProblemList(inputs.problems) }
        var options = MergeOptions(version: request.version)
        options.dtype = .f32
        let plan = try MergePlan(inputs, options: options)
        let stage = try StagedOutput(scratchBeside: request.output)
        let merged = try Merger(plan: plan, output: stage) { _ in }.run(threads: threads)
        _ = try Merger.writeDocuments(of: plan, to: stage, digests: merged.digests)
        let model = try BaseModel(path: stage.stagePath)
        for parameter in job.trainer.model.trained {
            parameter.value.copy(try model.load(parameter.name, parameter.shape, as: Float.self))
        }
    }

    /// The adapter's tensors with the record of their training.
    private func tensors(of file: SafetensorsFile) throws -> [UInt8] {
        let all = Set(job.base.checkpoint.tensors.map(\.info.name))
        let binding = try StoredBinding.text(
            to: Set(job.trainer.model.trained.map(\.name)).intersection(all), of: job.base.checkpoint, threads: threads)
        let own = job.record.metadata(version: request.version, binding: binding)
        let kept = (file.header.metadata ?? []).filter { entry in !own.contains { $0.key == entry.key } }
        let list = try file.header.tensors.map {
            (name: $0.name, dtype: $0.dtype, shape: $0.shape, bytes: try file.read($0))
        }
        return try Header.encode(tensors: list, metadata: kept + own)
    }
}
