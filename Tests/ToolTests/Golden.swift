import Fixtures
import Foundation
import Testing

/// The golden data beside these tests.
enum Golden {
    /// The repository's root.
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path
    static let directory = "\(root)/Tests/Golden"

    /// Every case, by name.
    static let cases: [Case] = names(in: "\(directory)/cases").compactMap { try? Case($0) }

    /// Every refusal, by name.
    static let refused = names(in: "\(directory)/refused").filter { exists("\(directory)/refused/\($0)/case.json") }

    static func names(in path: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
    }

    /// The path of a case's directory.
    static func path(_ name: String) -> String { "\(directory)/cases/\(name)" }

    /// A base, adapters, and what their merge must give.
    struct Case: CustomTestStringConvertible, Sendable {
        let name: String
        let adapters: [String]
        let changed: Set<String>
        let added: Set<String>
        private let configChanges: Data

        init(_ name: String) throws {
            self.name = name
            let about = try object(in: Golden.path(name) + "/case.json")
            let list = about["adapters"] as? [[String: Any]] ?? []
            adapters = list.map { entry in
                let weight = entry["weight"] as? Double ?? 1
                return "\(Golden.path(name))/\(entry["path"] as? String ?? "")" + (weight == 1 ? "" : ":\(weight)")
            }
            changed = Set(about["changed"] as? [String] ?? [])
            added = Set(about["added"] as? [String] ?? [])
            configChanges = try JSONSerialization.data(withJSONObject: about["config_changes"] as? [String: Any] ?? [:])
        }

        var testDescription: String { name }
        var path: String { Golden.path(name) }
        var base: String { path + "/base" }

        /// What config.json must say otherwise.
        func changesOfConfig() throws -> [String: Any] {
            try JSONSerialization.jsonObject(with: configChanges) as? [String: Any] ?? [:]
        }
    }
}

/// All tensors of a checkpoint directory, by name.
func tensors(in directory: String) throws -> [String: TensorFile.Tensor] {
    var result: [String: TensorFile.Tensor] = [:]
    for name in Golden.names(in: directory) where name.hasSuffix(".safetensors") {
        for tensor in try TensorFile(path: "\(directory)/\(name)").tensors { result[tensor.name] = tensor }
    }
    return result
}
