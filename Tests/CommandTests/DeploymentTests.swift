import Foundation
import MoruBase
import MoruTestKit
import Testing
import Yams

/// `deploy/`, and the options with which containers start the server.
@Suite(.serialized, .tags(.live)) struct DeploymentTests {
    private let home = TestNeeds.temporaryPath("home")
    private var moru: BuiltProgram {
        BuiltProgram(
            "moru",
            environment: ["MORU_HOME": home, "MORU_CONFIG": "", "HOME": home, "MORU_API_KEY": "", "MORU_HOST": ""])
    }

    private func yaml(_ name: String) throws -> Node {
        let root = (0..<3).reduce(#filePath) { path, _ in (path as NSString).deletingLastPathComponent }
        return try #require(try Yams.compose(yaml: try FileSystem.readText("\(root)/deploy/kserve/\(name)")))
    }

    private func withTinyModel(_ body: (String) throws -> Void) throws {
        let model = home + "/tiny"
        try TestModels.writeTinyDirectory(model)
        defer { FileSystem.remove(home) }
        try body(model)
    }

    /// What `curl` prints of a response, and its status; 0 where nobody answers.
    private func curl(_ url: String, _ arguments: [String] = []) throws -> (status: Int, json: JSON) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["curl", "-s", "-m", "20", "-w", "\n%{http_code}", url] + arguments
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        let lines = text.split(separator: "\n").map(String.init)
        let json = lines.count > 1 ? try? JSON.parse(lines[0], source: "response") : nil
        return (lines.last.flatMap { Int($0) } ?? 0, json ?? .null)
    }

    /// The status that a probe has in the end, or its last one after a minute.
    private func wait(for status: Int, at url: String) throws -> Int {
        var last = -1
        for _ in 0..<600 {
            last = try curl(url).status
            if last == status { break }
            Thread.sleep(forTimeInterval: 0.1)
        }
        return last
    }

    private func freePort() throws -> Int {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(listener, address, length) == 0 && getsockname(listener, address, &length) == 0
            }
        }
        try #require(result)
        return Int(UInt16(bigEndian: address.sin_port))
    }

    @Test func theServingRuntimeStartsTheServer() throws {
        let (runtime, service) = (try yaml("serving-runtime.yaml"), try yaml("inference-service.yaml"))
        let container = try #require(runtime["spec"]?["containers"]?[0])
        #expect(container["name"]?.string == "kserve-container")
        #expect(runtime["spec"]?["protocolVersions"]?.array().compactMap(\.string) == ["v2", "openai"])
        #expect(service["spec"]?["predictor"]?["model"]?["runtime"]?.string == runtime["metadata"]?["name"]?.string)
        let name = try #require(service["metadata"]?["name"]?.string)
        let program = container["command"]?.array().compactMap(\.string) ?? []
        #expect(program.first == "moru")
        let given =
            (container["args"]?.array() ?? []) + (service["spec"]?["predictor"]?["model"]?["args"]?.array() ?? [])
        try withTinyModel { model in
            let port = try freePort()
            // KServe puts the name in; the place of the model and the port are the container's
            let replaced = [
                "--port=8080": "--port=\(port)", "--model=/mnt/models": "--model=\(model)",
                "--drain-delay=5": "--drain-delay=1",
            ]
            let arguments = given.compactMap(\.string).map {
                (replaced[$0] ?? $0).replacing("{{.Name}}", with: name)
            }
            for value in replaced.values { #expect(arguments.contains(value), "\(arguments)") }
            let address = "http://127.0.0.1:\(port)"
            let probe = try #require(container["readinessProbe"]?["httpGet"]?["path"]?.string)
            let liveness = try #require(container["livenessProbe"]?["httpGet"]?["path"]?.string)
            let body = #"{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["ab"]}]}"#
            let infer = ["-H", "Content-Type: application/json", "-d", body]
            let outcome = try moru.run(program.dropFirst() + arguments) { process in
                #expect(try wait(for: 200, at: address + probe) == 200)
                #expect(try curl(address + liveness).status == 200)
                let answer = try curl("\(address)/v2/models/\(name)/infer", infer)
                #expect(answer.status == 200 && answer.json["model_name"]?.string == name, "\(answer)")
                let models = try curl(address + "/v1/models")
                #expect(models.json["data"]?[0]?["id"]?.string == name, "\(models)")
                // Until nobody sends requests here any more, they are answered
                process.terminate()
                #expect(try wait(for: 503, at: address + probe) == 503)
                #expect(try curl("\(address)/v2/models/\(name)/infer", infer).status == 200)
            }
            #expect(outcome.code == 0, "\(outcome.errors)")
        }
    }

    @Test func vLLMsOptionsAreActedOn() throws {
        try withTinyModel { model in
            let port = try freePort()
            let arguments = [
                "serve", "--http_port", "\(port)", "--model_dir", model, "--served_model_name", "one", "two",
                "--max_model_len", "64", "--enable-lora", "--gpu-memory-utilization=0.9", "--api-key", "secret",
            ]
            let address = "http://127.0.0.1:\(port)"
            _ = try moru.run(arguments) { process in
                defer { process.terminate() }
                #expect(try wait(for: 200, at: address + "/v2/health/ready") == 200)
                #expect(try curl(address + "/v1/models").status == 401)
                let key = ["-H", "Authorization: Bearer secret"]
                let models = try curl(address + "/v1/models", key).json["data"]?.array ?? []
                #expect(models.compactMap { $0["id"]?.string } == ["one", "two"])
                #expect(models[0]["max_model_len"] == 64)
                for name in ["one", "two"] {
                    #expect(try curl(address + "/v2/models/\(name)", key).json["platform"] == "moru")
                }
            }
        }
    }

    @Test(arguments: [
        (["--tensor-parallel-size", "2"], "--tensor-parallel-size is 2"),
        (["--dtype", "float16"], "--dtype is 'float16'"),
        (["--max-model-length", "5"], "--max-model-len"), (["--lora-modules", "a"], "--lora-modules a"),
        (["--model", "other"], "two models: name one"),
    ])
    func whatContainersAskForInVainIsRefused(arguments: [String], part: String) throws {
        let outcome = try moru.run(["serve", "nosuch"] + arguments)
        #expect(outcome.code == 64 && outcome.errors.contains(part), "\(outcome.errors)")
    }
}
