import Fixtures
import Foundation
import Testing

/// A golden adapter in memory, to be damaged before it is written.
struct DamagedAdapter {
    let golden: DialectCase
    var file: TensorFile
    /// The config, where there is one.
    var config: String?
    /// What the tensors' file is called.
    private let name: String
    /// The path of one module that it changes, as its names have it.
    let module: String

    init(_ golden: DialectCase) throws {
        self.golden = golden
        if golden.adapter.hasSuffix(".safetensors") {
            name = String(golden.adapter.split(separator: "/").last ?? "")
        } else {
            let names = Golden.names(in: golden.adapter)
            name = names.first { $0.hasSuffix(".safetensors") } ?? ""
            config = String(decoding: try bytes(of: golden.adapter + "/adapter_config.json"), as: UTF8.self)
        }
        let folder = config == nil ? String(golden.adapter.dropLast(name.utf8.count + 1)) : golden.adapter
        file = try TensorFile(path: "\(folder)/\(name)")
        let first = file.tensors.map(\.name).filter { !$0.contains("vera_A") && !$0.contains("vera_B") }.min() ?? ""
        module = Self.module(of: first)
    }

    /// What stands before the part that says which tensor of a module it is.
    static func module(of name: String) -> String {
        if name.hasPrefix("lora_") || name.hasPrefix("lycoris_") {
            return String(name.prefix { $0 != "." })
        }
        let mark = /\.(lora|hada|lokr|oft|boft|hra|ia3|vera|ln_tuning|trainable|dora|alpha|diff|m$|weight$|bias$)/
        return name.firstMatch(of: mark).map { String(name[..<$0.range.lowerBound]) } ?? name
    }

    /// Writes it; what a tool is to be given.
    func write(in scratch: Scratch, bytes: [UInt8]? = nil) throws -> String {
        let path = try scratch.write("adapter/\(name)", bytes ?? file.encoded)
        guard let config else { return path }
        try scratch.write("adapter/adapter_config.json", config)
        return scratch("adapter")
    }

    /// Gives a key of the config another name; what a message must say.
    mutating func remove(_ key: String) -> String? {
        let old = config
        config = config?.replacing("\"\(key)\"", with: "\"other\"")
        return config == old ? nil : "'\(key)'"
    }

    /// Changes the value of a key in the config, or in the metadata that stands for it; whether there was one.
    mutating func replace(_ pattern: Regex<(Substring, Substring)>, with value: String) -> Bool {
        let old = (config, file.metadata)
        let change = { (text: String) in text.replacing(pattern) { "\"\($0.1)\": \(value)" } }
        config = config.map(change)
        file.metadata = file.metadata.mapValues(change)
        return old != (config, file.metadata)
    }
}

/// One thing that is wrong with an adapter.
struct DialectDamage: CustomTestStringConvertible, Sendable {
    let name: String
    /// Does the damage; what the message must name, or nothing where the kind has no such thing.
    let change: @Sendable (inout DamagedAdapter) -> String?

    var testDescription: String { name }

    static let all = [
        DialectDamage(name: "a module with another name") { adapter in
            let module = adapter.module
            for at in adapter.file.tensors.indices where adapter.file.tensors[at].name.hasPrefix(module + ".") {
                adapter.file.tensors[at].name.insert(
                    "x", at: adapter.file.tensors[at].name.index(module.startIndex, offsetBy: module.count))
            }
            return module.hasPrefix("base_model.model.") ? String(module.dropFirst(17)) + "x" : module + "x"
        },
        DialectDamage(name: "a factor transposed") { adapter in
            let isTurnable = { (tensor: TensorFile.Tensor) in
                tensor.shape.count == 2 && tensor.shape[0] != tensor.shape[1]
                    && DamagedAdapter.module(of: tensor.name) == adapter.module
            }
            guard let at = adapter.file.tensors.firstIndex(where: isTurnable) else { return nil }
            adapter.file.tensors[at].shape.reverse()
            return adapter.module
        },
        DialectDamage(name: "a foreign tensor") { adapter in
            let name = adapter.module + ".rubbish"
            adapter.file.tensors.append(TensorFile.Tensor(name, "F32", [2], [1, 2]))
            return name
        },
        DialectDamage(name: "half of a pair") { adapter in
            let factor = /\.(lora_(down|up|A|B|E|a|b)|hada_w1_a|lokr_w1(_a)?|vera_lambda_b)(\.|$)/
            let isHalf = { (tensor: TensorFile.Tensor) in
                tensor.name.hasPrefix(adapter.module + ".") && tensor.name.firstMatch(of: factor) != nil
            }
            guard let at = adapter.file.tensors.firstIndex(where: isHalf) else { return nil }
            adapter.file.tensors.remove(at: at)
            return adapter.module
        },
        DialectDamage(name: "an alpha that is no number") { adapter in
            let name = adapter.module + ".alpha"
            if let at = adapter.file.tensors.firstIndex(where: { $0.name == name }) {
                let old = adapter.file.tensors[at]
                adapter.file.tensors[at] = TensorFile.Tensor(name, old.dtype, old.shape, [.nan])
                return name
            }
            let (dialect, kind) = (adapter.golden.dialect, adapter.golden.kind)
            // Whole parameters have no scale.
            guard kind != "diff", adapter.replace(/"([a-z._]*alpha|scale)": *[0-9.]+/, with: "NaN") else { return nil }
            return dialect == "mlx" ? "scale" : "alpha"
        },
        DialectDamage(name: "no alpha") { adapter in
            switch adapter.golden.dialect {
            case "mlx" where adapter.golden.kind != "diff":
                return adapter.remove("lora_parameters")
            case "adapterhub": return adapter.remove("alpha")
            default: return nil
            }
        },
        DialectDamage(name: "names of two dialects") { adapter in
            let isPEFT = adapter.golden.dialect == "peft"
            let name = isPEFT ? "lora_unet_conv_in.lora_down.weight" : "base_model.model.other.lora_A.weight"
            adapter.file.tensors.append(TensorFile.Tensor(name, "F32", [1, 2], [1, 2]))
            return name
        },
        DialectDamage(name: "the config of another dialect") { adapter in
            let mlx = #"{"fine_tune_type": "lora", "num_layers": 1, "lora_parameters": {"rank": 3, "scale": 4.0}}"#
            let peft = #"{"peft_type": "LORA", "r": 3, "lora_alpha": 4, "target_modules": ["q_proj"]}"#
            // Whole parameters are named alike in both.
            guard adapter.golden.dialect != "mlx" || adapter.golden.kind != "diff" else { return nil }
            adapter.config = adapter.golden.dialect == "mlx" ? peft : mlx
            return adapter.module
        },
    ]
}
