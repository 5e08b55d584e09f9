// What examples/why-freeze.sh measured: two tables and a few sentences on the terminal, and two pictures.
//
//     why-freeze-example DIRECTORY SEEDS NAME=LABEL...
//
// DIRECTORY holds, for each NAME and each seed from 1 to SEEDS, the report of adapter-train (NAME-SEED.json), its metrics
// (NAME-SEED.jsonl) and the CPU seconds that it took (NAME-SEED.cpu). The pictures become bars.svg and curves.svg there.

import Console
import Files
import Glibc
import Problems

let arguments = Array(CommandLine.arguments.dropFirst())
guard arguments.count >= 3, let seeds = Int(arguments[1]), seeds > 0 else {
    print("usage: why-freeze-example DIRECTORY SEEDS NAME=LABEL...")
    exit(64)
}
do {
    let methods = try arguments[2...].map { argument in
        let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
        return try Method(
            label: parts.last ?? argument,
            runs: (1...seeds).map { try Run(path: "\(arguments[0])/\(parts[0])-\($0)") })
    }
    print(Findings(methods).text)
    let pictures = Pictures(methods)
    for (name, svg) in [("bars.svg", pictures.bars), ("curves.svg", pictures.curves)] {
        try writeFile(Array(svg.utf8), to: "\(arguments[0])/\(name)", replacing: true)
    }
} catch {
    print("error: \((error as? Problem)?.message ?? "\(error)")")
    exit(1)
}
