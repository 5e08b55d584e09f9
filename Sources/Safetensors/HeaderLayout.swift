import Problems

extension TensorInfo {
    /// Checks one entry by itself: its offsets are in order, and their distance is the size of the shape.
    init(
        checking name: String, _ dtype: DType, _ shape: [Int], _ offsets: (begin: Int, end: Int),
        _ bad: (_ code: String, _ message: String) -> Problem
    ) throws(Problem) {
        guard offsets.begin <= offsets.end else {
            throw bad("bad-offsets", "ends at \(offsets.end) before it begins at \(offsets.begin)")
        }
        guard let bits = DType.bitCount(shape, dtype) else {
            throw bad("bad-shape", "has the shape \(shape) of \(dtype.rawValue), which is too large to be counted")
        }
        guard bits % 8 == 0 else {
            throw bad(
                "bad-shape", "has the shape \(shape) of \(dtype.rawValue): \(bits) bits, which are no whole bytes")
        }
        guard offsets.end - offsets.begin == bits / 8 else {
            throw bad(
                "bad-size",
                "has \(offsets.end - offsets.begin) bytes of data, but \(dtype.rawValue) \(shape) needs \(bits / 8)")
        }
        self.init(name: name, dtype: dtype, shape: shape, begin: offsets.begin, end: offsets.end)
    }
}

/// Checks that tensors cover their data without gap, overlap or rest.
struct HeaderLayout {
    let dataStart: Int
    let dataLength: Int

    /// The places of the tensors in the order of their data; `nil` if they are in order already.
    func order(_ list: [TensorInfo]) -> [UInt32]? {
        var isSorted = true
        for at in list.indices.dropFirst() where isSorted {
            isSorted = (list[at - 1].begin, list[at - 1].end) <= (list[at].begin, list[at].end)
        }
        if isSorted { return nil }
        // Lighter to move than tensors; the place decides between empty tensors at one offset.
        var keys: [(begin: Int, end: Int, place: UInt32)] = []
        keys.reserveCapacity(list.count)
        for (at, tensor) in list.enumerated() { keys.append((tensor.begin, tensor.end, UInt32(at))) }
        keys.sort { $0 < $1 }
        return keys.map(\.place)
    }

    /// Throws unless each tensor begins where the one before it ends, and the last one ends with the data.
    func check(_ list: [TensorInfo]) throws(Problem) {
        var end = 0
        for tensor in list {
            guard tensor.begin == end else {
                let what = tensor.begin < end ? "overlaps" : "leaves a gap of \(tensor.begin - end) bytes after"
                throw Problem(
                    .malformed, "bad-offsets", tensor: tensor.name,
                    "begins at byte \(tensor.begin) of the data and \(what) the one before it, which ends at \(end)",
                    offset: place(tensor.begin))
            }
            end = tensor.end
        }
        if end > dataLength {
            throw Problem(
                .malformed, "truncated", "has \(dataLength) bytes of data, but its header describes \(end)",
                hint: "the file ends \(end - dataLength) bytes early: download it again", offset: place(dataLength))
        }
        if end < dataLength {
            throw Problem(
                .malformed, "trailing-bytes", "has \(dataLength - end) bytes after the last tensor",
                hint: "something was appended to the file: download it again", offset: place(end))
        }
    }

    /// Where that byte of the data is in the file, or the file's end if it lies beyond.
    private func place(_ offset: Int) -> Int { dataStart + min(offset, dataLength) }
}
