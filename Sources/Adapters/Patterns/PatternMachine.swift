/// Tells whether a pattern matches, in time that grows with the lengths of pattern and text alone.
///
/// All ways through the pattern are followed at once, character by character (Thompson 1968), so that no pattern can make
/// it backtrack without end.
final class PatternMachine: Sendable {
    private enum Step {
        case take(ScalarSet)
        case split(Int, Int)
        case jump(Int)
        case place(PatternTree.Place)
        case look(PatternMachine, ahead: Bool, negative: Bool, width: Int)
        case done
    }

    /// Repetitions are written out; a pattern that gets longer than this is refused.
    private static let mostSteps = 20_000

    private let steps: [Step]

    /// Compiles `tree`; `nil` if it is too large.
    init?(_ tree: PatternTree) {
        var steps: [Step] = []
        guard Self.add(tree, to: &steps) else { return nil }
        steps.append(.done)
        self.steps = steps
    }

    private static func add(_ tree: PatternTree, to steps: inout [Step]) -> Bool {
        guard steps.count < mostSteps else { return false }
        switch tree {
        case .empty: return true
        case .set(let set): steps.append(.take(set))
        case .place(let place): steps.append(.place(place))
        case .sequence(let parts): return parts.allSatisfy { add($0, to: &steps) }
        case .choice(let parts): return add(choice: parts, to: &steps)
        case .repeated(let part, let least, let most): return add(part, least, most, to: &steps)
        case .look(let inner, let ahead, let negative):
            guard let machine = PatternMachine(inner) else { return false }
            steps.append(.look(machine, ahead: ahead, negative: negative, width: inner.width ?? 0))
        }
        return true
    }

    private static func add(choice parts: [PatternTree], to steps: inout [Step]) -> Bool {
        var ends: [Int] = []
        for (at, part) in parts.enumerated() {
            let isLast = at == parts.count - 1
            let split = steps.count
            if !isLast { steps.append(.split(split + 1, 0)) }
            guard add(part, to: &steps) else { return false }
            guard !isLast else { continue }
            ends.append(steps.count)
            steps.append(.jump(0))
            steps[split] = .split(split + 1, steps.count)
        }
        for end in ends { steps[end] = .jump(steps.count) }
        return true
    }

    private static func add(_ part: PatternTree, _ least: Int, _ most: Int?, to steps: inout [Step]) -> Bool {
        for _ in 0..<least { guard add(part, to: &steps) else { return false } }
        guard let most else {
            let split = steps.count
            steps.append(.split(split + 1, 0))
            guard add(part, to: &steps) else { return false }
            steps.append(.jump(split))
            steps[split] = .split(split + 1, steps.count)
            return true
        }
        var splits: [Int] = []
        for _ in least..<max(least, most) {
            splits.append(steps.count)
            steps.append(.split(steps.count + 1, 0))
            guard add(part, to: &steps) else { return false }
        }
        for split in splits { steps[split] = .split(split + 1, steps.count) }
        return true
    }

    /// Whether the pattern matches `text` from its beginning; with `whole`, to its end.
    func matches(_ text: [Unicode.Scalar], whole: Bool = false) -> Bool {
        matches(text, from: 0, to: whole ? text.count : nil)
    }

    private func matches(_ text: [Unicode.Scalar], from start: Int, to end: Int?) -> Bool {
        var threads: [Int] = []
        var marks = [Int](repeating: -1, count: steps.count)
        var isDone = follow(0, text, start, &threads, &marks)
        var at = start
        while true {
            if isDone && (end == nil || at == end) { return true }
            if threads.isEmpty || at == text.count || at == end { return false }
            let scalar = text[at]
            let old = threads
            threads.removeAll(keepingCapacity: true)
            at += 1
            isDone = false
            for step in old {
                guard case .take(let set) = steps[step], set.contains(scalar) else { continue }
                if follow(step + 1, text, at, &threads, &marks) { isDone = true }
            }
        }
    }

    /// Adds all steps that take a character and can be reached from `step` without one; whether the end can be, too.
    private func follow(_ step: Int, _ text: [Unicode.Scalar], _ at: Int, _ threads: inout [Int], _ marks: inout [Int])
        -> Bool
    {
        var isDone = false
        var open = [step]
        while let step = open.popLast() {
            guard marks[step] != at else { continue }
            marks[step] = at
            switch steps[step] {
            case .take: threads.append(step)
            case .jump(let target): open.append(target)
            case .split(let a, let b): open += [b, a]
            case .place(let place): if Self.holds(place, text, at) { open.append(step + 1) }
            case .look(let machine, let ahead, let negative, let width):
                let found =
                    ahead
                    ? machine.matches(text, from: at, to: nil)
                    : at >= width && machine.matches(text, from: at - width, to: at)
                if found != negative { open.append(step + 1) }
            case .done: isDone = true
            }
        }
        return isDone
    }

    private static func holds(_ place: PatternTree.Place, _ text: [Unicode.Scalar], _ at: Int) -> Bool {
        switch place {
        case .start: return at == 0
        case .end: return at == text.count
        case .endOrLastNewline: return at == text.count || (at == text.count - 1 && text[at] == "\n")
        case .wordBoundary, .noWordBoundary:
            let before = at > 0 && ScalarSet.holds(.word, text[at - 1])
            let after = at < text.count && ScalarSet.holds(.word, text[at])
            // Python finds no \B in an empty text.
            return place == .wordBoundary ? before != after : before == after && !text.isEmpty
        }
    }
}
