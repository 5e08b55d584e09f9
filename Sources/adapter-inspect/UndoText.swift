import Console
import Merging

extension UndoRecord {
    /// What a record says of itself.
    func lines(path: String) -> [String] {
        var sheet = FactSheet(title: escaped("\(path): undo record of a merge"))
        for input in inputs {
            let held = input.isHeld ? "in the record" : "not in the record: name it with --adapter"
            sheet.add("takes out", "\(input.name), weight \(plain(input.weight)) (\(held))")
        }
        let files = isFile ? "one file" : Humane.count(restoredCount, "file")
        sheet.add("gives back", "\(baseName): \(files), \(Humane.bytes(restoredSize))")
        if !linkedPaths.isEmpty {
            sheet.add("shares", "\(Humane.count(linkedPaths.count, "more file")) with the merged model")
        }
        sheet.add("size", Humane.bytes(size))
        return sheet.lines
    }

    /// The same for `--json`.
    var members: [(String, JSON)] {
        [
            ("type", "undo-record"), ("size", .int(size)), ("base", .string(baseName)),
            ("restored_bytes", .int(restoredSize)), ("restored_files", .int(restoredCount)),
            ("linked", .array(linkedPaths.map { .string($0) })),
            (
                "adapters",
                .array(
                    inputs.map {
                        .object([
                            ("name", .string($0.name)), ("weight", .double($0.weight)), ("sha256", .string($0.digest)),
                            ("held", .bool($0.isHeld)),
                        ])
                    })
            ),
        ]
    }
}
