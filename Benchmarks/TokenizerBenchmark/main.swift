// Times Moru's tokenizer against the Rust `tokenizers` library on one thread, alternating, over one megabyte of
// mixed text.
//
//     MORU_TEST_PYTHON=python3 swift run -c release TokenizerBenchmark MODEL [ROUNDS]
//
// MODEL is a tokenizer.json, or a GGUF file's `tokenizer.ggml.*` metadata as JSON (which
// scripts/goldens/make_tokenizers.py writes with --metadata). Without MORU_TEST_PYTHON only Moru is timed.

import Foundation
import MoruBase
import MoruText

/// A peer process that encodes the same text when it is told to.
final class Peer {
    private static let program = """
        import json, sys, time
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
        path, text = sys.argv[1], open(sys.argv[2], encoding="utf-8", newline="").read()
        start = time.perf_counter()
        document = json.load(open(path, encoding="utf-8"))
        if "tokenizer.ggml.tokens" in document:
            tokens = document["tokenizer.ggml.tokens"]
            merges = [tuple(merge.split(" ")) for merge in document["tokenizer.ggml.merges"]]
            tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
                pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
            tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token, kind in
                                          zip(tokens, document["tokenizer.ggml.token_type"]) if kind == 3])
        else:
            tokenizer = Tokenizer.from_file(path)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        print(time.perf_counter() - start, flush=True)
        for line in sys.stdin:
            start = time.perf_counter()
            encoding = tokenizer.encode(text)
            seconds = time.perf_counter() - start
            ids = encoding.ids
            checksum = 0
            for token in ids:
                checksum = (checksum * 31 + token) % 1000000007
            print(seconds, len(ids), checksum, flush=True)
        """

    private let process = Process()
    private let input = Pipe()
    private let output = Pipe()
    private(set) var loadSeconds = 0.0

    init(python: String, model: String, text: String) throws {
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [python, "-c", Self.program, model, text]
        var environment = ProcessInfo.processInfo.environment
        environment["TOKENIZERS_PARALLELISM"] = "false"
        environment["RAYON_NUM_THREADS"] = "1"
        process.environment = environment
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        loadSeconds = Double(readLine()) ?? .nan
    }

    private func readLine() -> String {
        var line: [UInt8] = []
        while let byte = try? output.fileHandleForReading.read(upToCount: 1)?.first, byte != 0x0A { line.append(byte) }
        return String(decoding: line, as: UTF8.self)
    }

    func round() -> (seconds: Double, count: Int, checksum: Int)? {
        input.fileHandleForWriting.write(Data("\n".utf8))
        let fields = readLine().split(separator: " ")
        guard fields.count == 3, let seconds = Double(fields[0]), let count = Int(fields[1]),
            let checksum = Int(fields[2])
        else { return nil }
        return (seconds, count, checksum)
    }

    func stop() {
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
    }
}

/// A megabyte of prose, code and Korean in which words recur as in real text: built from word lists by a fixed
/// generator, so that every run sees the same.
func mixedText(bytes wanted: Int) -> String {
    var state: UInt64 = 0x5EED
    func random(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(bound))
    }
    let syllables = [
        "an", "ber", "con", "der", "ex", "for", "ing", "ly", "ment", "ness", "over", "per", "re", "sion", "tion",
        "un", "ver", "work", "ab", "st", "ol", "ma", "ri", "te", "sha", "wn", "qu", "ee", "k", "o",
    ]
    let common =
        "the of and to in is that it was for on are with as his they at be this from have or by one had not but what all were when we there can an your which their said if do will each about how up out them then she many some so these would other into has more"
        .split(separator: " ").map(String.init)
    let rare = (0..<6000).map { _ in (0..<(1 + random(4))).map { _ in syllables[random(syllables.count)] }.joined() }
    let korean = (0..<2500).map { _ in
        String(
            String.UnicodeScalarView(
                (0..<(1 + random(4))).compactMap { _ in Unicode.Scalar(0xAC00 + random(900) * 12) }))
    }
    let code = ["let", "func", "return", "if", "else", "for", "while", "var", "self", "import", "struct", "guard"]
    func word(_ words: [String]) -> String { words[min(random(words.count), random(words.count), random(words.count))] }
    var text = ""
    while text.utf8.count < wanted {
        switch random(10) {
        case 0..<5:
            for index in 0..<(6 + random(14)) {
                var next = random(2) == 0 ? word(common) : word(rare)
                if index == 0 { next = next.capitalized }
                text += (index == 0 ? "" : " ") + next
                if random(25) == 0 { text += ["'s", "n't", "'ll", ","][random(4)] }
            }
            text += [". ", "? ", "!\n", ".\n\n"][random(4)]
        case 5..<7:
            for _ in 0..<(1 + random(4)) {
                text += String(repeating: "    ", count: random(4))
                text +=
                    "\(word(code)) \(word(rare))_\(word(rare)) = \(word(rare))(\(random(1000)), \"\(word(common))\");\n"
            }
        case 7:
            text += "\(random(100_000)) items at $\(random(1000)).\(random(100)), 2024-\(random(12))-\(random(28)). "
        default:
            for _ in 0..<(4 + random(8)) { text += word(korean) + ["을 ", "이 ", "는 ", "에서 ", " "][random(5)] }
            text += "습니다.\n"
        }
    }
    return text
}

