extension JSONValue {
    /// The document as text: compact, or with `indent` spaces for each level as Python's `json.dumps` writes it.
    ///
    /// - Parameter asciiOnly: whether all else is written as `\u` escapes, as Python does unless told otherwise.
    public func encoded(indent: Int? = nil, asciiOnly: Bool = false) -> String {
        var writer = ValueWriter(indent: indent, asciiOnly: asciiOnly)
        writer.write(self, level: 0)
        return String(decoding: writer.text, as: UTF8.self)
    }
}

private struct ValueWriter {
    let indent: Int?
    let asciiOnly: Bool
    var text: [UInt8] = []

    init(indent: Int?, asciiOnly: Bool) {
        self.indent = indent
        self.asciiOnly = asciiOnly
    }

    mutating func write(_ value: JSONValue, level: Int) {
        switch value {
        case .null: text += "null".utf8
        case .bool(let value): text += (value ? "true" : "false").utf8
        case .number(let value): text += value.text.utf8
        case .string(let value): JSONText.write(value, to: &text, asciiOnly: asciiOnly)
        case .array(let items):
            text.append(UInt8(ascii: "["))
            for (at, item) in items.enumerated() {
                separate(at, level)
                write(item, level: level + 1)
            }
            close(UInt8(ascii: "]"), isEmpty: items.isEmpty, level)
        case .object(let object):
            text.append(UInt8(ascii: "{"))
            for (at, entry) in object.entries.enumerated() {
                separate(at, level)
                JSONText.write(entry.key, to: &text, asciiOnly: asciiOnly)
                text += (indent == nil ? ":" : ": ").utf8
                write(entry.value, level: level + 1)
            }
            close(UInt8(ascii: "}"), isEmpty: object.entries.isEmpty, level)
        }
    }

    private mutating func separate(_ at: Int, _ level: Int) {
        if at > 0 { text.append(UInt8(ascii: ",")) }
        newLine(level + 1)
    }

    private mutating func close(_ bracket: UInt8, isEmpty: Bool, _ level: Int) {
        if !isEmpty { newLine(level) }
        text.append(bracket)
    }

    private mutating func newLine(_ level: Int) {
        guard let indent else { return }
        text.append(UInt8(ascii: "\n"))
        text.append(contentsOf: repeatElement(UInt8(ascii: " "), count: indent * level))
    }
}

/// JSON strings as the safetensors reference (serde_json) and Python write them.
public enum JSONText {
    /// `text` in quotes: only quotes, backslashes and C0 controls are escaped, all else is raw UTF-8.
    public static func quoted(_ text: String) -> String {
        var bytes: [UInt8] = []
        write(text, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Appends `text` in quotes to `bytes`.
    ///
    /// - Parameter asciiOnly: whether everything beyond printable ASCII is escaped, as Python does it.
    public static func write(_ text: String, to bytes: inout [UInt8], asciiOnly: Bool = false) {
        bytes.append(UInt8(ascii: "\""))
        if asciiOnly {
            for unit in text.utf16 {
                if unit < 0x7F {
                    write(UInt8(unit), to: &bytes)
                } else {
                    escape(unit, to: &bytes)
                }
            }
        } else {
            for byte in text.utf8 { write(byte, to: &bytes) }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private static func write(_ byte: UInt8, to bytes: inout [UInt8]) {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
        case 0x08: bytes += "\\b".utf8
        case 0x0C: bytes += "\\f".utf8
        case 0x0A: bytes += "\\n".utf8
        case 0x0D: bytes += "\\r".utf8
        case 0x09: bytes += "\\t".utf8
        case ..<0x20: escape(UInt16(byte), to: &bytes)
        default: bytes.append(byte)
        }
    }

    private static func escape(_ unit: UInt16, to bytes: inout [UInt8]) {
        let digits = String(unit, radix: 16)
        bytes += "\\u".utf8
        bytes.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: 4 - digits.utf8.count))
        bytes += digits.utf8
    }
}
