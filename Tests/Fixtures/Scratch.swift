import Foundation

/// A directory for one test, removed at its end.
public final class Scratch {
    /// Its path.
    public let path: String

    /// Makes it.
    public init() throws {
        var template = Array((NSTemporaryDirectory() + "adapterkit-test-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw CocoaError(.fileWriteUnknown) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// The path of `name` in this directory.
    public func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

    /// Makes a directory.
    @discardableResult public func directory(_ name: String) throws -> String {
        try FileManager.default.createDirectory(atPath: self(name), withIntermediateDirectories: true)
        return self(name)
    }

    /// A copy of a file or directory under a name of this directory.
    public func copy(_ source: String, as name: String) throws -> String {
        try FileManager.default.copyItem(atPath: source, toPath: self(name))
        return self(name)
    }

    /// Everything in this directory, hidden or not.
    public var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path).sorted()) ?? [] }
}

/// All that is at `path`: files by their names relative to it with their bytes, directories with a slash and nothing.
public func contents(of path: String) -> [String: [UInt8]] {
    var result: [String: [UInt8]] = [:]
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else { return result }
    guard isDirectory.boolValue else { return [".": (try? bytes(of: path)) ?? []] }
    for name in FileManager.default.enumerator(atPath: path)?.compactMap({ $0 as? String }) ?? [] {
        let full = "\(path)/\(name)"
        guard FileManager.default.fileExists(atPath: full, isDirectory: &isDirectory) else { continue }
        result[isDirectory.boolValue ? name + "/" : name] = isDirectory.boolValue ? [] : (try? bytes(of: full)) ?? []
    }
    return result
}

/// The bytes of a file.
public func bytes(of path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) }

/// Whether there is anything at `path`.
public func exists(_ path: String) -> Bool { (try? FileManager.default.attributesOfItem(atPath: path)) != nil }

/// Writes a file.
public func write(_ bytes: [UInt8], to path: String) throws { try Data(bytes).write(to: URL(fileURLWithPath: path)) }

/// The JSON object in a file.
public func object(in path: String) throws -> [String: Any] {
    try JSONSerialization.jsonObject(with: Data(bytes(of: path))) as? [String: Any] ?? [:]
}

/// Whether two JSON objects say the same.
public func same(_ a: [String: Any], _ b: [String: Any]) -> Bool {
    NSDictionary(dictionary: a).isEqual(NSDictionary(dictionary: b))
}
