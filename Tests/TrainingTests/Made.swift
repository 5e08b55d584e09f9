import Models
import StrictJSON

@testable import Training

/// Small models with random weights.
enum Made {
    /// A config of a few numbers.
    static func config(
        _ type: String = "llama", hidden: Int = 16, intermediate: Int = 20, layers: Int = 3, heads: Int = 4,
        keyValueHeads: Int = 2, vocabulary: Int = 17, isTied: Bool = false, window: Int? = nil, biases: Bool = false
    ) throws -> LlamaConfig {
        var object = JSONObject([
            ("model_type", .string(type)), ("hidden_act", .string("silu")),
            ("tie_word_embeddings", .bool(isTied)), ("rms_norm_eps", .number(JSONNumber(text: "1e-5"))),
            ("attention_bias", .bool(biases)), ("mlp_bias", .bool(biases)),
        ])
        let sizes = [
            ("vocab_size", vocabulary), ("hidden_size", hidden), ("intermediate_size", intermediate),
            ("num_hidden_layers", layers), ("num_attention_heads", heads), ("num_key_value_heads", keyValueHeads),
        ]
        for (key, size) in sizes { object[key] = .number(JSONNumber(size)) }
        if let window { object["sliding_window"] = .number(JSONNumber(window)) }
        return try LlamaConfig(object, path: "config.json")
    }

    /// A model whose weights are drawn from `seed`; what starts at zero is drawn as well, so that it has gradients.
    static func model<T: Real>(
        _ type: T.Type, _ config: LlamaConfig, _ plan: TrainingPlan, seed: UInt64, positions: Int = 16
    ) throws -> Llama<T> {
        var builder = ModelBuilder<T>(config, plan) { name, shape, _ in
            var random = SeededNumbers(seed, name)
            let columns = shape.count == 1 ? shape[0] : shape[1]
            let rows = shape.count == 1 ? 1 : shape[0]
            let isNorm = name.contains("norm")
            let values = (0..<rows * columns).map { _ in
                T(isNorm ? 1 + 0.2 * random.normal() : 0.3 * random.normal())
            }
            return Matrix(values, rows: rows, columns: columns)
        }
        let model = try builder.build(positions: positions)
        for parameter in model.trained
        where parameter.value.values.allSatisfy({ $0 == 0 }) || parameter.name.hasPrefix("prefix") {
            var random = SeededNumbers(seed, "start " + parameter.name)
            for row in 0..<parameter.value.rows {
                for column in 0..<parameter.value.columns {
                    parameter.value[row, column] = T(0.3 * random.normal())
                }
            }
        }
        return model
    }
}
