/// The parts of SplitMix64 (doi:10.1145/2660193.2660195), from which all random numbers here are made.
package enum SplitMix64 {
    /// What the state grows by with each number.
    package static let step: UInt64 = 0x9E37_79B9_7F4A_7C15

    /// The output function: the number of a state.
    package static func mix(_ state: UInt64) -> UInt64 {
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// 53 bits of a number as a fraction of one, which is not reached.
    package static func fraction(_ number: UInt64) -> Double { Double(number >> 11) * 0x1p-53 }
}
