import ArgumentParser
import Foundation
import MoruBase
import MoruEngine
import MoruStore

/// The options of vLLM's server, and of KServe's Hugging Face server, that Moru acts on or that ask for what happens
/// anyway: their containers' arguments start Moru as they are. With dashes or underscores, as they have it.
///
/// What is not here is refused as any unknown option is.
struct ServeCompatibility: ParsableArguments {
    // MARK: - What is acted on

    @Option(name: .eitherWay("model", "model_dir"), help: .hidden)
    var model: String?
    @Option(name: .eitherWay("served-model-name", "model_name"), parsing: .upToNextOption, help: .hidden)
    var names: [String] = []
    @Option(name: .eitherWay("max-model-len", "max_length"), help: .hidden)
    var contextLength: Int?
    @Option(name: .eitherWay("max-num-seqs"), help: .hidden)
    var maximumSequences: Int?
    @Option(name: .eitherWay("max-num-batched-tokens"), help: .hidden)
    var tokenBudget: Int?
    @Option(name: .eitherWay("lora-modules"), parsing: .upToNextOption, help: .hidden)
    var modules: [String] = []
    @Option(name: .eitherWay("api-key"), help: .hidden)
    var apiKey: String?
    @Option(name: .eitherWay("http-port"), help: .hidden)
    var httpPort: Int?
    @Flag(name: .eitherWay("enable-log-requests"), help: .hidden)
    var logsRequests = false

    // MARK: - What happens anyway

    @Flag(name: .eitherWay("enable-lora"), help: .hidden)
    var enablesLoRA = false
    @Flag(name: .eitherWay("enable-prefix-caching"), help: .hidden)
    var sharesPrefixes = false
    @Flag(name: .eitherWay("enable-chunked-prefill"), help: .hidden)
    var cutsPrompts = false
    @Flag(name: .eitherWay("enable-auto-tool-choice"), help: .hidden)
    var choosesTools = false
    @Flag(name: .eitherWay("enforce-eager"), help: .hidden)
    var isEager = false
    @Flag(name: .eitherWay("trust-remote-code"), help: .hidden)
    var trusts = false
    @Flag(name: .eitherWay("disable-log-requests"), help: .hidden)
    var hidesRequests = false
    @Flag(name: .eitherWay("disable-log-stats"), help: .hidden)
    var hidesStatistics = false
    @Flag(name: .eitherWay("disable-uvicorn-access-log"), help: .hidden)
    var hidesAccess = false
    @Flag(name: .eitherWay("disable-frontend-multiprocessing"), help: .hidden)
    var isOneProcess = false
    @Option(name: .eitherWay("max-loras"), help: .hidden)
    var maximumLoRAs: Int?
    @Option(name: .eitherWay("max-lora-rank"), help: .hidden)
    var maximumRank: Int?
    @Option(name: .eitherWay("max-cpu-loras"), help: .hidden)
    var maximumCPULoRAs: Int?
    @Option(name: .eitherWay("gpu-memory-utilization"), help: .hidden)
    var deviceMemory: Double?
    @Option(name: .eitherWay("dtype"), help: .hidden)
    var dtype: String?
    @Option(name: .eitherWay("kv-cache-dtype"), help: .hidden)
    var cacheType: String?
    @Option(name: .eitherWay("load-format"), help: .hidden)
    var loadFormat: String?
    @Option(name: .eitherWay("tensor-parallel-size"), help: .hidden)
    var tensorParallel: Int?
    @Option(name: .eitherWay("pipeline-parallel-size"), help: .hidden)
    var pipelineParallel: Int?
    @Option(name: .eitherWay("data-parallel-size"), help: .hidden)
    var dataParallel: Int?
    @Option(name: .eitherWay("api-server-count"), help: .hidden)
    var serverCount: Int?
    @Option(name: .eitherWay("workers"), help: .hidden)
    var workers: Int?
    @Option(name: .eitherWay("backend"), help: .hidden)
    var backend: String?

