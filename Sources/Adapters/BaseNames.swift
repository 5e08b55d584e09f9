import Problems
import Safetensors

/// Finds the tensors of a base by the names that an adapter uses for them.
///
/// An exact name comes first. Else the name is looked up by its end: everything from the first number on must be equal
/// (so layer 5 never becomes layer 0), the prefixes before it may differ, the shape must fit, and of several candidates
/// the one with the longest common end is taken, if it is the only one.
struct BaseNames {
    enum Answer {
        case found(TensorInfo)
        /// Names with the right end, none of which has a shape that fits.
        case wrongShape([TensorInfo])
        case ambiguous([TensorInfo])
        case absent
    }

    private static let mostAlike = 256

    private let checkpoint: Checkpoint
    private let byTail: [Substring: [TensorInfo]]

    init(_ checkpoint: Checkpoint) {
        self.checkpoint = checkpoint
        var index: [Substring: [TensorInfo]] = [:]
        for entry in checkpoint.tensors { index[Self.tail(entry.info.name), default: []].append(entry.info) }
        byTail = index
    }

    /// Looks `name` up; `fits` tells whether a shape is possible.
    func find(_ name: String, fits: ([Int]) -> Bool) -> Answer {
        if let exact = checkpoint.lookup(name)?.info { return fits(exact.shape) ? .found(exact) : .wrongShape([exact]) }
        let candidates = byTail[Self.tail(name)] ?? []
        if candidates.isEmpty { return .absent }
        // Names of a model part near their ends; so many alike are no model, and to compare them all would take for ever.
        if candidates.count > Self.mostAlike { return .ambiguous(candidates) }
        let fitting = candidates.filter { fits($0.shape) }
        if fitting.isEmpty { return .wrongShape(candidates) }
        let lengths = fitting.map { Self.commonEnd(name, $0.name) }
        let best = lengths.max() ?? 0
        let chosen = zip(fitting, lengths).filter { $0.1 == best }.map(\.0)
        return chosen.count == 1 ? .found(chosen[0]) : .ambiguous(chosen)
    }

    /// The part of a name that must be equal: from its first number on, or the last module and parameter.
    static func tail(_ name: String) -> Substring {
        let bytes = name.utf8
        var part = bytes.startIndex
        var previous = part
        while true {
            let end = bytes[part...].firstIndex(of: UInt8(ascii: ".")) ?? bytes.endIndex
            if part < end, bytes[part..<end].allSatisfy({ (0x30...0x39).contains($0) }) { return name[part...] }
            if end == bytes.endIndex { return name[previous...] }
            previous = part
            part = bytes.index(after: end)
        }
    }

    /// How many name parts two names have in common at their ends.
    private static func commonEnd(_ a: String, _ b: String) -> Int {
        let dot = UInt8(ascii: ".")
        let parts = zip(a.utf8.split(separator: dot).reversed(), b.utf8.split(separator: dot).reversed())
        return parts.prefix { $0.0.elementsEqual($0.1) }.count
    }
}
