/// A matrix of numbers in memory, row-major: whole, or some rows and columns of a larger one that it shares.
///
/// It is a window on memory, like a span, not a value: copies see the same numbers. What several threads write must not
/// overlap; that is what the trainer's workers see to.
@safe package struct Matrix<T: Real>: @unchecked Sendable {
    /// Rows.
    package let rows: Int
    /// Columns.
    package let columns: Int
    /// From one row to the next, in elements.
    let stride: Int
    private let memory: Memory<T>
    private let start: UnsafeMutablePointer<T>

    /// A matrix of zeros.
    package init(rows: Int, columns: Int) {
        self.init(Memory(count: rows * columns, zeroed: true), 0, rows: rows, columns: columns)
    }

    /// A matrix of `values`, row by row.
    package init(_ values: [T], rows: Int, columns: Int) {
        precondition(values.count == rows * columns, "values of another shape")
        self.init(rows: rows, columns: columns)
        for (at, value) in values.enumerated() { unsafe start[at] = value }
    }

    init(_ memory: Memory<T>, _ offset: Int, rows: Int, columns: Int) {
        precondition(rows >= 0 && columns >= 0 && offset + rows * columns <= memory.count, "a matrix beyond its memory")
        self.memory = memory
        unsafe start = memory.start + offset
        (self.rows, self.columns, stride) = (rows, columns, columns)
    }

    private init(_ whole: Matrix, _ rows: Range<Int>, _ columns: Range<Int>) {
        precondition(rows.lowerBound >= 0 && rows.upperBound <= whole.rows, "rows beyond the matrix")
        precondition(columns.lowerBound >= 0 && columns.upperBound <= whole.columns, "columns beyond the matrix")
        memory = whole.memory
        unsafe start = whole.start + rows.lowerBound * whole.stride + columns.lowerBound
        (self.rows, self.columns, stride) = (rows.count, columns.count, whole.stride)
    }

    /// Some rows of it, sharing its memory.
    package func rows(_ range: Range<Int>) -> Matrix { Matrix(self, range, 0..<columns) }

    /// Some columns of it, sharing its memory.
    package func columns(_ range: Range<Int>) -> Matrix { Matrix(self, 0..<rows, range) }

    /// Whether its elements lie side by side.
    var isContiguous: Bool { stride == columns || rows <= 1 }

    /// How many elements there are.
    package var count: Int { rows * columns }

    /// One element.
    package subscript(row: Int, column: Int) -> T {
        get {
            precondition(row >= 0 && row < rows && column >= 0 && column < columns, "beyond the matrix")
            return unsafe start[row * stride + column]
        }
        nonmutating set {
            precondition(row >= 0 && row < rows && column >= 0 && column < columns, "beyond the matrix")
            unsafe start[row * stride + column] = newValue
        }
    }

    /// All elements, row by row.
    package var values: [T] {
        var result: [T] = []
        result.reserveCapacity(count)
        for row in 0..<rows {
            unsafe result.append(contentsOf: UnsafeBufferPointer(start: self.row(row), count: columns))
        }
        return result
    }

    /// The memory of one row.
    @unsafe func row(_ row: Int) -> UnsafeMutablePointer<T> {
        precondition(row >= 0 && row < rows, "a row beyond the matrix")
        return unsafe start + row * stride
    }

    /// The memory of its first element.
    @unsafe var base: UnsafeMutablePointer<T> { unsafe start }

    /// Calls `body` with its bytes, which must lie side by side.
    func withBytes<R, E: Error>(_ body: (UnsafeMutableRawBufferPointer) throws(E) -> R) throws(E) -> R {
        precondition(isContiguous, "a matrix in pieces")
        return try unsafe body(UnsafeMutableRawBufferPointer(start: start, count: count * MemoryLayout<T>.stride))
    }
}

/// Numbers in memory, aligned to cache lines.
@safe final class Memory<T: Real>: @unchecked Sendable {
    let count: Int
    let start: UnsafeMutablePointer<T>

    init(count: Int, zeroed: Bool) {
        self.count = count
        let bytes = max(1, count) * MemoryLayout<T>.stride
        let raw = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
        if zeroed { unsafe raw.initializeMemory(as: UInt8.self, repeating: 0, count: bytes) }
        unsafe start = raw.bindMemory(to: T.self, capacity: max(1, count))
    }

    deinit { unsafe UnsafeMutableRawPointer(start).deallocate() }
}

/// Memory for what one pass needs, handed out piece by piece and taken back all at once.
final class Arena<T: Real> {
    private var chunks: [Memory<T>] = []
    private var chunk = 0
    private var used = 0
    /// Numbers of a chunk: large, so that little is left over at its end; pages that nothing touches take no memory.
    private static var chunkSize: Int { 1 << 24 }

    /// A matrix whose elements are anything until they are written; gone at the next `reset`.
    func matrix(_ rows: Int, _ columns: Int) -> Matrix<T> {
        let needed = (rows * columns + 15) / 16 * 16
        while chunk < chunks.count, chunks[chunk].count - used < needed { (chunk, used) = (chunk + 1, 0) }
        if chunk == chunks.count { chunks.append(Memory(count: max(needed, Self.chunkSize), zeroed: false)) }
        defer { used += needed }
        return Matrix(chunks[chunk], used, rows: rows, columns: columns)
    }

    /// A matrix of zeros.
    func zeros(_ rows: Int, _ columns: Int) -> Matrix<T> {
        let matrix = matrix(rows, columns)
        matrix.fill(0)
        return matrix
    }

    /// A copy of `matrix` whose rows lie side by side.
    func copy(_ matrix: Matrix<T>) -> Matrix<T> {
        let copy = self.matrix(matrix.rows, matrix.columns)
        copy.copy(matrix)
        return copy
    }

    /// The transpose of `matrix`.
    ///
    /// Its rows don't follow each other by a power of two, for that would put them all into a few lines of the cache.
    func transposed(_ matrix: Matrix<T>) -> Matrix<T> {
        let padded = (matrix.rows + 15) / 16 * 16 + 16
        let result = self.matrix(matrix.columns, padded).columns(0..<matrix.rows)
        result.setTransposed(matrix)
        return result
    }

    /// Where it is now, for `rewind`.
    var mark: (chunk: Int, used: Int) { (chunk, used) }

    /// Takes back what was handed out since `mark`.
    func rewind(to mark: (chunk: Int, used: Int)) { (chunk, used) = mark }

    /// Takes everything back.
    func reset() { (chunk, used) = (0, 0) }
}
