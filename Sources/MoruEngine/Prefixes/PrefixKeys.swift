import Foundation
import MoruBase
import MoruModels
import MoruNN
import MoruTensor

/// Tells computations apart whose keys and values might differ in a bit: by the weights, the adapter, the format of the
/// cache, and what computes them.
struct PrefixKeys {
    private let model: any LanguageModel
    private let layout: CacheLayout
    private var base: ContentDigest
    private var families: [Int: ContentDigest] = [:]

    init(_ model: any LanguageModel, _ layout: CacheLayout) {
        (self.model, self.layout) = (model, layout)
        base = Self.digest(model, layout)
    }

    /// Looks at the weights again, which have changed.
    mutating func renew() { self = PrefixKeys(model, layout) }

    /// What computes the sequences of a family, those of one adapter.
    mutating func computation(of family: Int, _ adapter: (any Adapter)?) -> ContentDigest {
        if let known = families[family] { return known }
        var hash = ContentHash()
        hash.add(base)
        if let adapter {
            hash.add(JSON.object(adapter.peftConfiguration).text(sortedKeys: true))
            Self.add(adapter.parameters, to: &hash)
        }
        let digest = hash.digest
        families[family] = digest
        return digest
    }

    /// What computes the sequences of a family that has been asked for before.
    func computation(of family: Int) -> ContentDigest? { families[family] }

    private static func digest(_ model: any LanguageModel, _ layout: CacheLayout) -> ContentDigest {
        var hash = ContentHash()
        // Another build may round otherwise, another processor does
        hash.add(MoruVersion.current)
        hash.add(program)
        hash.add(Runtime.shared.kernelName)
        hash.add("\(Runtime.shared.defaultPrecision)")
        hash.add("\(layout.dtype) \(layout.layerCount) \(layout.kvHeads) \(layout.headDim) \(SequenceCache.pageTokens)")
        hash.add(model.configurationJSON.text(sortedKeys: true))
        add(model.parameters, to: &hash)
        return hash.digest
    }

    private static func add(_ parameters: [Parameter], to hash: inout ContentHash) {
        for parameter in parameters {
            let value = parameter.value
            hash.add("\(parameter.path) \(value.dtype) \(value.shape)")
            withExtendedLifetime(value) {
                hash.add(UnsafeRawBufferPointer(start: value.bytes, count: value.byteCount))
            }
        }
    }

    /// The program's file: its size and when it was made.
    private static let program: String = {
        var info = stat()
        guard stat("/proc/self/exe", &info) == 0 else { return ProcessInfo.processInfo.arguments.first ?? "" }
        return "\(info.st_size) \(info.st_mtim.tv_sec).\(info.st_mtim.tv_nsec)"
    }()
}
