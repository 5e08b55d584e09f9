import Fixtures
import Foundation
import Testing

extension Tools {
    static func pack(_ input: String, _ output: String, _ options: String...) -> Answer {
        run("adapter-pack", [input, "-o", output] + options)
    }

    static func unpack(_ archive: String, _ output: String, _ options: String...) -> Answer {
        run("adapter-unpack", [archive, "-o", output] + options)
    }

    /// What `adapter-unpack --list --json` says.
    static func listing(_ archive: String) throws -> [String: Any] {
        let answer = run("adapter-unpack", [archive, "--list", "--json"])
        try #require(answer.status == 0, "\(answer.err)")
        return try answer.json()
    }
}

/// Packs what is at `input` and unpacks it again beside the archive; checks that every byte comes back.
func checkTrip(_ input: String, in scratch: Scratch, options: [String] = [], _ about: String = "") throws {
    let (archive, output) = (scratch("trip.packed"), scratch("trip.out"))
    defer { _ = Tools.shell("rm -rf \"$1\" \"$2\"", archive, output) }
    let packed = Tools.run("adapter-pack", [input, "-o", archive] + options)
    try #require(packed.status == 0, "\(about) \(packed.err)")
    #expect(packed.err.isEmpty, "\(about) \(packed.err)")
    let unpacked = Tools.unpack(archive, output)
    try #require(unpacked.status == 0, "\(about) \(unpacked.err)")
    #expect(unpacked.out.hasSuffix(", all digests right\n"))
    #expect(contents(of: output) == contents(of: input), "\(about) other bytes")
}

extension SeededRandom {
    /// Random bytes.
    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }

    /// Bytes of one of the kinds that files have.
    mutating func content() -> [UInt8] {
        let count = pick([0, 1, 2, 3, 12, 13, 14, below(40), below(40), below(400), below(4_000), below(70_000)])
        switch below(6) {
        case 0: return bytes(count)
        case 1: return [UInt8](repeating: UInt8(below(256)), count: count)
        case 2:
            let text = Array("{\"peft_type\": \"LORA\", \"r\": 8},\n".utf8)
            return (0..<count).map { text[$0 % text.count] }
        case 3: return bytes(count).map { $0 & 3 }
        default: return tensorFile().encoded
        }
    }

    /// A safetensors file of a few tensors, some of them empty.
    mutating func tensorFile() -> TensorFile {
        let kinds: [(dtype: String, size: Int)] = [
            ("F64", 8), ("F32", 4), ("F16", 2), ("BF16", 2), ("F8_E4M3", 1), ("I64", 8), ("I32", 4), ("U8", 1),
            ("BOOL", 1),
        ]
        let tensors = (0..<below(6)).map { number -> TensorFile.Tensor in
            let kind = pick(kinds)
            let shape = (0..<below(4)).map { _ in pick([0, 1, 1, 2, 3, 8, 31]) }
            let count = shape.reduce(1, *)
            let isFloat = ["F32", "F16", "BF16"].contains(kind.dtype) && below(2) == 0
            guard !isFloat else {
                return TensorFile.Tensor("layers.\(number).w", kind.dtype, shape, numbers(count, size: 0.05))
            }
            return TensorFile.Tensor("layers.\(number).w", kind.dtype, shape, bytes: bytes(count * kind.size))
        }
        return TensorFile(tensors, metadata: below(3) == 0 ? [:] : ["format": "pt", "é": "\"\n"])
    }
}
