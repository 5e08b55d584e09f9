import Safetensors

/// What headers and config say about one adapted module or parameter, without its base.
public struct ModuleFacts: Sendable {
    /// What sort of module it is, as far as the factors show.
    public enum Kind: String, Sendable {
        case linear, embedding, convolution, experts, parameter
    }

    /// The factors.
    public let module: AdapterModule
    /// The module's path, with the parameter's name if it is one of `target_parameters`.
    public let path: String
    /// What sort of module it is.
    public let kind: Kind
    /// How many matrices there are: the number of experts, or one.
    public let experts: Int
    /// The rank of each matrix.
    public let rank: Int
    /// alpha as the config resolves it.
    public let alpha: Double
    /// What B·A is multiplied by.
    public let scale: Double
    /// B (out × rank) and A (rank × in) of each matrix; `nil` where no product is defined.
    package let factors: (left: Factor, right: Factor, rows: Int, columns: Int)?

    /// Whether it has a DoRA magnitude.
    public var isDoRA: Bool { module.magnitude != nil }
    /// All tensors of the module.
    public var tensors: [TensorInfo] {
        [module.down, module.up] + [module.upBias, module.magnitude].compactMap { $0 }
    }
    /// Elements of all its tensors.
    public var parameterCount: Int { tensors.reduce(0) { $0 + $1.elementCount } }
    /// Whether headers and config agree so far that the delta can be computed.
    public var hasDelta: Bool { factors != nil }

    /// Reads `module`; `parameter` is the name of the parameter that it adapts instead of a whole module.
    init(_ module: AdapterModule, parameter: String?, isParameter: Bool, config: PEFTConfig, scales: ScaleResolver) {
        self.module = module
        path = parameter.map { "\(module.path).\($0)" } ?? module.path
        let pattern = parameter == nil ? module.patternPath : path
        let stated = scales.rank(of: pattern)
        alpha = scales.alpha(of: pattern)
        scale = Double(module.repetitions) * config.scale(rank: stated, alpha: alpha)
        let (a, b) = (module.down.shape, module.up.shape)
        let isExperts = isParameter && a.count == 2 && stated > 0 && a[0] % stated == 0 && a[0] > stated
        experts = isExperts ? a[0] / stated : 1
        rank = isExperts ? stated : module.tensorRank
        kind =
            isExperts
            ? .experts
            : isParameter ? .parameter : module.isEmbedding ? .embedding : a.count > 2 ? .convolution : .linear
        let width = a.dropFirst().reduce(1, *)
        let isProduct =
            a.count >= 2 && b.count == a.count && a[0] > 0 && a[0] == b[1] && b[2...].allSatisfy { $0 == 1 }
            && [module.down, module.up].allSatisfy { $0.dtype.kernel != nil }
        guard isProduct else {
            factors = nil
            return
        }
        let (left, right) =
            isExperts
            ? FactorBuilder.expertFactors(module, count: experts, rank: rank)
            : (
                Factor(tensor: module.up, rowStride: a[0], columnStride: 1),
                Factor(tensor: module.down, rowStride: width, columnStride: 1)
            )
        factors = (left, right, b[0], width)
    }
}

extension ModuleFacts {
    /// The facts of all modules of an adapter, in the order of their paths.
    static func all(of adapter: Adapter) -> [ModuleFacts] {
        let scales = ScaleResolver(config: adapter.config, file: adapter.configPath)
        var shared: [String: [AdapterModule]] = [:]
        for module in adapter.modules { shared[module.path, default: []].append(module) }
        var parameters: [String: [String]] = [:]
        // Without the base, only the usual name tells a module that has parameters of its own.
        for path in shared.keys { parameters[path] = adapter.config.parameters(of: path) { path.hasSuffix("experts") } }
        return adapter.modules.map { module in
            let names = parameters[module.path] ?? []
            let siblings = (shared[module.path] ?? []).sorted { $0.depth > $1.depth }
            var parameter: String?
            // PEFT wraps the first parameter innermost; without the base, only a full set shows which is which.
            if !names.isEmpty, siblings.count == names.count,
                let at = siblings.firstIndex(where: { $0.depth == module.depth })
            {
                parameter = names[at]
            }
            return ModuleFacts(
                module, parameter: parameter, isParameter: !names.isEmpty, config: adapter.config, scales: scales)
        }
    }
}
