import Files
import Problems
import Safetensors
import Synchronization
import Tensors

/// A part of a file that is to be packed.
struct PlannedPart: Sendable {
    var code: PartCode
    let range: Range<Int>
    var chunk: Int
    /// What it may be told as a difference to, and the exponent's place in an element.
    var candidate: (place: BaseFiles.Place, source: SourceReference, shift: Int)?
    /// The tensor's name.
    var tensor: String?
    /// Bytes of its elements, whatever code is chosen.
    var width = 1
}

/// How each file will be cut into parts, and coded.
struct PackPlan: Sendable {
    struct File: Sendable {
        let path: String
        let source: any ByteSource
        var parts: [PlannedPart]
        /// The whole file in the base, if it has the same size there.
        var candidate: BaseFiles.Place?
    }

    var files: [File]
    var sources: [SourceReference] = []
    fileprivate var places: [SourceReference: (at: Int, uses: Int)] = [:]

    /// Cuts files by their own headers; reads these only.
    init(_ input: PackInput, base: BaseFiles?) {
        files = input.items.map { item in
            var file = File(path: item.path, source: item.source, parts: Self.cut(item.source, base))
            if let place = base?.file(item.path), place.size == item.source.size, place.size > 0 {
                file.candidate = place
            }
            return file
        }
    }

    private static func cut(_ source: any ByteSource, _ base: BaseFiles?) -> [PlannedPart] {
        guard source.size > 0 else { return [] }
        guard let header = try? Header.read(from: source) else {
            return [PlannedPart(code: .bytes, range: 0..<source.size, chunk: ArchiveFormat.byteChunk)]
        }
        var parts = [PlannedPart(code: .bytes, range: 0..<header.dataStart, chunk: ArchiveFormat.byteChunk)]
        for tensor in header.tensors where tensor.byteCount > 0 {
            let range = header.dataStart + tensor.begin..<header.dataStart + tensor.end
            let code = code(tensor.dtype)
            var part = PlannedPart(
                code: code, range: range,
                chunk: code == .bytes ? ArchiveFormat.byteChunk : ArchiveFormat.floatChunk, tensor: tensor.name,
                width: code.width)
            if let place = base?.tensor(tensor.name, size: tensor.byteCount), place.dtype == tensor.dtype {
                let source = SourceReference(isTensor: true, name: tensor.name, size: tensor.byteCount, digest: "")
                part.candidate = (place, source, shift(tensor.dtype))
            }
            parts.append(part)
        }
        return parts
    }

    /// Decides how floating-point numbers are cut, from a sample of each tensor.
    mutating func chooseFloatCodes(_ level: ArchiveLevel, threads: Int) throws(Problem) {
        var list: [(file: Int, part: Int)] = []
        for (at, file) in files.enumerated() {
            for (index, part) in file.parts.enumerated() where part.code != .bytes { list.append((at, index)) }
        }
        let (plan, places) = (self, list)
        let codes = OrderedState<[PartCode]>([])
        try OrderedWork.run(
            places.count, threads: threads, worker: { PackWorker(level) },
            make: { (at, worker) throws(Problem) -> PartCode in
                let file = plan.files[places[at].file]
                return try worker.floatCode(file.parts[places[at].part], file.source)
            },
            settle: { (_, code, _) throws(Problem) in codes.value.append(code) })
        for (place, code) in zip(places, codes.value) { files[place.file].parts[place.part].code = code }
    }

    /// Bytes of the input that are told by the base.
    var toldByBase: Int {
        files.reduce(0) { sum, file in
            file.parts.reduce(sum) { $0 + ($1.code.source == nil ? 0 : $1.range.count) }
        }
    }

    /// Whether any tensor is left to the recipe.
    var usesRecipe: Bool {
        files.contains { $0.parts.contains { if case .merged = $0.code { true } else { false } } }
    }

    /// Floating-point numbers are rotated, so that the exponent has a plane of its own; anything else is bytes.
    private static func code(_ dtype: DType) -> PartCode {
        switch dtype {
        case .f64: .rotated(width: 8)
        case .f32, .c64: .rotated(width: 4)
        case .f16, .bf16: .rotated(width: 2)
        case .f8E5M2, .f8E4M3, .f8E8M0, .f8E4M3FNUZ, .f8E5M2FNUZ: .rotated(width: 1)
        default: .bytes
        }
    }

