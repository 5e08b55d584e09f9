import Models
import Problems

/// Puts a model together from its weights and a plan: what is trained gets a place among the trained parameters.
struct ModelBuilder<T: Real> {
    let config: LlamaConfig
    let plan: TrainingPlan
    /// The values of a tensor of the base, of the shape that it must have; best in `place`, if there is such, so that there
    /// is no second copy.
    let load: (_ name: String, _ shape: [Int], _ place: Matrix<T>?) throws -> Matrix<T>
    private var trained: [Parameter<T>] = []
    private var linearCount = 0

    init(_ config: LlamaConfig, _ plan: TrainingPlan, load: @escaping (String, [Int], Matrix<T>?) throws -> Matrix<T>) {
        (self.config, self.plan, self.load) = (config, plan, load)
    }

    /// The model.
    ///
    /// - Parameter positions: the longest sequence that it will see.
    mutating func build(positions: Int) throws -> Llama<T> {
        let embedding = try base(
            LlamaNames.embedding, [config.vocabulary, config.hidden], isTrained: trainsWhole("embed_tokens", nil))
        let rotary = RotaryTable<T>(config.rotary, positions: positions + prefixLength)
        var blocks: [Block<T>] = []
        for layer in 0..<config.layers { blocks.append(try block(layer, rotary)) }
        let norm = try base(LlamaNames.finalNorm, [config.hidden], isTrained: trainsWhole("norm", nil))
        let head = try head(embedding)
        return Llama(
            config: config, plan: plan, embedding: Embedding(weight: embedding), blocks: blocks,
            norm: RMSNorm(weight: norm, epsilon: config.epsilon), head: Head(linear: head), trained: trained)
    }

    private var prefixLength: Int { plan.method == .prefix ? plan.prefixLength : 0 }

    /// Whether a tensor of the base itself is trained.
    private func trainsWhole(_ module: String, _ layer: Int?) -> Bool {
        switch plan.method {
        case .full:
            if let layer { return plan.layers.contains(layer) }
            return module == "norm" || plan.layers.count == config.layers
        case .lora:
            // PEFT takes a module by its last name in every layer; so does this, whatever --layers says.
            return plan.modulesToSave.contains(module)
        default: return false
        }
    }

    /// The head; where it is the embedding, one parameter serves both, unless only one of the two is trained.
    private mutating func head(_ embedding: Parameter<T>) throws -> Linear<T> {
        let isTrained = trainsWhole("lm_head", nil)
        if config.isTied, plan.method == .full || (!isTrained && !embedding.isTrained) {
            return Linear(weight: embedding, bias: nil, update: nil)
        }
        let shape = [config.vocabulary, config.hidden]
        let weight = try base(
            LlamaNames.head, shape, from: config.isTied ? LlamaNames.embedding : nil, isTrained: isTrained)
        return Linear(weight: weight, bias: nil, update: nil)
    }

    private mutating func add(
        _ name: String, _ shape: [Int], _ value: Matrix<T>, isTrained: Bool, layer: Int?
    ) -> Parameter<T> {
        let parameter = Parameter(name, shape, value, slot: isTrained ? trained.count : nil, layer: layer)
        if isTrained { trained.append(parameter) }
        return parameter
    }

    /// - Parameter place: the memory that the values are to be in, if there is such.
    private mutating func base(
        _ name: String, _ shape: [Int], from other: String? = nil, isTrained: Bool, layer: Int? = nil,
        in place: Matrix<T>? = nil
    ) throws -> Parameter<T> {
        let value = try load(other ?? name, shape, place)
        // Onto itself where it is in its place already.
        place?.copy(value)
        return add(name, shape, place ?? value, isTrained: isTrained, layer: layer)
    }

    private mutating func block(_ layer: Int, _ rotary: RotaryTable<T>) throws -> Block<T> {
        let path = LlamaNames.layer(layer)
        let inputNorm = try norm(path, "input_layernorm", layer)
        let projections = try joined(path, ["q_proj", "k_proj", "v_proj"].map { "self_attn.\($0)" }, layer)
        let attention = Attention<T>(
            heads: config.heads, keyValueHeads: config.keyValueHeads, size: config.headSize,
            window: config.window(ofLayer: layer), prefix: prefix(layer))
        let output = try linear(path, "self_attn.o_proj", layer)
        let outputBottleneck = bottleneck(path, "attention_adapters", layer)
        let mlpNorm = try norm(path, "post_attention_layernorm", layer)
        let gateAndUp = try joined(path, ["mlp.gate_proj", "mlp.up_proj"], layer)
        let down = try linear(path, "mlp.down_proj", layer)
        return Block(
            inputNorm: inputNorm, projections: projections, attention: attention, output: output,
            outputBottleneck: outputBottleneck, mlpNorm: mlpNorm, gateAndUp: gateAndUp, down: down,
            downBottleneck: bottleneck(path, "output_adapters", layer), rotary: rotary, offset: prefixLength)
    }

