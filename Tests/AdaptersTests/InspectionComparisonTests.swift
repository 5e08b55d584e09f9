import Adapters
import Fixtures
import Testing

@Suite struct InspectionComparisonTests {
    private let directory: Scratch
    private let out = 300
    private let into = 70
    private let b: [Double]
    private let a: [Double]

    init() throws {
        directory = try Scratch()
        var random = SeededRandom(test: "InspectionComparisonTests")
        b = random.numbers(300 * 4)
        a = random.numbers(4 * 70)
    }

    private func compare(_ one: InspectionSample, _ two: InspectionSample) throws -> FunctionComparison {
        try FunctionComparison(one.facts(in: directory, as: "one"), two.facts(in: directory, as: "two"))
    }

    private func sample(_ b: [Double], _ a: [Double], rank: Int = 4, dtype: String = "F64") -> InspectionSample {
        var sample = InspectionSample()
        sample.config["r"] = rank
        sample.config["lora_alpha"] = 2 * rank
        sample.add("layers.0.linear", b: b, a: a, rank: rank, dtype: dtype)
        return sample
    }

    @Test func sameFactors() throws {
        let found = try compare(sample(b, a), sample(b, a))
        #expect(found.isSame && found.modules[0].verdict == .sameFactors && found.largestDistance == 0)
    }

    /// (B·M)·(M⁻¹·A) for a triangular M, whose inverse is exact enough.
    @Test(arguments: [("F64", 1e-10), ("F32", 1e-6)]) func anotherBasisIsTheSame(dtype: String, limit: Double) throws {
        let m: [Double] = [2, 0.5, -1, 0.5, 0, 1, 0.3, -2, 0, 0, -1, 1, 0, 0, 0, 1.5]
        let (one, two) = (sample(b, a, dtype: dtype), sample(product(b, m), product(inverse(m), a), dtype: dtype))
        let found = try compare(one, two)
        #expect(found.isSame && found.modules[0].verdict == .sameProduct)
        #expect(found.largestDistance < limit, "\(found.largestDistance)")
        #expect(found.modules[0].cosine.map { near($0, 1, 1e-6) } == true)
        // What the files hold, after rounding.
        let dense = [one, two].map { denseProduct($0.tensors[1].values, $0.tensors[0].values, inner: 4) }
        let distance = denseNorm(zip(dense[0], dense[1]).map { $0 - $1 }) / denseNorm(dense[0])
        #expect(abs(found.largestDistance - distance) < 1e-11, "\(found.largestDistance) \(distance)")
    }

    /// Gram matrices alone would see nothing of a distance this small, nor tell it from a larger one.
    @Test(arguments: [1e-2, 1e-5, 3e-6, 1e-8, 1e-10]) func smallDistancesAreMeasured(size: Double) throws {
        var random = SeededRandom(test: "smallDistancesAreMeasured")
        let changed = zip(b, random.numbers(b.count, size: size)).map { $0 + $1 }
        let m: [Double] = [2, 3, -1, 0.5, 0, 1, 4, -2, 0, 0, -1, 3, 0, 0, 0, 0.25]
        let found = try compare(sample(b, a), sample(product(changed, m), product(inverse(m), a)))
        let (one, two) = (denseProduct(b, a, inner: 4), denseProduct(changed, a, inner: 4))
        let dense = denseNorm(zip(one, two).map { $0 - $1 }) / max(denseNorm(one), denseNorm(two))
        #expect(near(found.largestDistance, dense, 1e-3), "\(found.largestDistance) \(dense)")
        #expect(found.isSame == (dense <= 1e-6))
    }

