import Problems
import Safetensors

/// What a dialect's reader makes of a file: tensors in the form that all have in common, and what each one is.
struct DialectReading {
    /// How module paths are written.
    enum Naming: Sendable {
        /// As in the model: `model.layers.0.self_attn.q_proj`.
        case dotted
        /// With `_` for `.` behind a prefix for the component: `lora_unet_down_blocks_0_attentions_0_proj_in`.
        case flattened
        /// llama.cpp's: `blk.0.attn_q`.
        case gguf
    }

    let dialect: Dialect
    /// Which facts of the file decided it.
    let why: String
    var naming = Naming.dotted
    /// The tensors, each with what it is; what belongs to a change has the role `.changed`.
    var tensors: [(tensor: TranslatedTensor, key: AdapterKey)] = []
    /// What is no product B·A; built when the places of the tensors are known.
    var changes: [(TensorLookup) -> ModuleChange] = []
    /// Vectors and matrices that are added as they are.
    var additions: [(module: String, parameter: String, tensor: String, scale: Double)] = []
    /// Rank and alpha of each pair, by the module's path.
    var scales: [String: ModuleScale] = [:]
    /// What stands in the place of a config.
    var config: PEFTConfig
    var problems: [Problem] = []
    /// What else the file says about itself, for people: (label, text).
    var notes: [(label: String, text: String)] = []

    /// Finds a tensor of the translated file by its name.
    typealias TensorLookup = (String) -> TensorInfo

    /// Gives modules other paths.
    mutating func rename(_ names: [String: String]) {
        for at in tensors.indices {
            if let new = names[tensors[at].key.module] { tensors[at].key.module = new }
        }
        for (old, new) in names {
            if let scale = config.moduleScales.removeValue(forKey: old) { config.moduleScales[new] = scale }
        }
        naming = .dotted
    }

    /// Adds a tensor.
    mutating func add(_ tensor: TranslatedTensor, _ module: String, _ role: AdapterKey.Role, depth: Int = 0) {
        tensors.append((tensor, AdapterKey(module: module, role: role, depth: depth)))
    }
}

/// Rank and alpha of one module, where the dialect says them module by module.
public struct ModuleScale: Sendable, Equatable {
    /// The rank.
    public var rank: Int
    /// What is divided by the rank to give the scale.
    public var alpha: Double
}

/// A parameter to which the adapter adds a tensor of the same size.
public struct ParameterAddition: Sendable {
    /// The module's path.
    public let module: String
    /// The parameter's name in the module.
    public let parameter: String
    /// What is added.
    public let tensor: TensorInfo
    /// What it is multiplied by.
    public let scale: Double
}
