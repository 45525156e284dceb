import ArgumentParser
import MoruEngine

/// How the engine goes about its work.
struct EngineOptions: ParsableArguments {
    @Option(
        name: .customLong("kv-cache"),
        help: ArgumentHelp("The format of the KV cache.", valueName: "format"))
    var cacheFormat: CacheFormat = .bf16
    @Option(
        help: ArgumentHelp(
            "Whether to draft tokens from earlier text; answers stay the same.", valueName: "kind"))
    var speculation: Speculation = .lookup

    /// The engine's settings.
    var configuration: EngineConfiguration {
        EngineConfiguration(speculation: speculation, cacheFormat: cacheFormat)
    }
}

extension CacheFormat: ExpressibleByArgument {}
extension Speculation: ExpressibleByArgument {}
