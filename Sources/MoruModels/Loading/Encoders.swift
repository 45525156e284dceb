import MoruBase
import MoruNN
import MoruTensor

/// The encoders that Moru has a definition of: models that read a whole text in both directions.
public enum Encoders {
    /// Their names, as `model_type` of `config.json` gives them.
    public static let architectures = BertConfiguration.modelTypes

    /// Builds the network that a `config.json` describes.
    ///
    /// - Parameter weights: The place of the network's parameters, below what a head's model calls them
    ///   (``prefix(of:source:)``).
    /// - Throws: ``MoruError/Code/modelUnsupported``, ``MoruError/Code/modelConfiguration``, or what the weights throw.
    public static func build(_ config: JSON, source: String, _ weights: Weights) throws(MoruError) -> any TextModel {
        let configuration = try configuration(config, source: source)
        if configuration.modelType == BertConfiguration.distilType { return try DistilBert(configuration, weights) }
        return try Bert(configuration, weights)
    }

    /// What the names of the network's parameters begin with in a model that has a head on it: `bert`, `distilbert`...
    ///
    /// - Throws: As ``build(_:source:_:)``.
    public static func prefix(of config: JSON, source: String) throws(MoruError) -> String {
        try configuration(config, source: source).prefix
    }

    private static func configuration(_ config: JSON, source: String) throws(MoruError) -> BertConfiguration {
        let reader = ConfigurationReader(json: config, source: source)
        guard let type = try reader.text("model_type") else { throw reader.missing("model_type") }
        guard architectures.contains(type) else {
            let nearest = nearestName(to: type, among: architectures).map { "; the nearest is \($0)" } ?? ""
            throw MoruError(
                .modelUnsupported, "\(source): the architecture \"\(type)\" is not supported",
                remedy: "supported encoders are \(architectures.joined(separator: ", "))\(nearest)")
        }
        return try BertConfiguration(json: config, source: source)
    }
}
