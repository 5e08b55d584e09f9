import Adapters
import Problems

/// Names one attachment of an adapter to a model; no two attachments have the same.
public struct AttachmentID: Hashable, Sendable, CustomStringConvertible {
    let number: Int

    /// Its number in the order of attachment, as `#1`.
    public var description: String { "#\(number)" }
}

/// An adapter that is attached to a model.
public struct Attachment: Sendable {
    /// What the model calls it.
    public let id: AttachmentID
    /// The adapter.
    public let adapter: Adapter
    /// What its delta is multiplied by; with 0 it takes no part at all.
    public let weight: Double
    /// Warnings and notes about the adapter and the base.
    public let notes: [Problem]
}
