import Foundation
import MoruBase
import MoruTestKit
import Testing

/// `moru serve --config` and `moru deploy` against it.
@Suite(.serialized) struct DeployCommandTests {
    private let home = TestNeeds.temporaryPath("deploy")
    private let port = Int.random(in: 20000..<60000)
    private var moru: BuiltProgram {
        BuiltProgram(
            "moru",
            environment: [
                "MORU_HOME": home, "MORU_CONFIG": "", "HOME": home, "MORU_PORT": "\(port)", "MORU_API_KEY": "",
            ])
    }

    @Test func aRunningServerIsChanged() throws {
        defer { FileSystem.remove(home) }
        for (place, name) in ["one", "two"].enumerated() {
            try TestModels.writeTinyDirectory("\(home)/\(name)", seed: UInt64(place + 1))
        }
        let config = """
            memory: 64
            models:
              - {name: chat@1, source: ./one, kv_memory: 2, preload: true}
              - {name: chat@2, source: ./two, kv_memory: 2}
            aliases: {chat: chat@1}
            """
        try FileSystem.write(config.utf8, to: home + "/serve.yaml")
        let served = try moru.run(["serve", "--config", home + "/serve.yaml"]) { server in
            defer { server.terminate() }
            var list = try moru.run(["deploy", "list"])
            for _ in 0..<200 where list.code != 0 && server.isRunning {
                Thread.sleep(forTimeInterval: 0.05)
                list = try moru.run(["deploy", "list"])
            }
            #expect(list.code == 0 && list.output.contains("chat@1") && list.output.contains("ready"), "\(list.errors)")
            #expect(list.output.contains("chat -> chat@1") && list.errors.contains("of 67.1 MB"))
            let added = try moru.run(["deploy", "load", "chat@3", home + "/two", "--kv-memory", "2"])
            #expect(added.code == 0 && added.errors.contains("chat@3 is loaded"), "\(added.errors)")
            let unlisted = try moru.run(["deploy", "route", "next", "chat@3", "--save"])
            #expect(unlisted.code == 2 && unlisted.errors.contains("does not list 'chat@3'"), "\(unlisted.errors)")
            #expect(try FileSystem.readText(home + "/serve.yaml") == config)
            #expect(try moru.run(["deploy", "route", "next", "--remove"]).code == 0)
            #expect(try moru.run(["deploy", "unload", "chat@3", "--remove"]).code == 0)
            let load = try moru.run(["deploy", "load", "chat@2"])
            #expect(load.code == 0 && load.errors.contains("chat@2 is loaded"), "\(load.errors)")
            let route = try moru.run(["deploy", "route", "chat", "chat@1=3", "chat@2=1", "--sticky", "--save"])
            #expect(route.code == 0 && route.errors.contains("chat@1 75.0 %, chat@2 25.0 %, sticky"), "\(route.errors)")
            #expect(try FileSystem.readText(home + "/serve.yaml").contains("sticky: true"))
            let swap = try moru.run(["deploy", "swap", "chat@1", home + "/two"])
            #expect(swap.code == 0 && swap.errors.contains("revision 2"), "\(swap.errors)")
            let busy = try moru.run(["deploy", "unload", "chat@1", "--remove"])
            #expect(busy.code == 6 && busy.errors.contains("'chat'"), "\(busy.errors)")
            #expect(try moru.run(["deploy", "route", "chat", "--remove"]).code == 0)
            let unload = try moru.run(["deploy", "unload", "chat@1", "--remove"])
            #expect(unload.code == 0 && unload.errors.contains("chat@1 is removed"), "\(unload.errors)")
            let json = try JSON.parse(try moru.run(["deploy", "list", "--json"]).output, source: "output")
            #expect(json["models"]?.array?.map { $0["name"]?.string } == ["chat@2"] && json["routes"] == [:])
            let missing = try moru.run(["deploy", "load", "nosuch"])
            #expect(missing.code == 3 && missing.errors.contains("There is no model 'nosuch'"), "\(missing.errors)")
        }
        #expect(served.errors.contains("serving chat@1"), "\(served.errors)")
    }

    @Test func whatCannotBeIsSaid() throws {
        defer { FileSystem.remove(home) }
        let nobody = try moru.run(["deploy", "list", "--server", "http://127.0.0.1:1"])
        #expect(nobody.code == 7 && nobody.errors.contains("no server answers at http://127.0.0.1:1"))
        #expect(nobody.errors.contains("moru serve"))
        for arguments in [["route", "a"], ["route", "a", "b=x"], ["route", "a", "b", "--remove"]] {
            #expect(try moru.run(["deploy"] + arguments).code == 64)
        }
        for command in ["list", "load", "unload", "swap", "route"] {
            let help = try moru.run(["deploy", command, "--help"])
            #expect(help.code == 0 && help.output.contains("Examples:"))
            #expect(help.output.split(separator: "\n").allSatisfy { $0.count <= 80 })
        }
        #expect(try moru.run(["serve"]).code == 64)
        try FileSystem.write("modls: []".utf8, to: home + ".yaml")
        defer { FileSystem.remove(home + ".yaml") }
        let wrong = try moru.run(["serve", "--config", home + ".yaml"])
        #expect(wrong.code == 2 && wrong.errors.contains("Did you mean 'models'?"), "\(wrong.errors)")
    }
}
