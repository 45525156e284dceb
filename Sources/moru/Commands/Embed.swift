import ArgumentParser
import MoruBase
import MoruModels
import MoruTensor
import MoruTraining

/// `moru embed`: texts as vectors.
struct Embed: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Compute embeddings of texts.",
        usage: "moru embed <model> [<texts> ...] [<options>]",
        discussion: """
            Texts are arguments, lines of standard input, or lines or fields of a
            file. With sentence encoders, the cosine of two vectors measures how
            similar the texts are; other encoders and language models work too, but
            were not trained for it.

            Examples:
              moru embed all-minilm-l6-v2 'How do I get a refund?'
              moru embed all-minilm-l6-v2 --similarity 'a cat' 'a kitten' 'a car'
              moru embed all-minilm-l6-v2 --data mails.txt --output mails.npy
              moru embed all-minilm-l6-v2 --data tickets.csv --field body --json
              moru embed all-minilm-l6-v2 --adapter runs/embedder/adapter 'a cat'
            """)

    @OptionGroup var model: ModelArgument
    @Argument(help: "The texts; by default, each line of standard input.")
    var texts: [String] = []
    @Option(
        help: ArgumentHelp("An adapter trained with the objective embedding.", valueName: "directory"))
    var adapter: String?
    @Option(help: ArgumentHelp("A .txt, .jsonl, .json, .csv or .tsv file of texts.", valueName: "file"))
    var data: String?
    @Option(help: "The field or column of --data that holds the texts.")
    var field = "text"
    @Option(
        name: .shortAndLong, help: ArgumentHelp("Write a .jsonl, .npy or .safetensors file.", valueName: "file"))
    var output: String?
    @Option(help: "The name of one of the model's prompts, put before each text.")
    var prompt: String?
    @Option(
        help: ArgumentHelp(
            "How hidden states become a vector, where the model does not say it: mean, cls, max or lasttoken."))
    var pooling: SentenceModules.Pooling?
    @Flag(help: "Truncate texts that are too long for the model, instead of refusing them.")
    var truncate = false
    @Flag(help: "Print the cosine similarities of the texts instead of their vectors.")
    var similarity = false
    @Flag(help: "Print one line of JSON per text.")
    var json = false

    func validate() throws {
        if data != nil, !texts.isEmpty { throw ValidationError("Give either texts or --data.") }
        if similarity, output != nil || json { throw ValidationError("--similarity prints its own table.") }
    }

    func run() throws {
        Interruption.endsTidily()
        if let output { try VectorFile.check(output) }
        var embedder = try TextEmbedder.load(ModelArgument.path(of: model.model), adapter: adapter)
        if let pooling {
            let modules = SentenceModules(poolings: [pooling])
            embedder = TextEmbedder(embedder.model, modules: modules, adapter: embedder.adapter)
        }
        let texts = try TextRecords.read(texts, data: data, field: field).map(\.text)
        let progress = ProgressLine("embedding", unit: "texts")
        let isLong = texts.count > 256
        let result = try embedder.embed(texts, prompt: prompt, truncates: truncate) { done in
            if isLong { progress.update(done, of: texts.count) }
        }
        progress.finish()
        if similarity {
            Terminal.result(table(result.vectors, texts).text)
        } else if let output {
            try VectorFile.write(result.vectors, of: texts, to: output)
        } else {
            for (index, text) in texts.enumerated() {
                let line = VectorFile.line(result.vectors, of: text, at: index)
                let plain = (line["embedding"]?.array ?? []).map { $0.text() }.joined(separator: " ")
                Terminal.result(json ? line.text() : plain)
            }
        }
        report(result, embedder)
    }

    /// What was done, on standard error.
    private func report(_ result: TextEmbedder.Result, _ embedder: TextEmbedder) {
        let count = result.vectors.shape[0]
        var words = "\(count) \(count == 1 ? "text" : "texts"), \(result.tokenCount) tokens, "
        words += "\(embedder.dimensions) dimensions"
        if let output { words += ", written to \(output)" }
        Terminal.talk(words)
        if !embedder.isModelsOwn, pooling == nil {
            let name = embedder.modules.poolings.map(\.rawValue).joined(separator: ", ")
            Terminal.talk("note: the model does not say how hidden states become a vector; this is their \(name)")
        }
        if !result.truncated.isEmpty {
            let cut = result.truncated.count
            Terminal.talk(
                "note: \(cut) \(cut == 1 ? "text was" : "texts were") cut short at \(embedder.maximumTokens) tokens")
        }
    }

    private func table(_ vectors: Tensor, _ texts: [String]) -> Table {
        let rows = texts.indices.map { vectors.rows($0..<$0 + 1).values() }
        func dot(_ a: [Float], _ b: [Float]) -> Double { zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) } }
        var table = Table([""] + texts.indices.map { "\($0 + 1)" }, [.left] + texts.map { _ in .right })
        for (index, text) in texts.enumerated() {
            let cosines = rows.map { dot(rows[index], $0) / (dot(rows[index], rows[index]) * dot($0, $0)).squareRoot() }
            let short = text.count > 40 ? text.prefix(39) + "…" : text
            table.add(["\(index + 1) \(short)"] + cosines.map { Format.fixed($0, 3) })
        }
        return table
    }
}

extension SentenceModules.Pooling: ExpressibleByArgument {}
