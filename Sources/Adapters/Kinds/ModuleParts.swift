import Problems
import Safetensors
import Tensors

/// The tensors of one module by what they are called in it, for kinds that are made of several.
struct ModuleParts: Sendable {
    /// The module's path.
    let path: String
    /// The tensors.
    let tensors: [String: TensorInfo]
    /// The file's path, for messages.
    let file: String

    subscript(name: String) -> TensorInfo? { tensors[name] }

    /// All tensors, in the file's order.
    var all: [TensorInfo] { tensors.values.sorted { ($0.begin, $0.name) < ($1.begin, $1.name) } }

    /// A part that must be there and hold numbers.
    func need(_ name: String, dimensions: ClosedRange<Int> = 2...2) throws(Problem) -> TensorInfo {
        guard let tensor = tensors[name] else {
            throw Problem(
                .incompatible, "missing-half", file: file, tensor: all.first?.name,
                "has no matching '\(name)' in the file",
                hint: "the file is incomplete: save the adapter again, or download it again")
        }
        guard dimensions.contains(tensor.shape.count), !tensor.shape.contains(0), tensor.dtype.kernel != nil else {
            throw bad(tensor, "is \(tensor.dtype.rawValue) \(tensor.shape), which is no '\(name)'")
        }
        return tensor
    }

    /// Says what is wrong with a part.
    func bad(_ tensor: TensorInfo, _ message: String, hint: String? = nil) -> Problem {
        Problem(.incompatible, "bad-factor", file: file, tensor: tensor.name, message, hint: hint)
    }

    /// The product of sizes that belong to different tensors, and so may be beyond all bounds.
    func size(_ factors: Int..., of tensor: TensorInfo) throws(Problem) -> Int {
        var result = 1
        for factor in factors {
            let (product, overflow) = result.multipliedReportingOverflow(by: factor)
            if overflow || product > 1 << 48 { throw bad(tensor, "\(tensor.shape) makes a weight of impossible size") }
            result = product
        }
        return result
    }

    /// The same parts, where they lie in the translated file.
    func mapped(_ find: DialectReading.TensorLookup) -> ModuleParts {
        ModuleParts(path: path, tensors: tensors.mapValues { find($0.name) }, file: file)
    }
}

extension DialectReading {
    /// Adds changes that are made of the parts of one module, or what is wrong with them.
    ///
    /// - Parameter shared: parts that belong to other modules as well, and are added elsewhere.
    mutating func add(
        _ parts: ModuleParts, shared: Set<String> = [],
        _ make: @escaping (ModuleParts) throws(Problem) -> [ModuleChange]
    ) {
        let count: Int
        do throws(Problem) {
            count = try make(parts).count
        } catch {
            problems.append(error)
            return
        }
        for tensor in parts.all where !shared.contains(where: { parts[$0] == tensor }) {
            add(TranslatedTensor(tensor), parts.path, .changed)
        }
        for place in 0..<count {
            changes.append { find in
                guard let made = try? make(parts.mapped(find)), place < made.count else {
                    preconditionFailure("parts were checked when they were read")
                }
                return made[place]
            }
        }
    }
}
