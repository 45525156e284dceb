import Foundation
import MoruBase
import MoruTestKit
import Testing

@Suite(.tags(.live)) struct LabellingClientTests {
    /// The checks of `Clients/labelling_client.py`.
    @Test(.enabled(if: TestNeeds.python != nil, "needs MORU_TEST_PYTHON"))
    func theOfficialClientIsServed() async throws {
        let folder = ((#filePath as NSString).deletingLastPathComponent as NSString).deletingLastPathComponent
        let program = try FileSystem.readText(folder + "/Clients/labelling_client.py")
        let printed = try await TestServer.run(try LabellingModels().served()) { server in
            try await inBackground {
                try TestNeeds.runPython(
                    program, arguments: ["http://127.0.0.1:\(server.port)/v1", "vectors", "moods", "fit"])
            }
        }
        let held = printed.split(separator: "\n")
        #expect(held.count == 7 && held.first == "embeddings" && held.last == "concurrent", "\(printed)")
    }
}
