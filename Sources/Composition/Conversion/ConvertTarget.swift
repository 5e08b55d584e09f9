import Adapters
import Problems
import Safetensors

/// Something in an adapter that not every dialect can say.
enum ConvertFeature: Hashable {
    case dora, doraEmbedding, upBias, embedding, convolution, experts, replacement, tokenRows, addition, action,
        twiceApplied

    /// What it is, for people.
    var words: String {
        switch self {
        case .dora: "a DoRA magnitude"
        case .doraEmbedding: "a DoRA magnitude of an embedding, along the other axis"
        case .upBias: "a bias of lora_B"
        case .embedding: "factors of an embedding"
        case .convolution: "factors of a convolution"
        case .experts: "factors of fused experts (target_parameters)"
        case .replacement: "a parameter that is replaced whole"
        case .tokenRows: "rows of an embedding that are replaced (trainable tokens)"
        case .addition: "a difference that is added to a parameter as it is"
        case .action: "a change that depends on the weight"
        case .twiceApplied: "an output projection that PEFT applies twice"
        }
    }
}

/// A dialect that can be written.
protocol ConvertTarget {
    /// Its name, for people.
    var name: String { get }
    /// What it can say, besides pairs of linear layers.
    var features: Set<ConvertFeature> { get }
    /// Names, scales and bytes of what is written.
    func files(_ plan: ConvertPlan) throws -> ConvertedFiles
}

extension ConvertTarget {
    /// Which of two or more equal values is the most frequent.
    static func usual<V: Hashable & Comparable & Sendable>(_ values: [V], else other: V) -> V {
        Tally(values).entries.first?.value ?? other
    }
}

extension ConvertPlan {
    /// The bytes of A as PEFT lays it out.
    func down(_ module: ConvertedModule, _ dtype: DType) throws(Problem) -> [UInt8] {
        try ConvertedModule.bytes(module.down, times: 1, dtype, in: adapter.file)
    }

    /// The bytes of B as PEFT lays it out, multiplied by `factor`.
    func up(_ module: ConvertedModule, times factor: Double, _ dtype: DType) throws(Problem) -> [UInt8] {
        try ConvertedModule.bytes(module.up, times: factor, dtype, in: adapter.file)
    }

    /// The type of A.
    func downType(_ module: ConvertedModule) -> DType { request.dtype ?? module.dtype }

    /// The type of B if it is multiplied by `factor`.
    func upType(_ module: ConvertedModule, times factor: Double = 1) -> DType {
        request.dtype ?? module.upType(times: factor)
    }

    /// A tensor that is taken over as it is.
    func whole(_ tensor: TensorInfo, name: String, shape: [Int]? = nil, dtype: DType? = nil) -> ConvertedTensor {
        let type = dtype ?? tensor.dtype
        let file = adapter.file
        return ConvertedTensor(name: name, dtype: type, shape: shape ?? tensor.shape) { () throws(Problem) in
            try ConvertedModule.bytes(.stored(tensor), times: 1, type, in: file)
        }
    }

    /// Metadata of the source that no library gives a meaning to in the target.
    var carriedMetadata: [(key: String, value: String)] {
        let own: Set<String> = ["format", "lora_adapter_metadata", "adapterkit.modules"]
        return (adapter.file.header.metadata ?? []).filter { !own.contains($0.key) }
    }
}
