import Files
import Problems
import Safetensors

/// The gradients of a training's first step in a safetensors file, to be compared with another trainer's.
public enum GradientFile {
    /// Writes them to `path`: a tensor for each trained one, of its name and shape, and the loss as `loss`.
    ///
    /// - Returns: the loss in nats.
    public static func write(_ job: TrainingJob, to path: String, replacing: Bool) throws -> Double {
        let (loss, gradients) = try job.trainer.firstGradients()
        var tensors = gradients.map { parameter, gradient in
            (name: parameter.name, dtype: DType.f32, shape: parameter.shape, bytes: gradient.bytes)
        }
        tensors.append((name: "loss", dtype: .f64, shape: [], bytes: TrainingCheckpoint.bytes([loss])))
        try writeFile(try Header.encode(tensors: tensors, metadata: nil), to: path, replacing: replacing)
        return loss
    }
}
