import Problems
import Safetensors
import StrictJSON

/// The names that an adapter's modules have in a model.
extension Adapter {
    /// The adapter in the names and the order of rows that `base` has, for dialects that have their own: GGUF, and MLX's
    /// experts.
    package func localized(for base: Checkpoint) throws(Problem) -> Adapter {
        dialect == .gguf || dialect == .mlx ? try Adapter(location, path: path, base: base) : self
    }

    /// The adapter with the module paths that a model of its own has, as PEFT writes them: with dots, and without the component of
    /// a pipeline.
    ///
    /// - Parameter base: the model, where the dialect's names alone are ambiguous.
    package func plain(for base: Checkpoint?) throws(Problem) -> Adapter {
        if dialect == .gguf {
            guard let base else { throw needsBase("is GGUF, whose names and order of rows only the base tells") }
            return try localized(for: base)
        }
        guard dialect == .kohya || dialect == .diffusers else { return self }
        var names: [String: String] = [:]
        let (known, flat) = (recordedModules, base.map(FlattenedNames.init))
        for module in modules {
            guard hasFlattenedNames else {
                names[module.path] = module.path
                continue
            }
            // With a base, its names count: flattening alone does not tell two paths apart.
            if case .found(let info)? = flat?.find(module.path + ".weight", fits: { _ in true }) {
                names[module.path] = ParameterName.module(of: info.name)
            } else if let own = known[module.path], base == nil {
                names[module.path] = own
            } else {
                throw needsBase(
                    "names modules without dots, like '\(module.path)', which no single module of a base explains")
            }
        }
        let parts = Set(names.values.compactMap { $0.split(separator: ".").first.map(String.init) })
        if parts.count == 1, let only = parts.first, DialectFinder.components.contains(only),
            dialect == .diffusers || base?.isPipeline == true
        {
            names = names.mapValues { String($0.dropFirst(only.count + 1)) }
        } else if parts.contains(where: DialectFinder.components.contains), parts.count > 1 {
            throw Problem(
                .incompatible, "several-components", file: source.path,
                "adapts " + parts.sorted().map { "'\($0)'" }.joined(separator: " and ")
                    + ", and a PEFT adapter is for one model",
                hint: "take one of them with adapter-convert --to peft --component NAME")
        }
        return try Adapter(location, path: path, base: base, renames: names)
    }

    private func needsBase(_ what: String) -> Problem {
        Problem(
            .incompatible, "needs-base", file: source.path, what,
            hint: "name the model that it was trained on with --base, or convert it first: adapter-convert --to peft")
    }

    /// Whether module paths are written with `_` for `.`, so that they are ambiguous.
    package var hasFlattenedNames: Bool { naming == .flattened }

    /// The paths behind flattened names, where the file records them, as `adapter-convert` does.
    package var recordedModules: [String: String] {
        guard let text = file.header.metadataValue("adapterkit.modules"),
            let object = (try? JSONValue.parse(Array(text.utf8)))?.object
        else { return [:] }
        // Only what flattens to the name itself: metadata must not send a module elsewhere.
        let flat = { (path: String) in String(path.map { $0 == "." ? "_" : $0 }) }
        let pairs = object.entries.compactMap { entry in entry.value.string.map { (entry.key, $0) } }
        return Dictionary(pairs.filter { $0.0.hasSuffix("_" + flat($0.1)) }) { own, _ in own }
    }
}
