import Safetensors

/// Finds the tensors of a base by kohya's flattened names, which are ambiguous by themselves: every module of the base is
/// flattened in the same way and looked up.
struct FlattenedNames {
    /// How names of a base begin, by the part that they belong to, longest first: diffusers' directories, and files in the
    /// layouts of the original repositories.
    private static let baseParts: [(prefix: String, part: KohyaPrefix.Part)] = [
        ("unet.", .unet), ("transformer.", .unet), ("prior.", .unet), ("model.diffusion_model.", .unet),
        ("diffusion_model.", .unet), ("text_encoder_2.", .text2), ("text_encoder_3.", .text3),
        ("text_encoder.", .text1),
        ("conditioner.embedders.0.transformer.", .text1), ("conditioner.embedders.1.model.", .text2),
        ("cond_stage_model.transformer.", .text1), ("cond_stage_model.model.", .text1),
        ("text_encoders.clip_l.transformer.", .text1), ("text_encoders.clip_g.transformer.", .text2),
        ("text_encoders.t5xxl.transformer.", .text3), ("vae.", .any), ("first_stage_model.", .any),
    ]
    private var byName: [String: [(part: KohyaPrefix.Part, info: TensorInfo)]] = [:]
    private let hasParts: Bool

    /// Flattens the names of a base.
    init(_ base: Checkpoint) {
        var hasParts = false
        for entry in base.tensors {
            let name = entry.info.name
            guard let dot = name.lastIndex(of: ".") else { continue }
            let (module, parameter) = (name[..<dot], name[name.index(after: dot)...])
            let found = Self.baseParts.first { module.hasPrefix($0.prefix) }
            if found != nil { hasParts = true }
            let inner = found.map { module.dropFirst($0.prefix.count) } ?? module
            byName["\(Self.flat(inner)).\(parameter)", default: []].append((found?.part ?? .any, entry.info))
            // Versions of transformers differ in whether a text encoder's modules stand in a `text_model`.
            let isText = [.text1, .text2, .any].contains(found?.part ?? .any)
            if isText, inner.hasPrefix("text_model.") {
                byName["\(Self.flat(inner.dropFirst(11))).\(parameter)", default: []].append(
                    (found?.part ?? .any, entry.info))
            } else if isText, inner.hasPrefix("encoder.layers.") {
                byName["text_model_\(Self.flat(inner)).\(parameter)", default: []].append(
                    (found?.part ?? .any, entry.info))
            }
            // LyCORIS's names of a whole pipeline keep the component.
            if found != nil {
                byName["\(Self.flat(module)).\(parameter)", default: []].append((.any, entry.info))
            }
        }
        self.hasParts = hasParts
    }

    private static func flat(_ path: Substring) -> String { String(path.map { $0 == "." ? "_" : $0 }) }

    /// Looks `MODULE.PARAMETER` up, where MODULE is flattened.
    func find(_ name: String, fits: (TensorInfo) -> Bool) -> BaseNames.Answer {
        guard let own = KohyaPrefix.of(name) else { return .absent }
        let rest = String(name.dropFirst(own.text.count))
        var candidates = matches(rest, own.part)
        if candidates.isEmpty, let renamed = SGMNames.diffusersName(rest) { candidates = matches(renamed, own.part) }
        if candidates.isEmpty { return .absent }
        let fitting = candidates.filter(fits)
        if fitting.isEmpty { return .wrongShape(candidates) }
        return fitting.count == 1 ? .found(fitting[0]) : .ambiguous(fitting)
    }

    /// What a module is in the base where that is not one module of its own: several parts, in the order of their rows, or some
    /// rows of a larger one.
    func places(of path: String) -> [(weight: TensorInfo, rows: Range<Int>?)] {
        guard let own = KohyaPrefix.of(path) else { return [] }
        let rest = String(path.dropFirst(own.text.count))
        for names in FusedNames.parts(of: rest) {
            let found = names.map { matches("\(Self.flat($0[...])).weight", own.part) }
            if found.allSatisfy({ $0.count == 1 }) { return found.map { ($0[0], nil) } }
        }
        guard let place = FusedNames.openCLIP(rest), let dot = place.parameter.lastIndex(of: ".") else { return [] }
        let module = place.parameter[..<dot]
        let found = matches("\(Self.flat(module)).\(place.parameter[place.parameter.index(after: dot)...])", own.part)
        guard found.count == 1, found[0].shape.count == 2 else { return [] }
        guard let third = place.third else { return [(found[0], nil)] }
        let rows = found[0].shape[0] / 3
        return found[0].shape[0] % 3 == 0 ? [(found[0], third * rows..<(third + 1) * rows)] : []
    }

    private func matches(_ name: String, _ part: KohyaPrefix.Part) -> [TensorInfo] {
        let all = byName[name] ?? []
        let own = all.filter { part == .any || !hasParts || $0.part == part }
        var seen: Set<String> = []
        return own.map(\.info).filter { seen.insert($0.name).inserted }
    }
}
