import Adapters
import Console
import Problems
import Safetensors

extension CheckpointFacts {
    /// The facts for a reader at a terminal.
    func lines(path: String) -> [String] {
        var sheet = FactSheet(title: "\(escaped(path)): \(escaped(title))")
        if checkpoint.config != nil, !traits.architectures.isEmpty {
            sheet.add("architecture", traits.architectures.joined(separator: ", "))
        }
        sheet.add("name", traits.name)
        let count = checkpoint.shards.count
        if count != 1 || checkpoint.index != nil {
            sheet.add("files", "\(Humane.count(count))" + (checkpoint.index.map { ", by \($0.name)" } ?? ""))
        }
        sheet.add("tensors", Humane.count(tensors.count))
        sheet.add("parameters", Humane.count(elementCount))
        sheet.add("size", dtypes.text)
        for part in components {
            sheet.add(
                part.name,
                [part.className, Humane.count(part.tensors, "tensor"), "\(Humane.count(part.elements)) parameters"]
                    .compactMap { $0 }.joined(separator: ", ") + ", " + part.dtypes.text)
        }
        if !checkpoint.isPipeline { sheet.add("layers", layers.text) }
        if isModel {
            let own = checkpoint.isPipeline ? nil : embedding
            sheet.add("vocabulary", own.map { "\(Humane.count($0.shape[0])) × \(Humane.count($0.shape[1]))" })
            sheet.add("output head", headText)
            sheet.add("quantised", quantization)
        } else if let dialect = adapterDialect {
            sheet.add("adapter", "the names are those of \(dialect), but no adapter_config.json lies beside the file")
        }
        let own = metadata.filter { !$0.key.hasPrefix("adapterkit.") }
        let pairs = own.prefix(6).map { "\($0.key)=\(Self.short($0.value))" }
        sheet.add(
            "metadata", (pairs + (own.count > 6 ? ["and \(own.count - 6) more"] : [])).joined(separator: ", "))
        if let merge {
            sheet.add("merged by", "adapter-merge \(merge.version)")
            sheet.add("from base", Self.short(merge.base))
            for adapter in merge.adapters {
                let weight = adapter.weight == 1 ? "" : " × \(plain(adapter.weight))"
                sheet.add("and adapter", "\(adapter.name)\(weight) (\(Self.short(adapter.digest)))")
            }
        }
        return sheet.lines
    }

    private var title: String {
        guard isModel else {
            let what = checkpoint.shards.count == 1 ? "safetensors file" : "safetensors files"
            return what + (tensors.isEmpty ? " without tensors" : "")
        }
        if checkpoint.isPipeline { return (pipelineClass.map { "\($0), a " } ?? "") + "pipeline" }
        return (partOf.map { "one of \($0) files of a " } ?? "") + (traits.modelType.map { "\($0) " } ?? "") + "model"
    }

    /// How many files the checkpoint has by the name of its only file, `model-00001-of-00005.safetensors`.
    private var partOf: Int? {
        guard checkpoint.directory == nil, let name = checkpoint.shards.first?.name,
            let range = name.ranges(of: "-of-").last
        else { return nil }
        return Int(name[range.upperBound...].prefix { $0.isNumber })
    }

    /// Whether there is an output head of its own; `nil` where the question makes no sense.
    private var headText: String? {
        guard embedding != nil, partOf == nil, !checkpoint.isPipeline else { return nil }
        if traits.isTied {
            return "tied to the embedding" + (head.map { ", yet stored (\($0.name))" } ?? "")
        }
        return head.map { "separate (\($0.name))" }
    }

    /// A long value's beginning.
    private static func short(_ text: String) -> String { text.count <= 24 ? text : text.prefix(16) + "..." }

    /// The members of `--json`, without lists and problems.
    var members: [(String, JSON)] {
        [
            ("type", checkpoint.isPipeline ? "pipeline" : isModel ? "model" : "tensors"),
            ("model_type", .optional(traits.modelType)),
            ("architectures", .array(traits.architectures.map(JSON.string))), ("name", .optional(traits.name)),
            ("files", .array(checkpoint.shards.map { .string($0.file.path) })),
            ("index", .optional(checkpoint.index?.name)), ("tensor_count", .int(tensors.count)),
            ("parameters", .int(elementCount)), ("bytes", .int(byteCount)), ("dtypes", dtypes.json),
            ("layers", layers.json),
            (
                "embedding",
                embedding.map {
                    ["name": .string($0.name), "vocabulary": .int($0.shape[0]), "dimension": .int($0.shape[1])]
                } ?? .null
            ),
            ("head", .optional(head?.name)), ("tied", isModel ? .bool(traits.isTied) : .null),
            ("quantization", .optional(quantization)), ("adapter_dialect", .optional(adapterDialect)),
            ("metadata", .object(metadata.map { ($0.key, .string($0.value)) })), ("merge", merge?.json ?? .null),
        ] + (checkpoint.isPipeline ? pipelineMembers : [])
    }
}

extension CheckpointFacts {
    /// What `--json` says of a pipeline besides.
    private var pipelineMembers: [(String, JSON)] {
        let parts = components.map { part -> JSON in
            [
                "name": .string(part.name), "class": .optional(part.className), "tensor_count": .int(part.tensors),
                "parameters": .int(part.elements), "dtypes": part.dtypes.json,
            ]
        }
        return [("pipeline_class", .optional(pipelineClass)), ("components", .array(parts))]
    }
}

extension RecordedMerge {
    var json: JSON {
        [
            "version": .string(version), "base": .string(base),
            "base_files": .object(baseFiles.map { ($0.name, .string($0.digest)) }),
            "adapters": .array(
                adapters.map { ["name": .string($0.name), "sha256": .string($0.digest), "weight": .double($0.weight)] }),
        ]
    }
}

/// Tensors as they lie in their files.
struct TensorList {
    private var rows: [(info: TensorInfo, file: SafetensorsFile, name: String?)]

    init(_ facts: AdapterFacts) { rows = facts.adapter.storedTensors.map { ($0, facts.adapter.file, nil) } }

    init(_ facts: CheckpointFacts) {
        let shards = facts.checkpoint.shards
        rows = facts.checkpoint.tensors.map { entry in
            (entry.info, shards[entry.shard].file, shards.count > 1 ? shards[entry.shard].name : nil)
        }
    }

    var table: Table {
        let hasFiles = rows.contains { $0.name != nil }
        var table = Table(
            columns: [("tensor", .name), ("dtype", .left), ("shape", .left), ("bytes", .right), ("offset", .right)]
                + (hasFiles ? [("file", .left)] : []))
        for (info, file, name) in rows {
            table.add(
                [
                    info.name, info.dtype.rawValue, plain(info.shape), Humane.count(info.byteCount),
                    String(file.header.dataStart + info.begin),
                ] + (hasFiles ? [name ?? ""] : []))
        }
        return table
    }

    var documents: [JSON] {
        rows.map { info, file, _ in
            [
                "name": .string(info.name), "dtype": .string(info.dtype.rawValue),
                "shape": .array(info.shape.map(JSON.int)), "bytes": .int(info.byteCount),
                "offset": .int(file.header.dataStart + info.begin), "file": .string(file.path),
            ]
        }
    }
}
