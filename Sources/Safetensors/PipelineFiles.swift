import Files
import Problems
import StrictJSON

/// Finds and opens the components of a pipeline, as diffusers saves it: a directory with `model_index.json`.
///
/// Which components there are is told by the directory, never by the JSON.
struct PipelineFiles {
    static let indexName = "model_index.json"
    private static let pickles = [".bin", ".pt", ".pth", ".ckpt"]

    let directory: any Folder
    private(set) var config: JSONValue?
    /// The components with weights, by name.
    private(set) var parts: [(name: String, checkpoint: Checkpoint)] = []
    /// Names of the regular files beside the components' directories.
    private(set) var otherFiles: [String] = []
    private(set) var problems: [Problem] = []

    /// Takes what the directory holds; `nil` if it is no pipeline.
    init?(_ directory: any Folder) throws(Problem) {
        self.directory = directory
        let entries = try directory.entries()
        let files = entries.filter { $0.kind == .file }.map(\.name)
        guard files.contains(Self.indexName) else { return nil }
        var pickled: [String] = []
        for entry in entries where entry.kind == .directory {
            let folder = try directory.folder(entry.name)
            let names = try folder.entries().filter { $0.kind != .directory }.map(\.name)
            guard names.contains(where: { $0.hasSuffix(".safetensors") || $0.hasSuffix(".safetensors.index.json") })
            else {
                if names.contains(where: Self.isPickle) { pickled.append(entry.name) }
                continue
            }
            open(folder, entry.name)
        }
        if parts.isEmpty && problems.isEmpty {
            // Weights that lie beside it are those of a model that merely has such a file.
            if files.contains(where: { $0.hasSuffix(".safetensors") || Self.isPickle($0) }) { return nil }
            throw noWeights(pickled)
        }
        for name in pickled { noteUnread(name) }
        noteBeside(files)
        otherFiles = files.filter { !$0.hasSuffix(".safetensors") && $0 != Self.indexName }
        readConfig()
    }

    private static func isPickle(_ name: String) -> Bool { pickles.contains { name.hasSuffix($0) } }

    private mutating func open(_ folder: any Folder, _ name: String) {
        // A dot ends the component in a tensor's name.
        guard Directory.checkComponent(name), !name.utf8.contains(UInt8(ascii: ".")) else {
            problems.append(
                Problem(
                    .note, .malformed, "component-name", file: folder.path,
                    "has a dot in its name, so it is taken for no component"))
            return
        }
        do throws(Problem) {
            let part = Checkpoint(try CheckpointFiles(directory: folder, isComponent: true))
            problems += part.problems
            if !part.shards.isEmpty { parts.append((name, part)) }
        } catch {
            problems.append(error)
        }
    }

    private mutating func readConfig() {
        do throws(Problem) {
            let file = try directory.source(Self.indexName)
            do throws(Problem) {
                config = try JSONValue.parse(
                    try file.readAll(limit: CheckpointFiles.configLimit), allowNonFinite: true)
            } catch {
                throw error.at(file: file.path)
            }
        } catch {
            problems.append(error)
        }
    }

    private mutating func noteUnread(_ name: String) {
        problems.append(
            Problem(
                .note, .malformed, "pickled-component", file: directory.path(of: name),
                "holds its weights as Python pickles, which are never read here, so adapters cannot change it"))
    }

    /// Many pipelines come with a single file that has all of it once more.
    private mutating func noteBeside(_ files: [String]) {
        for name in files where name.hasSuffix(".safetensors") {
            problems.append(
                Problem(
                    .note, .malformed, "beside-components", file: directory.path(of: name),
                    "lies beside the components of a pipeline and is no part of it, so it is ignored"))
        }
    }

    private func noWeights(_ pickled: [String]) -> Problem {
        guard let first = pickled.first else {
            return Problem(
                .missing, "no-model", file: directory.path,
                "is a pipeline, but no directory in it holds .safetensors files",
                hint: "the download is incomplete: download it again")
        }
        return Problem(
            .malformed, "pickle", file: directory.path,
            "is a pipeline whose weights are Python pickles, as in '\(first.excerpt)': these can run code when they are "
                + "loaded, so they are never read here",
            hint:
                "convert it once where you trust it: python -c \"from diffusers import DiffusionPipeline as P; "
                + "P.from_pretrained('MODEL').save_pretrained('converted')\", with the pipeline's directory for MODEL")
    }
}
