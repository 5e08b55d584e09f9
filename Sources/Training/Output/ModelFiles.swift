import Files
import Problems
import Safetensors
import StrictJSON
import Tensors

/// A whole model as transformers reads it: `config.json` and shards.
public struct ModelFiles {
    /// The config, as it is to be written.
    let config: [UInt8]
    /// Tensors by shard: its name, and what it holds in this order.
    let shards: [(name: String, tensors: [(parameter: Parameter<Float>, name: String, dtype: DType)])]

    /// A model in shards of at most `shardSize` bytes, all tensors in one dtype.
    package init(_ model: Llama<Float>, config: [UInt8], dtype: DType, shardSize: Int) {
        self.config = config
        let parameters = model.allParameters
        let sizes = parameters.map { $0.value.count * dtype.bits / 8 }
        shards = ShardSplit.files(sizes: sizes, limit: shardSize).map { file in
            (file.name, parameters[file.tensors].map { ($0, $0.name, dtype) })
        }
    }

    /// A model that was tuned, in the shards and dtypes of its base.
    ///
    /// - Parameter dtype: `nil` for those of the base.
    package init(_ model: Llama<Float>, base: Checkpoint, config: [UInt8], dtype: DType?) {
        self.config = config
        let known = Dictionary(model.allParameters.map { ($0.name, $0) }) { first, _ in first }
        let names = base.shards.map(\.name)
        shards = names.enumerated().map { at, name in
            let tensors = base.tensors.filter { $0.shard == at }.compactMap { place in
                known[place.info.name].map { ($0, place.info.name, dtype ?? place.info.dtype) }
            }
            return (name, tensors)
        }
    }

    /// Rounds the values of the model's parameters to what is written of them.
    func roundValues() throws(Problem) {
        for tensor in shards.flatMap(\.tensors) where tensor.dtype.bits < 32 {
            let bytes = try TensorValues.rounded(tensor.parameter.value.values.map { Double($0) }, to: tensor.dtype)
            tensor.parameter.value.set(try TensorValues.floats(bytes, tensor.dtype))
        }
    }

    /// Writes all files to `stage`; returns the bytes of the weights.
    ///
    /// - Parameter metadata: that of each shard.
    public func write(to stage: StagedOutput, metadata: [(key: String, value: String)]) throws -> Int {
        try stage.write("config.json", config)
        var places: [(tensor: String, file: String)] = []
        var total = 0
        for shard in shards where !shard.tensors.isEmpty {
            let list = shard.tensors.map { (name: $0.name, dtype: $0.dtype, shape: $0.parameter.shape) }
            let header = try Header.layout(
                list, metadata: [(key: "format", value: "pt")] + metadata, order: .reference)
            let file = try stage.create(shard.name, size: header.dataStart + header.dataLength)
            try file.write(header.encoded(), at: 0)
            for info in header.tensors {
                guard let own = shard.tensors.first(where: { $0.name == info.name }) else { continue }
                let bytes = try TensorValues.rounded(own.parameter.value.values.map { Double($0) }, to: info.dtype)
                try file.write(bytes, at: header.dataStart + info.begin)
                places.append((info.name, shard.name))
                total += bytes.count
            }
            try file.finish()
        }
        guard shards.count > 1 else { return total }
        let metadata = JSONObject([("total_size", .number(JSONNumber(total)))])
        try stage.write("model.safetensors.index.json", ShardIndex.encoded(metadata: metadata, places: places))
        return total
    }
}

extension Llama {
    /// All parameters of the model itself, each once.
    var allParameters: [Parameter<T>] {
        var list = [embedding.weight]
        for block in blocks {
            list += [block.inputNorm.weight, block.mlpNorm.weight]
            for linear in block.linears { list += [linear.weight] + (linear.bias.map { [$0] } ?? []) }
        }
        list.append(norm.weight)
        if head.linear.weight !== embedding.weight { list.append(head.linear.weight) }
        return list
    }
}

extension DType {
    /// What configs call it.
    var torchName: String {
        switch self {
        case .f64: "float64"
        case .f16: "float16"
        case .bf16: "bfloat16"
        default: "float32"
        }
    }
}
