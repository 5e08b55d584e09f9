/// The parts of a parameter's name, such as `layers.0.q_proj.weight`.
public enum ParameterName {
    /// The module's path: all but the last part; empty for a parameter of the model itself.
    public static func module(of name: String) -> String {
        name.lastIndex(of: ".").map { String(name[..<$0]) } ?? ""
    }
}
