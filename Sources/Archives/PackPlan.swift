import Files
import Problems
import Safetensors

/// A part of a file that is to be packed.
struct PlannedPart: Sendable {
    var code: PartCode
    let range: Range<Int>
    var chunk: Int
    /// What it may be told as a difference to, and the exponent's place in an element.
    var candidate: (place: BaseFiles.Place, name: String, shift: Int)?
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
    private var places: [SourceReference: (at: Int, uses: Int)] = [:]

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
                part.candidate = (place, tensor.name, shift(tensor.dtype))
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
        let codes = try OrderedWork.map(places.count, threads: threads, worker: { PackWorker(level) }) {
            (at, worker) throws(Problem) in
            let file = plan.files[places[at].file]
            return try worker.floatCode(file.parts[places[at].part], file.source)
        }
        for (place, code) in zip(places, codes) { files[place.file].parts[place.part].code = code }
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

extension PackPlan {
    /// The place of a source in the list, where equal ones are listed once; `nil` if it is used too often.
    mutating func add(_ source: SourceReference) -> Int? {
        let known = places[source] ?? (sources.count, 0)
        guard known.uses < ArchiveFormat.mostUses else { return nil }
        places[source] = (known.at, known.uses + 1)
        if known.at == sources.count { sources.append(source) }
        return known.at
    }
}
