import Adapters
import Files
import Fixtures
import Foundation
import Problems
import Safetensors

@testable import Merging

/// A merge with its record, made without the tools; the base is read back in memory.
struct UndoMade {
    let merged: String
    let record: [UInt8]
    let base: [String: [UInt8]]
    private let scratch: Scratch

    /// Merges `adapters` into the directory `base`.
    init(_ base: String, _ adapters: [String], in scratch: Scratch) throws {
        self.scratch = scratch
        self.base = contents(of: base)
        merged = scratch("merged")
        let operands = try adapters.map { try AdapterOperand($0) }
        let inputs = LoadedInputs(base: base, operands: operands)
        guard inputs.isSound else { throw ProblemList(inputs.problems) }
        let plan = try MergePlan(inputs, options: MergeOptions(version: "test"))
        let record = try StagedOutput(path: scratch("undo"), shape: .file, replacing: false)
        let output = try StagedOutput(path: merged, shape: .directory, replacing: false)
        let merger = Merger(plan: plan, output: output, undo: try UndoWriter(plan, output: record)) { _ in }
        _ = try merger.run(threads: 2)
        _ = try Merger.writeDocuments(of: plan, to: output, digests: [])
        _ = try merger.finishUndo()
        try StagedOutput.commit(record, then: output)
        self.record = try bytes(of: scratch("undo"))
    }

    /// Opens a record in memory.
    func opened(_ record: [UInt8]) throws -> UndoRecord {
        try UndoRecord(MemorySource(record, path: "record", identity: Directory(path: "/").identity))
    }

    /// All files of the base as `record` gives them back, everything checked as `adapter-unmerge` does.
    func restored(_ record: [UInt8]) throws -> [String: [UInt8]] {
        let record = try opened(record)
        try record.check()
        let base = try RestoredBase(record, merged: Checkpoint.openModel(path: merged))
        var result: [String: [UInt8]] = [:]
        for (name, file) in base.files { result[name] = try file.read(at: 0, count: file.size) }
        return result
    }
}
