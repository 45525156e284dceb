import Foundation
import MoruBase
import MoruTestKit
import Testing

@testable import MoruStore

@Suite struct SettingsTests {
    /// Loads settings with a configuration file at its usual place in a home of its own.
    private func load(file: String? = nil, _ environment: [String: String] = [:]) throws -> Settings {
        let home = TestNeeds.temporaryPath("home")
        try FileManager.default.createDirectory(atPath: home + "/.config/moru", withIntermediateDirectories: true)
        defer { FileSystem.remove(home) }
        if let file { try FileSystem.write(file.utf8, to: home + "/.config/moru/config.yaml") }
        return try Settings.load(environment: environment.merging(["HOME": home]) { given, _ in given })
    }

    private func origin(_ key: Settings.Key, _ settings: Settings) -> String? {
        settings.values.first { $0.key == key }?.origin.description
    }

    @Test func defaults() throws {
        let settings = try load(nil, ["HOME": "/home/nobody"])
        #expect(settings.port == 8080 && settings.value(.host) == "127.0.0.1" && settings.value(.apiKey).isEmpty)
        #expect(settings.value(.home) == "/home/nobody/.local/share/moru" && settings.value(.precision) == "auto")
        #expect(settings.values.map(\.key) == Settings.Key.allCases)
        #expect(settings.values.allSatisfy { $0.origin == .standard })
    }

    private func load(_ file: String?, _ environment: [String: String]) throws -> Settings {
        try load(file: file, environment)
    }

    @Test("the environment wins over the file, the file over the default")
    func precedence() throws {
        let file = "# the server\nhost: 0.0.0.0\nport: 9000\n"
        let fromFile = try load(file: file)
        #expect(fromFile.port == 9000 && fromFile.value(.host) == "0.0.0.0")
        #expect(origin(.port, fromFile)?.hasSuffix("/.config/moru/config.yaml:3") == true)
        #expect(origin(.apiKey, fromFile) == "default")
        let both = try load(file, ["MORU_PORT": "9001"])
        #expect(both.port == 9001 && origin(.port, both) == "MORU_PORT" && both.value(.host) == "0.0.0.0")
        // An empty variable counts as none
        #expect(try load(file, ["MORU_PORT": ""]).port == 9000)
        #expect(try load(nil, ["MORU_HOME": "/models"]).value(.home) == "/models")
    }

    @Test("MORU_CONFIG names another file, which must exist")
    func namedFile() throws {
        let path = TestNeeds.temporaryPath("named.yaml")
        defer { FileSystem.remove(path) }
        let missing = try #require(throws: MoruError.self) { _ = try load("port: 1", ["MORU_CONFIG": path]) }
        #expect(missing.code == .fileNotFound && missing.message.contains(path), "\(missing)")
        #expect(missing.message.contains("MORU_CONFIG") && missing.remedy != nil)
        try FileSystem.write("port: 2\n".utf8, to: path)
        let settings = try load("port: 1", ["MORU_CONFIG": path])
        #expect(settings.port == 2 && origin(.port, settings) == "\(path):1")
        #expect(try load("port: 1", ["MORU_CONFIG": ""]).port == 1)
        #expect(throws: MoruError.self) { _ = try load(nil, ["MORU_CONFIG": NSTemporaryDirectory()]) }
    }

    @Test(arguments: ["", "\n\n", "# nothing yet\n", "---\n", "null\n", "host:\nport: ~\napi_key: null\n"])
    func aFileThatSetsNothing(content: String) throws {
        let settings = try load(file: content)
        #expect(settings.values.allSatisfy { $0.origin == .standard } && settings.port == 8080)
        #expect(settings.value(.apiKey).isEmpty && settings.value(.host) == "127.0.0.1")
    }

    @Test(arguments: [
        ("host: a\nprot: 80\n", 2, "\"prot\" is unknown", "did you mean port?"),
        ("apikey: a\n", 1, "\"apikey\" is unknown", "did you mean api_key?"),
        ("frobnicate: a\n", 1, "\"frobnicate\" is unknown", "settings are home, host, port"),
        ("\nhome: /models\n", 2, "home can only be set in the environment", "MORU_HOME"),
        ("threads: 4\n", 1, "threads can only be set in the environment", "MORU_THREADS"),
        ("cpu: avx2\n", 1, "cpu can only be set in the environment", "MORU_CPU"),
        ("precision: f32\n", 1, "precision can only be set in the environment", "MORU_PRECISION"),
        ("host: h\nport: [1, 2]\n", 2, "port has several values", "port: VALUE"),
        ("host: h\n\nport: eighty\n", 3, "\"eighty\" is not a port", "0 to 65535"),
        ("port: 65536\n", 1, "\"65536\" is not a port", "0 to 65535"),
        ("port: -1\n", 1, "\"-1\" is not a port", "0 to 65535"),
        ("port: 80.5\n", 1, "\"80.5\" is not a port", "0 to 65535"),
        ("host: ''\n", 1, "host is empty", "127.0.0.1"),
        ("- host\n- port\n", 1, "not a setting", "key: value"),
        ("just words\n", 1, "not a setting", "key: value"),
        ("host: a\nport: [1\n", 3, "expected", "key: value"),
        ("? [a]\n: b\n", 1, "unknown", "settings are"),
    ])
    func aBadFileIsRefused(content: String, line: Int, words: String, remedy: String) throws {
        let error = try #require(throws: MoruError.self) { _ = try load(file: content) }
        #expect(error.code == .settingInvalid && error.message.contains("config.yaml:\(line): "), "\(error)")
        #expect(error.message.contains(words) && error.remedy?.contains(remedy) == true, "\(error)")
    }

    @Test func aKeyThatIsSetTwiceIsRefused() throws {
        let error = try #require(throws: MoruError.self) { _ = try load(file: "port: 1\nhost: h\nport: 2\n") }
        #expect(error.code == .settingInvalid && error.message.contains("port is set twice"), "\(error)")
    }

    @Test func aWrongVariableIsNamed() throws {
        let error = try #require(throws: MoruError.self) { _ = try load("port: 80", ["MORU_PORT": "http"]) }
        #expect(
            error.code == .settingInvalid && error.message.contains("MORU_PORT: \"http\" is not a port"), "\(error)")
        // A right variable hides a wrong line of the file
        #expect(try load("port: x", ["MORU_PORT": "81"]).port == 81)
    }

    @Test("the API key is never shown whole", arguments: ["k", "abc", "secret", "sk-0123456789abcdef", "열쇠열쇠"])
    func secrets(key: String) throws {
        for settings in [try load(nil, ["MORU_API_KEY": key]), try load(file: "api_key: \(key)\n")] {
            #expect(settings.value(.apiKey) == key)
            let shown = try #require(settings.values.first { $0.key == .apiKey }?.value)
            #expect(shown.hasSuffix("...") && !shown.contains(key))
            #expect(shown.dropLast(3).count * 4 <= key.count, "\(shown) shows too much")
        }
        #expect(try load(file: nil).values.first { $0.key == .apiKey }?.value == "")
    }
}
