import Files
import Problems

/// Decides how parts are told by what the base has: reads both, with several threads.
struct BaseComparison: Sendable {
    let plan: PackPlan
    let level: ArchiveLevel
    let base: BaseFiles
    /// Tensors that a recipe makes, by file and name.
    let merged: Set<String>

    private enum Subject: Sendable {
        case file(Int)
        case part(Int, Int)
    }

    /// The plan with codes and sources.
    ///
    /// - Parameter progress: is told of bytes of the input.
    func decided(
        threads: Int, progress: @escaping @Sendable (Int) -> Void
    ) throws(Problem) -> PackPlan {
        var subjects: [Subject] = []
        for (at, file) in plan.files.enumerated() {
            if file.candidate != nil { subjects.append(.file(at)) }
            for (index, part) in file.parts.enumerated() {
                if part.candidate != nil || isMerged(file, part) { subjects.append(.part(at, index)) }
            }
        }
        let (list, level) = (subjects, level)
        let decisions = try OrderedWork.map(list.count, threads: threads, worker: { PackWorker(level) }) {
            (at, worker) throws(Problem) in try decide(list[at], worker, progress)
        }
        var result = plan
        for (subject, decision) in zip(list, decisions) {
            if let decision { Self.apply(decision, to: subject, &result) }
        }
        return result
    }

    /// A code whose source is not numbered yet, and that source.
    private struct Decision: Sendable {
        let code: PartCode
        let source: SourceReference
    }

    private func decide(
        _ subject: Subject, _ worker: PackWorker, _ progress: (Int) -> Void
    ) throws(Problem) -> Decision? {
        switch subject {
        case .file(let at):
            let file = plan.files[at]
            guard let place = file.candidate else { return nil }
            guard try place.holds(file.source, from: 0) else { return nil }
            return Decision(code: .copy(source: 0), source: try place.reference(file.path, isTensor: false))
        case .part(let at, let index):
            let file = plan.files[at]
            let part = file.parts[index]
            progress(part.range.count)
            if isMerged(file, part), part.candidate == nil {
                // Cast or resized: the recipe makes it out of what has the same name.
                guard let name = part.tensor, let place = base.tensor(name) else { return nil }
                return Decision(code: .merged(source: 0), source: try place.reference(name, isTensor: true))
            }
            guard let (place, name, shift) = part.candidate else { return nil }
            let isEqual = try place.holds(file.source, from: part.range.lowerBound)
            let code =
                isEqual
                ? .copy(source: 0)
                : isMerged(file, part)
                    ? .merged(source: 0) : try worker.bestCode(part, file.source, place, shift)
            guard code.source != nil else { return nil }
            return Decision(code: code, source: try place.reference(name, isTensor: true))
        }
    }

    private func isMerged(_ file: PackPlan.File, _ part: PlannedPart) -> Bool {
        part.tensor.map { merged.contains(Self.key(file.path, $0)) } ?? false
    }

    static func key(_ path: String, _ tensor: String) -> String { path + "//" + tensor }

    private static func apply(_ decision: Decision, to subject: Subject, _ plan: inout PackPlan) {
        switch subject {
        case .file(let at):
            guard let place = plan.add(decision.source) else { return }
            plan.files[at].parts = [
                PlannedPart(
                    code: decision.code.with(source: place), range: 0..<plan.files[at].source.size, chunk: 0)
            ]
        case .part(let at, let index):
            // The whole file may be a copy already.
            guard plan.files[at].parts.indices.contains(index), plan.files[at].parts[index].tensor != nil,
                let place = plan.add(decision.source)
            else { return }
            plan.files[at].parts[index].code = decision.code.with(source: place)
            // More of a group stands together in a longer chunk.
            if case .grouped = decision.code { plan.files[at].parts[index].chunk = 4 * ArchiveFormat.floatChunk }
        }
    }
}
