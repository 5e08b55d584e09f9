import Fixtures
import Problems
import Testing

@testable import Adapters

/// Kinds of adapters other than pairs, each against its formula written out.
@Suite struct KindTests {
    private static let loHa: KindSample.Parts = [
        ("hada_w1_a", [6, 2], nil), ("hada_w1_b", [2, 5], nil), ("hada_w2_a", [6, 2], nil), ("hada_w2_b", [2, 5], nil),
    ]
    private static let alpha: KindSample.Parts = [("alpha", [], [3])]

    private func sum(_ count: Int, _ body: (Int) -> Double) -> Double { (0..<count).reduce(0) { $0 + body($1) } }

    /// D of `loHa`, element by element.
    private func deltaOfLoHa(_ sample: KindSample, _ scale: Double) -> [Double] {
        (0..<30).map { at in
            let (row, column) = (at / 5, at % 5)
            let one = sum(2) { sample["hada_w1_a"][row * 2 + $0] * sample["hada_w1_b"][$0 * 5 + column] }
            let two = sum(2) { sample["hada_w2_a"][row * 2 + $0] * sample["hada_w2_b"][$0 * 5 + column] }
            return scale * one * two
        }
    }

    // MARK: Deltas

    @Test(arguments: [1, 4, 6]) func loHa(_ rows: Int) throws {
        let sample = try KindSample([6, 5], Self.loHa + Self.alpha)
        let delta = deltaOfLoHa(sample, 1.5)
        #expect(distance(try sample.merged(rows: rows), zip(sample.weight, delta).map(+)) < 1e-14)
        let product = try #require(try sample.product())
        #expect(product.rank == 4 && distance(product.values, delta) < 1e-14)
        // A scalar counts, and without alpha the scale is 1; PEFT takes both numbers from the config.
        let scaled = try KindSample([6, 5], Self.loHa + [("scalar", [1], [0.25])])
        #expect(distance(try scaled.merged(), zip(scaled.weight, deltaOfLoHa(scaled, 0.25)).map(+)) < 1e-14)
        let config = #"{"peft_type":"LOHA","r":2,"alpha":1,"alpha_pattern":{"fc":8},"target_modules":["fc"]}"#
        let peft = try KindSample([6, 5], Self.loHa, config: config)
        #expect(distance(try peft.merged(), zip(peft.weight, deltaOfLoHa(peft, 4)).map(+)) < 1e-14)
    }

    /// H_n[p, q, k] = Σ t_n[i, j, k] · w_n_b[j, q] · w_n_a[i, p].
    @Test func loHaWithMiddle() throws {
        let parts: KindSample.Parts = ["1", "2"].flatMap { (n: String) -> KindSample.Parts in
            [("hada_w\(n)_a", [2, 4], nil), ("hada_w\(n)_b", [2, 3], nil), ("hada_t\(n)", [2, 2, 1, 2], nil)]
        }
        let sample = try KindSample([4, 3, 1, 2], parts + Self.alpha)
        let expected = sample.weight.indices.map { at -> Double in
            let (p, q, k) = (at / 6, at / 2 % 3, at % 2)
            let halves = ["1", "2"].map { n in
                sum(4) { ij in
                    let (i, j) = (ij / 2, ij % 2)
                    return sample["hada_t\(n)"][ij * 2 + k] * sample["hada_w\(n)_b"][j * 3 + q]
                        * sample["hada_w\(n)_a"][i * 4 + p]
                }
            }
            return sample.weight[at] + 1.5 * halves[0] * halves[1]
        }
        #expect(distance(try sample.merged(rows: 3), expected) < 1e-14)
    }

