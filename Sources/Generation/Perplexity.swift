import Glibc
import Problems
import Tokenization

/// How well a model predicts sequences of ids.
///
/// The loss is −ln of the probability of each id that counts, but the first of a sequence, given those before it in its
/// window. Windows of `window` positions begin every `stride`; each position is counted in the first window that has it, so
/// with a stride less than the window, all but the first window's have at least window − stride ids before them.
public struct Perplexity: Sendable {
    /// The sum of the losses, in nats.
    public private(set) var total = 0.0
    /// Ids that were predicted.
    public private(set) var tokens = 0
    /// Bytes of their text; `nil` where the ids have none.
    public private(set) var bytes: Int?

    /// Nats per id.
    public var loss: Double { total / Double(tokens) }
    /// e^loss.
    public var perplexity: Double { exp(loss) }
    /// Bits per byte of the text.
    public var bitsPerByte: Double? { bytes.flatMap { $0 > 0 ? total / log(2) / Double($0) : nil } }

    /// Measures.
    ///
    /// - Parameters:
    ///   - window: positions that are seen at once; `nil` for as many as the model was made for, at most 2048.
    ///   - stride: from one window to the next; `nil` for no overlap.
    ///   - progress: gets the number of positions that were computed since it was last called.
    public init(
        _ decoder: Decoder, _ tokenizer: any Tokenizer, _ sequences: [LabelledIDs], window: Int? = nil,
        stride: Int? = nil, progress: (Int) -> Void = { _ in }
    ) throws(Problem) {
        let limit = decoder.config.positions.map { $0 - decoder.prefixLength }
        let window = window ?? min(limit ?? 2048, 2048)
        let step = stride ?? window
        guard window > 0, window <= limit ?? window else {
            throw Problem(
                .usage, "bad-window",
                "the window of \(window) positions is longer than the model was made for: \(limit ?? 0)",
                hint: "choose a shorter one")
        }
        guard step > 0, step <= window else {
            throw Problem(
                .usage, "bad-stride",
                "the stride of \(step) is longer than the window of \(window): ids would be left out",
                hint: "choose one from 1 to \(window)")
        }
        var bytes: Int? = 0
        for sequence in sequences where sequence.targetCount > 0 {
            let targets = (1..<sequence.ids.count).compactMap(sequence.target)
            if let bad = (sequence.ids + targets).first(where: { !(0..<decoder.vocabulary).contains($0) }) {
                try decoder.check([bad])
            }
            try add(decoder, sequence, window: window, step: step, progress)
            let text = try? tokenizer.decode(targets, skipsSpecial: true)
            bytes = text.flatMap { text in bytes.map { $0 + text.count } }
        }
        self.bytes = bytes
    }

    private mutating func add(
        _ decoder: Decoder, _ sequence: LabelledIDs, window: Int, step: Int, _ progress: (Int) -> Void
    ) throws(Problem) {
        let ids = sequence.ids
        // The last id is predicted, and predicts nothing.
        let inputs = ids.count - 1
        var done = 0
        var begin = 0
        while done < inputs {
            let end = min(inputs, begin + window)
            var cache = decoder.newCache()
            var sum = 0.0
            try decoder.forEachLogits(Array(ids[begin..<end]), &cache) { (first, logits) throws(Problem) in
                let count = logits.count / decoder.logitCount
                for row in 0..<count where begin + first + row >= done {
                    guard let target = sequence.target(begin + first + row + 1) else { continue }
                    let place = row * decoder.logitCount
                    sum += Self.loss(logits[place..<place + decoder.logitCount], target)
                    tokens += 1
                }
                progress(count)
            }
            guard sum.isFinite else { throw Sampler.noNumber() }
            total += sum
            done = end
            begin += step
        }
    }

    /// −ln softmax(logits)[id].
    static func loss(_ logits: ArraySlice<Float>, _ id: Int) -> Double {
        guard id < logits.count else { return .infinity }
        let largest = Double(logits.max() ?? 0)
        var sum = 0.0
        for logit in logits { sum += exp(Double(logit) - largest) }
        return log(sum) + largest - Double(logits[logits.startIndex + id])
    }
}
