import Safetensors
import StrictJSON

/// What mlx-lm demands (`load_adapters` and `linear_to_lora_layers` in `mlx_lm/tuner/utils.py`).
///
/// It makes layers by the config, then refuses every tensor that has no place or another shape. A quantised base is no
/// hindrance.
enum MLXRules {
    static let all: [ServingRule] = [
        .packed("mlx-lm"),
        .otherFormat(
            "mlx-lm", reads: [.mlx], "adapters.safetensors with a config of its own",
            hint: "convert it: adapter-convert ADAPTER -o OUT --to mlx"),
        .fileName("mlx-lm", "adapters.safetensors", of: .mlx),
        rule("num-layers") { view in
            guard view.fields["num_layers"]?.number?.int == nil else { return nil }
            return .init(
                .config, "has no 'num_layers', without which mlx-lm stops",
                hint: "add it: -1 stands for all layers")
        },
        rule("lora-parameters") { view in
            let missing = ["dropout", "rank", "scale"].filter { view.parameters?[$0]?.number == nil }
            guard !missing.isEmpty else { return nil }
            let list = missing.map { "'\($0)'" }.joined(separator: ", ")
            return .init(
                .config, "has no \(list) in 'lora_parameters', without which mlx-lm stops",
                hint: "copy the adapter_config.json that was saved with the adapter")
        },
        rule("rank") { view in
            guard let rank = view.parameters?["rank"]?.number?.int else { return nil }
            let found = view.facts.modules.filter { $0.rank != rank }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.module.down.name),
                "has rank \(first.rank), but the config says \(rank) for all modules, and mlx-lm refuses other shapes"
                    + view.facts.more(found.count),
                hint: "convert it anew with one rank: adapter-convert ADAPTER -o OUT --to mlx")
        },
        rule("outside-layers") { view in
            let found = view.refused { $0.block == nil }
            guard view.keys == nil, let first = found.first else { return nil }
            return .init(
                .tensor(first.down.name),
                "belongs to '\(first.path)', which is in no layer, and without 'keys' mlx-lm adapts layers alone"
                    + view.facts.more(found.count),
                hint: "name the adapted modules in 'keys' of 'lora_parameters'")
        },
        rule("keys") { view in
            guard let keys = view.keys else { return nil }
            let found = view.refused { !keys.contains($0.path) && $0.inBlock.map(keys.contains) != true }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.down.name),
                "belongs to '\(first.path)', which 'keys' of the config does not name, and mlx-lm refuses it"
                    + view.facts.more(found.count), hint: "add it to 'keys' of 'lora_parameters'")
        },
        rule("layers") { view in
            guard let count = view.fields["num_layers"]?.number?.int, count > 0, let all = view.layerCount else {
                return nil
            }
            let found = view.refused { module in
                view.keys?.contains(module.path) != true && module.block.map { $0 < all - count } == true
            }
            guard let first = found.first else { return nil }
            return .init(
                .tensor(first.down.name),
                "is not in the last \(count) of \(all) layers, which are all that 'num_layers' lets mlx-lm adapt"
                    + view.facts.more(found.count), hint: "set \"num_layers\" to -1, for all layers")
        },
        rule("magnitude") { view in
            guard view.type != "dora", let first = view.facts.adapter.modules.lazy.compactMap(\.magnitude).first else {
                return nil
            }
            return .init(
                .tensor(first.name), "is a DoRA magnitude, but the config says fine_tune_type '\(view.type)'",
                hint: "set \"fine_tune_type\" to \"dora\"")
        },
        rule("dora-experts") { view in
            guard view.type == "dora",
                let first = view.facts.modules.first(where: { $0.kind == .experts || $0.kind == .parameter })
            else { return nil }
            return .init(
                .tensor(first.module.down.name), "adapts experts, which mlx-lm does not do with DoRA",
                hint: "merge it with adapter-merge, and convert the merged model")
        },
        .wrongPrefix("mlx-lm finds no such module and refuses the file"),
    ]

    private static func rule(_ code: String, _ find: @escaping @Sendable (View) -> ServingRule.Finding?) -> ServingRule
    {
        ServingRule(.error, code, of: [.mlx]) { facts in
            guard let fields = facts.mlxFields else { return nil }
            let view = View(facts: facts, fields: fields)
            // Files of whole weights are loaded as they are.
            return view.type == "full" ? nil : find(view)
        }
    }

    /// A module, with its place in a layer.
    struct Module {
        let path: String
        let down: TensorInfo
        /// The number of its layer.
        let block: Int?
        /// Its path in the layer.
        let inBlock: String?
    }

    /// The config's fields that make layers.
    struct View {
        let facts: ServingFacts
        let fields: JSONObject

        var type: String { fields["fine_tune_type"]?.string ?? "lora" }
        var parameters: JSONObject? { fields["lora_parameters"]?.object }
        var keys: Set<String>? {
            guard case .array(let items)? = parameters?["keys"] else { return nil }
            return Set(items.compactMap(\.string))
        }
        var layerCount: Int? {
            let config = facts.base?.config?.object
            return (config?["num_hidden_layers"] ?? config?["text_config"]?.object?["num_hidden_layers"])?.number?.int
        }

        /// Modules that something stands against.
        func refused(_ isRefused: (Module) -> Bool) -> [Module] {
            facts.adapter.modules.map(Self.module).filter(isRefused)
        }

        private static func module(_ module: AdapterModule) -> Module {
            let parts = module.path.split(separator: ".")
            let at = parts.firstIndex { Int($0) != nil }
            return Module(
                path: module.path, down: module.down, block: at.flatMap { Int(parts[$0]) },
                inBlock: at.map { parts[($0 + 1)...].joined(separator: ".") })
        }
    }
}

extension ServingFacts {
    /// The config of mlx-lm.
    var mlxFields: JSONObject? {
        adapter.configBytes.isEmpty
            ? nil : (try? JSONValue.parse(adapter.configBytes, allowNonFinite: true))?.object
    }
}