    /// D[i·b + p, j·d + q] = w1[i, j] · w2[p, q].
    @Test func loKr() throws {
        func expected(_ sample: KindSample, _ scale: Double, _ w1: [Double], _ w2: [Double]) -> [Double] {
            (0..<48).map { at in
                let (row, column) = (at / 8, at % 8)
                return sample.weight[at] + scale * w1[row / 3 * 2 + column / 4] * w2[row % 3 * 4 + column % 4]
            }
        }
        let whole = try KindSample([6, 8], [("lokr_w1", [2, 2], nil), ("lokr_w2", [3, 4], nil)] + Self.alpha)
        #expect(distance(try whole.merged(rows: 4), expected(whole, 1, whole["lokr_w1"], whole["lokr_w2"])) < 1e-14)
        #expect(try whole.product() == nil)
        let config = #"{"peft_type":"LOKR","r":4,"alpha":2,"target_modules":["fc"]}"#
        let peft = try KindSample([6, 8], [("lokr_w1", [2, 2], nil), ("lokr_w2", [3, 4], nil)], config: config)
        #expect(distance(try peft.merged(), expected(peft, 0.5, peft["lokr_w1"], peft["lokr_w2"])) < 1e-14)

        let parts: KindSample.Parts = [
            ("lokr_w1_a", [2, 1], nil), ("lokr_w1_b", [1, 2], nil), ("lokr_w2_a", [3, 1], nil),
            ("lokr_w2_b", [1, 4], nil),
        ]
        let both = try KindSample([6, 8], parts + Self.alpha)
        let w1 = (0..<4).map { both["lokr_w1_a"][$0 / 2] * both["lokr_w1_b"][$0 % 2] }
        let w2 = (0..<12).map { both["lokr_w2_a"][$0 / 4] * both["lokr_w2_b"][$0 % 4] }
        let wanted = expected(both, 3, w1, w2)
        #expect(distance(try both.merged(), wanted) < 1e-14)
        let product = try #require(try both.product())
        #expect(product.rank == 1 && distance(zip(product.values, both.weight).map(+), wanted) < 1e-14)

        // One side whole: its own rank is the other factor of the rank.
        let half = try KindSample([6, 8], [("lokr_w1", [2, 2], nil)] + parts.suffix(2) + Self.alpha)
        let right = (0..<12).map { half["lokr_w2_a"][$0 / 4] * half["lokr_w2_b"][$0 % 4] }
        let all = expected(half, 3, half["lokr_w1"], right)
        let factors = try #require(try half.product())
        #expect(factors.rank == 2 && distance(zip(factors.values, half.weight).map(+), all) < 1e-14)
    }

    /// PEFT pads w1 of a `Conv1d` in front: the product is (b × a·d × c·k), read on as the weight's shape.
    @Test func loKrOfConv1d() throws {
        let config = #"{"peft_type":"LOKR","r":1,"alpha":1,"target_modules":["fc"]}"#
        let parts: KindSample.Parts = [("lokr_w1", [2, 2], nil), ("lokr_w2", [3, 4, 3], nil)]
        let sample = try KindSample([6, 8, 3], parts, config: config)
        let expected = sample.weight.indices.map { at -> Double in
            let (p, row, column) = (at / 48, at / 6 % 8, at % 6)
            return sample.weight[at] + sample["lokr_w1"][row / 4 * 2 + column / 3]
                * sample["lokr_w2"][p * 12 + row % 4 * 3 + column % 3]
        }
        #expect(distance(try sample.merged(rows: 2), expected) < 1e-14)
    }

    /// A pair with a middle is a plain convolution pair.
    @Test func tuckerPair() throws {
        let parts: KindSample.Parts = [
            ("lora_down.weight", [2, 3, 1, 1], nil), ("lora_mid.weight", [2, 2, 1, 2], nil),
            ("lora_up.weight", [4, 2, 1, 1], nil),
        ]
        let sample = try KindSample([4, 3, 1, 2], parts + Self.alpha)
        let expected = sample.weight.indices.map { at -> Double in
            let (p, q, k) = (at / 6, at / 2 % 3, at % 2)
            return sample.weight[at] + 1.5
                * sum(4) { ij in
                    sample["lora_mid.weight"][ij * 2 + k] * sample["lora_up.weight"][p * 2 + ij / 2]
                        * sample["lora_down.weight"][ij % 2 * 3 + q]
                }
        }
        #expect(distance(try sample.merged(), expected) < 1e-14)
        #expect(try sample.adapter().modules.count == 1)
    }

