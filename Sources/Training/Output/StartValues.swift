import Adapters
import Problems
import Safetensors

/// The values of an adapter of the same kind and sizes, to go on from.
struct StartValues {
    private let model: Llama<Float>
    private let file: SafetensorsFile

    init(_ model: Llama<Float>, path: String) throws {
        self.model = model
        guard model.plan.method == .lora else {
            throw Problem(
                .usage, "bad-start",
                "training can go on from a LoRA adapter, not from one of method \(model.plan.method.rawValue)")
        }
        file = try Adapter(path: path).file
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
    }

    private func bad(_ tensor: String, _ what: String) -> Problem {
        Problem(
            .incompatible, "bad-start", file: file.path, tensor: tensor, what,
            hint: "give the rank, targets, layers and modules that the adapter was trained with")
    }
}