    /// Where the exponent begins in an element.
    private static func shift(_ dtype: DType) -> Int {
        switch dtype {
        case .f64: 52
        case .f32, .c64: 23
        case .f16: 10
        case .bf16: 7
        case .f8E4M3, .f8E4M3FNUZ: 3
        case .f8E5M2, .f8E5M2FNUZ: 2
        default: 0
        }
    }
}

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
        let result = Box(plan)
        let list = subjects
        let level = level
        try OrderedWork.run(
            list.count, threads: threads, worker: { PackWorker(level) },
            make: { (at, worker) throws(Problem) -> Decision? in try decide(list[at], worker, progress) },
            settle: { (at, decision, _) throws(Problem) in
                guard let decision else { return }
                result.value.withLock { Self.apply(decision, to: list[at], &$0) }
            })
        return result.value.withLock { $0 }
    }

    private enum Decision: Sendable {
        case copy(SourceReference)
        case code(PartCode, SourceReference)
    }

    private func decide(
        _ subject: Subject, _ worker: PackWorker, _ progress: (Int) -> Void
    ) throws(Problem) -> Decision? {
        switch subject {
        case .file(let at):
            let file = plan.files[at]
            guard let place = file.candidate else { return nil }
            guard try Self.equal(place, file.source, 0) else { return nil }
            let name = file.path
            return .copy(
                SourceReference(
                    isTensor: false, name: name, size: place.size, digest: try digest(of: place) { _ in }))
        case .part(let at, let index):
            let file = plan.files[at]
            let part = file.parts[index]
            progress(part.range.count)
            if isMerged(file, part), part.candidate == nil {
                // Cast or resized: the recipe makes it out of what has the same name.
                guard let name = part.tensor, let place = base.tensor(name) else { return nil }
                return .code(.merged(source: 0), try Self.reference(name, place))
            }
            guard let (place, source, shift) = part.candidate else { return nil }
            if try Self.equal(place, file.source, part.range.lowerBound) {
                return .copy(try Self.reference(source.name, place))
            }
            if isMerged(file, part) { return .code(.merged(source: 0), try Self.reference(source.name, place)) }
            let code = try worker.bestCode(part, file.source, place, shift)
            return code.source == nil ? nil : .code(code, try Self.reference(source.name, place))
        }
    }

    private func isMerged(_ file: PackPlan.File, _ part: PlannedPart) -> Bool {
        part.tensor.map { merged.contains(Self.key(file.path, $0)) } ?? false
    }

    private static func reference(_ name: String, _ place: BaseFiles.Place) throws(Problem) -> SourceReference {
        SourceReference(isTensor: true, name: name, size: place.size, digest: try digest(of: place) { _ in })
    }

    static func key(_ path: String, _ tensor: String) -> String { path + "//" + tensor }

    private static func equal(
        _ place: BaseFiles.Place, _ source: any ByteSource, _ start: Int
    ) throws(Problem) -> Bool {
        var done = 0
        while done < place.size {
            try checkInterrupted()
            let count = min(1 << 20, place.size - done)
            let left = try place.file.read(at: place.offset + done, count: count)
            guard try left == source.read(at: start + done, count: count) else { return false }
            done += count
        }
        return true
    }

    private static func apply(_ decision: Decision, to subject: Subject, _ plan: inout PackPlan) {
        let source =
            switch decision {
            case .copy(let source), .code(_, let source): source
            }
        switch subject {
        case .file(let at):
            guard case .copy = decision, let place = plan.add(source) else { return }
            plan.files[at].parts = [
                PlannedPart(code: .copy(source: place), range: 0..<plan.files[at].source.size, chunk: 0)
            ]
        case .part(let at, let index):
            // The whole file may be a copy already.
            guard plan.files[at].parts.indices.contains(index), plan.files[at].parts[index].tensor != nil,
                let place = plan.add(source)
            else { return }
            switch decision {
            case .copy: plan.files[at].parts[index].code = .copy(source: place)
            case .code(let code, _):
                plan.files[at].parts[index].code = code.with(source: place)
                // More of a group stands together in a longer chunk.
                if case .grouped = code { plan.files[at].parts[index].chunk = 4 * ArchiveFormat.floatChunk }
            }
        }
    }

    private final class Box: Sendable {
        let value: Mutex<PackPlan>
        init(_ plan: PackPlan) { value = Mutex(plan) }
    }
}

extension PackPlan {
    /// The place of a source in the list, where equal ones are listed once; `nil` if it is used too often.
    fileprivate mutating func add(_ source: SourceReference) -> Int? {
        let known = places[source] ?? (sources.count, 0)
        guard known.uses < ArchiveFormat.mostUses else { return nil }
        places[source] = (known.at, known.uses + 1)
        if known.at == sources.count { sources.append(source) }
        return known.at
    }
}

extension PartCode {
    /// The same with another source.
    func with(source: Int) -> PartCode {
        switch self {
        case .bytes, .rotated, .joint: self
        case .difference(let width, _): .difference(width: width, source: source)
        case .grouped(let width, let shift, _): .grouped(width: width, shift: shift, source: source)
        case .copy: .copy(source: source)
        case .merged: .merged(source: source)
        }
    }
}
