import Adapters
import Safetensors
import StrictJSON

/// Target modules of an extraction: short names where these mean the same modules, else whole paths.
struct ExtractTargets {
    let modules: JSONValue
    /// Modules that a target's name would take in, but that have not changed.
    private(set) var excluded: [String] = []

    init(_ plan: ExtractPlan, _ base: Checkpoint, _ naming: ModelNaming) {
        let wanted = plan.modules.filter { $0.parameter == nil }.map(\.module)
        guard !wanted.isEmpty else {
            // What PEFT itself writes for adapters without low-rank modules; no module has this name.
            modules = plan.parameters.isEmpty ? .string("dummy-target-modules") : .array([])
            return
        }
        // Modules that hold others have names too, which a target may match.
        var all: Set<String> = []
        for place in base.tensors {
            var path = ParameterName.module(of: naming.memoryName(place.info.name))
            while !path.isEmpty, all.insert(path).inserted { path = ParameterName.module(of: path) }
        }
        let set = Set(wanted)
        let leaves = Set(wanted.map(BaseTraits.leaf))
        let saved = Set(plan.saved)
        let taken = all.filter { leaves.contains(BaseTraits.leaf($0)) && !saved.contains($0) }
        if taken == set {
            modules = ResultConfig.texts(leaves.sorted())
            return
        }
        modules = ResultConfig.texts(wanted)
        // A target's name also takes in every path that ends in it behind a dot.
        excluded = all.filter { path in !set.contains(path) && wanted.contains { path.hasSuffix("." + $0) } }.sorted()
    }
}
