import Fixtures
import Foundation
import Testing

/// A row of the README's table: a dialect and a kind, with the golden cases of it.
struct DialectRow: CustomTestStringConvertible, Sendable {
    let dialect: String
    let kind: String
    let cases: [DialectCase]

    private static let dialects = [
        ("peft", "PEFT"), ("kohya", "kohya"), ("lycoris", "LyCORIS"), ("diffusers", "diffusers"), ("mlx", "MLX"),
        ("gguf", "GGUF"), ("adapterhub", "adapters"),
    ]
    private static let kinds = [
        ("lora", "LoRA"), ("pickle", "LoRA in a pickle"), ("dora", "DoRA"), ("locon", "LoCon"), ("loha", "LoHa"),
        ("lokr", "LoKr"), ("magnitudes", "LoCon, LoHa, LoKr with magnitudes"), ("diff", "whole parameters"),
        ("glora", "GLoRA"),
        ("adalora", "AdaLoRA"), ("vera", "VeRA"), ("vera-without", "VeRA without its projections"), ("oft", "OFT"),
        ("boft", "BOFT"), ("hra", "HRA"), ("ia3", "IA³"), ("ln-tuning", "LN tuning"),
        ("trainable-tokens", "trainable tokens"), ("alora", "aLoRA"), ("xlora", "X-LoRA"),
        ("prefix-tuning", "prefix tuning"), ("prompt-tuning", "prompt tuning"), ("bottleneck", "bottleneck"),
    ]
    /// The cases that stand for rows of several.
    private static let samples: Set<String> = [
        "diffusers-sd1-patterns", "kohya-sd1-some-alpha", "gguf-llama-f32", "mlx-lora", "peft-adalora", "peft-boft",
        "peft-hra", "peft-oft",
        "peft-ia3-llama", "peft-ln-tuning", "peft-loha-linear", "peft-lokr-linear", "peft-vera", "adapterhub-lora",
        "lycoris-locon-rank-stabilised", "lycoris-loha-scalar", "lycoris-lokr-factor", "lycoris-diag-oft-plain",
        "lycoris-boft-plain", "lycoris-ia3-output", "mlx-dora",
    ]

    /// All rows, in the order of the table.
    static let all: [DialectRow] = {
        let rows = dialects.flatMap { dialect, title in
            kinds.map { kind, name in
                DialectRow(
                    dialect: title, kind: name,
                    cases: (DialectCase.older + DialectCase.all).filter {
                        $0.dialect == dialect && Self.kind($0) == kind
                    })
            }
        }
        return rows.filter { !$0.cases.isEmpty }
    }()

    /// What is treated in a way of its own has a row of its own.
    private static func kind(_ golden: DialectCase) -> String {
        if DialectCase.refusedHere[golden.name]?.status == 65 { return "pickle" }
        if golden.name == "peft-vera-no-projection" { return "vera-without" }
        return golden.dialect == "lycoris" && golden.name.contains("-dora") ? "magnitudes" : golden.kind
    }

    var testDescription: String { "\(dialect), \(kind)" }
    var sample: DialectCase { cases.first { Self.samples.contains($0.name) } ?? cases[0] }
    var start: String { "| \(dialect) | \(kind) |" }
}

/// The README's table of kinds is what these tests found.
@Suite struct DialectTableTests {
    private static let markers = ("<!-- table of kinds: begin -->", "<!-- table of kinds: end -->")
    private static let isUpdate = ProcessInfo.processInfo.environment["ADAPTERKIT_UPDATE_TABLE"] == "1"
    private static let readme = "\(Golden.root)/README.md"

    private static let head = [
        "| dialect | kind | \(DialectTools.columns.joined(separator: " | ")) |",
        "|---|---|" + String(repeating: "---|", count: DialectTools.columns.count),
    ]

    /// The text before, in and behind the table.
    private static func parts() throws -> (before: String, table: [String], behind: String) {
        let text = String(decoding: try bytes(of: readme), as: UTF8.self)
        let begin = try #require(text.range(of: markers.0 + "\n"))
        let end = try #require(text.range(of: markers.1))
        let table = text[begin.upperBound..<end.lowerBound].split(separator: "\n").map(String.init)
        return (String(text[..<begin.upperBound]), table, String(text[end.lowerBound...]))
    }

    private static func line(_ row: DialectRow) throws -> String {
        var tools = try DialectTools(row.sample)
        let cells = try tools.cells()
        #expect(tools.faults.isEmpty, "\(tools.faults.joined(separator: "\n"))")
        return "\(row.start) \(cells.joined(separator: " | ")) |"
    }

    /// All cases of a row can be merged, or none, so that one may stand for them.
    @Test func rowsAreAlike() {
        #expect(DialectRow.all.reduce(0) { $0 + $1.cases.count } == DialectCase.all.count + 2)
        for row in DialectRow.all { #expect(Set(row.cases.map(\.merges)).count == 1, "\(row.testDescription)") }
    }

    /// `ADAPTERKIT_UPDATE_TABLE=1` writes the table.
    @Test func table() throws {
        let (before, table, behind) = try Self.parts()
        if Self.isUpdate {
            let lines = try Self.head + DialectRow.all.map(Self.line)
            let text = before + lines.joined(separator: "\n") + "\n" + behind
            return try write(Array(text.utf8), to: Self.readme)
        }
        #expect(Array(table.prefix(2)) == Self.head)
        let starts = table.dropFirst(2).map { $0.split(separator: "|").prefix(2).joined(separator: "|") }
        #expect(starts.map { "|\($0)|" } == DialectRow.all.map(\.start))
    }

    @Test(.enabled(if: !isUpdate), arguments: DialectRow.all) func row(_ row: DialectRow) throws {
        let line = try Self.line(row)
        #expect(try Self.parts().table.contains(line), "ADAPTERKIT_UPDATE_TABLE=1 writes: \(line)")
    }
}
