// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "moru",
    targets: [
        .target(name: "MoruBase"),
        .testTarget(name: "MoruBaseTests", dependencies: ["MoruBase"]),
    ]
)
