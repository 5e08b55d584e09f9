import Foundation

/// A safetensors file in memory, read and written without the code that is under test.
///
/// The reader trusts what it reads, so it is for files that are known to be right.
public struct TensorFile: Sendable {
    /// One tensor and its bytes.
    public struct Tensor: Sendable, Equatable {
        /// Its name.
        public var name: String
        /// The type of its elements, as the format names it.
        public var dtype: String
        /// Its dimensions.
        public var shape: [Int]
        /// Its data.
        public var bytes: [UInt8]

        /// A tensor of any type.
        public init(_ name: String, _ dtype: String, _ shape: [Int], bytes: [UInt8]) {
            self.name = name
            self.dtype = dtype
            self.shape = shape
            self.bytes = bytes
        }

        /// A tensor of numbers, each rounded once to a floating-point type.
        public init(_ name: String, _ dtype: String, _ shape: [Int], _ values: [Double]) {
            precondition(values.count == shape.reduce(1, *), "\(name): as many values as the shape says")
            self.init(name, dtype, shape, bytes: Format.named(dtype).encode(values))
        }

        /// The values of a floating-point tensor.
        public var values: [Double] { Format.named(dtype).decode(bytes) }
    }

    /// The tensors, in the order of their data.
    public var tensors: [Tensor]
    /// What `__metadata__` holds.
    public var metadata: [String: String]

    /// A file of these tensors, back to back.
    public init(_ tensors: [Tensor], metadata: [String: String] = ["format": "pt"]) {
        self.tensors = tensors
        self.metadata = metadata
    }

    /// Reads the file at `path`.
    public init(path: String) throws {
        let data = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        let length = data[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = try JSONSerialization.jsonObject(with: Data(data[8..<8 + length])) as? [String: Any] ?? [:]
        metadata = header["__metadata__"] as? [String: String] ?? [:]
        var found: [(begin: Int, tensor: Tensor)] = []
        for (name, value) in header where name != "__metadata__" {
            guard let entry = value as? [String: Any], let dtype = entry["dtype"] as? String,
                let shape = entry["shape"] as? [Int], let offsets = entry["data_offsets"] as? [Int]
            else { throw CocoaError(.fileReadCorruptFile) }
            let bytes = Array(data[8 + length + offsets[0]..<8 + length + offsets[1]])
            found.append((offsets[0], Tensor(name, dtype, shape, bytes: bytes)))
        }
        tensors = found.sorted { ($0.begin, $0.tensor.name) < ($1.begin, $1.tensor.name) }.map(\.tensor)
    }

    /// The tensor of that name.
    public subscript(name: String) -> Tensor? { tensors.first { $0.name == name } }

    /// The file's bytes.
    public var encoded: [UInt8] {
        var offset = 0
        var entries: [String] = []
        if !metadata.isEmpty {
            let pairs = metadata.sorted { $0.key < $1.key }.map { "\(Self.quoted($0.key)):\(Self.quoted($0.value))" }
            entries.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
        }
        for tensor in tensors {
            let end = offset + tensor.bytes.count
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            let layout = "\"dtype\":\"\(tensor.dtype)\",\"shape\":[\(shape)],\"data_offsets\":[\(offset),\(end)]"
            entries.append("\(Self.quoted(tensor.name)):{\(layout)}")
            offset = end
        }
        var header = Array("{\(entries.joined(separator: ","))}".utf8)
        while header.count % 8 != 0 { header.append(0x20) }
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> ($0 * 8)) }
        return length + header + tensors.flatMap(\.bytes)
    }

    /// Writes the file to `path`.
    public func write(to path: String) throws {
        try Data(encoded).write(to: URL(fileURLWithPath: path))
    }

    private static func quoted(_ text: String) -> String {
        let escaped = text.unicodeScalars.map { scalar in
            if scalar.value < 0x20 {
                return "\\u00" + (scalar.value < 0x10 ? "0" : "") + String(scalar.value, radix: 16)
            }
            return scalar == "\"" || scalar == "\\" ? "\\\(scalar)" : "\(scalar)"
        }
        return "\"\(escaped.joined())\""
    }
}
