import Archives
import Console
import Digests
import Files
import Merging
import Problems
import Safetensors
import Tensors

/// Unpacking and testing.
struct UnpackRun {
    private let archive: Archive
    private let arguments: Arguments
    private let terminal: Terminal
    private let threads: Int
    private let selection: Selection
    private let started = Clock.now

    init(_ archive: Archive, _ arguments: Arguments, _ terminal: Terminal) throws {
        self.archive = archive
        self.arguments = arguments
        self.terminal = terminal
        threads = try arguments.int("threads", in: 1...1024) ?? Workers.processors
        selection = try Selection(archive, Array(arguments.operands.dropFirst()), rows: arguments.value("rows"))
    }

    // MARK: Test

    func test() throws -> Int32 {
        guard arguments.operands.count == 1 else {
            throw Problem(.usage, "names-with-test", "--test reads the whole archive, so it takes no names")
        }
        let isComplete = archive.baseName == nil || arguments.value("base") != nil
        let merged = isComplete ? try prepareBase(scratch: temporaryDirectory + "/adapter-unpack") : nil
        let (size, _) = try run(nil, checksParts: true, checksDigests: isComplete, merged?.files, label: "testing") {
            _ in
            nil
        }
        if !isComplete {
            terminal.report(
                Problem(
                    .warning, .incompatible, "needs-base", file: archive.path,
                    "was packed against a base, so its streams were checked, but no digests",
                    hint: "check all of it with --base BASE"))
        }
        if terminal.json {
            terminal.print(json: [
                "schema": "adapterkit.archive-test", "version": 1, "path": .string(archive.path), "sound": true,
                "complete": .bool(isComplete), "content": .string(archive.content),
            ])
        } else {
            terminal.print(
                "\(escaped(archive.path)): \(isComplete ? "sound" : "its streams are sound"): "
                    + "\(Humane.count(archive.items.count, "file")), \(Humane.bytes(size)) in \(Humane.duration(Clock.now - started))"
            )
        }
        return 0
    }

    private func run(
        _ paths: Set<String>?, checksParts: Bool, checksDigests: Bool = true, _ merged: BaseFiles?, label: String,
        to target: @escaping Unpacker.Target
    ) throws -> (size: Int, leavesSync: Bool) {
        let progress = Progress(terminal, label: label, totalBytes: Unpacker.size(archive, paths))
        defer { progress.finish() }
        let unpacker = Unpacker(
            archive, paths: paths, checksParts: checksParts, checksDigests: checksDigests, merged: merged
        ) { progress.advance(by: $0) }
        try unpacker.run(threads: threads, to: target)
        try checkInterrupted()
        return (unpacker.size, unpacker.leavesSync)
    }

    // MARK: Base

    /// Holds the base against its digests, before anything is written, and merges again where a recipe says so.
    private func prepareBase(scratch: String) throws -> (stage: StagedOutput, files: BaseFiles)? {
        let sources = archive.sources(of: selection.paths)
        guard !sources.isEmpty else { return nil }
        guard let base = archive.base else { throw needsBase }
        let checking = Progress(terminal, label: "checking base", totalBytes: sources.reduce(0) { $0 + $1.size })
        defer { checking.finish() }
        try base.check(sources, threads: threads) { checking.advance(by: $0) }
        checking.finish()
        guard archive.needsRecipe(selection.paths) else { return nil }
        let merging = Progress(terminal, label: "merging", totalBytes: nil)
        defer { merging.finish() }
        return try MergeRecipe.remake(archive, base: base.path, scratch: scratch, threads: threads) {
            merging.advance(by: $0)
        }
    }

    private var needsBase: Problem {
        Problem(
            .incompatible, "needs-base", file: archive.path,
            "was packed against the base '\(archive.baseName ?? "")', and cannot be unpacked without it",
            hint: "name it with --base BASE")
    }

    // MARK: Unpack

    func unpack() throws -> Int32 {
        let path = arguments.value("output") ?? ""
        if case .tensors(let list, let rows) = selection { return try unpack(list, rows, to: path) }
        let isFile = selection.isFile || (selection.isAll && archive.isFile)
        guard path != "-" else {
            guard isFile else {
                throw Problem(
                    .usage, "several-files", "the archive holds a directory, which cannot go to standard output",
                    hint: "name one file of it; --list shows them")
            }
            return try stream()
        }
        let paths = Set(archive.items.map(\.path))
        try StagedOutput.split(path)
        try requireSeparate(
            output: path, from: arguments.operands.prefix(1).filter { $0 != "-" } + arguments.values("base"))
        let shape: StagedOutput.Shape = isFile ? .file : .directory
        let replacing = arguments.flag("force")
        try StagedOutput.checkPlace(path: path, shape: shape, replacing: replacing, replaceable: paths)
        let merged = try prepareBase(scratch: path)
        let stage = try StagedOutput(path: path, shape: shape, replacing: replacing, replaceable: paths)
        try requireSpace(stage)
        let (size, leavesSync) = try run(selection.paths, checksParts: false, merged?.files, label: "unpacking") {
            item throws(Problem) in
            isFile
                ? try stage.create(lastComponent(of: path), size: item.size)
                : try stage.create(path: item.path, size: item.size)
        }
        if selection.isAll {
            for directory in archive.emptyDirectories {
                try stage.makeDirectory(directory.split(separator: "/").map(String.init))
            }
        }
        try stage.commit(syncsAll: leavesSync)
        tell(path, size, count: selection.paths?.count ?? archive.items.count { !$0.isInput })
        return 0
    }

