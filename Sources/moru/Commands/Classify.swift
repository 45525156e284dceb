import ArgumentParser
import MoruBase
import MoruModels

/// `moru classify`: which labels texts have.
struct Classify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Classify texts: labels with probabilities.",
        usage: "moru classify <model> [<text> ...] [<options>]",
        discussion: """
            The model is a classifier in Hugging Face layout
            (AutoModelForSequenceClassification), or a base model with an adapter trained by
            `moru tune` with the objective classification or regression.

            Examples:
              moru classify ./sentiment 'The parcel came late again.'
              moru classify smollm2-135m-instruct --adapter runs/sentiment/adapter \\
                'The parcel came late again.' 'Lovely, thank you!'
              moru classify ./sentiment --data mails.csv --field body -o mails.jsonl
              cat lines.txt | moru classify ./sentiment --json
            """)

    @OptionGroup var options: LabellingOptions

    func run() throws {
        let model = try options.load()
        let isNumber = model.configuration.problem == .regression
        try options.run { texts in
            try model.classify(texts, truncates: options.truncate)
        } json: { prediction in
            let scores = JSONObject(prediction.scores.map { ($0.label, .double(Double($0.score))) })
            if isNumber { return .object(scores) }
            return [
                "labels": .array(prediction.labels.map { .string($0) }), "scores": .object(scores),
            ]
        } show: { item, prediction, isAlone in
            func number(_ score: Float) -> String {
                isNumber ? Format.fixed(Double(score), 4) : Format.percent(Double(score))
            }
            if isAlone {
                var table = Table([isNumber ? "NAME" : "LABEL", isNumber ? "VALUE" : "PROBABILITY"], [.left, .right])
                for score in prediction.scores { table.add(score.label, number(score.score)) }
                Terminal.result(table.text)
                return
            }
            let told =
                isNumber
                ? prediction.scores
                : prediction.scores.filter { prediction.labels.contains($0.label) }
            let words = told.map { isNumber ? number($0.score) : "\($0.label) \(number($0.score))" }
            Terminal.result((words.isEmpty ? "(none)" : words.joined(separator: ", ")) + "\t" + item.text)
        }
    }
}
