import Adapters
import Digests
import Problems
import Safetensors

/// The values of an adapter of the same kind and sizes, to go on from.
struct StartValues {
    private let model: Llama<Float>
    private let adapter: Adapter
    private var file: SafetensorsFile { adapter.file }

    /// - Parameter base: what is trained on; the adapter must be bound to it, or to nothing.
    init(_ model: Llama<Float>, path: String, base: Checkpoint, threads: Int) throws {
        self.model = model
        guard model.plan.method == .lora else {
            throw Problem(
                .usage, "bad-start",
                "training can go on from a LoRA adapter, not from one of method \(model.plan.method.rawValue)")
        }
        let adapter = try Adapter(path: path)
        let errors = adapter.problems.filter { $0.severity == .error }
        guard errors.isEmpty else { throw ProblemList(errors) }
        self.adapter = adapter
        if let binding = try adapter.binding() {
            var found = try BaseBinding.problems(binding, of: path, base, allowed: [], threads: threads)
            for at in found.indices { found[at].hint = "go on with the base that the adapter was made for" }
            if !found.isEmpty { throw ProblemList(found) }
        }
    }

    /// Refuses factors that counted for more or less than they would here: with them the start would be another model.
    private func requireScale() throws(Problem) {
        let (config, plan) = (adapter.config, model.plan)
        var own = plan
        (own.alpha, own.usesRankStabilization) = (config.alpha, config.useRSLoRA)
        let isEven = config.alphaPattern.isEmpty && config.rankPattern.isEmpty
        guard !isEven || abs(own.scaling - plan.scaling) > 1e-9 * plan.scaling, !adapter.modules.isEmpty else { return }
        throw Problem(
            .incompatible, "bad-start", file: adapter.configPath,
            isEven
                ? "scales its updates by \(own.scaling), but they would be trained with a scale of \(plan.scaling)"
                : "has ranks or scales that differ from module to module, which cannot be trained",
            hint: isEven ? "give the adapter's own --alpha, and --rslora if it has that" : nil)
    }

    /// What records call the adapter, and the SHA-256 of its tensors' file.
    func identity() throws -> (name: String, digest: String) {
        (Origin.name(of: adapter.path), try SHA256.hex(of: file.file))
    }

    /// Puts all values into the model's parameters.
    func load() throws {
        var left = Set(file.header.tensors.map(\.name))
        for parameter in model.trained {
            let isUpdate = parameter.name.hasPrefix("base_model.")
            let name = isUpdate ? parameter.name : "base_model.model.\(parameter.name)"
            guard let info = file.header.tensors.first(where: { $0.name == name }) else {
                throw bad(name, "is missing, but would be trained")
            }
            guard info.shape == parameter.shape else {
                throw bad(name, "has shape \(info.shape), but \(parameter.shape) is trained")
            }
            parameter.value.copy(try BaseModel.load(file, info, parameter.shape, as: Float.self))
            left.remove(name)
        }
        if let first = left.sorted().first { throw bad(first, "would not be trained") }
        try requireScale()
    }

    private func bad(_ tensor: String, _ what: String) -> Problem {
        Problem(
            .incompatible, "bad-start", file: file.path, tensor: tensor, what,
            hint: "give the rank, targets, layers and modules that the adapter was trained with")
    }
}
