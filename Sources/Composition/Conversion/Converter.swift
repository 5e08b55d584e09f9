import Adapters
import Files
import GGUF
import Problems
import Safetensors
import Tensors

/// What a conversion did.
public struct ConvertResult: Sendable {
    /// One module, by its path in the adapter, and ‖D - D'‖ / ‖D‖ of what was read back.
    public let modules: [(path: String, distance: Double)]
    /// Pairs whose bytes are those of the source, but for their order.
    public let copied: Int
    /// Modules whose scale became part of B.
    public let folded: Int
    /// Bytes of the file of tensors.
    public let bytes: Int
    /// The files, by name.
    public let files: [String]

    /// The largest relative distance of two deltas.
    public var largestDistance: Double { modules.map(\.distance).max() ?? 0 }
}

/// Writes a conversion, reads it back, and compares what it does with what the source does.
public struct Converter {
    private let plan: ConvertPlan

    /// Prepares to write `plan`.
    public init(_ plan: ConvertPlan) { self.plan = plan }

    /// Writes into `output`, a directory or the one file itself; it appears only if the proof succeeds.
    public func run(to output: StagedOutput) throws -> ConvertResult {
        let files = try plan.files()
        var names: Set<String> = []
        if let twice = files.tensors.first(where: { !names.insert($0.name).inserted }) {
            throw Problem(
                .incompatible, "ambiguous-module", file: plan.request.path, tensor: twice.name,
                "would be written twice: two modules of the adapter have the same name in the model",
                hint: "name the model that it was trained on with --base")
        }
        let isFile = output.shape == .file
        if isFile, let other = files.others.first {
            throw Problem(
                .usage, "bad-output", file: output.path,
                "is the name of a file, but this dialect needs '\(other.name)' beside its tensors",
                hint: "name a directory with -o")
        }
        let name = isFile ? lastComponent(of: output.path) : files.name
        let size = try write(files, name, output)
        for file in files.others { try output.write(file.name, file.bytes) }
        let path = isFile ? "\(output.stagePath)/\(name)" : output.stagePath
        let proof = try ConvertProof(plan, files, path: path)
        let modules = try proof.run()
        try check(modules)
        return ConvertResult(
            modules: modules, copied: proof.copied, folded: files.folded, bytes: size,
            files: [name] + files.others.map(\.name))
    }

    /// What was asked for may lose something only where that is allowed.
    private func check(_ modules: [(path: String, distance: Double)]) throws {
        guard let worst = modules.max(by: { $0.distance < $1.distance }) else { return }
        guard !(worst.distance <= FunctionComparison.tolerance), !plan.request.allowsLoss else { return }
        throw Problem(
            .incompatible, "lossy", file: plan.request.path, tensor: worst.path,
            "would differ from the source by \(worst.distance) of its norm, more than rounding to float32 does",
            hint: plan.request.dtype == nil
                ? "--allow-lossy accepts it" : "leave --dtype out, or say --allow-lossy to accept it")
    }

    private func write(
        _ files: ConvertedFiles, _ writer: GGUFWriter, _ name: String, _ output: StagedOutput
    ) throws -> Int {
        let file = try output.create(name, size: writer.size)
        let tensors = files.tensors
        try writer.write({ (at) throws(Problem) in try tensors[at].bytes() }) { (bytes, place) throws(Problem) in
            try file.write(bytes, at: place)
        }
        try file.finish()
        return file.size
    }

    private func write(_ files: ConvertedFiles, _ name: String, _ output: StagedOutput) throws -> Int {
        if let writer = files.gguf { return try write(files, writer, name, output) }
        let header = try Header.layout(
            files.tensors.map { ($0.name, $0.dtype, $0.shape) }, metadata: files.metadata, order: .reference)
        let file = try output.create(name, size: header.dataStart + header.dataLength)
        try file.write(header.encoded(), at: 0)
        let makers = Dictionary(files.tensors.map { ($0.name, $0.bytes) }) { own, _ in own }
        for tensor in header.tensors {
            try checkInterrupted()
            guard let bytes = try makers[tensor.name]?(), bytes.count == tensor.byteCount else {
                throw Problem(.internalFault, "bad-size", tensor: tensor.name, "has another size than was planned")
            }
            try file.write(bytes, at: header.dataStart + tensor.begin)
        }
        try file.finish()
        return file.size
    }
}

/// Compares what was written with what it was made from, module by module.
final class ConvertProof {
    private let plan: ConvertPlan
    private let written: Adapter
    private let facts: [String: ModuleFacts]
    private let downNames: [String]
    /// The errors of deltas that were approximated.
    private let approximated: [String: Double]
    /// Pairs that are the same bytes.
    private(set) var copied = 0

