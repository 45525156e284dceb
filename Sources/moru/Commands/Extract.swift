import ArgumentParser
import MoruBase
import MoruModels

/// `moru extract`: what is found in texts, and where.
struct Extract: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Extract names, amounts and the like from texts.",
        usage: "moru extract <model> [<text> ...] [<options>]",
        discussion: """
            The model is a token classifier in Hugging Face layout
            (AutoModelForTokenClassification), or a base model with an adapter trained by
            `moru tune` with the objective extraction. Tags such as B-NAME and I-NAME are
            joined into spans. Offsets count characters as Python does.

            Examples:
              moru extract ./invoices 'Pay 120 EUR to Kim Minji by 3 May.'
              moru extract smollm2-135m-instruct --adapter runs/invoices/adapter \\
                --data mails.jsonl --field body --output found.jsonl
              cat lines.txt | moru extract ./invoices --json
            """)

    @OptionGroup var options: LabellingOptions

    func run() throws {
        let model = try options.load()
        try options.run { texts in
            try model.extract(texts, truncates: options.truncate)
        } json: { spans in
            .array(
                spans.map { span in
                    [
                        "label": .string(span.label), "start": .int(span.start), "end": .int(span.end),
                        "text": .string(span.text), "score": .double(Double(span.score)),
                    ]
                })
        } show: { item, spans, isAlone in
            if !isAlone { Terminal.result(item.text) }
            if spans.isEmpty { return Terminal.result(isAlone ? "nothing found" : "  nothing found") }
            var table = Table(["LABEL", "START", "END", "SURE", "TEXT"], [.left, .right, .right, .right, .left])
            for span in spans {
                table.add(
                    span.label, "\(span.start)", "\(span.end)", Format.percent(Double(span.score)), span.text)
            }
            Terminal.result(table.text)
        }
    }
}
