import Files
import GGUF
import Problems
import Safetensors
import StrictJSON

/// Reads the file of an adapter in whatever dialect it is.
struct DialectReader {
    /// A file that was read.
    struct Opened {
        let reading: DialectReading
        /// The tensors in the form that all dialects have in common.
        let file: SafetensorsFile
        /// The tensors as the file itself has them.
        let storedTensors: [TensorInfo]
        /// Whether its method is read here, so that tensors are to be sorted into modules.
        var isReadable: Bool { reading.config.isReadable }
    }

    private let location: AdapterLocation
    private let base: Checkpoint?

    /// - Parameter base: the model, for a dialect that cannot be read in full without it.
    init(_ location: AdapterLocation, base: Checkpoint? = nil) {
        self.location = location
        self.base = base
    }

    func read() throws(Problem) -> Opened {
        let source = location.source
        if source.size >= 4, try GGUFFile.isGGUF(firstBytes: source.read(at: 0, count: 4)) { return try gguf(source) }
        let file = try SafetensorsFile(source)
        let config = location.config.flatMap { try? JSONValue.parse($0.bytes, allowNonFinite: true).object }
        // A config that cannot be read says by itself what is wrong with it.
        if let own = location.config, config == nil || config?["peft_type"] != nil { return try peft(file, own) }
        let finder = DialectFinder(names: file.header.tensors.map(\.name), config: config, path: source.path)
        let found = try finder.find()
        var reading: DialectReading
        switch found.dialect {
        case .peft:
            guard let own = location.config else { throw location.configAbsent }
            return try peft(file, own)
        case .kohya: reading = KohyaReader(file, why: found.why).read()
        case .diffusers: reading = DiffusersReader(file, why: found.why).read()
        case .mlx:
            guard let own = location.config, let config else { throw location.configAbsent }
            reading = MLXReader(file, config: config, configPath: own.path, base: base, why: found.why).read()
        case .adapters:
            guard let own = location.config, let config else { throw location.configAbsent }
            reading = AdaptersLibraryReader(file, config: config, configPath: own.path, why: found.why).read()
        case .gguf: throw Problem(.internalFault, "bad-dialect", file: source.path, "is no GGUF file")
        }
        return try translated(&reading, file)
    }

    private func gguf(_ source: any ByteSource) throws(Problem) -> Opened {
        let file = try GGUFFile(source)
        let reading = try GGUFReader(file, base: base).read()
        let stored = file.tensors.map { tensor in
            TensorInfo(
                name: tensor.name, dtype: tensor.type.dtype ?? .u8, shape: tensor.shape, begin: tensor.begin,
                end: tensor.begin + tensor.byteCount)
        }
        let translated = try TranslatedFile(reading.tensors.map(\.tensor), file: nil, source: source, metadata: nil)
        var full = reading
        full.config.moduleScales = reading.scales
        return Opened(reading: full, file: try SafetensorsFile(translated), storedTensors: stored)
    }

    private func peft(_ file: SafetensorsFile, _ own: (path: String, bytes: [UInt8])) throws(Problem) -> Opened {
        let config = try PEFTConfig(json: own.bytes, file: own.path)
        let tensors = file.header.tensors
        let why = "adapter_config.json says peft_type \(config.type)"
        if config.isReadable, PEFTKinds.reads(config.type) {
            var reading = PEFTKinds.read(file, config, configPath: own.path, why: why)
            return try translated(&reading, file)
        }
        let first = tensors.first { AdapterKey($0.name).role == .down }
        var reading = DialectReading(
            dialect: .peft, why: first.map { "\(why), and tensors are named like '\($0.name)'" } ?? why, config: config)
        if config.isReadable {
            reading.tensors = tensors.map { (TranslatedTensor($0), AdapterKey($0.name)) }
        } else {
            reading.problems = [OtherMethods.refusal(type: config.type, file: own.path)]
            reading.notes = OtherMethods.notes(config.fields)
        }
        return Opened(reading: reading, file: file, storedTensors: tensors)
    }

    private func translated(_ reading: inout DialectReading, _ file: SafetensorsFile) throws(Problem) -> Opened {
        reading.config.moduleScales.merge(reading.scales) { own, _ in own }
        let translated = try TranslatedFile(
            reading.tensors.map(\.tensor), file: file, source: file.file, metadata: file.header.metadata)
        return Opened(
            reading: reading, file: try SafetensorsFile(translated), storedTensors: file.header.tensors)
    }
}
