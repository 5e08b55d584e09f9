import Adapters
import Problems
import Safetensors
import Tensors

/// What modules are called in the model, and which part of a pipeline they belong to.
extension ConvertPlan {
    /// The module under the name that the model has for it; several where the model keeps it in parts.
    func named(_ module: ConvertedModule) throws -> [ConvertedModule] {
        guard adapter.hasFlattenedNames else { return [try placed(module)] }
        var module = module
        // The same names need no base.
        if request.target == .kohya { return [module] }
        module.component = KohyaReader.component(of: module.path)
        let found = baseNames[module.sourcePath] ?? []
        if found.count > 1 { return try split(module).map(placed) }
        module.path = try dotted(module.path)
        return [try placed(module)]
    }

    /// One module for each part of the base, with the rows of B that belong to it.
    private func split(_ module: ConvertedModule) throws(Problem) -> [ConvertedModule] {
        let parts = updates.flatMap { update in
            update.terms.filter { $0.module == module.sourcePath }.map { (update, $0) }
        }.sorted { $0.1.left.offset < $1.1.left.offset }
        guard case .stored = module.up, module.magnitude == nil, parts.allSatisfy({ $0.1.rowRange == nil }) else {
            throw severed(module.sourcePath)
        }
        let values = try ConvertedModule.values(module.up, in: adapter.file)
        return parts.map { update, term in
            var part = module
            let (rows, rank) = (update.shape[0], module.rank)
            part.path = ParameterName.module(of: update.name)
            part.up = .computed(Array(values[term.left.offset..<term.left.offset + rows * rank]))
            part.upShape = [rows, rank]
            part.baseName = update.name
            return part
        }
    }

    private func severed(_ path: String) -> Problem {
        let found = baseNames[path] ?? []
        return Problem(
            .incompatible, "split-module", file: adapter.file.path,
            "'\(path)' is no module of its own in the base: it is, or is in, \(found.prefix(4).joined(separator: ", "))",
            hint: "use a base in the layout that the adapter was trained on")
    }

    /// The module with its component, and the shape of its weight.
    private func placed(_ module: ConvertedModule) throws(Problem) -> ConvertedModule {
        var module = module
        let first = module.path.split(separator: ".").first.map(String.init) ?? ""
        // A language model may have a part that is called 'transformer', too.
        let isPipeline = adapter.dialect == .diffusers || baseComponents.contains(first)
        if isPipeline, DialectFinder.components.contains(first), module.path.count > first.count + 1 {
            module.component = first
            module.path = String(module.path.dropFirst(first.count + 1))
        } else {
            module.component = request.component ?? module.component ?? ownComponent
        }
        if let name = module.baseName ?? baseNames[module.sourcePath]?.first, let shape = base?.lookup(name)?.info.shape
        {
            module.fit(shape)
        }
        if let component = module.component, request.target == .mlx || request.target == .gguf {
            throw Problem(
                .incompatible, "not-expressible", file: adapter.file.path, tensor: module.source?.module.down.name,
                "belongs to the '\(component)' of a pipeline, and \(target.name) adapters are for language models",
                hint: "convert to diffusers or kohya instead")
        }
        return module
    }

    private func dotted(_ path: String) throws(Problem) -> String {
        guard base != nil else {
            if let known = adapter.recordedModules[path] { return known }
            throw Problem(
                .incompatible, "needs-base", file: adapter.file.path,
                "names modules without dots, like '\(path)', which can be read in several ways",
                hint: "name the model that it was trained on with --base")
        }
        let found = baseNames[path] ?? []
        guard found.count == 1,
            !updates.contains(where: { update in
                update.terms.contains { $0.module == path && $0.rowRange != nil }
            })
        else { throw severed(path) }
        let name = ParameterName.module(of: found[0])
        // Only kohya's own names say what these are in another program.
        let originals = [
            "model.diffusion_model.", "diffusion_model.", "conditioner.", "cond_stage_model.", "double_blocks.",
            "single_blocks.", "joint_blocks.",
        ]
        if request.target != .kohya, let original = originals.first(where: name.hasPrefix) {
            throw Problem(
                .incompatible, "original-layout", file: adapter.file.path,
                "'\(path)' is '\(name)' in the base, a name of the original repository ('\(original)...') that "
                    + "\(target.name) adapters do not have",
                hint: "name the same model in diffusers' layout with --base")
        }
        return name
    }

    /// The component that a base of one component is.
    private var ownComponent: String? {
        let config = base?.config?.object
        if let name = config?["_class_name"]?.string {
            return name.contains("UNet") ? "unet" : name.contains("Transformer") ? "transformer" : nil
        }
        let architecture = config?["architectures"]?.array?.first?.string ?? ""
        return architecture.hasPrefix("CLIPTextModel") || architecture.hasPrefix("T5Encoder") ? "text_encoder" : nil
    }
}
