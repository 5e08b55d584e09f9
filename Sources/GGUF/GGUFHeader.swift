import Files
import Problems
import StrictJSON

/// The header of a GGUF file: its metadata, which tensors there are, and where.
///
/// Memory for it is at most some eight times its bytes.
public struct GGUFHeader: Sendable {
    /// Real headers, with a vocabulary of some hundred thousand words, have a tenth of this.
    public static let largestHeader = 256 << 20
    /// Bytes of a key or of a tensor's name; ggml allows tensors 63.
    public static let largestName = 65_535
    /// How deep arrays of metadata may be nested; llama.cpp reads flat ones only.
    public static let largestNesting = 4
    /// Sizes of a tensor, as in ggml.
    public static let largestRank = 4
    /// What data is aligned to where nothing else is said.
    public static let usualAlignment = 32
    /// Alignments that are accepted, if they are powers of two.
    public static let alignments = 8...(1 << 20)

    /// 2 or 3; both are read alike.
    public let version: Int
    /// The metadata, in the file's order.
    public let metadata: [(key: String, value: GGUFValue)]
    /// The tensors, in the file's order.
    public let tensors: [GGUFTensor]
    /// Each tensor begins at a multiple of this, counted from the beginning of the data.
    public let alignment: Int
    /// Where the data begins in the file.
    public let dataStart: Int
    private let keys: NameTable
    private let names: NameTable

    init(
        version: Int, metadata: [(key: String, value: GGUFValue)], keys: NameTable, tensors: [GGUFTensor],
        names: NameTable, alignment: Int, dataStart: Int
    ) {
        self.version = version
        self.metadata = metadata
        self.keys = keys
        self.tensors = tensors
        self.names = names
        self.alignment = alignment
        self.dataStart = dataStart
    }

    /// The metadata of that key, compared byte by byte.
    public subscript(key: String) -> GGUFValue? {
        keys.place(of: key, count: metadata.count) { metadata[$0].key }.map { metadata[$0].value }
    }

    /// The tensor of that name, compared byte by byte.
    public func tensor(_ name: String) -> GGUFTensor? {
        names.place(of: name, count: tensors.count) { tensors[$0].name }.map { tensors[$0] }
    }

    /// The file breaks the format.
    static func bad(
        _ path: String, _ message: String, hint: String? = nil, tensor: String? = nil, at offset: Int?
    ) -> Problem {
        Problem(
            .malformed, "bad-gguf", file: path, tensor: tensor, message,
            hint: hint ?? "the file is damaged, or made by a faulty program: download or make it again", offset: offset)
    }
}

extension NameTable {
    /// Where the name is in a list of `count` names.
    func place(of name: String, count: Int, in list: (Int) -> String) -> Int? {
        let hash = NameTable.hash(name)
        var slot = start(hash)
        while let place = next(hash, &slot) {
            if place < count, list(place).hasSameBytes(as: name) { return place }
        }
        return nil
    }
}