    /// Opens what was written.
    init(_ plan: ConvertPlan, _ files: ConvertedFiles, path: String) throws {
        self.plan = plan
        written = try plan.reopen(path)
        let found = AdapterFacts(written)
        let list = ProblemList(found.standaloneProblems(allowed: []).filter { $0.code != "base-changed" })
        if list.hasErrors { throw list }
        facts = Dictionary(found.modules.map { ($0.module.down.name, $0) }) { own, _ in own }
        downNames = files.downNames
        approximated = Dictionary(plan.outcomes.map { ($0.path, $0.relativeError) }) { own, _ in own }
    }

    func run() throws -> [(path: String, distance: Double)] {
        guard facts.count == plan.modules.count, downNames.count == plan.modules.count else {
            throw failure("has \(facts.count) modules, not \(plan.modules.count)", nil)
        }
        var result: [(path: String, distance: Double)] = []
        for (module, name) in zip(plan.modules, downNames) {
            try checkInterrupted()
            guard let own = facts[name] else { throw failure("lacks '\(name)'", module.sourcePath) }
            result.append((module.path, try max(distance(module, own), approximated[module.sourcePath] ?? 0)))
            try compareVectors(module, own)
        }
        return result
    }

    private func failure(_ what: String, _ path: String?) -> Problem {
        Problem(
            .internalFault, "proof-failed", file: plan.request.path, tensor: path,
            "was converted, but what was written \(what) when it was read back, so it does not appear")
    }

    private func distance(_ module: ConvertedModule, _ own: ModuleFacts) throws -> Double {
        guard module.scale.isFinite, own.scale.isFinite else { throw failure("has no finite scale", module.sourcePath) }
        if try isCopy(module, own) {
            copied += 1
            return module.scale == 0 ? 0 : abs(own.scale - module.scale) / abs(module.scale)
        }
        guard module.kind != .experts, module.kind != .parameter else {
            throw failure("has other factors of experts", module.sourcePath)
        }
        let file = plan.adapter.file
        let down = try ConvertedModule.values(module.down, in: file)
        let up = try ConvertedModule.values(module.up, in: file)
        let (outputs, inputs) = (module.upShape[0], module.downShape.dropFirst().reduce(1, *))
        var sum = LowRank(
            left: Vectors(up, count: outputs, length: module.rank).transposed,
            right: Vectors(down, count: module.rank, length: inputs))
        let other = try LowRankReader(own, in: written.file).factors(0)
        guard other.left.length == outputs, other.right.length == inputs else {
            throw failure("has another shape", module.sourcePath)
        }
        let weights = [Double](repeating: module.scale, count: module.rank)
        let norm2 = LowRankSum(sum, weights: weights).squaredNorm
        sum.left.append(other.left)
        sum.right.append(other.right)
        let rest = LowRankSum(sum, weights: weights + [Double](repeating: -own.scale, count: other.rank)).squaredNorm
        return norm2 > 0 ? (rest / norm2).squareRoot() : rest.squareRoot()
    }

    /// Whether the factors that were read back are those of the source, byte for byte.
    private func isCopy(_ module: ConvertedModule, _ own: ModuleFacts) throws -> Bool {
        guard case .stored(let down) = module.down, case .stored(let up) = module.up else { return false }
        for (a, b) in [(down, own.module.down), (up, own.module.up)] {
            guard a.dtype == b.dtype, a.byteCount == b.byteCount else { return false }
            guard try plan.adapter.file.read(a) == written.file.read(b) else { return false }
        }
        return true
    }

    private func compareVectors(_ module: ConvertedModule, _ own: ModuleFacts) throws {
        if let magnitude = module.magnitude {
            guard let other = own.module.magnitude, try values(magnitude, plan.adapter) == values(other, written) else {
                throw failure("has other magnitudes", module.sourcePath)
            }
        }
        if let bias = module.upBias {
            guard let other = own.module.upBias else { throw failure("has no bias of lora_B", module.sourcePath) }
            let (a, b) = (try values(bias, plan.adapter), try values(other, written))
            let isSame =
                a.count == b.count
                && zip(a, b).allSatisfy { one, two in
                    abs(one * module.scale - two * own.scale) <= FunctionComparison.tolerance * abs(one * module.scale)
                }
            guard isSame else { throw failure("has another bias of lora_B", module.sourcePath) }
        }
    }

    private func values(_ tensor: TensorInfo, _ adapter: Adapter) throws(Problem) -> [Double] {
        try TensorValues.doubles(adapter.file.read(tensor), tensor.dtype)
    }
}

extension ConvertPlan {
    /// Opens what was written, as the target's own reader sees it.
    func reopen(_ path: String) throws(Problem) -> Adapter {
        let written = try Adapter(path: path)
        guard let base else { return written }
        return try written.localized(for: base)
    }
}
