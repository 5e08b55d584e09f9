import CKernels
import Foundation
import Testing

extension KernelTests {
    @Test func levelsAreNamedAndForced() {
        defer { ak_level_force(-1) }
        for level in levels {
            #expect(ak_level_force(level) == Int32(level))
            #expect(ak_level() == Int32(level))
            #expect(ak_level_name(level).map { unsafe String(cString: $0) } == ["baseline", "v3", "v4"][Int(level)])
        }
        let before = ak_level()
        #expect(ak_level_force(ak_level_best() + 1) == before)
        #expect(ak_level_name(3) == nil && ak_level_name(-1) == nil)
    }

    @Test func environmentLowersTheLevel() {
        let given = ProcessInfo.processInfo.environment["ADAPTERKIT_CPU"]
        defer {
            if let given { setenv("ADAPTERKIT_CPU", given, 1) } else { unsetenv("ADAPTERKIT_CPU") }
            ak_level_force(-1)
        }
        setenv("ADAPTERKIT_CPU", "baseline", 1)
        #expect(ak_level_variable_ok() && ak_level_force(-1) == 0)
        setenv("ADAPTERKIT_CPU", "z80", 1)
        #expect(!ak_level_variable_ok() && ak_level_force(-1) == ak_level_best())
        setenv("ADAPTERKIT_CPU", "", 1)
        #expect(ak_level_variable_ok() && ak_level_force(-1) == ak_level_best())
    }

    @Test(arguments: levels) func everyPatternWidensExactlyAndRoundsBack(level: Int32) {
        defer { ak_level_force(-1) }
        ak_level_force(level)
        for grid in Grid.all {
            let patterns = Array(0..<1 << grid.width)
            let source = bytes(grid, patterns)
            var doubles = [Double](repeating: 0, count: patterns.count)
            var floats = [Float](repeating: 0, count: patterns.count)
            ak_widen_f64(grid.dtype, source, &doubles, patterns.count)
            ak_widen_f32(grid.dtype, source, &floats, patterns.count)
            let same = { (a: Double, b: Double) in a.isNaN ? b.isNaN : a.bitPattern == b.bitPattern }
            #expect(patterns.allSatisfy { same(grid.value($0), doubles[$0]) })
            #expect(patterns.allSatisfy { same(grid.value($0), Double(floats[$0])) })
            var back = [UInt8](repeating: 0, count: source.count)
            #expect(ak_round_f64(grid.dtype, doubles, &back, patterns.count) == 0)
            let expected = patterns.map { grid.value($0).isNaN ? grid.nan : $0 }
            #expect(difference(bits(grid, back), expected) == nil)
            let odd = patterns.filter { !grid.value($0).isFinite }.count
            #expect(ak_nonfinite(grid.dtype, source, patterns.count) == odd)
        }
    }

    /// Values, midpoints and their neighbours in float64; the latter round wrongly by way of float32.
    private func traps(_ grid: Grid, _ random: inout Random) -> [Double] {
        var list: [Double] = [
            .infinity, .nan, 0, .leastNonzeroMagnitude, .leastNormalMagnitude / 3, .leastNormalMagnitude, 1e308,
            .greatestFiniteMagnitude,
        ]
        let last = grid.values.count - 2
        for index in [0, 1, 2, last - 1, last] + (0..<2000).map({ _ in Int.random(in: 0...last, using: &random) }) {
            let middle = (grid.values[index] + grid.values[index + 1]) / 2
            list += [grid.values[index], middle, middle.nextUp, middle.nextDown, grid.values[index].nextUp]
            list.append(grid.values[index].nextDown)
        }
        for _ in 0..<4000 { list.append(Double(bitPattern: UInt64.random(in: 0...UInt64.max, using: &random))) }
        for _ in 0..<4000 { list.append(random.normal() * scalbn(1, Int.random(in: -160...135, using: &random))) }
        return list + list.map { -$0 }
    }

    @Test(arguments: levels) func roundingIsToNearestEven(level: Int32) {
        defer { ak_level_force(-1) }
        ak_level_force(level)
        var random = Random("roundingIsToNearestEven")
        for grid in Grid.all {
            let list = traps(grid, &random)
            var out = [UInt8](repeating: 0, count: list.count * grid.width / 8)
            let overflow = ak_round_f64(grid.dtype, list, &out, list.count)
            let expected = list.map { grid.round($0) }
            #expect(difference(bits(grid, out), expected.map(\.bits)) == nil)
            #expect(overflow == expected.filter(\.overflow).count)
        }
    }

    @Test(arguments: levels) func float32AndFloat64Convert(level: Int32) {
        defer { ak_level_force(-1) }
        ak_level_force(level)
        var random = Random("float32AndFloat64Convert")
        var list = traps(.bf16, &random)
        for _ in 0..<4000 {
            let value = Double(Float(bitPattern: UInt32.random(in: 0...UInt32.max, using: &random)))
            let next = Double(Float(value).nextUp)
            list += [value, (value + next) / 2, ((value + next) / 2).nextUp, ((value + next) / 2).nextDown]
        }
        var floats = [Float](repeating: 0, count: list.count)
        let overflow = ak_round_f64(AK_F32, list, &floats, list.count)
        let expected = list.map { $0.isNaN ? 0x7fc0_0000 : Float($0).bitPattern }
        #expect(difference(floats.map(\.bitPattern), expected) == nil)
        #expect(overflow == list.filter { $0.isFinite && Float($0).isInfinite }.count)
        #expect(ak_nonfinite(AK_F32, floats, floats.count) == floats.filter { !$0.isFinite }.count)
        #expect(ak_nonfinite(AK_F64, list, list.count) == list.filter { !$0.isFinite }.count)
        var narrowed = floats
        ak_widen_f32(AK_F64, list, &narrowed, list.count)
        #expect(difference(narrowed.map(\.bitPattern), expected) == nil)
        var wide = [Double](repeating: 0, count: floats.count)
        ak_widen_f64(AK_F32, floats, &wide, floats.count)
        #expect(difference(wide.map(\.bitPattern), floats.map { Double($0).bitPattern }) == nil)
        var copy = list
        #expect(ak_round_f64(AK_F64, list, &copy, list.count) == 0)
        #expect(difference(copy.map(\.bitPattern), list.map { $0.isNaN ? 0x7ff8 << 48 : $0.bitPattern }) == nil)
    }
}
