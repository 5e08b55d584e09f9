import Composition
import Console
import Problems
import Reports

/// What a combination tells at its end.
struct CombineSummary {
    let plan: CombinePlan
    let result: CombineResult
    let path: String
    let seconds: Double

    private var table: OutcomeTable { OutcomeTable(result.modules) }

    func show(on terminal: Terminal, all: Bool) {
        if terminal.json {
            terminal.print(json: document)
            return
        }
        table.show(on: terminal, all: all)
        let scale = result.scale == 1 ? "" : ", scale \(Humane.significant(result.scale, digits: 6))"
        terminal.print(
            "\(escaped(path)): \(Humane.count(result.modules.count, "module")), rank \(result.rank)\(scale), "
                + "\(Humane.count(result.parameters, "parameter")), \(Humane.bytes(result.bytes)) of \(result.dtype.rawValue) in "
                + "\(Humane.duration(seconds)); \(table.sentence)")
    }

    /// The document of `--json` and `--report`.
    var document: JSON {
        let request = plan.request
        return [
            "schema": "adapterkit.combine", "version": 1, "method": .string(request.method.rawValue),
            "output": .string(path),
            "adapters": .array(
                plan.adapters.map { ["path": .string($0.path), "weight": .double($0.weight)] }),
            "rank": .int(result.rank), "scale": .double(result.scale), "dtype": .string(result.dtype.rawValue),
            "relative_error": .double(table.totalError), "modules": table.json, "bytes": .int(result.bytes),
            "parameters": .int(result.parameters), "warnings": .array(result.remarks.map(\.json)),
        ]
    }
}