func metadata(_ json: JSON) -> Metadata {
    var metadata: Metadata = [:]
    for (key, value) in json.object?.members.map({ ($0.key, $0.value) }) ?? [] {
        switch value {
        case .int(let value): metadata[key] = .int(value)
        case .double(let value): metadata[key] = .double(value)
        case .bool(let value): metadata[key] = .bool(value)
        case .string(let value): metadata[key] = .string(value)
        case .array(let values):
            if case .string = values.first {
                metadata[key] = .strings(values.compactMap(\.string))
            } else if values.allSatisfy({ $0.int != nil }) {
                metadata[key] = .ints(values.compactMap(\.int))
            } else {
                metadata[key] = .doubles(values.compactMap(\.double))
            }
        default: break
        }
    }
    return metadata
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

func format(_ value: Double, _ digits: Int = 2) -> String { String(format: "%.\(digits)f", value) }

var isDebug = false
assert({ isDebug = true }() == ())
guard !isDebug else {
    print("TokenizerBenchmark refuses a debug build: swift run -c release TokenizerBenchmark MODEL")
    exit(2)
}
guard CommandLine.arguments.count >= 2 else {
    print("usage: TokenizerBenchmark MODEL [ROUNDS]")
    exit(2)
}
let path = CommandLine.arguments[1]
let rounds = CommandLine.arguments.count > 2 ? Int(CommandLine.arguments[2]) ?? 15 : 15
let text = mixedText(bytes: 1 << 20)
let megabytes = Double(text.utf8.count) / 1e6
let textPath = "\(NSTemporaryDirectory())/moru-tokenizer-benchmark-\(ProcessInfo.processInfo.processIdentifier).txt"
try FileSystem.write(Array(text.utf8), to: textPath)
defer { FileSystem.remove(textPath) }

func seconds(_ body: () throws -> Void) rethrows -> Double {
    let elapsed = try ContinuousClock().measure(body)
    return Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
}

var document = JSON.null
let parsing = try seconds { document = try JSON.parse(file: path) }
let isMetadata = document["tokenizer.ggml.tokens"] != nil
let values = isMetadata ? metadata(document) : [:]
var building: [Double] = []
var loaded: Tokenizer?
for _ in 0..<7 {
    building.append(
        try seconds {
            loaded =
                isMetadata ? try Tokenizer(metadata: values, source: path) : try Tokenizer(json: document, source: path)
        })
}
guard let tokenizer = loaded else { exit(1) }
let cores = ProcessInfo.processInfo.processorCount
print(
    "\(cores) cores, release build, \(format(megabytes)) MB of text, \(rounds) rounds, vocabulary \(tokenizer.vocabularySize)"
)
let best = building.min() ?? .nan
print(
    "load: JSON \(format(parsing * 1e3, 1)) ms; tokenizer median \(format(median(building) * 1e3, 1)) ms, best \(format(best * 1e3, 1)) ms"
)

var ids: [Int32] = []
let first = seconds { ids = tokenizer.encode(text) }
print("first call: \(format(megabytes / first)) MB/s, \(ids.count) tokens")
let peer = try ProcessInfo.processInfo.environment["MORU_TEST_PYTHON"].map {
    try Peer(python: $0, model: path, text: textPath)
}
var own: [Double] = []
var cold: [Double] = []
var theirs: [Double] = []
for _ in 0..<rounds {
    own.append(seconds { ids = tokenizer.encode(text) })
    // A tokenizer that has seen no text yet: its cache of words is empty.
    let fresh = isMetadata ? try Tokenizer(metadata: values, source: path) : try Tokenizer(json: document, source: path)
    cold.append(seconds { ids = fresh.encode(text) })
    guard let peer else { continue }
    guard let round = peer.round() else {
        print("the peer failed; is the package tokenizers installed?")
        exit(1)
    }
    let checksum = ids.reduce(0) { ($0 * 31 + Int($1)) % 1_000_000_007 }
    guard round.count == ids.count, round.checksum == checksum else {
        print("the ids differ: \(ids.count) tokens here, \(round.count) there")
        exit(1)
    }
    theirs.append(round.seconds)
}
peer?.stop()

func report(_ name: String, _ times: [Double]) {
    let best = times.min() ?? .nan
    print("\(name): median \(format(megabytes / median(times))) MB/s, best \(format(megabytes / best)) MB/s")
}
report("Moru, warm", own)
report("Moru, cold", cold)
if let peer, let theirBest = theirs.min(), let ownBest = own.min(), let coldBest = cold.min() {
    report("tokenizers", theirs)
    print("tokenizers loads in \(format(peer.loadSeconds * 1e3, 1)) ms")
    print("ratio, warm: medians \(format(median(theirs) / median(own))), bests \(format(theirBest / ownBest))")
    print("ratio, cold: medians \(format(median(theirs) / median(cold))), bests \(format(theirBest / coldBest))")
    print("same ids: yes")
}
