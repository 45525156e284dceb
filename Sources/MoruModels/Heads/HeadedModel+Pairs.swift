import Foundation
import MoruBase
import MoruTensor
import MoruText

// Cross-encoders (Nogueira and Cho, 2019): a model with one output that reads two texts together and says how well the
// second answers the first, in the layout of sentence-transformers' `CrossEncoder`.
extension HeadedModel {
    /// Whether the model tells one number of a whole text, and so of a pair of texts.
    public var scoresPairs: Bool { configuration.place == .sequence && configuration.labels.count == 1 }

    /// Two texts as the model reads them together.
    ///
    /// - Parameter limit: The most tokens, the longer text being cut; nil for no limit.
    /// - Throws: ``MoruError/Code/tokenizerUnsupported`` for a tokenizer that does not say how two texts become one, or
    ///   ``MoruError/Code/modelUnsupported`` for one that has more types of tokens than the network.
    public func tokens(of first: String, _ second: String, limit: Int? = nil) throws(MoruError) -> TokenSequence {
        var sequence = try tokenizer.encodePair(first, second, limit: limit)
        // As in transformers, a network of one type or none is told of none
        let known = (base as? Bert)?.configuration.tokenTypeCount ?? 0
        if known <= 1 { sequence.types = [] }
        if let type = sequence.types.max(), Int(type) >= known {
            throw MoruError(
                .modelUnsupported,
                "\(trunk.path): the tokenizer has tokens of type \(type), the network knows \(known)",
                remedy: "restore the files that came with the model")
        }
        return sequence
    }

    /// How well pairs of texts fit. Each result is the same as of the pair alone.
    ///
    /// - Parameter truncates: Whether pairs longer than the model takes are cut.
    /// - Throws: ``MoruError/Code/headMissing`` for a model that does not score, ``MoruError/Code/textTooLong``, or as
    ///   ``tokens(of:_:limit:)``.
    public func score(_ pairs: [(String, String)], truncates: Bool = false) throws(MoruError) -> [Float] {
        let activation = try pairActivation
        var sequences: [TokenSequence] = []
        for (number, pair) in zip(1..., pairs) {
            let sequence = try tokens(of: pair.0, pair.1, limit: truncates ? contextLength : nil)
            guard sequence.ids.count <= contextLength else {
                throw MoruError(
                    .textTooLong, "pair \(number) has \(sequence.ids.count) tokens, the limit is \(contextLength)",
                    remedy: "shorten it, or have it cut")
            }
            sequences.append(sequence)
        }
        return logits(of: sequences).map { activation($0.values()[0]) }
    }

    /// What makes a score of the output: what `config.json` names, as sentence-transformers writes it, else the logistic
    /// function.
    ///
    /// - Throws: ``MoruError/Code/headMissing`` for a model that does not score, or ``MoruError/Code/modelUnsupported``.
    package var pairActivation: @Sendable (Float) -> Float {
        get throws(MoruError) {
            guard scoresPairs else {
                throw MoruError(
                    .headMissing,
                    "\(trunk.path) does not score pairs of texts: it has \(configuration.labels.count) "
                        + "outputs for each \(configuration.place == .token ? "token" : "text")",
                    remedy: "use a cross-encoder, which has one")
            }
            let config = trunk.configuration
            let name =
                config["sentence_transformers"]?["activation_fn"]?.string
                ?? config["sbert_ce_default_activation_function"]?.string ?? "Sigmoid"
            switch name.split(separator: ".").last {
            case "Sigmoid": return { 1 / (1 + exp(-$0)) }
            case "Identity": return { $0 }
            default:
                throw MoruError(
                    .modelUnsupported, "\(trunk.path): the activation function \(name) of its scores is not supported",
                    remedy: "supported are Sigmoid and Identity")
            }
        }
    }
}
