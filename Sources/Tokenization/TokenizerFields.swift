import Problems
import StrictJSON

/// Typed fields of an object in a `tokenizer.json`, and what is said of those that are wrong.
struct TokenizerFields {
    let path: String
    /// Where the object is in the file: `model`, `pre_tokenizer[1]`.
    let name: String
    let object: JSONObject

    init(_ value: JSONValue, path: String, name: String) throws(Problem) {
        guard case .object(let object) = value else {
            throw Problem(.malformed, "bad-tokenizer", file: path, "'\(name)' is no JSON object")
        }
        (self.path, self.name, self.object) = (path, name, object)
    }

    /// The file is not what it must be.
    func malformed(_ key: String?, _ message: String) -> Problem {
        Problem(.malformed, "bad-tokenizer", file: path, "'\(key.map { "\(name).\($0)" } ?? name)' \(message)")
    }

    /// The file is sound, but asks for what is not there.
    static func unsupported(_ path: String, _ code: String, _ name: String, _ message: String) -> Problem {
        Problem(
            .incompatible, "tokenizer-\(code)", file: path, "'\(name)' \(message)",
            hint: "make token ids with the library that wrote this file, and give these instead of text")
    }

    /// The value of a key that is there and not null.
    subscript(key: String) -> JSONValue? {
        guard let value = object[key], value != .null else { return nil }
        return value
    }

    /// What the object says it is.
    func type() throws(Problem) -> String {
        guard let type = self["type"]?.string else { throw malformed("type", "is no text") }
        return type
    }

    func flag(_ key: String, default missing: Bool? = nil) throws(Problem) -> Bool {
        guard let value = self[key] else {
            if let missing { return missing }
            throw malformed(key, "is missing")
        }
        guard case .bool(let result) = value else { throw malformed(key, "is neither true nor false") }
        return result
    }

    func text(_ key: String) throws(Problem) -> String? {
        guard let value = self[key] else { return nil }
        guard let result = value.string else { throw malformed(key, "is no text") }
        return result
    }

    func list(_ key: String) throws(Problem) -> [JSONValue] {
        guard case .array(let items)? = self[key] else { throw malformed(key, "is no list") }
        return items
    }

    /// A token's id.
    func id(_ key: String) throws(Problem) -> Int {
        guard let value = self[key] else { throw malformed(key, "is missing") }
        return try Self.id(value, self, key)
    }

    static func id(_ value: JSONValue, _ fields: TokenizerFields, _ key: String) throws(Problem) -> Int {
        guard let id = value.number?.int, (0..<Int(UInt32.max)).contains(id) else {
            let text = value.number.map(\.text.excerpt) ?? "no number"
            throw fields.malformed(key, "is \(text), but an id is a whole number from 0 to \(UInt32.max - 1)")
        }
        return id
    }
}
