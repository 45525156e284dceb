import MoruBase

/// What the inputs of a request give a model to read: texts, or the token ids of texts.
enum InferenceTexts: Sendable, Hashable {
    case texts([String])
    case tokens([[Int32]])

    /// The names that texts go by: Moru's own, those of Triton's generate extension and of completions, and the one that
    /// KServe's Hugging Face server gives them.
    static let textNames = ["text", "text_input", "prompt", "input-0"]

    /// Reads the inputs.
    ///
    /// Token ids of several texts (`input_ids`) may be padded, where `attention_mask` says with a 0 what is padding.
    ///
    /// - Throws: ``APIError`` when there is nothing to read, or something that the model does not.
    init(_ inputs: [InferenceTensor]) throws(APIError) {
        for input in inputs where !(Self.textNames + ["input_ids", "attention_mask"]).contains(input.name) {
            throw .wrongValue(
                "\(input.path).name", "is '\(input.name)', and the model reads 'text', or token ids as 'input_ids'")
        }
        let texts = inputs.filter { Self.textNames.contains($0.name) }
        let ids = inputs.first { $0.name == "input_ids" }
        let mask = inputs.first { $0.name == "attention_mask" }
        switch (texts.first, ids) {
        case (let text?, nil) where texts.count == 1 && mask == nil: self = .texts(try text.texts())
        case (nil, let ids?): self = .tokens(try Self.tokens(ids, mask))
        case (nil, nil): throw .missing("inputs")
        default: throw .wrongValue("inputs", "has more than the model reads; send one input with texts or token ids")
        }
        guard count > 0 else { throw .wrongValue("inputs", "has no texts") }
    }

    /// The number of texts.
    var count: Int {
        switch self {
        case .texts(let texts): texts.count
        case .tokens(let rows): rows.count
        }
    }

    private static func tokens(_ ids: InferenceTensor, _ mask: InferenceTensor?) throws(APIError) -> [[Int32]] {
        if let mask, mask.shape != ids.shape {
            throw .wrongValue("\(mask.path).shape", "is \(mask.shape), and that of 'input_ids' is \(ids.shape)")
        }
        let masks = try mask?.rows()
        var rows: [[Int32]] = []
        for (number, row) in try ids.rows().enumerated() {
            var tokens: [Int32] = []
            for (place, id) in row.enumerated() where masks?[number][place] != 0 {
                guard let token = Int32(exactly: id), token >= 0 else {
                    throw .wrongValue(ids.path, "has \(id), which is not a token id")
                }
                tokens.append(token)
            }
            rows.append(tokens)
        }
        return rows
    }
}
