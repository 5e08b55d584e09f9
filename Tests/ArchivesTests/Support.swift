import Digests
import Files
import Fixtures
import Problems

@testable import Archives

extension SeededRandom {
    /// Random bytes.
    mutating func bytes(_ count: Int) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(count + 8)
        while result.count < count {
            let word = next()
            for shift in 0..<8 { result.append(UInt8(truncatingIfNeeded: word >> (8 * shift))) }
        }
        return Array(result.prefix(count))
    }

    /// Something that looks like a digest.
    mutating func digest() -> String { SHA256.hex(bytes(8)) }

    /// Bytes of one of the kinds that planes have in practice, or that no code can do anything with.
    mutating func structured(_ count: Int) -> [UInt8] {
        switch below(7) {
        case 0: return [UInt8](repeating: UInt8(below(256)), count: count)
        case 1: return bytes(count)
        case 2: return bytes(count).map { $0 & 3 }
        case 3: return bytes(count).map { UInt8(($0 & 15).nonzeroBitCount + 120) }
        case 4:
            let period = bytes(1 + below(40))
            return (0..<count).map { period[$0 % period.count] }
        case 5:
            var value: UInt8 = 0
            return bytes(count).map { byte in
                if byte < 16 { value = byte }
                return value
            }
        default: return bytes(count).enumerated().map { $0 % 2 == 0 ? $1 : 0x3C }
        }
    }
}

/// The problem that `body` throws; `nil` if it throws none.
func problem(_ body: () throws -> Void) -> Problem? {
    do {
        try body()
        return nil
    } catch {
        return error as? Problem ?? (error as? ProblemList)?.problems.first
    }
}

/// The archive of what is at `path`.
func packed(_ path: String, level: ArchiveLevel = .default, threads: Int = 2) throws -> [UInt8] {
    var request = PackRequest(try PackInput(path: path))
    request.level = level
    let output = try OutputFile(temporaryFor: "archive")
    let result = try ArchiveWriter.write(request, to: output, threads: threads) { _ in }
    return try output.read(at: 0, count: result.size)
}

/// Opens an archive in memory.
func opened(_ bytes: [UInt8]) throws -> Archive {
    try Archive(MemorySource(bytes, path: "archive", identity: Directory(path: "/").identity))
}
