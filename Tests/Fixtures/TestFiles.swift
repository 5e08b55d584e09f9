import Foundation

extension Scratch {
    /// Writes a file, with the directories above it; its path.
    @discardableResult public func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        let url = URL(fileURLWithPath: self(name))
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: url)
        return self(name)
    }

    /// Writes a text file.
    @discardableResult public func write(_ name: String, _ text: String) throws -> String {
        try write(name, Array(text.utf8))
    }

    /// Makes a symbolic link.
    public func link(_ name: String, to target: String) throws {
        try FileManager.default.createSymbolicLink(atPath: self(name), withDestinationPath: target)
    }
}

/// The files that lie beside the tests.
public enum TestFiles {
    /// The directory of all tests.
    public static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .path
    /// The golden data.
    public static let golden = root + "/Golden"

    /// The names in a directory, sorted.
    public static func names(_ path: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
    }
}

extension SeededRandom {
    /// Numbers for one test, from a seed that is printed; `ADAPTERKIT_SEED` repeats a run.
    public init(test: String) {
        let given = ProcessInfo.processInfo.environment["ADAPTERKIT_SEED"].flatMap { UInt64($0) }
        let seed = given ?? UInt64.random(in: 0...UInt64.max)
        print("\(test): ADAPTERKIT_SEED=\(seed)")
        self.init(seed)
    }

    /// A number from 0 up to `limit`, which is not reached.
    public mutating func below(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &self) }

    /// One of `list`.
    public mutating func pick<T>(_ list: [T]) -> T { list[below(list.count)] }
}