    private func requireSpace(_ stage: StagedOutput) throws {
        let (size, free) = (Unpacker.size(archive, selection.paths), try stage.freeSpace())
        guard free >= size else {
            throw Problem(
                .io, "no-space", file: stage.path,
                "needs \(Humane.bytes(size)), but only \(Humane.bytes(free)) are free there",
                hint: "free \(Humane.bytes(size - free)), or choose an output on another disk")
        }
    }

    /// One file to standard output: unpacked and checked first, so that nothing wrong goes out.
    private func stream() throws -> Int32 {
        let merged = try prepareBase(scratch: temporaryDirectory + "/adapter-unpack")
        let spool = try OutputFile(temporaryFor: "standard output")
        let (size, _) = try run(selection.paths, checksParts: false, merged?.files, label: "unpacking") {
            item throws(Problem) in
            spool.grew(to: item.size)
            return spool
        }
        try StandardStreams.write(spool, count: size)
        return 0
    }

    private func tell(_ path: String, _ size: Int, count: Int) {
        let seconds = Clock.now - started
        if terminal.json {
            terminal.print(json: [
                "schema": "adapterkit.unpack", "version": 1, "archive": .string(archive.path), "output": .string(path),
                "files": .int(count), "bytes": .int(size), "content": .string(archive.content),
                "seconds": .double(seconds),
            ])
        } else {
            terminal.print(
                "\(escaped(path)): \(Humane.count(count, "file")), \(Humane.bytes(size)) in \(Humane.duration(seconds)), all digests right"
            )
        }
    }

    // MARK: Tensors

    private func unpack(
        _ list: [(file: SafetensorsFile, packed: PackedFile, tensor: TensorInfo)], _ rows: Range<Int>?, to path: String
    ) throws -> Int32 {
        let sources = list.compactMap { $0.packed.source(at: $0.file.header.dataStart + $0.tensor.begin) }
        if !sources.isEmpty {
            guard let base = archive.base else { throw needsBase }
            try base.check(sources, threads: threads) { _ in }
        }
        let pieces = try list.map { try piece($0.file, $0.packed, $0.tensor, rows) }
        let bytes = try Header.encode(
            tensors: pieces.map { ($0.name, $0.dtype, $0.shape, $0.bytes) }, metadata: [("format", "pt")])
        if path == "-" {
            try StandardStreams.write(bytes)
            return 0
        }
        try requireSeparate(output: path, from: arguments.operands.prefix(1).filter { $0 != "-" })
        try writeFile(bytes, to: path, replacing: arguments.flag("force"))
        if !terminal.json {
            terminal.print("\(escaped(path)): \(Humane.count(pieces.count, "tensor")), \(Humane.bytes(bytes.count))")
        } else {
            tell(path, bytes.count, count: 1)
        }
        return 0
    }

    private func piece(
        _ file: SafetensorsFile, _ packed: PackedFile, _ tensor: TensorInfo, _ rows: Range<Int>?
    ) throws -> (name: String, dtype: DType, shape: [Int], bytes: [UInt8]) {
        guard let rows else {
            let bytes = try file.read(tensor)
            if !bytes.isEmpty {
                try packed.requirePart(at: file.header.dataStart + tensor.begin, digest: SHA256.hex(bytes))
            }
            return (tensor.name, tensor.dtype, tensor.shape, bytes)
        }
        guard let count = tensor.shape.first, rows.upperBound <= count, tensor.byteCount % count == 0 else {
            throw Problem(
                .usage, "bad-rows", file: archive.path, tensor: tensor.name,
                "has \(tensor.shape.first ?? 0) rows, so \(rows.lowerBound):\(rows.upperBound) is no part of it",
                hint: "rows count from 0, and END is left out")
        }
        let size = tensor.byteCount / count
        let bytes = try file.read(tensor, bytes: rows.lowerBound * size..<rows.upperBound * size)
        return (tensor.name, tensor.dtype, [rows.count] + tensor.shape.dropFirst(), bytes)
    }
}

extension Selection {
    var isAll: Bool { if case .all = self { true } else { false } }
    var isFile: Bool { if case .file = self { true } else { false } }
}
