import Foundation
import MoruBase
import MoruEngine
import MoruNN

/// A model under the name that clients ask for. Each adapter is a model of its own on the engine of its base.
public struct ServedModel: Sendable {
    /// The name.
    public let name: String
    /// When it was made, in seconds since 1970.
    public let created: Int
    /// What generates.
    public let generator: TextGenerator
    /// The adapter that acts on its requests.
    public let adapter: (any Adapter)?
    /// Tells apart models whose answers may differ, as `system_fingerprint`.
    let fingerprint: String

    /// Makes a model.
    public init(
        name: String, created: Date = Date(), generator: TextGenerator, adapter: (any Adapter)? = nil
    ) {
        self.name = name
        self.created = Int(created.timeIntervalSince1970)
        self.generator = generator
        self.adapter = adapter
        let pretrained = generator.pretrained
        let identity = [
            pretrained.path, pretrained.storageDescription, pretrained.model.configurationJSON.text(),
            adapter.map { "\(name) \(JSON.object($0.peftConfiguration).text(sortedKeys: true))" } ?? "",
        ]
        // FNV-1a
        let hash = identity.joined(separator: "\n").utf8
            .reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        fingerprint = "fp_" + String(hash, radix: 16)
    }

    /// The most tokens of a prompt and its answer together.
    var contextLength: Int { generator.engine.contextLength - (adapter?.virtualTokenCount ?? 0) }

    /// Whether two models share an engine.
    func isOnSameEngine(as other: ServedModel) -> Bool { generator.engine === other.generator.engine }
}
