import Fixtures
import Models
import Testing

@testable import Training

/// What is computed once is the same bits as what is computed each time.
struct FrozenTests {
    private func trainer(
        _ layers: [Int], cacheLimit: Int, usesCache: Bool = true, threads: Int = 2,
        _ change: (inout TrainingPlan, inout TrainingOptions) -> Void = { _, _ in }
    ) throws -> Trainer {
        var (plan, options) = (TrainingPlan(layers: layers), TrainingOptions())
        options.cacheLimit = cacheLimit
        options.usesCache = usesCache
        options.threads = threads
        options.batch = 3
        options.steps = 7
        options.rate = 0.02
        change(&plan, &options)
        let model = try Made.model(Float.self, Made.config(), plan, seed: 3)
        let sequences = (0..<7).map { number in
            let ids = (0..<5 + number).map { Int32(($0 * 3 + number) % 17) }
            return TokenSequence(ids: ids, targets: ids.map { ($0 + 1) % 17 })
        }
        let data = TextData(path: "data", sequences: sequences, digest: "", textBytes: nil)
        return try Trainer(model, options, data: data, validation: data, retained: nil)
    }

    private func values(_ trainer: Trainer) throws -> [[Float]] {
        try trainer.begin { _ in }
        while !trainer.isFinished {
            try trainer.step()
            try trainer.lookIfDue { _ in }
        }
        return trainer.model.trained.map(\.value.values)
    }

    @Test(arguments: [[1, 2], [2]])
    func theCacheChangesNothing(layers: [Int]) throws {
        let memory = try trainer(layers, cacheLimit: 1 << 30)
        let file = try trainer(layers, cacheLimit: 0)
        let none = try trainer(layers, cacheLimit: 0, usesCache: false)
        #expect(memory.cache.place == .memory && file.cache.place == .file && none.cache.place == .nowhere)
        let wanted = try values(memory)
        #expect(try values(file) == wanted)
        #expect(try values(none) == wanted)
        #expect(memory.history == none.history && file.history == memory.history)
        #expect(wanted != (try trainer(layers, cacheLimit: 1 << 30)).model.trained.map(\.value.values))
    }

    @Test func nothingIsKeptWhereNothingIsFrozen() throws {
        #expect(try trainer([0, 1, 2], cacheLimit: 1 << 30).cache.place == .nowhere)
    }

    @Test func theSameRunGivesTheSameBits() throws {
        let first = try values(trainer([1, 2], cacheLimit: 1 << 30) { plan, _ in plan.dropout = 0.3 })
        #expect(try values(trainer([1, 2], cacheLimit: 1 << 30) { plan, _ in plan.dropout = 0.3 }) == first)
        #expect(try values(trainer([1, 2], cacheLimit: 1 << 30) { plan, _ in plan.dropout = 0.2 }) != first)
    }

    @Test func moreThreadsGiveNearlyTheSame() throws {
        let one = try values(trainer([0, 1, 2], cacheLimit: 0, threads: 1))
        let four = try values(trainer([0, 1, 2], cacheLimit: 0, threads: 4))
        for (a, b) in zip(one, four) {
            for (x, y) in zip(a, b) { #expect(abs(x - y) < 2e-3 * (1 + abs(x))) }
        }
    }

    @Test func accumulationIsALargerBatch() throws {
        let large = try values(trainer([0, 1, 2], cacheLimit: 0, threads: 1) { _, options in options.batch = 6 })
        let summed = try values(
            trainer([0, 1, 2], cacheLimit: 0, threads: 1) { _, options in (options.batch, options.accumulate) = (3, 2) }
        )
        #expect(large == summed)
    }

    /// After a pause, the run goes on with the same bits.
    @Test func aCheckpointKeepsEverything() throws {
        let scratch = try Scratch()
        let make = { [self] in
            try trainer([1, 2], cacheLimit: 1 << 30) { plan, options in
                plan.dropout = 0.2
                options.patience = 50
                options.validateEvery = 2
            }
        }
        let whole = try make()
        let wanted = try values(whole)
        let checkpoint = TrainingCheckpoint(settings: .init([("a", .string("b"))]))
        let first = try make()
        try first.begin { _ in }
        for _ in 0..<3 {
            try first.step()
            try first.lookIfDue { _ in }
        }
        try checkpoint.write(first, to: scratch("state"))
        let second = try make()
        try checkpoint.read(into: second, from: scratch("state"))
        #expect(second.done == 3)
        #expect(try values(second) == wanted)
        #expect(second.history == whole.history && second.best == whole.best)
        #expect(throws: (any Error).self) {
            try TrainingCheckpoint(settings: .init([("a", .string("c"))])).read(
                into: try make(), from: scratch("state"))
        }
    }

    /// Gradual unfreezing leaves what is not reached yet as it was.
    @Test func unfreezing() throws {
        let trainer = try trainer([0, 1, 2], cacheLimit: 0) { plan, options in
            plan.method = .full
            options.unfreezeEvery = 2
        }
        let start = trainer.model.trained.map(\.value.values)
        func changed() -> Set<Int?> {
            let pairs = zip(trainer.model.trained, start)
            return Set(pairs.filter { $0.value.values != $1 && $0.layer != nil }.map { $0.0.layer })
        }
        try trainer.step()
        try trainer.step()
        #expect(changed() == [2])
        try trainer.step()
        #expect(changed() == [2, 1])
        try trainer.step()
        try trainer.step()
        #expect(changed() == [2, 1, 0])
    }
}
