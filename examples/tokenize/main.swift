// Text from standard input as the ids of a model's tokenizer, and back.
//
//     printf 'A chain is no stronger than its weakest link.' | swift run tokenize-example MODEL/tokenizer.json
//     printf '32 257 718' | swift run tokenize-example MODEL --decode
//
// MODEL is a tokenizer.json, or a folder that holds one. `--no-special` leaves out what the tokenizer puts around a text (or,
// with `--decode`, special tokens). With `--lines` each input line is a JSON string and gives one line of ids; with `--decode`
// as well, each line of ids gives one JSON string.

import Files
import Glibc
import Problems
import StrictJSON
import Tokenization

/// What the command line asks for.
struct Request {
    var model = ""
    var decodes = false
    var byLine = false
    var addsSpecial = true

    init?(_ arguments: some Sequence<String>) {
        for argument in arguments {
            switch argument {
            case "--decode": decodes = true
            case "--lines": byLine = true
            case "--no-special": addsSpecial = false
            default:
                guard model.isEmpty, !argument.hasPrefix("-") else { return nil }
                model = argument
            }
        }
        if model.isEmpty { return nil }
    }
}

func ids(_ text: String) throws(Problem) -> [Int] {
    var result: [Int] = []
    for word in text.split(whereSeparator: { $0 == " " || $0 == "\n" }) {
        guard let id = Int(word) else { throw Problem(.usage, "bad-id", "'\(word)' is no token id") }
        result.append(id)
    }
    return result
}

/// One text, or one line of ids, into the answer.
func answer(_ input: [UInt8], _ tokenizer: BytePairTokenizer, _ request: Request) throws(Problem) -> [UInt8] {
    guard request.decodes else {
        var text = input
        if request.byLine {
            guard let line = try JSONValue.parse(input).string else {
                throw Problem(.malformed, "bad-line", "a line is no JSON string")
            }
            text = Array(line.utf8)
        }
        let ids = try tokenizer.encode(text, addsSpecial: request.addsSpecial)
        return Array((ids.map(String.init).joined(separator: " ") + "\n").utf8)
    }
    let bytes = try tokenizer.decode(ids(String(decoding: input, as: UTF8.self)), skipsSpecial: !request.addsSpecial)
    guard request.byLine else { return bytes }
    return Array((JSONValue.string(String(decoding: bytes, as: UTF8.self)).encoded() + "\n").utf8)
}

func run(_ request: Request) throws(Problem) {
    // A folder may also hold a model whose vocabulary is bytes; TokenizerLoader knows, given the vocabulary's size.
    let isFile = request.model.hasSuffix(".json")
    let source: any ByteSource =
        isFile
        ? try InputFile(path: request.model) : try Directory(path: request.model).source(TokenizerLoader.fileName)
    let json = try source.readAll(limit: TokenizerLoader.sizeLimit)
    let tokenizer = try BytePairTokenizer(json: json, path: source.path)
    let input = try StandardStreams.spoolInput().readAll(limit: 1 << 30)
    guard request.byLine else { return try StandardStreams.write(try answer(input, tokenizer, request)) }
    var output: [UInt8] = []
    let lines = input.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    // Behind the last line feed there is no line.
    for line in lines.last?.isEmpty == true ? lines.dropLast() : lines[...] {
        output += try answer(Array(line), tokenizer, request)
    }
    try StandardStreams.write(output)
}

guard let request = Request(CommandLine.arguments.dropFirst()) else {
    print("usage: tokenize-example MODEL_OR_TOKENIZER_JSON [--decode] [--no-special] [--lines] < INPUT")
    exit(64)
}
do {
    try run(request)
} catch {
    let place = error.offset.map { " (byte \($0))" } ?? ""
    print("error: \(error.file.map { "\($0): " } ?? "")\(error.message)\(place) [\(error.code)]")
    if let hint = error.hint { print("hint: \(hint)") }
    exit(error.kind.exitCode)
}
