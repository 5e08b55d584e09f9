import Fixtures
import Foundation
import Problems
import Serving
import Synchronization
import Testing

/// Computing while others attach, weight and detach.
@Suite struct ConcurrencyTests {
    /// Two layers that the same adapter changes: whatever a snapshot shows, it shows in both.
    @Test func snapshotsAreWhole() throws {
        let sample = try Sample("snapshotsAreWhole")
        let w = sample.tensor("layer.weight", "BF16", [40, 30])
        let twin = TensorFile.Tensor("twin.weight", "BF16", [40, 30], bytes: w.bytes)
        let model = try ServedModel(path: try sample.base([w, twin]), threads: 1)
        let paths = try (0..<3).map { _ in
            let (a, b) = (sample.tensor("", "F32", [4, 30]), sample.tensor("", "F32", [40, 4]))
            let tensors = ["layer", "twin"].flatMap { name in
                [
                    TensorFile.Tensor(name + ".lora_A.weight", "F32", a.shape, bytes: a.bytes),
                    TensorFile.Tensor(name + ".lora_B.weight", "F32", b.shape, bytes: b.bytes),
                ]
            }
            return try sample.adapter(tensors, ["r": 4, "target_modules": ["layer", "twin"]])
        }
        let x = sample.random.numbers(2 * 30).map { Float($0) }
        let bare = bits(try model.linear("layer").apply(x))
        // The answers of every set that there can be, by the adapters' paths and weights.
        let known = Mutex<[String: [UInt32]]>([:])
        let failures = Mutex<[String]>([])
        let isDone = Mutex(false)
        let readers = (0..<2).map { _ in
            Thread {
                while !isDone.withLock({ $0 }) {
                    let now = model.snapshot()
                    let key = now.attachments.map { "\($0.adapter.path) \($0.weight)" }.joined(separator: ",")
                    do {
                        let y = bits(try now.linear("layer").apply(x))
                        let again = bits(try now.linear("twin").apply(x))
                        let same = known.withLock { table in
                            if table[key] == nil { table[key] = y }
                            return table[key] == y
                        }
                        if y != again || !same { failures.withLock { $0.append("torn: \(key)") } }
                        if key.isEmpty, y != bare { failures.withLock { $0.append("not the base") } }
                    } catch {
                        failures.withLock { $0.append("\(error)") }
                    }
                }
            }
        }
        for reader in readers { reader.start() }
        var ids: [AttachmentID] = []
        for _ in 0..<300 {
            switch sample.random.below(3) {
            case 0 where ids.count < 3: ids.append(try model.attach(path: sample.random.pick(paths)))
            case 1 where !ids.isEmpty: try model.detach(ids.remove(at: sample.random.below(ids.count)))
            default: if let id = ids.last { try model.setWeight(id, Double(1 + sample.random.below(3))) }
            }
        }
        for id in ids { try model.detach(id) }
        isDone.withLock { $0 = true }
        while readers.contains(where: { !$0.isFinished }) { Thread.sleep(forTimeInterval: 0.001) }
        #expect(failures.withLock { $0 } == [])
        #expect(bits(try model.linear("layer").apply(x)) == bare)
        #expect(known.withLock { $0.count } > 1)
    }

    /// Changes from several threads at once: each counts, and none is lost.
    @Test func changesDoNotGetLost() throws {
        let sample = try Sample("changesDoNotGetLost")
        let model = try ServedModel(path: try sample.base([sample.tensor("layer.weight", "F32", [8, 6])]))
        var pair = Sample.Pair()
        let path = try sample.adapter(for: &pair, into: 6, out: 8)
        let x = sample.random.numbers(6).map { Float($0) }
        let bare = bits(try model.linear("layer").apply(x))
        let all = Mutex<[AttachmentID]>([])
        DispatchQueue.concurrentPerform(iterations: 40) { at in
            guard let id = try? model.attach(path: path, weight: Double(at)) else { return }
            all.withLock { $0.append(id) }
            if at % 2 == 0 { try? model.detach(id) }
        }
        let ids = all.withLock { $0 }
        #expect(ids.count == 40 && Set(ids).count == 40)
        #expect(model.attachments.count == 20)
        #expect(Set(model.attachments.map(\.weight)) == Set((0..<20).map { Double(2 * $0 + 1) }))
        for entry in model.attachments { try model.detach(entry.id) }
        #expect(bits(try model.linear("layer").apply(x)) == bare)
    }

    /// A layer that is in use keeps its adapters and weights, whatever becomes of them.
    @Test func layersOutliveTheirAdapters() throws {
        let sample = try Sample("layersOutliveTheirAdapters")
        let model = try ServedModel(path: try sample.base([sample.tensor("layer.weight", "F16", [8, 6])]))
        var pair = Sample.Pair()
        let id = try model.attach(path: try sample.adapter(for: &pair, into: 6, out: 8))
        let x = sample.random.numbers(6).map { Float($0) }
        let layer = try model.linear("layer")
        let y = bits(try layer.apply(x))
        try model.detach(id)
        model.unload()
        try FileManager.default.removeItem(atPath: sample.scratch("base"))
        #expect(bits(try layer.apply(x)) == y)
        // The file is open, so that the base can be read again.
        #expect(bits(try model.linear("layer").apply(x)) != y)
    }
}
