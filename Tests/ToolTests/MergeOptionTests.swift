import Fixtures
import Foundation
import Testing

/// What the options of adapter-merge do.
@Suite struct MergeOptionTests {
    private static let golden = Golden.path("linear-qv-bf16")
    private static let (base, adapter) = (golden + "/base", golden + "/adapter")
    private static let sharded = Golden.path("all-linear-sharded-bf16")

    @Test(arguments: [("float64", "F64"), ("float32", "F32"), ("float16", "F16"), ("bfloat16", "BF16")])
    func dtype(_ name: String, _ stored: String) throws {
        let scratch = try Scratch()
        let answer = Tools.merge(Self.base, [Self.adapter], scratch("out"), "--dtype", name)
        #expect(answer.status == 0, "\(answer.err)")
        let exact = try TensorFile(path: Self.golden + "/expected.safetensors")
        let base = try tensors(in: Self.base)
        let found = try tensors(in: scratch("out"))
        #expect(found.count == base.count)
        for (name, tensor) in found {
            #expect(tensor.dtype == stored)
            let values = try #require(exact[name]?.values ?? base[name]?.values)
            let wanted = TensorFile.Tensor(name, stored, tensor.shape, values).values
            let largest = wanted.map(\.magnitude).max() ?? 0
            let tolerance = stored == "F64" || stored == "F32" ? 1e-6 * largest : 0
            #expect(zip(tensor.values, wanted).allSatisfy { abs($0 - $1) <= tolerance }, "\(name)")
        }
        let config = try object(in: scratch("out/config.json"))
        let before = try object(in: Self.base + "/config.json")
        for key in ["dtype", "torch_dtype"] where before[key] != nil { #expect(config[key] as? String == name) }
        #expect(before["dtype"] != nil || before["torch_dtype"] != nil)
        let options = ["--merged", scratch("out")]
        #expect(Tools.verify(Self.base, Self.adapter, options: options).status == 0)
    }

    @Test(arguments: [("4KB", 4000), ("2500", 2500), ("1B", 1), ("1GB", 1_000_000_000)])
    func maxShardSize(_ size: String, _ bytes: Int) throws {
        let scratch = try Scratch()
        let answer = Tools.merge(
            Self.sharded + "/base", [Self.sharded + "/adapter"], scratch("out"), "--max-shard-size", size)
        #expect(answer.status == 0, "\(answer.err)")
        let names = Golden.names(in: scratch("out")).filter { $0.hasSuffix(".safetensors") }
        var map: [String: String] = [:]
        var total = 0
        for name in names {
            let file = try TensorFile(path: scratch("out/" + name))
            let size = file.tensors.reduce(0) { $0 + $1.bytes.count }
            #expect(size <= bytes || file.tensors.count == 1)
            total += size
            for tensor in file.tensors { map[tensor.name] = name }
        }
        #expect(map.count == (try tensors(in: Self.sharded + "/base").count))
        if names.count == 1 {
            #expect(names == ["model.safetensors"])
            #expect(!exists(scratch("out/model.safetensors.index.json")))
        } else {
            let digits = { (number: Int) in String(String(100_000 + number).dropFirst()) }
            #expect(names == (1...names.count).map { "model-\(digits($0))-of-\(digits(names.count)).safetensors" })
            let index = try object(in: scratch("out/model.safetensors.index.json"))
            #expect(index["weight_map"] as? [String: String] == map)
            #expect((index["metadata"] as? [String: Any])?["total_size"] as? Int == total)
        }
        #expect(names.count == [1: 21, 2500: 4, 4000: 3][bytes, default: 1])
        let verified = Tools.verify(
            Self.sharded + "/base", Self.sharded + "/adapter", options: ["--merged", scratch("out")])
        #expect(verified.status == 0, "\(verified.err)")
    }

    @Test func digests() throws {
        let scratch = try Scratch()
        let answer = Tools.merge(
            Self.sharded + "/base", [Self.sharded + "/adapter"], scratch("out"), "--digests", "--json")
        #expect(answer.status == 0, "\(answer.err)")
        let checked = Tools.shell("cd \"$1\" && sha256sum --strict -c SHA256SUMS", scratch("out"))
        #expect(checked.status == 0, "\(checked.out)\(checked.err)")
        #expect(checked.out.split(separator: "\n").count == Golden.names(in: scratch("out")).count - 1)
        let files = try #require(answer.json()["files"] as? [[String: Any]])
        let manifest = String(decoding: try bytes(of: scratch("out/SHA256SUMS")), as: UTF8.self)
        for file in files {
            let line = "\(file["sha256"] as? String ?? "")  \(file["name"] as? String ?? "")\n"
            #expect(manifest.contains(line))
        }
        let header = try TensorFile(path: scratch("out/model-00001-of-00003.safetensors")).metadata
        let text = try #require(header["adapterkit.base_sha256"])
        let recorded = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: String] ?? [:]
        #expect(recorded.count == 3)
        for (name, digest) in recorded {
            let sum = Tools.shell("sha256sum < \"$1\"", "\(Self.sharded)/base/\(name)").out
            #expect(sum.hasPrefix(digest + " "), "\(name)")
        }
    }

