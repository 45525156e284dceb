// swift-tools-version: 6.2
import PackageDescription

// Floors: a target imports only targets above it in this list (docs/architecture.md; a test reads every import).
let strict: [SwiftSetting] = [.treatAllWarnings(as: .error), .enableUpcomingFeature("ExistentialAny")]

func floor(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies + ["MoruTestKit"], exclude: exclude, swiftSettings: strict)
}

func benchmark(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies, path: "Benchmarks/\(name)", swiftSettings: strict)
}

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let asyncHTTPClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let serviceLifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let serviceLifecycleTestKit = Target.Dependency.product(
    name: "ServiceLifecycleTestKit", package: "swift-service-lifecycle")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

let package = Package(
    name: "moru",
    products: [
        .executable(name: "moru", targets: ["moru"]),
        .library(name: "MoruTensor", targets: ["MoruTensor"]),
        .library(name: "MoruText", targets: ["MoruText"]),
        .library(
            name: "Moru",
            targets: ["MoruStore", "MoruModels", "MoruTraining", "MoruEngine", "MoruTrust", "MoruServer"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // Kernels are optimised even in debug builds: a model test would take minutes otherwise.
        .target(
            name: "CMoruKernels", cSettings: [.unsafeFlags(["-O3"])], linkerSettings: [.linkedLibrary("m")]),
        // The loops that `moru bench kernels` measures kernels against.
        .target(name: "CKernelCeiling", cSettings: [.unsafeFlags(["-O3"])]),
        floor("MoruBase"),
        floor("MoruTensor", ["CMoruKernels", "MoruBase"]),
        floor("MoruText", ["MoruBase"]),
        floor("MoruStore", ["MoruBase", crypto, asyncHTTPClient, nioCore, nioHTTP1, yams]),
        floor("MoruBench", ["CKernelCeiling", "MoruTensor"]),
        floor("MoruNN", ["MoruTensor"]),
        floor("MoruModels", ["MoruNN", "MoruText"]),
        floor("MoruTraining", ["MoruModels", yams]),
        floor("MoruEngine", ["MoruModels"]),
        floor("MoruTrust", ["MoruEngine", "MoruTraining"]),
        floor(
            "MoruServer",
            [
                "MoruEngine", asyncHTTPClient, hummingbird, httpTypes, logging, nioCore, nioHTTP1, serviceLifecycle,
                yams,
            ]),
        .executableTarget(
            name: "moru", dependencies: ["MoruBench", "MoruServer", "MoruStore", "MoruTrust", argumentParser, logging],
            swiftSettings: strict),

        .target(
            name: "MoruTestKit", dependencies: ["MoruModels"], path: "Tests/MoruTestKit", swiftSettings: strict),
        tests("ArchitectureTests", ["MoruBase"]),
        // The AMX kernels over emulated tiles, for the tests alone.
        .target(
            name: "CEmulatedTiles", dependencies: ["CMoruKernels"], path: "Tests/CEmulatedTiles",
            cSettings: [.unsafeFlags(["-O3"])]),
        tests("CMoruKernelsTests", ["CEmulatedTiles", "CMoruKernels"], exclude: ["Goldens"]),
        tests("MoruBaseTests", ["MoruBase"]),
        tests("MoruTensorTests", ["MoruTensor"], exclude: ["Goldens"]),
        tests("MoruTextTests", ["MoruText"], exclude: ["Goldens", "Templates/Goldens"]),
        tests("MoruStoreTests", ["MoruStore", crypto, nioCore, nioHTTP1, nioPosix]),
        tests("MoruBenchTests", ["MoruBench"]),
        tests("MoruNNTests", ["MoruModels"], exclude: ["Goldens"]),
        tests("MoruModelsTests", ["MoruModels"], exclude: ["Goldens"]),
        tests("MoruTrainingTests", ["MoruTraining"], exclude: ["Goldens"]),
        tests("MoruEngineTests", ["MoruEngine"], exclude: ["Goldens"]),
        tests("MoruTrustTests", ["MoruTrust"], exclude: ["Goldens"]),
        tests(
            "MoruServerTests", ["MoruServer", asyncHTTPClient, logging, nioCore, serviceLifecycleTestKit],
            exclude: ["Clients"]),
        // These run what the package builds: the program and the snippets.
        tests("CommandTests", ["moru", yams]),
        tests("ExamplesTests", ["MoruTrust"]),
        benchmark("EngineBenchmark", ["MoruEngine"]),
        benchmark("TokenizerBenchmark", ["MoruText"]),
        benchmark("TrainingBenchmark", ["MoruTraining"]),
    ],
    swiftLanguageModes: [.v6]
)
