import Problems
import Testing

@testable import StrictJSON

private func value(_ text: String) throws(Problem) -> JSONValue { try JSONValue.parse(Array(text.utf8)) }

@Suite struct ObjectTests {
    @Test(arguments: [3, 8, 9, 1000])
    func orderLookupAndOffsets(_ count: Int) throws {
        let text = "{" + (0..<count).map { "\"k\($0)\": \($0)" }.joined(separator: ", ") + "}"
        var object = try #require(try value(text).object)
        #expect(object.entries.map(\.key) == (0..<count).map { "k\($0)" })
        for at in 0..<count { #expect(object["k\(at)"]?.number?.int == at) }
        #expect(object["k"] == nil)
        #expect(object.offset(of: "k0") == 1)
        #expect(object.offset(of: "k1") == 10)

        object["k1"] = .null
        object["new"] = .bool(true)
        #expect(object.entries[1].value == .null)
        #expect(object.entries.last?.key == "new")
        #expect(object.offset(of: "new") == nil)
        object["k0"] = nil
        object["absent"] = nil
        #expect(object.entries.count == count)
        #expect(object["k0"] == nil)
        #expect(object["k2"]?.number?.int == 2)
        #expect(object["new"] == .bool(true))
    }

    /// Swift holds these keys for equal; JSON does not.
    @Test func keysAreBytes() throws {
        let text = "{\"\u{E9}\":1,\"e\u{301}\":2}"
        let object = try #require(try value(text).object)
        #expect(object.entries.count == 2)
        #expect(object["\u{E9}"]?.number?.int == 1)
        #expect(object["e\u{301}"]?.number?.int == 2)
        #expect(JSONObject([("\u{E9}", .null)]) != JSONObject([("e\u{301}", .null)]))
    }

    @Test func oddKeys() throws {
        let object = try #require(try value(#"{"":1,"\u0000":2," ":3,"__proto__":4}"#).object)
        #expect(["", "\0", " ", "__proto__"].map { object[$0]?.number?.int } == [1, 2, 3, 4])
    }

    @Test func equalityIgnoresPlaces() throws {
        #expect(try value("{\"a\":[1,{\"b\":null}]}") == value(" { \"a\" : [ 1 , { \"b\" : null } ] } "))
        #expect(try value("{\"a\":1,\"b\":2}") != value("{\"b\":2,\"a\":1}"))
        #expect(JSONObject([("a", .null), ("a", .bool(true))]) == JSONObject([("a", .bool(true))]))
    }

    @Test func kinds() throws {
        let values = try #require(try value("[null,true,1,\"s\",[],{}]").array)
        #expect(values.compactMap(\.bool) == [true])
        #expect(values.compactMap(\.number).map(\.text) == ["1"])
        #expect(values.compactMap(\.string) == ["s"])
        #expect(values.compactMap(\.array) == [[]])
        #expect(values.compactMap(\.object) == [JSONObject()])
    }
}

@Suite struct NameTableTests {
    @Test func findsWhatWasPut() {
        var table = NameTable()
        let names = (0..<5000).map { "name-\($0)" }
        for at in names.indices { table.insert(at, NameTable.hash(names[at])) }
        for at in names.indices {
            let hash = NameTable.hash(names[at])
            var slot = table.start(hash)
            var found: [Int] = []
            while let place = table.next(hash, &slot) { found.append(place) }
            #expect(found.contains(at))
        }
        #expect(NameTable.hash("a") == NameTable.hash("a"))
    }

    /// Names of one hash are all offered.
    @Test func collisions() {
        var table = NameTable()
        for at in 0..<100 { table.insert(at, 7) }
        var slot = table.start(7)
        var found: Set<Int> = []
        while let place = table.next(7, &slot) { found.insert(place) }
        #expect(found == Set(0..<100))
    }

    @Test func emptyTable() {
        let table = NameTable()
        var slot = table.start(1)
        #expect(table.next(1, &slot) == nil)
    }
}
