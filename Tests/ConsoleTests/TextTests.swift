import Problems
import Testing

@testable import Console

@Suite struct EscapingTests {
    @Test(arguments: [
        ("q_proj", "q_proj"), ("größe-模型", "größe-模型"), ("a\u{1B}[2Jb", "a\\u{1B}[2Jb"),
        ("\0\n\t", "\\u{0}\\u{A}\\u{9}"),
        ("\u{7F}\u{85}\u{9F}", "\\u{7F}\\u{85}\\u{9F}"), ("x\u{202E}y\u{2066}", "x\\u{202E}y\\u{2066}"),
        ("\u{200E}\u{200F}\u{2028}\u{2029}", "\\u{200E}\\u{200F}\\u{2028}\\u{2029}"),
        ("\u{FEFF}\u{E0041}\u{1FFFE}", "\\u{FEFF}\\u{E0041}\\u{1FFFE}"),
    ])
    func treacherousText(_ text: String, _ safe: String) { #expect(escaped(text) == safe) }

    @Test func widths() {
        #expect("abc".columns == 3)
        #expect("模型".columns == 4)
        #expect("e\u{301}".columns == 1)
        #expect("model.layers.0.q_proj".shortened(to: 11) == "model…_proj")
        #expect("模型模型模型".shortened(to: 7) == "模…型")
        #expect("abc".shortened(to: 1) == "…")
        #expect("abc".shortened(to: 3) == "abc")
    }
}

@Suite struct TableTests {
    private var table: Table {
        var table = Table(columns: [("module", .left), ("rank", .right), ("kind", .left)])
        table.add(["layers.0.attention.q_proj", "16", "A"])
        table.add(["模\u{1B}", "8", ""])
        return table
    }

    @Test func rendering() {
        #expect(
            table.rendered() == """
                module                     rank  kind
                layers.0.attention.q_proj    16  A
                模\\u{1B}                      8

                """)
    }

    @Test func narrowTerminals() {
        #expect(
            table.rendered(width: 30) == """
                module              rank  kind
                layers.0…on.q_proj    16  A
                模\\u{1B}               8

                """)
        // Names are never cut to nothing.
        #expect(table.rendered(width: 5).split(separator: "\n")[1] == "layer…q_proj    16  A")
    }

    @Test func tablesOnPipesAreWhole() {
        #expect(spoken { $0.print(table) }.output == table.rendered())
    }
}

@Suite struct HumaneTests {
    @Test(arguments: [
        (0, "0 B"), (12, "12 B"), (999, "999 B"), (1000, "1.00 kB"), (999_499, "999 kB"), (999_500, "1.00 MB"),
        (2_200_096_768, "2.20 GB"), (-1500, "-1.50 kB"), (Int.max, "9.22 EB"), (13_450_000, "13.5 MB"),
    ])
    func bytes(_ number: Int, _ text: String) { #expect(Humane.bytes(number) == text) }

    @Test(arguments: [
        (0, "0"), (999, "999"), (1000, "1,000"), (1_100_048_384, "1,100,048,384"),
        (-12_345, "-12,345"),
    ])
    func counts(_ number: Int, _ text: String) { #expect(Humane.count(number) == text) }

    @Test(arguments: [
        (0, "0"), (0.001234, "0.00123"), (1, "1.00"), (1.5, "1.50"), (9.996, "10.0"), (48_231.4, "48231"),
        (999.5, "1000"), (1.234e-7, "1.23e-7"), (0.0001, "0.000100"), (0.00001, "1.00e-5"), (12_345_678, "1.23e+7"),
        (-0.5, "-0.500"), (.nan, "nan"), (.infinity, "inf"), (-.infinity, "-inf"),
        (.leastNonzeroMagnitude, "5.00e-324"),
        (9_999_999.6, "1.00e+7"),
    ])
    func significant(_ number: Double, _ text: String) { #expect(Humane.significant(number, digits: 3) == text) }

    @Test(arguments: [
        (0, "0%"), (0.5, "50.0%"), (1, "100%"),
        (0.99999, "99.999%"), (0.99997, "99.997%"), (0.9999999999, "99.99999%"), (0.999, "99.9%"), (0.00123, "0.123%"),
        (1.5, "150%"),
    ])
    func percent(_ number: Double, _ text: String) { #expect(Humane.percent(number) == text) }

    @Test(arguments: [
        (0.25, "250 ms"), (0.9996, "1.00 s"), (12.34, "12.3 s"), (59.96, "1 min 0 s"), (125, "2 min 5 s"),
        (3725, "1 h 2 min"), (.nan, "?"), (0.0004, "0.400 ms"),
    ])
    func duration(_ seconds: Double, _ text: String) { #expect(Humane.duration(seconds) == text) }

    @Test(arguments: [(2.1, "0:03"), (75, "1:15"), (3723, "1:02:03"), (.infinity, "?")])
    func clock(_ seconds: Double, _ text: String) { #expect(Humane.clock(seconds) == text) }
}

@Suite struct JSONTests {
    private let document: JSON = [
        "schema": "adapter-sample", "shape": [16, 4096], "empty": [], "none": [:],
        "layers": [["name": "q"], [1, [2]]],
        "scale": 0.1, "ok": true, "missing": nil,
    ]

    @Test func compact() {
        #expect(
            document.compact == #"{"schema":"adapter-sample","shape":[16,4096],"empty":[],"none":{},"#
                + #""layers":[{"name":"q"},[1,[2]]],"scale":0.1,"ok":true,"missing":null}"#)
    }

    @Test func pretty() {
        #expect(
            document.pretty == """
                {
                  "schema": "adapter-sample",
                  "shape": [16, 4096],
                  "empty": [],
                  "none": {},
                  "layers": [
                    {
                      "name": "q"
                    },
                    [
                      1,
                      [2]
                    ]
                  ],
                  "scale": 0.1,
                  "ok": true,
                  "missing": null
                }
                """)
        #expect(JSON.array(Array(repeating: .string("0123456789"), count: 9)).pretty.split(separator: "\n").count == 11)
    }

    @Test(arguments: [
        ("a\"\\/", #""a\"\\/""#), ("\n\r\t\u{8}\0\u{7F}", #""\n\r\t\u0008\u0000\u007f""#),
        ("\u{2028}\u{202E}", #""\u2028\u202e""#), ("\u{E0041}", #""\udb40\udc41""#), ("é模", "\"é模\""),
    ])
    func strings(_ text: String, _ written: String) { #expect(JSON.string(text).compact == written) }

    @Test func numbers() {
        let numbers: [JSON] = [.double(.nan), .double(-.infinity), .double(1e300), .double(5), .float(0.1), .int(.min)]
        #expect(JSON.array(numbers).compact == "[null,null,1e+300,5.0,0.1,-9223372036854775808]")
    }

    @Test func problems() {
        let problem = Problem(.malformed, "bad-header", file: "f", "is bad", offset: 8)
        #expect(
            problem.json.compact == #"{"severity":"error","kind":"malformed","code":"bad-header","file":"f","#
                + #""tensor":null,"message":"is bad","hint":null,"offset":8}"#)
    }
}
