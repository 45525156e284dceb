import ArgumentParser
import MoruBase
import MoruModels
import MoruText

/// `moru tokenize`: how a model reads a text.
struct Tokenize: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the tokens of a text.",
        discussion: """
            Examples:
              moru tokenize smollm2-135m-instruct -p 'Hello, world'
              moru tokenize smollm2-135m-instruct -p 'Hello, world' --json
            """)

    @OptionGroup var model: ModelArgument
    @Option(
        name: [.customShort("p"), .long], parsing: .unconditional,
        help: "The text; - reads it from standard input.")
    var prompt: String
    @Flag(help: "Omit the special tokens that the tokenizer adds around a text.")
    var raw = false
    @OptionGroup var output: OutputOptions

    func run() throws {
        let tokenizer = try loadTokenizer()
        let text = prompt == "-" ? try Terminal.readInput() : prompt
        let ids = tokenizer.encode(text, addSpecialTokens: !raw)
        let pieces = ids.map { tokenizer.piece($0) ?? "" }
        if output.json {
            let result: JSON = [
                "ids": .array(ids.map { .int(Int($0)) }), "pieces": .array(pieces.map { .string($0) }),
            ]
            Terminal.result(result.text())
            return
        }
        var table = Table(["id", "piece"], [.right])
        for (id, piece) in zip(ids, pieces) { table.add("\(id)", piece) }
        Terminal.result(table.text)
        Terminal.talk(ids.count == 1 ? "1 token" : "\(ids.count) tokens")
    }

    /// The model's tokenizer; that of a directory also where Moru has no definition of the network.
    private func loadTokenizer() throws -> Tokenizer {
        do {
            return try model.load().tokenizer
        } catch let error as MoruError where [.modelUnsupported, .modelKind].contains(error.code) {
            let directory = try ModelArgument.path(of: model.model)
            guard FileSystem.exists(directory + "/tokenizer.json") else { throw error }
            return try Tokenizer.load(directory: directory).tokenizer
        }
    }
}
