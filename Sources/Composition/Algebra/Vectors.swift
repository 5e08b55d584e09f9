import CKernels

/// Vectors of one length, one after the other: the rows of a row-major matrix (count × length).
///
/// All arithmetic goes through the kernels, whose bits are the same on every CPU, and is not divided among threads.
struct Vectors: Sendable {
    /// How many vectors there are.
    private(set) var count: Int
    /// Elements of each.
    let length: Int
    /// All elements, vector by vector.
    var values: [Double]

    /// `count` vectors of zeros.
    init(count: Int, length: Int) {
        self.count = count
        self.length = length
        values = [Double](repeating: 0, count: count * length)
    }

    /// Vectors with these elements.
    init(_ values: [Double], count: Int, length: Int) {
        precondition(values.count == count * length, "elements do not make up the vectors")
        self.values = values
        self.count = count
        self.length = length
    }

    /// Vectors from the beginning of `block`.
    init(head block: [Double], count: Int, length: Int) {
        self.init(Array(block[..<(count * length)]), count: count, length: length)
    }

    /// Element `at` of vector `index`.
    subscript(index: Int, at: Int) -> Double {
        get { values[index * length + at] }
        set { values[index * length + at] = newValue }
    }

    /// The elements of one vector.
    func elements(_ index: Int) -> ArraySlice<Double> { values[index * length..<(index + 1) * length] }

    /// Appends the vectors of `other`.
    mutating func append(_ other: Vectors) {
        precondition(other.length == length, "vectors of another length")
        values += other.values
        count += other.count
    }

    /// Multiplies one vector.
    mutating func scale(_ index: Int, by factor: Double) {
        for at in index * length..<(index + 1) * length { values[at] *= factor }
    }

    /// The vectors in another order, or only some.
    func selecting(_ order: [Int]) -> Vectors {
        var result: [Double] = []
        result.reserveCapacity(order.count * length)
        for index in order { result += elements(index) }
        return Vectors(result, count: order.count, length: length)
    }

    /// The columns as vectors.
    var transposed: Vectors {
        var result = Vectors(count: length, length: count)
        // Squares that stay in the first-level cache.
        let step = 32
        for top in stride(from: 0, to: count, by: step) {
            for left in stride(from: 0, to: length, by: step) {
                for i in top..<min(count, top + step) {
                    for j in left..<min(length, left + step) { result.values[j * count + i] = values[i * length + j] }
                }
            }
        }
        return result
    }

    /// Whether no element is NaN or infinite.
    var isFinite: Bool { values.allSatisfy(\.isFinite) }

    /// The sum of all squares.
    var squaredNorm: Double { Self.squaredNorm(values, count: values.count) }

    /// The sum of the squares of the first `count` elements.
    static func squaredNorm(_ values: [Double], count: Int) -> Double {
        precondition(count <= values.count, "more elements than there are")
        return unsafe values.withUnsafeBufferPointer { unsafe ak_dot_f64($0.baseAddress, $0.baseAddress, count) }
    }

    /// The inner product of vectors `a` and `b`.
    func dot(_ a: Int, _ b: Int) -> Double {
        unsafe values.withUnsafeBufferPointer { all in
            guard let start = all.baseAddress else { return 0 }
            return unsafe ak_dot_f64(start + a * length, start + b * length, length)
        }
    }

    /// Vector `to` plus `factor` times vector `from`.
    mutating func add(_ factor: Double, _ from: Int, to: Int) {
        let length = length
        unsafe values.withUnsafeMutableBufferPointer { all in
            guard let start = all.baseAddress else { return }
            unsafe ak_axpy_f64(factor, start + from * length, start + to * length, length)
        }
    }

    /// Turns vectors `a` and `b` in their plane: (c·a − s·b, c·b + s·a).
    mutating func rotate(_ a: Int, _ b: Int, cosine: Double, sine: Double) {
        let length = length
        unsafe values.withUnsafeMutableBufferPointer { all in
            guard let start = all.baseAddress else { return }
            unsafe ak_rotate_f64(cosine, sine, start + a * length, start + b * length, length)
        }
    }

    /// Exchanges two vectors.
    mutating func swap(_ a: Int, _ b: Int) {
        for at in 0..<length { values.swapAt(a * length + at, b * length + at) }
    }
}

/// A matrix in memory, or its transpose: where elements are, without copying them.
struct Strided {
    let values: [Double]
    var offset = 0
    let rows: Int
    let columns: Int
    let rowStride: Int
    let columnStride: Int

    /// A row-major matrix of `rows` × `columns`.
    init(_ values: [Double], rows: Int, columns: Int, offset: Int = 0, rowStride: Int? = nil) {
        self.init(
            values: values, offset: offset, rows: rows, columns: columns, rowStride: rowStride ?? columns,
            columnStride: 1)
    }

    /// The matrix that has `vectors` as its rows.
    init(_ vectors: Vectors) { self.init(vectors.values, rows: vectors.count, columns: vectors.length) }

    private init(values: [Double], offset: Int, rows: Int, columns: Int, rowStride: Int, columnStride: Int) {
        self.values = values
        self.offset = offset
        self.rows = rows
        self.columns = columns
        self.rowStride = rowStride
        self.columnStride = columnStride
    }

    var transposed: Strided {
        Strided(
            values: values, offset: offset, rows: columns, columns: rows, rowStride: columnStride,
            columnStride: rowStride)
    }

    /// The first rows only.
    func prefix(_ count: Int) -> Strided {
        Strided(
            values: values, offset: offset, rows: min(count, rows), columns: columns, rowStride: rowStride,
            columnStride: columnStride)
    }

    /// Some rows.
    func rows(_ range: Range<Int>) -> Strided {
        Strided(
            values: values, offset: offset + range.lowerBound * rowStride, rows: range.count, columns: columns,
            rowStride: rowStride, columnStride: columnStride)
    }

    private var last: Int {
        rows > 0 && columns > 0 ? offset + (rows - 1) * rowStride + (columns - 1) * columnStride : offset - 1
    }

    /// target (row-major from `start`, `stride` elements to the next row) += left · right.
    static func addProduct(
        _ left: Strided, _ right: Strided, to target: inout [Double], start: Int = 0, stride: Int? = nil
    ) {
        precondition(left.columns == right.rows, "matrices that cannot be multiplied")
        guard left.rows > 0, right.columns > 0, left.columns > 0 else { return }
        let stride = stride ?? right.columns
        precondition(left.last < left.values.count && right.last < right.values.count, "a matrix beyond its elements")
        precondition(start + (left.rows - 1) * stride + right.columns <= target.count, "a product beyond its target")
        unsafe left.values.withUnsafeBufferPointer { l in
            unsafe right.values.withUnsafeBufferPointer { r in
                unsafe target.withUnsafeMutableBufferPointer { t in
                    guard let a = l.baseAddress, let b = r.baseAddress, let c = t.baseAddress else { return }
                    unsafe ak_product_f64(
                        left.rows, right.columns, left.columns, a + left.offset, left.rowStride, left.columnStride,
                        b + right.offset, right.rowStride, right.columnStride, c + start, stride)
                }
            }
        }
    }

    /// left · right as vectors: the rows of the product.
    static func product(_ left: Strided, _ right: Strided) -> Vectors {
        var result = Vectors(count: left.rows, length: right.columns)
        addProduct(left, right, to: &result.values)
        return result
    }
}
