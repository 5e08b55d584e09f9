import Fixtures
import Models
import Safetensors
import Testing

@testable import Training

/// Logits, losses, gradients and ten steps against what PyTorch and PEFT gave (Tests/Golden/training.py).
struct GoldenTests {
    /// What is trained there.
    enum Way: String, CaseIterable { case lora, dora, full }

    static let names = TestFiles.names("\(TestFiles.golden)/training")

    @Test func thereAreThreeModels() { #expect(Self.names == ["llama", "mistral", "qwen2"]) }

    /// The training of one model, as the script had it.
    private func job(_ name: String, _ way: Way, threads: Int = 2) throws -> TrainingJob {
        let folder = "\(TestFiles.golden)/training/\(name)"
        var request = TrainingRequest(
            base: "\(folder)/base", data: "\(folder)/data.safetensors", output: "out", version: "0")
        request.layers = .all
        request.length = 64
        request.plan.method = way == .full ? .full : .lora
        request.plan.usesMagnitude = way == .dora
        request.plan.targets = way == .dora ? ["k_proj", "o_proj", "gate_proj"] : ["q_proj", "v_proj", "down_proj"]
        (request.plan.rank, request.plan.alpha) = (2, 3)
        if way != .full { request.start = "\(folder)/\(way.rawValue)" }
        request.options.steps = 10
        (request.options.batch, request.options.shuffles, request.options.threads) = (2, false, threads)
        (request.options.rate, request.options.decay, request.options.warmup) = (3e-3, .cosine, 0.2)
        (request.options.weightDecay, request.options.clip) = (0.5, 1)
        return try TrainingJob(request) { _ in }
    }

    /// The numbers of one model.
    private struct Expected {
        let file: SafetensorsFile
        let way: Way

        init(_ name: String, _ way: Way) throws {
            file = try SafetensorsFile(path: "\(TestFiles.golden)/training/\(name)/expected.safetensors")
            self.way = way
        }

        /// Names behind `prefix`, with the values.
        func all(_ prefix: String) throws -> [(name: String, values: Matrix<Double>)] {
            try file.header.tensors.filter { $0.name.hasPrefix("\(way.rawValue)/\(prefix)") }.map { info in
                let matrix = try BaseModel.load(file, info, info.shape, as: Double.self)
                return (String(info.name.dropFirst(way.rawValue.count + 1 + prefix.count)), matrix)
            }
        }

        func one(_ name: String) throws -> Matrix<Double> { try #require(try all(name).first).values }
    }

    /// ‖a − b‖ / ‖b‖.
    private func difference(_ a: Matrix<Float>, _ b: Matrix<Double>) -> Double {
        guard a.count == b.count else { return .infinity }
        var (above, below) = (0.0, 0.0)
        for (x, y) in zip(a.values, b.values) {
            above += (Double(x) - y) * (Double(x) - y)
            below += y * y
        }
        return (above / below).squareRoot()
    }

    @Test(arguments: names, Way.allCases) func logits(_ name: String, _ way: Way) throws {
        let model = try job(name, way).trainer.model
        let expected = try Expected(name, way).one("logits")
        let ids = try job(name, way).data.sequences[0].ids
        // Of the first example's 13 ids the last has no target, so that the trainer does not have it.
        #expect(ids.count == 12)
        let found = model.logits(ids)
        #expect(found.columns == expected.columns)
        for row in 0..<ids.count {
            for column in 0..<found.columns {
                #expect(abs(Double(found[row, column]) - expected[row, column]) <= 1e-4, "[\(row), \(column)]")
            }
        }
    }

    @Test(arguments: names, Way.allCases) func gradients(_ name: String, _ way: Way) throws {
        let trainer = try job(name, way).trainer
        let expected = try Expected(name, way)
        let (loss, gradients) = try trainer.firstGradients()
        #expect(abs(loss - (try expected.one("loss")[0, 0])) <= 1e-4)
        let wanted = try expected.all("gradient/")
        #expect(way == .full ? wanted.count >= 5 : wanted.count == gradients.count)
        for (name, values) in wanted {
            let found = try #require(gradients.first { $0.0.name == name }, "\(name)")
            #expect(difference(found.1, values) <= 1e-3, "\(name)")
        }
    }

    @Test(arguments: names, Way.allCases) func tenSteps(_ name: String, _ way: Way) throws {
        let trainer = try job(name, way).trainer
        let expected = try Expected(name, way)
        let (losses, norms, rates) = (
            try expected.one("losses"), try expected.one("norms"), try expected.one("rates")
        )
        #expect(losses.count == 10 && trainer.steps == 10)
        for at in 0..<losses.count {
            let step = try trainer.step()
            #expect(abs(step.loss - losses[0, at]) <= 1e-4, "step \(at): \(step.loss), not \(losses[0, at])")
            #expect(abs(step.gradientNorm - norms[0, at]) <= 1e-3 * norms[0, at], "step \(at)")
            #expect(abs(step.rate - rates[0, at]) <= 1e-9, "step \(at)")
        }
        for (name, values) in try expected.all("after/") {
            let found = try #require(trainer.model.trained.first { $0.name == name }, "\(name)")
            #expect(difference(found.value, values) <= 1e-3, "\(name)")
        }
    }
}
