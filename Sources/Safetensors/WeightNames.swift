/// What files of weights are called: the usual stem of transformers or diffusers, and a variant such as `fp16`.
package struct WeightNames: Sendable, Equatable {
    /// `model` or `diffusion_pytorch_model`.
    package let stem: String
    /// The variant; `nil` for the plain weights.
    package let variant: String?

    static let transformers = "model"
    static let diffusers = "diffusion_pytorch_model"
    private static let suffix = ".safetensors"

    /// The names of transformers.
    package static let usual = WeightNames(stem: transformers, variant: nil)

    init(stem: String, variant: String?) {
        self.stem = stem
        self.variant = variant
    }

    /// Reads a name like `diffusion_pytorch_model.fp16-00001-of-00002.safetensors`; `nil` if it is none of that form.
    package init?(_ name: String) {
        guard name.hasSuffix(Self.suffix) else { return nil }
        var rest = Substring(name.dropLast(Self.suffix.utf8.count))
        // The number of a shard: -00001-of-00002.
        let ends = rest.split(separator: "-", omittingEmptySubsequences: false)
        if ends.count > 3, ends[ends.count - 2] == "of", Self.isNumber(ends[ends.count - 1]),
            Self.isNumber(ends[ends.count - 3])
        {
            rest = rest[..<rest.index(before: ends[ends.count - 3].startIndex)]
        }
        self.init(rest: String(rest))
    }

    private static func isNumber(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
    }

    /// Reads the name of a variant's index: `model.safetensors.index.fp16.json`, or the two words the other way round.
    package init?(indexOfVariant name: String) {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[1] == "safetensors", parts[4] == "json" else { return nil }
        guard (parts[2] == "index") != (parts[3] == "index") else { return nil }
        self.init(rest: "\(parts[0]).\(parts[2] == "index" ? parts[3] : parts[2])")
    }

    private init?(rest: String) {
        for stem in [Self.transformers, Self.diffusers] {
            if rest == stem {
                self.init(stem: stem, variant: nil)
                return
            }
            let variant = rest.dropFirst(stem.utf8.count + 1)
            if rest.hasPrefix(stem + "."), !variant.isEmpty, !variant.contains(".") {
                self.init(stem: stem, variant: String(variant))
                return
            }
        }
        return nil
    }

    /// The beginning of all names of the files.
    var start: String { stem + (variant.map { "." + $0 } ?? "") }

    /// The name of an index of such files.
    package var index: String { "\(stem)\(Self.suffix).index" + (variant.map { "." + $0 } ?? "") + ".json" }
}

extension Checkpoint {
    /// What the files of a component are called, or those of the checkpoint if it has none.
    ///
    /// Weights of transformers get the usual name, whatever theirs is: that is what a loader finds.
    package func weightNames(of component: Component?) -> WeightNames {
        let first = component.map { shards[$0.shards.lowerBound].fileName } ?? shards.first?.name
        guard let found = first.flatMap({ WeightNames($0) }) else { return .usual }
        return component != nil || found.stem == WeightNames.diffusers ? found : .usual
    }
}