    @Test func provenance() throws {
        let scratch = try Scratch()
        let two = try Golden.Case("two-adapters-bf16")
        #expect(Tools.merge(two.base, two.adapters, scratch("out")).status == 0)
        let base = try TensorFile(path: two.base + "/model.safetensors")
        let metadata = try TensorFile(path: scratch("out/model.safetensors")).metadata
        #expect(base.metadata["format"] == "pt")
        #expect(metadata["format"] == "pt")
        #expect(
            metadata.keys.sorted() == ["adapterkit.adapters", "adapterkit.base", "adapterkit.version", "format"])
        let version = Tools.run("adapter-merge", ["--version"]).out
        #expect(version.contains(metadata["adapterkit.version"] ?? "?"))
        let text = Data((metadata["adapterkit.adapters"] ?? "").utf8)
        let adapters = try #require(JSONSerialization.jsonObject(with: text) as? [[String: Any]])
        #expect(adapters.map { $0["name"] as? String } == ["adapter", "adapter2"])
        #expect(adapters.map { $0["weight"] as? Double } == [0.5, -1.25])
        for (entry, name) in zip(adapters, ["adapter", "adapter2"]) {
            let script = "cd \"$1\" && sha256sum adapter_config.json adapter_model.safetensors | sha256sum"
            #expect(Tools.shell(script, "\(two.path)/\(name)").out.hasPrefix(entry["sha256"] as? String ?? "?"))
        }
        let lines = base.tensors.map {
            "\($0.name)\t\($0.dtype)\t\($0.shape.map(String.init).joined(separator: ","))\n"
        }
        try write(Array(lines.sorted().joined().utf8), to: scratch("lines"))
        let identity = try #require(metadata["adapterkit.base"])
        #expect(Tools.shell("LC_ALL=C sort \"$1\" | sha256sum", scratch("lines")).out.hasPrefix(identity + " "))
        let again = Tools.merge(scratch("out"), [two.adapters[0]], scratch("again"))
        #expect(again.status == 0, "\(again.err)")
        #expect(try TensorFile(path: scratch("again/model.safetensors")).metadata.count == 4)
    }

    @Test func dryRunWritesNothing() throws {
        let scratch = try Scratch()
        let answer = Tools.merge(Self.sharded + "/base", [Self.sharded + "/adapter"], scratch("out"), "--dry-run")
        #expect(answer.status == 0, "\(answer.err)")
        #expect(answer.out.contains("model-00001-of-00003.safetensors"))
        #expect(answer.out.contains("14 tensors to merge, 7 to copy as they are\n"))
        #expect(answer.out.hasSuffix("nothing was written\n"))
        let json = Tools.merge(Self.sharded + "/base", [Self.sharded + "/adapter"], scratch("out"), "-n", "--json")
        let document = try json.json()
        #expect(document["schema"] as? String == "adapterkit.merge-plan")
        #expect(document["threads"] as? Int != nil)
        #expect(scratch.names.isEmpty)
        #expect(Tools.merge(Self.sharded + "/base", [Self.sharded + "/adapter"], scratch("out")).status == 0)
        let sizes = try #require(document["files"] as? [[String: Any]])
        #expect(sizes.count == 3)
        for file in sizes {
            let found = try bytes(of: scratch("out/\(file["name"] as? String ?? "")")).count
            #expect(found == file["bytes"] as? Int)
        }
    }

    @Test func reportAndJSON() throws {
        let scratch = try Scratch()
        let answer = Tools.merge(
            Self.base, [Self.adapter], scratch("out"), "--json", "--report", scratch("report.json"))
        #expect(answer.status == 0, "\(answer.err)")
        let document = try answer.json()
        #expect(same(try object(in: scratch("report.json")), document))
        #expect(document["schema"] as? String == "adapterkit.merge")
        #expect(document["version"] as? Int == 1)
        #expect(document["output"] as? String == scratch("out"))
        let counts = try #require(document["tensors"] as? [String: Int])
        #expect(counts == ["merged": 4, "copied": try tensors(in: Self.base).count - 4])
        let loss = try #require(document["loss"] as? [String: Any])
        let losses = try #require(loss["tensors"] as? [[String: Any]])
        let exact = try TensorFile(path: Self.golden + "/expected.safetensors")
        #expect(losses.compactMap { $0["name"] as? String }.sorted() == exact.tensors.map(\.name).sorted())
        for entry in losses {
            let name = try #require(entry["name"] as? String)
            let (before, wanted) = try (#require(tensors(in: Self.base)[name]?.values), #require(exact[name]?.values))
            let after = try #require(tensors(in: scratch("out"))[name]?.values)
            let delta = zip(wanted, before).map { $0 - $1 }
            let norm = { (values: [Double]) in values.reduce(0) { $0 + $1 * $1 }.squareRoot() }
            let error = norm(zip(zip(after, before), delta).map { $0.0 - $0.1 - $1 }) / norm(delta)
            #expect(entry["elements"] as? Int == before.count)
            #expect(entry["kind"] as? String == "delta")
            #expect(abs((entry["relative_size"] as? Double ?? 0) - norm(delta) / norm(before)) < 1e-6)
            #expect(abs((entry["relative_error"] as? Double ?? 0) - error) < 1e-5)
            let kept = zip(zip(before, after), delta).count { $0.0 == $0.1 && $1 != 0 }
            #expect(abs((entry["swallowed"] as? Double ?? 0) - Double(kept) / Double(delta.count { $0 != 0 })) < 1e-6)
        }
    }

    @Test func reportIsAnOutputLikeAnyOther() throws {
        let scratch = try Scratch()
        try write([1, 2, 3], to: scratch("thesis"))
        let refused = Tools.merge(Self.base, [Self.adapter], scratch("out"), "--report", scratch("thesis"))
        #expect(refused.status == 73, "\(refused.err)")
        #expect(refused.errors.first?.contains("\(scratch("thesis")): exists already") == true)
        let nowhere = Tools.merge(Self.base, [Self.adapter], scratch("out"), "--report", scratch("no/report"))
        #expect(nowhere.status == 73)
        for inside in ["out", "out/report.json"] {
            let both = Tools.merge(Self.base, [Self.adapter], scratch("out"), "--report", scratch(inside))
            #expect(both.status == 64, "\(both.err)")
        }
        #expect(scratch.names == ["thesis"])
        #expect(try bytes(of: scratch("thesis")) == [1, 2, 3])
        let forced = Tools.merge(Self.base, [Self.adapter], scratch("out"), "--report", scratch("thesis"), "--force")
        #expect(forced.status == 0, "\(forced.err)")
        #expect(try object(in: scratch("thesis"))["schema"] as? String == "adapterkit.merge")
        #expect(scratch.names == ["out", "thesis"])
    }
}
