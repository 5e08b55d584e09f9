import Files
import Problems
import Safetensors

/// The logits of all positions of a text as a safetensors file: `logits` (n × vocabulary, F32) and `ids` (n, I64).
public enum LogitsFile {
    /// Computes and writes them; the file appears whole, or not at all.
    public static func write(_ decoder: Decoder, _ ids: [Int], to path: String, replacing: Bool = false) throws(Problem)
    {
        guard !ids.isEmpty else {
            throw Problem(.usage, "empty-prompt", "the prompt is empty, so it has no logits")
        }
        try decoder.check(ids)
        let header = try Header.layout(
            [("logits", .f32, [ids.count, decoder.logitCount]), ("ids", .i64, [ids.count])],
            metadata: [("format", "pt")], order: .reference)
        guard let logits = header["logits"], let numbers = header["ids"] else {
            throw Problem(.internalFault, "bad-header", file: path, "lost its tensors")
        }
        let stage = try StagedOutput(path: path, shape: .file, replacing: replacing)
        let file = try stage.create(lastComponent(of: path), size: header.dataStart + header.dataLength)
        try file.write(header.encoded(), at: 0)
        try file.write(
            ids.flatMap { id in (0..<8).map { UInt8(truncatingIfNeeded: id >> (8 * $0)) } },
            at: header.dataStart + numbers.begin)
        var cache = decoder.newCache()
        try decoder.forEachLogits(ids, &cache) { (first, values) throws(Problem) in
            var bytes: [UInt8] = []
            bytes.reserveCapacity(values.count * 4)
            for value in values {
                for shift in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: value.bitPattern >> (8 * UInt32(shift)))) }
            }
            try file.write(bytes, at: header.dataStart + logits.begin + first * decoder.logitCount * 4)
        }
        try file.finish()
        try stage.commit()
    }
}
