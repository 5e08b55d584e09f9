import Glibc

/// How the learning rate goes: up evenly over the warm-up, then down.
public struct Schedule: Sendable, Equatable {
    /// What it does after the warm-up.
    public enum Decay: String, Sendable, CaseIterable {
        /// Half a cosine down to 0 at the last step.
        case cosine
        /// Evenly down to 0 at the last step.
        case linear
        /// It stays.
        case constant
    }

    /// The highest rate.
    public var rate: Double
    /// Steps of the warm-up.
    public var warmup: Int
    /// All steps.
    public var steps: Int
    /// What it does after the warm-up.
    public var decay: Decay

    /// See the properties.
    public init(rate: Double, warmup: Int, steps: Int, decay: Decay) {
        (self.rate, self.warmup, self.steps, self.decay) = (rate, warmup, steps, decay)
    }

    /// The rate of a step, counted from 0: as transformers' schedulers of these names give it.
    public func rate(at step: Int) -> Double {
        if step < warmup { return rate * Double(step) / Double(max(1, warmup)) }
        let progress = Double(step - warmup) / Double(max(1, steps - warmup))
        switch decay {
        case .cosine: return rate * max(0, 0.5 * (1 + cos(Double.pi * progress)))
        case .linear: return rate * max(0, 1 - progress)
        case .constant: return rate
        }
    }
}
