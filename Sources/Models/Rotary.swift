import Glibc
import Problems
import StrictJSON

/// How positions turn queries and keys, as transformers computes it (RoPE, arXiv:2104.09864).
///
/// Of a head of d numbers, the pair (i, i + d/2) is turned by position · `frequencies[i]`.
public struct Rotary: Sendable, Equatable {
    /// Radians per position of each pair, d/2 of them.
    public let frequencies: [Float]

    /// Frequencies θ^(−2i/d), stretched as the config says.
    ///
    /// Configs of transformers 5 have `rope_parameters`; older ones `rope_theta` and `rope_scaling`.
    init(_ config: ConfigReader, headSize: Int) throws(Problem) {
        let parameters = config.value("rope_parameters") ?? config.value("rope_scaling")
        let scaling = ConfigReader(parameters?.object ?? JSONObject(), config.path)
        let (inner, outer) = (try scaling.number("rope_theta"), try config.number("rope_theta"))
        let theta = inner ?? outer ?? 10_000
        guard theta > 0 else {
            throw Problem(.malformed, "bad-config", file: config.path, "has rope_theta \(theta), which is not positive")
        }
        let plain = Self.plain(theta: theta, headSize: headSize)
        let kind = (scaling.value("rope_type") ?? scaling.value("type"))?.string ?? "default"
        switch kind {
        case "default": frequencies = plain
        case "linear":
            let factor = try Self.positive(scaling, "factor")
            frequencies = plain.map { $0 / Float(factor) }
        case "llama3": frequencies = try Self.llama3(plain, scaling)
        default:
            throw Problem(
                .incompatible, "rope-type", file: config.path, "scales rotary embeddings by '\(kind.excerpt)'",
                hint: "the kinds default, linear and llama3 can be computed")
        }
    }

    /// θ^(−2i/d) for d numbers of a head.
    public init(theta: Double, headSize: Int) { frequencies = Self.plain(theta: theta, headSize: headSize) }

    private static func plain(theta: Double, headSize: Int) -> [Float] {
        (0..<headSize / 2).map { Float(1 / pow(theta, Double(2 * $0) / Double(headSize))) }
    }

    private static func positive(_ config: ConfigReader, _ key: String) throws(Problem) -> Double {
        guard let number = try config.number(key), number > 0 else {
            throw Problem(
                .malformed, "bad-config", file: config.path, "scales rotary embeddings without a positive '\(key)'")
        }
        return number
    }

    /// Llama 3.1's: long waves are stretched by `factor`, short ones stay, between them it goes over evenly.
    private static func llama3(_ plain: [Float], _ config: ConfigReader) throws(Problem) -> [Float] {
        let factor = try positive(config, "factor")
        let low = try positive(config, "low_freq_factor")
        let high = try positive(config, "high_freq_factor")
        let length = try positive(config, "original_max_position_embeddings")
        guard high > low else {
            throw Problem(
                .malformed, "bad-config", file: config.path, "has a high_freq_factor that is not above low_freq_factor")
        }
        return plain.map { frequency in
            let wave = 2 * Double.pi / Double(frequency)
            if wave > length / low { return Float(Double(frequency) / factor) }
            if wave < length / high { return frequency }
            let smooth = (length / wave - low) / (high - low)
            return Float((1 - smooth) * Double(frequency) / factor + smooth * Double(frequency))
        }
    }

    /// Cosines and sines of one position, d/2 of each.
    public func angles(at position: Int) -> (cosines: [Float], sines: [Float]) {
        let angles = frequencies.map { Double(Float(position) * $0) }
        return (angles.map { Float(cos($0)) }, angles.map { Float(sin($0)) })
    }
}
