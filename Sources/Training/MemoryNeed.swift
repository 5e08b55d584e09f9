import Glibc
import Models
import Problems

/// The memory that a training takes at least: weights, and for what is trained a gradient for each thread and two moments.
///
/// Numbers are counted as Doubles, which no config makes overflow.
struct MemoryNeed {
    /// Numbers of the base.
    let base: Double
    /// Numbers of the base that are trained, and of what is trained beside it.
    let whole: Double
    let added: Double
    /// Threads, each of which sums gradients of its own.
    let threads: Int

    /// Numbers of the tables that turn positions.
    private let tables: Double

    /// The need of a plan, or without one of a base from nothing, all of which is trained.
    ///
    /// - Parameter positions: the longest sequence.
    init(_ config: LlamaConfig, _ plan: TrainingPlan?, positions: Int, threads: Int) {
        self.threads = threads
        let count = ParameterCount(config)
        base = count.all
        whole = plan.map { count.whole($0) } ?? base
        added = plan.map { count.added($0) } ?? 0
        tables = 1.5 * Double(positions) * Double(config.headSize)
    }

    /// Numbers that are trained.
    var trained: Double { whole + added }

    /// Bytes in float32.
    var bytes: Double { (base + added + tables + trained * Double(threads + 2)) * 4 }

    /// Bytes of memory that the machine has.
    static var available: Double { Double(sysconf(Int32(_SC_PHYS_PAGES))) * Double(sysconf(Int32(_SC_PAGESIZE))) }

    /// Refuses what the machine's memory cannot hold, before anything is allocated.
    ///
    /// - Parameters:
    ///   - path: what is named in the message.
    ///   - hint: what would need less.
    func check(_ path: String, available: Double = Self.available, hint: String) throws(Problem) {
        guard bytes > available else { return }
        throw Problem(
            .incompatible, "too-large", file: path,
            "needs at least \(Self.gigabytes(bytes)) of memory to train (\(Self.text(base)) parameters, "
                + "\(Self.text(trained)) of them trained, each with two moments and a gradient for each of \(threads) threads, "
                + "in float32), but the machine has \(Self.gigabytes(available))",
            hint: hint)
    }

    /// With one digit behind the point.
    private static func gigabytes(_ bytes: Double) -> String { "\((bytes / 1e8).rounded() / 10) GB" }

    /// All digits, as far as they are exact.
    private static func text(_ count: Double) -> String { Int(exactly: count).map(String.init) ?? "\(count)" }
}

/// How many numbers a model of the Llama family has, and a plan trains.
private struct ParameterCount {
    private let config: LlamaConfig
    private let hidden: Double

    init(_ config: LlamaConfig) { (self.config, hidden) = (config, Double(config.hidden)) }

    private var layers: Double { Double(config.layers) }
    private var embedding: Double { Double(config.vocabulary) * hidden }

    /// (out, in) of a linear module, by its path or its short name.
    private func shape(_ module: String) -> (outputs: Double, inputs: Double) {
        let path = LlamaNames.linear.first { $0 == module || TrainingPlan.shortName($0) == module } ?? module
        let shape = LlamaNames.shape(of: path, config) ?? [0, 0]
        return (Double(shape[0]), Double(shape[1]))
    }

    /// One module of a block, with its bias.
    private func module(_ path: String) -> Double {
        let (outputs, inputs) = shape(path)
        return outputs * inputs + (LlamaNames.hasBias(path, config) ? outputs : 0)
    }

    private var block: Double {
        LlamaNames.linear.reduce(Double(LlamaNames.norms.count) * hidden) { $0 + module($1) }
    }

    /// All numbers of the model.
    var all: Double { embedding * (config.isTied ? 1 : 2) + layers * block + hidden }

    /// Numbers of the model itself that are trained.
    func whole(_ plan: TrainingPlan) -> Double {
        switch plan.method {
        case .full: plan.layers.count == config.layers ? all : Double(plan.layers.count) * block + hidden
        case .lora: plan.modulesToSave.reduce(0) { $0 + saved($1) }
        default: 0
        }
    }

    private func saved(_ name: String) -> Double {
        switch name {
        case "embed_tokens", "lm_head": embedding
        case "norm": hidden
        case _ where LlamaNames.norms.contains(name): layers * hidden
        default: layers * module(LlamaNames.linear.first { TrainingPlan.shortName($0) == name } ?? name)
        }
    }

    /// Numbers that are trained beside the model.
    func added(_ plan: TrainingPlan) -> Double {
        let count = Double(plan.layers.count)
        switch plan.method {
        case .full: return 0
        case .prefix: return count * 2 * Double(plan.prefixLength) * Double(config.keyWidth)
        case .bottleneck:
            let size = Double(plan.bottleneckSize)
            return count * 2 * (2 * size * hidden + size + hidden)
        case .lora:
            return plan.targets.reduce(0) { sum, target in
                let (outputs, inputs) = shape(target)
                return sum + count * (Double(plan.rank) * (outputs + inputs) + (plan.usesMagnitude ? outputs : 0))
            }
        }
    }
}