    func validate() throws {
        for (name, value) in [
            ("tensor-parallel-size", tensorParallel), ("pipeline-parallel-size", pipelineParallel),
            ("data-parallel-size", dataParallel), ("api-server-count", serverCount), ("workers", workers),
        ] {
            guard let value, value != 1 else { continue }
            throw ValidationError("--\(name) is \(value), and Moru serves from one process; leave it out or use 1.")
        }
        try Self.check("dtype", dtype, ["auto", "bfloat16"])
        try Self.check("kv-cache-dtype", cacheType, ["auto", "bfloat16"])
        try Self.check("load-format", loadFormat, ["auto", "safetensors", "gguf"])
        try Self.check("backend", backend, ["auto", "huggingface", "vllm"])
        if let contextLength, contextLength < 2 {
            throw ValidationError("--max-model-len is \(contextLength); use 2 or more.")
        }
        for (name, value) in [
            ("max-loras", maximumLoRAs), ("max-lora-rank", maximumRank), ("max-cpu-loras", maximumCPULoRAs),
        ] {
            if let value, value < 1 { throw ValidationError("--\(name) is \(value); use 1 or more.") }
        }
        if let deviceMemory, !(deviceMemory > 0 && deviceMemory <= 1) {
            throw ValidationError("--gpu-memory-utilization is \(deviceMemory); use more than 0, up to 1.")
        }
        _ = try adapters()
    }

    private static func check(_ option: String, _ value: String?, _ known: [String]) throws {
        guard let value, !known.contains(value) else { return }
        let list = known.joined(separator: ", ")
        throw ValidationError("--\(option) is '\(value)', and Moru takes \(list); leave it out for its own choice.")
    }

    /// The adapters, as `name=directory` or `{"name", "path"}`.
    func adapters() throws -> [(name: String, directory: String)] {
        try modules.map { text in
            if let object = try? JSON.parse(text, source: "--lora-modules"), object.object != nil {
                guard let name = object["name"]?.string, let path = object["path"]?.string else {
                    throw ValidationError("--lora-modules \(text): an adapter has a 'name' and a 'path'.")
                }
                return (name, path)
            }
            let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else {
                throw ValidationError("--lora-modules \(text): write NAME=DIRECTORY.")
            }
            return (parts[0], parts[1])
        }
    }

    /// Changes how engines go about their work.
    func apply(to configuration: inout EngineConfiguration) {
        configuration.contextLength = contextLength
        if let maximumSequences { configuration.changeMaximumSequences(to: maximumSequences) }
        if let tokenBudget { configuration.tokenBudget = tokenBudget }
    }

    /// The model; where KServe puts it when only a name is given.
    var source: String? { model ?? (names.isEmpty ? nil : "/mnt/models") }

    /// The address to listen on: every one, as vLLM and KServe have it, where the server is started as theirs and the
    /// settings say nothing.
    func host(_ settings: Settings) -> String {
        let isSet = settings.values.contains { $0.key == .host && $0.origin != .standard }
        return source == nil || isSet ? settings.value(.host) : "0.0.0.0"
    }

    /// The key of clients: the option's, the settings', or the one that vLLM's server reads from the environment.
    func key(_ settings: Settings) -> String? {
        let variable = ProcessInfo.processInfo.environment["VLLM_API_KEY"]
        return apiKey ?? [settings.value(.apiKey), variable ?? ""].first { !$0.isEmpty }
    }
}

extension NameSpecification {
    /// An option's names with dashes and with underscores.
    fileprivate static func eitherWay(_ names: String...) -> NameSpecification {
        var all: [String] = []
        for name in names {
            for spelling in [name.replacing("_", with: "-"), name.replacing("-", with: "_")]
            where !all.contains(spelling) {
                all.append(spelling)
            }
        }
        return NameSpecification(all.map { .customLong($0) })
    }
}
