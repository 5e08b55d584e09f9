import Problems
import Safetensors
import Tensors

/// LyCORIS's methods other than a plain pair.
enum LyCORISKinds {
    /// What is added to norms: the smallest step of float32 at 1 (`torch.finfo(torch.float32).eps`).
    static let epsilon = 0x1p-23

    /// The value of a `scalar` tensor, which the delta is multiplied by.
    static func scalar(_ tensor: TensorInfo, _ file: SafetensorsFile) -> Double? {
        guard tensor.elementCount == 1, let bytes = try? file.read(tensor),
            let value = try? TensorValues.doubles(bytes, tensor.dtype).first, value.isFinite
        else { return nil }
        return value
    }

    /// lora_down of a Tucker decomposition with its middle: (rank × in × kernel...) in float64.
    static func tucker(_ down: TensorInfo, _ middle: TensorInfo, _ up: TensorInfo, _ file: SafetensorsFile)
        -> TranslatedTensor?
    {
        nil
    }

    /// Adds the module in whatever kind it is.
    static func add(_ module: LyCORISModule, to reading: inout DialectReading) {
        module.problem("not-lora", module.parts.values.first, "belongs to a method that is not read here", &reading)
    }
}
