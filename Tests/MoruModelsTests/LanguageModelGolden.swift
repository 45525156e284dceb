import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

/// A tiny language model with deterministic weights, and what another framework computes with it.
struct LanguageModelGolden {
    let variant: String
    let golden: JSON
    let configuration: JSONObject
    let tokens: [Int32]
    /// The rows of the tokens whose logits are stored.
    let rows: [Int]
    let model: any LanguageModel

    /// Builds a variant of a file of goldens.
    ///
    /// - Parameter vocabulary: Another number of token vectors than the golden's.
    init(_ file: String, _ variant: String, vocabulary: Int? = nil) throws {
        let all = try Goldens.json(file)
        self.variant = variant
        golden = try #require(all["models"]?[variant])
        (tokens, rows) = (all["tokens"]?.ints.map(Int32.init) ?? [], all["rows"]?.ints ?? [])
        var configuration = try #require(golden["config"]?.object)
        if let vocabulary { configuration["vocab_size"] = .int(vocabulary) }
        self.configuration = configuration
        model = try LanguageModels.build(.object(configuration), source: variant, Weights(DeterministicWeights()))
    }

    /// Logits [N, V] in full precision.
    static func logits(_ model: any LanguageModel, _ tokens: [Int32]) -> Tensor {
        Runtime.withPrecision(.f32) { model.logits(model.hiddenStates(TokenBatch([tokens]))) }
    }

    /// The logits of all tokens; see ``logits(_:_:)``.
    var logits: Tensor { Self.logits(model, tokens) }

    /// Expects the stored rows of logits.
    ///
    /// - Parameter other: The model to be asked; this one by default.
    func expectLogits(
        of other: (any LanguageModel)? = nil, absolute: Float = 1e-4, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        try expectLogits(#require(golden["logits"]?.array), of: other, absolute: absolute, sourceLocation)
    }

    /// Expects some logits of the stored rows.
    func expectLogits(
        _ expected: [JSON], of other: (any LanguageModel)? = nil, absolute: Float = 1e-4,
        _ sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let logits = Self.logits(other ?? model, tokens)
        try #require(expected.count == rows.count && !rows.isEmpty, sourceLocation: sourceLocation)
        for (row, expected) in zip(rows, expected) {
            expectClose(
                logits.rows(row..<row + 1).values(), expected.floats, absolute: absolute, "\(variant) row \(row)",
                sourceLocation: sourceLocation)
        }
    }

    /// Expects the loss and every parameter's gradient.
    ///
    /// - Parameter loss: What is compared; the mean next-token loss by default.
    func expectGradients(
        sourceLocation: SourceLocation = #_sourceLocation,
        of loss: (any LanguageModel, TokenBatch) -> Tensor = meanLoss
    ) throws {
        let parameters = model.parameters
        try Runtime.withPrecision(.f32) {
            let (value, gradients) = valueAndGradients(of: parameters) { loss(model, TokenBatch([tokens])) }
            expectClose(
                [value.scalar], [Float(try #require(golden["loss"]?.double))], "loss", sourceLocation: sourceLocation)
            try GoldenGradients.expect(gradients, of: parameters, golden["gradients"], sourceLocation: sourceLocation)
        }
    }

    /// The mean loss of the next tokens of a batch of one sequence.
    static func meanLoss(_ model: any LanguageModel, _ batch: TokenBatch) -> Tensor {
        let hidden = model.hiddenStates(batch).rows(0..<batch.count - 1)
        return model.crossEntropy(hidden, Array(batch.tokens.dropFirst())) * (1 / Float(batch.count - 1))
    }

    /// Expects the hidden states and logits of the whole sequence from steps through a cache.
    func expectCachedSteps(absolute: Float = 1e-4, sourceLocation: SourceLocation = #_sourceLocation) {
        let whole = logits
        Runtime.withPrecision(.f32) {
            let cache = model.makeCache()
            var position = 0
            for count in [7, 1, 1, 12, 3] {
                var batch = TokenBatch()
                batch.append(tokens[position..<position + count], cache: cache)
                expectClose(
                    model.logits(model.hiddenStates(batch)), whole.rows(position..<position + count),
                    absolute: absolute, "\(variant) from \(position)", sourceLocation: sourceLocation)
                position += count
            }
            #expect(position == tokens.count && cache.count == tokens.count, sourceLocation: sourceLocation)
        }
    }
}

/// Gradients as goldens store them: each parameter's norm and first elements.
enum GoldenGradients {
    /// Expects gradients of exactly the parameters that a golden has.
    ///
    /// - Parameter negligible: A norm below which a gradient is nothing but rounding errors.
    static func expect(
        _ gradients: [Tensor], of parameters: [Parameter], _ golden: JSON?, negligible: Float = 0,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let expected = try #require(golden?.object, sourceLocation: sourceLocation)
        #expect(Set(expected.keys) == Set(parameters.map(\.path)), sourceLocation: sourceLocation)
        for (parameter, gradient) in zip(parameters, gradients) {
            let golden = try #require(expected[parameter.path], sourceLocation: sourceLocation)
            let norm = Float(try #require(golden["norm"]?.double, sourceLocation: sourceLocation))
            let isNothing = norm < negligible
            expectClose(
                [Float(gradient.sumOfSquares().squareRoot())], [norm], absolute: isNothing ? 1e-3 : 1e-5,
                relative: 1e-3, parameter.path, sourceLocation: sourceLocation)
            expectClose(
                Array(gradient.values().prefix(6)), golden["first"]?.floats ?? [],
                absolute: isNothing ? 1e-3 : 1e-3 * norm, relative: 1e-3, parameter.path,
                sourceLocation: sourceLocation)
        }
    }
}
