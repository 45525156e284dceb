import MoruBase

extension Tokenizer {
    /// Reads the tokenizer of a Hugging Face directory: `tokenizer.json`, with the special tokens that
    /// `tokenizer_config.json` names, where there is one.
    ///
    /// - Returns: The tokenizer, and the configuration, which holds more (the chat template).
    /// - Throws: ``MoruError/Code/fileNotFound`` when there is no `tokenizer.json`, or what reading either file throws.
    package static func load(
        directory: String
    ) throws(MoruError) -> (tokenizer: Tokenizer, configuration: JSON?) {
        let path = directory + "/tokenizer.json"
        guard FileSystem.exists(path) else {
            throw MoruError(
                .fileNotFound, "\(path) does not exist",
                remedy: "fetch it with the model; transformers writes it with "
                    + "AutoTokenizer.from_pretrained(...).save_pretrained(...)")
        }
        let tokenizer = try Tokenizer(file: path)
        let configurationPath = directory + "/tokenizer_config.json"
        guard FileSystem.exists(configurationPath) else { return (tokenizer, nil) }
        let configuration = try JSON.parse(file: configurationPath)
        return (try tokenizer.applying(config: configuration, source: configurationPath), configuration)
    }
}