    /// Linear layers whose weights are rows of one matrix.
    private mutating func joined(_ path: String, _ modules: [String], _ layer: Int) throws -> JoinedLinear<T> {
        let shapes = modules.map { LlamaNames.shape(of: $0, config) ?? [] }
        let ranges = JoinedLinear<T>.ranges(shapes.map { $0[0] })
        let all = Matrix<T>(rows: ranges.last?.upperBound ?? 0, columns: config.hidden)
        var parts: [Linear<T>] = []
        for (module, range) in zip(modules, ranges) {
            parts.append(try linear(path, module, layer, in: all.rows(range)))
        }
        return JoinedLinear(parts, weight: all)
    }

    private mutating func norm(_ path: String, _ module: String, _ layer: Int) throws -> RMSNorm<T> {
        let weight = try base(
            "\(path).\(module).weight", [config.hidden], isTrained: trainsWhole(module, layer), layer: layer)
        return RMSNorm(weight: weight, epsilon: config.epsilon)
    }

    private mutating func linear(
        _ path: String, _ module: String, _ layer: Int, in place: Matrix<T>? = nil
    ) throws -> Linear<T> {
        let name = "\(path).\(module)"
        let short = TrainingPlan.shortName(module)
        let shape = LlamaNames.shape(of: module, config) ?? []
        let isTrained = trainsWhole(short, layer)
        let weight = try base("\(name).weight", shape, isTrained: isTrained, layer: layer, in: place)
        var bias: Parameter<T>?
        if LlamaNames.hasBias(module, config) {
            bias = try base("\(name).bias", [shape[0]], isTrained: isTrained, layer: layer)
        }
        linearCount += 1
        let isAdapted = plan.method == .lora && plan.layers.contains(layer) && plan.targets.contains(short)
        return Linear(weight: weight, bias: bias, update: isAdapted ? update(name, weight.value, layer) : nil)
    }

    /// A as PyTorch's `kaiming_uniform_(a=√5)` draws it, evenly between ±1/√in; B zero; m the norms of W's rows.
    private mutating func update(_ name: String, _ weight: Matrix<T>, _ layer: Int) -> LowRankUpdate<T> {
        let (outputs, inputs) = (weight.rows, weight.columns)
        var random = SeededNumbers(plan.seed, name)
        let bound = 1 / Double(inputs).squareRoot()
        let a = (0..<plan.rank * inputs).map { _ in T((2 * random.fraction() - 1) * bound) }
        let prefix = "base_model.model.\(name)"
        let down = add(
            "\(prefix).lora_A.weight", [plan.rank, inputs], Matrix(a, rows: plan.rank, columns: inputs),
            isTrained: true, layer: layer)
        let up = add(
            "\(prefix).lora_B.weight", [outputs, plan.rank], Matrix(rows: outputs, columns: plan.rank),
            isTrained: true, layer: layer)
        var magnitude: Parameter<T>?
        if plan.usesMagnitude {
            let norms = Matrix<T>(rows: 1, columns: outputs)
            LowRankUpdate.rowNorms(weight, down: down.value, up: up.value, scaling: plan.scaling, into: norms)
            magnitude = add("\(prefix).lora_magnitude_vector", [outputs], norms, isTrained: true, layer: layer)
        }
        return LowRankUpdate(
            down: down, up: up, magnitude: magnitude, scaling: plan.scaling, dropout: plan.dropout, number: linearCount)
    }

    /// D drawn with deviation 0.02, U and both biases zero, so that training begins with the base.
    private mutating func bottleneck(_ path: String, _ place: String, _ layer: Int) -> Bottleneck<T>? {
        guard plan.method == .bottleneck, plan.layers.contains(layer) else { return nil }
        let (size, hidden) = (plan.bottleneckSize, config.hidden)
        let name = "\(path).\(place)"
        var random = SeededNumbers(plan.seed, name)
        let values = (0..<size * hidden).map { _ in T(random.normal() * 0.02) }
        let down = Linear(
            weight: add(
                "\(name).down.weight", [size, hidden], Matrix(values, rows: size, columns: hidden), isTrained: true,
                layer: layer),
            bias: add("\(name).down.bias", [size], Matrix(rows: 1, columns: size), isTrained: true, layer: layer),
            update: nil)
        let up = Linear(
            weight: add(
                "\(name).up.weight", [hidden, size], Matrix(rows: hidden, columns: size), isTrained: true, layer: layer),
            bias: add("\(name).up.bias", [hidden], Matrix(rows: 1, columns: hidden), isTrained: true, layer: layer),
            update: nil)
        return Bottleneck(down: down, up: up)
    }

    private mutating func prefix(_ layer: Int) -> (keys: Parameter<T>, values: Parameter<T>)? {
        guard plan.method == .prefix else { return nil }
        let (rows, columns) = (plan.prefixLength, config.keyWidth)
        var random = SeededNumbers(plan.seed, "prefix \(layer)")
        let draw = { (name: String, random: inout SeededNumbers) in
            let values = (0..<rows * columns).map { _ in T(random.normal() * 0.02) }
            return (name, Matrix(values, rows: rows, columns: columns))
        }
        let (first, second) = (draw("keys", &random), draw("values", &random))
        let make = { (builder: inout ModelBuilder, part: (String, Matrix<T>)) in
            builder.add("prefix.\(layer).\(part.0)", [rows, columns], part.1, isTrained: true, layer: layer)
        }
        return (make(&self, first), make(&self, second))
    }
}