    @Test func vera() throws {
        let config = #"{"peft_type":"VERA","r":3,"target_modules":["fc"]}"#
        let parts: KindSample.Parts = [
            ("vera_A", [3, 7], nil), ("vera_B", [9, 3], nil), ("vera_lambda_b", [4], nil), ("vera_lambda_d", [3], nil),
        ]
        for model in ["llama", "gpt2"] {
            let shape = model == "gpt2" ? [5, 4] : [4, 5]
            let sample = try KindSample(shape, parts, config: config, model: model)
            let expected = sample.weight.indices.map { at -> Double in
                let (out, into) = model == "gpt2" ? (at % 4, at / 4) : (at / 5, at % 5)
                return sample.weight[at] + sample["vera_lambda_b"][out]
                    * sum(3) {
                        sample["vera_B"][out * 3 + $0] * sample["vera_lambda_d"][$0] * sample["vera_A"][$0 * 7 + into]
                    }
            }
            #expect(distance(try sample.merged(rows: 2), expected) < 1e-14, "\(model)")
            #expect(try sample.product()?.rank == 3)
        }
        let without = try KindSample([4, 5], Array(parts.suffix(2)), config: config)
        #expect(try without.errors() == ["missing-projection -"])
    }

    @Test func adaLoRA() throws {
        let config = #"{"peft_type":"ADALORA","init_r":4,"r":8,"lora_alpha":6,"target_modules":["fc"]}"#
        let sample = try KindSample(
            [6, 5], [("lora_A", [2, 5], nil), ("lora_B", [6, 2], nil), ("lora_E", [2, 1], nil)], config: config)
        let scale = 6 / Double(Float(4) + Float(1e-5))
        let expected = sample.weight.indices.map { at in
            sample.weight[at] + scale
                * sum(2) {
                    sample["lora_B"][at / 5 * 2 + $0] * sample["lora_E"][$0] * sample["lora_A"][$0 * 5 + at % 5]
                }
        }
        #expect(distance(try sample.merged(), expected) < 1e-14)
        // Factors of a convolution are matrices.
        let parts: KindSample.Parts = [("lora_A", [2, 12], nil), ("lora_B", [6, 2], nil), ("lora_E", [2, 1], nil)]
        #expect(try KindSample([6, 3, 2, 2], parts, config: config).errors() == [])
    }

    // MARK: Magnitudes

    @Test func magnitudes() throws {
        let byOutput = try KindSample([6, 5], Self.loHa + [("dora_scale", [6, 1], nil)] + Self.alpha)
        let v = zip(byOutput.weight, deltaOfLoHa(byOutput, 1.5)).map(+)
        let expected = v.indices.map { at -> Double in
            let norm = sum(5) { v[at / 5 * 5 + $0] * v[at / 5 * 5 + $0] }.squareRoot()
            return v[at] * byOutput["dora_scale"][at / 5] / (norm + 0x1p-23)
        }
        #expect(distance(try byOutput.merged(), expected) < 1e-14)

        // For each input of a convolution: the norm is over outputs and kernel.
        let parts: KindSample.Parts = [
            ("lora_down.weight", [2, 3, 1, 2], nil), ("lora_up.weight", [4, 2, 1, 1], nil),
            ("dora_scale", [1, 3, 1, 1], nil),
        ]
        let byInput = try KindSample([4, 3, 1, 2], parts)
        let w = byInput.weight.indices.map { at in
            byInput.weight[at]
                + sum(2) { byInput["lora_up.weight"][at / 6 * 2 + $0] * byInput["lora_down.weight"][$0 * 6 + at % 6] }
        }
        let wanted = w.indices.map { at -> Double in
            let same = w.indices.filter { $0 / 2 % 3 == at / 2 % 3 }
            let norm = same.reduce(0) { $0 + w[$1] * w[$1] }.squareRoot()
            return w[at] * byInput["dora_scale"][at / 2 % 3] / (norm + 0x1p-23)
        }
        #expect(distance(try byInput.merged(), wanted) < 1e-14)
    }
}
