import Files
import Problems
import StrictJSON

/// Where a bottleneck adapter of the `adapters` library has what: names of files, fields and tensors.
///
/// The config has no `peft_type`; its `config` says what is adapted. `original_ln_before` feeds the adapter with the sum of the
/// output and the residual instead of the output alone (`seq_bn`, against `double_seq_bn`).
enum BottleneckFiles {
    static let configName = "adapter_config.json"
    /// The files of weights, the first that is there counts.
    static let weightNames = ["adapter.safetensors", "adapter_model.safetensors", "pytorch_adapter.safetensors"]
    static let pickleName = "pytorch_adapter.bin"

    static let architecture = "architecture"
    static let afterAttention = "mh_adapter"
    static let afterMLP = "output_adapter"
    static let activation = "non_linearity"
    static let scaling = "scaling"
    static let seesResidual = "original_ln_before"
    /// Fields that must have these values or be missing: others change the computation in ways that are not known here.
    static let required: [(field: String, value: JSONValue)] = [
        ("ln_before", .bool(false)), ("ln_after", .bool(false)), ("phm_layer", .bool(false)),
        ("use_gating", .bool(false)), ("is_parallel", .bool(false)), ("stochastic_depth", .number(JSONNumber(0))),
        ("residual_before_ln", .bool(true)),
    ]

    /// The path of a bottleneck in block `layer`; `place` is `attention_adapters` or `output_adapters`.
    static func path(_ layer: Int, _ place: String, _ name: String) -> String {
        "model.layers.\(layer).\(place).adapters.\(name)"
    }
    static let attentionPlace = "attention_adapters"
    static let outputPlace = "output_adapters"
    static let downWeight = "adapter_down.0.weight"
    static let downBias = "adapter_down.0.bias"
    static let upWeight = "adapter_up.weight"
    static let upBias = "adapter_up.bias"

    /// The name that the file gives the adapter, from any of its tensors.
    static func adapterName(_ tensor: String) -> String? {
        guard let start = tensor.firstRange(of: ".adapters.")?.upperBound else { return nil }
        return tensor[start...].firstRange(of: ".adapter_").map { String(tensor[start..<$0.lowerBound]) }
    }

    /// The config in `folder`, if it is one of this library.
    static func config(in folder: any Folder) throws(Problem) -> JSONObject? {
        guard try folder.entries().contains(where: { $0.name == configName && $0.kind == .file }) else { return nil }
        let source = try folder.source(configName)
        let value: JSONValue
        do throws(Problem) {
            value = try JSONValue.parse(source.readAll(limit: 16 << 20), allowNonFinite: true)
        } catch {
            throw error.at(file: source.path)
        }
        guard let fields = value.object, fields["peft_type"] == nil, fields["config"] != nil else { return nil }
        return fields
    }
}
