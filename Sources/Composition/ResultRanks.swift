import Adapters
import Safetensors

/// Ranks, scale and dtype of a combination's result.
struct ResultRanks: Sendable {
    /// What each module's tensors have, with padding.
    private(set) var ranks: [Int]
    /// What PEFT multiplies B·A by, the same for all modules.
    let scale: Double
    /// The dtype of the factors.
    let dtype: DType

    /// Decides them.
    ///
    /// - Parameter needed: the rank that each module's spectrum asks for, where the truncation depends on it.
    init(_ plan: CombinePlan, needed: [Int]?) {
        let (request, modules) = (plan.request, plan.modules)
        let largest = plan.inputs.flatMap(\.facts.modules).map(\.rank).max() ?? 1
        ranks = modules.enumerated().map { at, module in
            let own: Int
            switch request.method {
            case .stack, .subtract: own = module.stackedRank
            case .factorLinear: own = module.parts.first?.facts.rank ?? 1
            case _ where request.method.isSparse && request.domain == .factors:
                own = module.parts.first?.facts.rank ?? 1
            case _ where request.method.isSparse:
                own = min(request.truncation.rank ?? largest, module.rows, module.columns)
            case .linear where request.truncation == Truncation(): own = min(module.stackedRank, largest)
            default: own = min(module.stackedRank, needed?[at] ?? .max, request.truncation.rank ?? .max)
            }
            return max(1, own)
        }
        if !request.isPerModule, let all = ranks.max() {
            ranks = ranks.map { _ in all }
        }
        ranks = Self.joined(ranks, modules)
        scale = Self.commonScale(plan, ranks)
        dtype = request.dtype ?? Self.exactType(plan, ranks, scale)
    }

    /// PEFT gives an attention module and its output projection one rank.
    private static func joined(_ ranks: [Int], _ modules: [CombineModule]) -> [Int] {
        var largest: [String: Int] = [:]
        for (rank, module) in zip(ranks, modules) {
            largest[module.patternPath] = max(rank, largest[module.patternPath] ?? 0)
        }
        return zip(ranks, modules).map { largest[$1.patternPath] ?? $0 }
    }

    /// Whether all modules keep all their ranks.
    private static func keepsAll(_ plan: CombinePlan, _ ranks: [Int]) -> Bool {
        plan.request.method.isSum && zip(plan.modules, ranks).allSatisfy { $0.stackedRank <= $1 }
    }

    /// The scale that all parts have, where that leaves the factors as they are; else 1.
    ///
    /// Only where alpha stays a whole number: some loaders read no other.
    private static func commonScale(_ plan: CombinePlan, _ ranks: [Int]) -> Double {
        guard keepsAll(plan, ranks) else { return 1 }
        let sizes = Set(plan.modules.flatMap(\.parts).map { abs($0.weight * $0.scale) })
        guard sizes.count == 1, let size = sizes.first, size > 0 else { return 1 }
        let isWhole = ranks.allSatisfy { rank in
            let alpha = size * Double(rank)
            return alpha == alpha.rounded() && alpha < 1e9 && alpha / Double(rank) == size
        }
        return isWhole ? size : 1
    }

    /// The inputs' dtype where the factors keep their values, else float32, or float64 if an input has it.
    private static func exactType(_ plan: CombinePlan, _ ranks: [Int], _ scale: Double) -> DType {
        let parts = plan.modules.flatMap(\.parts)
        let types = Set(parts.flatMap { [$0.facts.module.down.dtype, $0.facts.module.up.dtype] })
        if types.contains(.f64) { return .f64 }
        guard keepsAll(plan, ranks), types.count == 1, let type = types.first, type.bits >= 16 else { return .f32 }
        // A power of two changes the exponent alone, of which bfloat16 has as many bits as float32.
        let isKept = parts.allSatisfy { part in
            let factor = abs(part.weight * part.scale) / scale
            return factor == 1
                || (type == .bf16 && factor.isFinite && factor.significand == 1 && abs(factor.exponent) < 64)
        }
        return isKept ? type : .f32
    }
}