    @Test func otherRanksMayBeTheSame() throws {
        // One rank split into two halves, and one of zeros added.
        let wide = (0..<out).flatMap { i -> [Double] in Array(b[i * 4..<i * 4 + 4]) + [b[i * 4], 0] }
        let first = Array(a[..<into])
        let half = first.map { $0 / 2 }
        let tall: [Double] = half + Array(a[into...]) + half + first
        let found = try compare(sample(b, a), sample(wide, tall, rank: 6))
        #expect(found.isSame, "\(found.largestDistance)")
        // The same factors with another alpha are another function, unless the factors make up for it.
        var louder = sample(b, a)
        louder.config["lora_alpha"] = 16
        #expect(try near(compare(sample(b, a), louder).largestDistance, 0.5))
        louder.tensors[1] = .init(louder.tensors[1].name, "F64", [out, 4], b.map { $0 / 2 })
        #expect(try compare(sample(b, a), louder).isSame)
    }

    @Test func signsMatter() throws {
        let found = try compare(sample(b, a), sample(b.map { -$0 }, a))
        #expect(!found.isSame && found.modules[0].verdict == .different)
        #expect(near(found.modules[0].distance ?? 0, 2) && near(found.modules[0].cosine ?? 0, -1))
        #expect(try compare(sample(b, a), sample(b.map { -$0 }, a.map { -$0 })).isSame)
    }

    @Test func unlikeThingsAreNotComparable() throws {
        let narrow = sample(b, Array(a.dropLast(4)))
        #expect(try compare(sample(b, a), narrow).modules[0].verdict == .incomparable)
        let broken = sample([.nan] + b.dropFirst(), a)
        let found = try compare(sample(b, a), broken)
        #expect(found.modules[0].verdict == .notFinite && !found.isSame)
    }

    @Test func singlesCountUnlessTheyAreZero() throws {
        var more = sample(b, a)
        more.add("layers.1.linear", b: b.map { _ in 0 }, a: a, rank: 4)
        let found = try compare(sample(b, a), more)
        #expect(found.isSame && found.singles.map(\.path) == ["layers.1.linear"] && !found.singles[0].isFirst)
        more.tensors[3] = .init(more.tensors[3].name, "F64", [out, 4], b)
        #expect(try !compare(more, sample(b, a)).isSame)
    }

    @Test func magnitudesCount() throws {
        var dora = sample(b, a)
        dora.config["use_dora"] = true
        let name = InspectionSample.prefix + "layers.0.linear.lora_magnitude_vector"
        dora.tensors.append(.init(name, "F64", [out], (0..<out).map { 1 + Double($0) }))
        #expect(try compare(dora, dora).isSame)
        var other = dora
        other.tensors[2] = .init(name, "F64", [out], (0..<out).map { 1.001 + Double($0) })
        #expect(try compare(dora, other).modules[0].verdict == .differentExtras)
        #expect(try compare(sample(b, a), dora).modules[0].verdict == .differentExtras)
    }

    @Test func replacementsAreComparedByValue() throws {
        func saved(_ value: Double, _ dtype: String) -> InspectionSample {
            var result = sample(b, a)
            result.config["modules_to_save"] = ["lm_head"]
            result.tensors.append(.init(InspectionSample.prefix + "lm_head.weight", dtype, [2], [1, value]))
            return result
        }
        #expect(try compare(saved(2, "F32"), saved(2, "BF16")).isSame)
        let found = try compare(saved(2, "F32"), saved(3, "F32"))
        #expect(!found.isSame && found.replaced.map(\.name) == ["lm_head.weight"])
        #expect(try !compare(saved(2, "F32"), sample(b, a)).isSame)
        var onAnotherBase = sample(b, a)
        onAnotherBase.config["init_lora_weights"] = "pissa"
        #expect(try compare(sample(b, a), onAnotherBase).settings.count == 1)
    }

    private func product(_ left: [Double], _ right: [Double]) -> [Double] { denseProduct(left, right, inner: 4) }

    /// The inverse of an upper triangular matrix, 4 × 4.
    private func inverse(_ m: [Double]) -> [Double] {
        var result = [Double](repeating: 0, count: 16)
        for column in 0..<4 {
            for i in stride(from: 3, through: 0, by: -1) {
                var value = i == column ? 1.0 : 0
                for j in i + 1..<max(i + 1, 4) { value -= m[i * 4 + j] * result[j * 4 + column] }
                result[i * 4 + column] = value / m[i * 5]
            }
        }
        return result
    }
}
