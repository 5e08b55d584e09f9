/// Placeholder until generated.
enum StoredNames {
    static let rows: [(types: String, pairs: String)] = []
}
