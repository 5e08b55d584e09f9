// Adapters on a model in memory: attached, weighted, detached, and the base as it was.
//
//     swift run attach-example examples/data/base model.layers.0.self_attn.q_proj \
//         examples/data/adapter-law examples/data/adapter-scripture:0.5
//
// `--all` in front shows every number instead of the first four.

import Adapters
import Glibc
import Problems
import Serving

/// What the layer `name` of `now` answers to some fixed input; prints it too.
@discardableResult func show(_ label: String, _ now: ModelSnapshot, _ name: String, all: Bool) throws -> [Float] {
    let layer = try now.linear(name)
    let input = (0..<layer.inputs).map { Float(($0 * 37 + 11) % 101 - 50) / 50 }
    let output = try layer.apply(input)
    let numbers = output.prefix(all ? output.count : 4).map(\.description).joined(separator: " ")
    print("\(label): \(numbers)\(all ? "" : " ...")")
    return output
}

func run(base: String, layer name: String, adapters: [String], all: Bool) throws {
    // Opening reads headers only; a weight is read when its layer is first asked for, and stays in its own dtype.
    let model = try ServedModel(path: base)
    let before = try show("base", model.snapshot(), name, all: all)

    // y = Wx + Σ weight · s · B(Ax). An adapter that does not fit, or has no sum with the others, throws a ProblemList
    // with everything that is wrong, and the model stays as it was.
    var ids: [AttachmentID] = []
    for text in adapters {
        let operand = try AdapterOperand(text)
        ids.append(try model.attach(path: operand.path, weight: operand.weight))
        try show("with \(text)", model.snapshot(), name, all: all)
    }

    // Layers of one snapshot have one set of adapters, whatever is attached, weighted or detached meanwhile.
    let kept = model.snapshot()
    try model.setWeight(ids[0], 0)
    try show("without the first", model.snapshot(), name, all: all)
    for id in ids { try model.detach(id) }
    try show("the snapshot still", kept, name, all: all)

    let after = try show("base again", model.snapshot(), name, all: all)
    print(after.map(\.bitPattern) == before.map(\.bitPattern) ? "the same bits" : "NOT the same bits")
}

var arguments = Array(CommandLine.arguments.dropFirst())
let showsAll = arguments.first == "--all"
if showsAll { arguments.removeFirst() }
guard arguments.count >= 3 else {
    print("usage: attach-example [--all] BASE LAYER ADAPTER[:WEIGHT]...")
    exit(64)
}
do {
    try run(base: arguments[0], layer: arguments[1], adapters: Array(arguments[2...]), all: showsAll)
} catch let list as ProblemList {
    for problem in list.problems {
        print("\(problem.severity): \(problem.tensor ?? problem.file ?? "") \(problem.message) [\(problem.code)]")
    }
    exit(1)
} catch {
    print("error: \(error)")
    exit(1)
}
