import Files
import Fixtures
import Foundation
import Testing

@testable import Digests

/// What files are known by.
@Suite struct FileCheckTests {
    /// What `openssl mac -macopt "key:adapterkit poly1305 checksum key" POLY1305` says.
    @Test(arguments: [("hello\n", "3bd6f5fb12f58545f5664f1ddc66240f"), ("", "33303520636865636b73756d206b6579")])
    func checksumsAreThoseOfOpenSSL(text: String, code: String) {
        var checksum = Checksum()
        checksum.update(Array(text.utf8))
        #expect(checksum.finish() == code)
    }

    /// Pieces add up, whatever their sizes; every changed, missing or added byte tells.
    @Test func filesAndTheirDamage() throws {
        let scratch = try Scratch()
        var random = SeededRandom(test: "file checks")
        for size in [1, 15, 16, 17, 4096, (1 << 20) - 1, (1 << 20) + 33] {
            let bytes = (0..<size).map { _ in UInt8(random.below(256)) }
            let path = try scratch.write("file", bytes)
            let file = try InputFile(path: path)
            for method in FileCheck.Method.allCases {
                var told = 0
                let check = try FileCheck(method, of: file) { told += $0 }
                #expect(check.method == method && told == size)
                var damaged = bytes
                damaged[random.below(size)] ^= 1 << UInt8(random.below(8))
                for other in [damaged, Array(bytes.dropLast()), bytes + [0]] {
                    let changed = try InputFile(path: scratch.write("other", other))
                    #expect(try FileCheck(method, of: changed) != check, "\(method), \(size) bytes")
                }
            }
            var checksum = Checksum()
            for start in stride(from: 0, to: size, by: 999) {
                checksum.update(Array(bytes[start..<min(size, start + 999)]))
            }
            #expect(try checksum.finish() == FileCheck(.poly1305, of: file).hex)
        }
    }
}
