import Problems
import Synchronization

/// A value that is made when it is first asked for, once, whatever threads ask.
final class Once<Value: Sendable>: Sendable {
    private let made = Mutex<Value?>(nil)

    /// The value; who comes while another thread makes it waits for that.
    ///
    /// After an error the next one tries again.
    func value(_ make: () throws(Problem) -> Value) throws(Problem) -> Value {
        try made.withLock { (kept) throws(Problem) in
            if let kept { return kept }
            let value = try make()
            kept = value
            return value
        }
    }
}

/// Such values by name.
final class OnceTable<Value: Sendable>: Sendable {
    private let entries = Mutex<[String: Once<Value>]>([:])

    /// The value of that name; other names do not wait for it.
    func value(_ name: String, _ make: () throws(Problem) -> Value) throws(Problem) -> Value {
        let entry = entries.withLock { table in
            if let found = table[name] { return found }
            let new = Once<Value>()
            table[name] = new
            return new
        }
        return try entry.value(make)
    }

    /// Forgets all values; who holds one keeps it.
    func removeAll() { entries.withLock { $0 = [:] } }
}
