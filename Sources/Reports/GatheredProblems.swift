import Problems

extension Array where Element == Problem {
    /// The same problem of several tensors as one that says how many there are more: for people, who read it once.
    ///
    /// Problems are the same if they differ in tensors and other names in quotes alone.
    public var gathered: [Problem] {
        var result: [Problem] = []
        var places: [[String]: (place: Int, others: Int)] = [:]
        for problem in self {
            let key = [
                problem.severity.rawValue, problem.code, problem.file ?? "", Self.withoutNames(problem.message),
                problem.hint ?? "",
            ]
            if let known = places[key] {
                places[key] = (known.place, known.others + 1)
            } else {
                places[key] = (result.count, 0)
                result.append(problem)
            }
        }
        for (place, others) in places.values where others > 0 {
            result[place].message += Self.more(others, result[place].message)
        }
        return result
    }

    private static func withoutNames(_ message: String) -> String {
        // What is between quotes has an odd place.
        message.split(separator: "'", omittingEmptySubsequences: false).enumerated()
            .filter { $0.offset.isMultiple(of: 2) }.map(\.element).joined(separator: "'")
    }

    private static func more(_ others: Int, _ message: String) -> String {
        let isState = message.hasPrefix("is ") || message.contains("': is ")
        if others == 1 { return isState ? "; so is 1 other" : "; so does 1 other" }
        return (isState ? "; so are " : "; so do ") + "\(others) others"
    }
}
