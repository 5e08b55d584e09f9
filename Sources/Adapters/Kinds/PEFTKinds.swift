import Problems
import Safetensors

/// PEFT's methods other than LoRA whose change of the weights is settled.
enum PEFTKinds {
    /// Whether adapters of this `peft_type` are read.
    static func reads(_ type: String) -> Bool { false }

    /// Reads names and config.
    static func read(
        _ file: SafetensorsFile, _ config: PEFTConfig, configPath: String, why: String
    ) -> DialectReading {
        DialectReading(dialect: .peft, why: why, config: config)
    }
}
