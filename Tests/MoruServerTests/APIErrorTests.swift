import MoruBase
import MoruEngine
import Testing

@testable import MoruServer

@Suite struct APIErrorTests {
    @Test(arguments: [
        (MoruError.Code.promptTooLong, 400, "invalid_request_error", "context_length_exceeded"),
        (.samplingInvalid, 400, "invalid_request_error", "invalid_value"),
        (.jsonMalformed, 400, "invalid_request_error", "malformed_json"),
        (.requestTimeout, 504, "server_error", "request_timeout"),
        (.engineShutDown, 503, "server_error", "shutting_down"),
        (.logitsNotFinite, 500, "server_error", "engine.logits-not-finite"),
        (.fileNotFound, 404, "invalid_request_error", "file.not-found"),
        (.diskFull, 503, "server_error", "file.disk-full"),
        (.fileUnreadable, 500, "server_error", "file.unreadable"),
        (.cancelled, 499, "invalid_request_error", "cancelled"),
    ])
    func rendersEveryKind(code: MoruError.Code, status: Int, type: String, name: String) {
        let error = APIError(MoruError(code, "it went wrong", remedy: "do it right"), param: "field")
        #expect(error.status.code == status && error.type == type && error.code == name)
        #expect(error.param == "field")
        #expect(error.message == "It went wrong; do it right.")
    }

    @Test func hasTheShapeOfOpenAI() {
        let json = APIError.wrongValue("n", "is 0").json
        #expect(
            json == [
                "error": [
                    "message": "'n' is 0.", "type": "invalid_request_error", "param": "n", "code": "invalid_value",
                ]
            ])
        #expect(APIError.invalid("c", "m").json["error"]?.object?["param"] == .null)
    }

    @Test func doesNotTellOfDefects() {
        struct Secret: Error { let path = "/home/someone" }
        let error = APIError(Secret())
        #expect(error.status.code == 500 && !error.message.contains("someone"))
    }

    @Test func tellsClientsNotToRepeatATimeout() {
        let error = APIError(MoruError(.requestTimeout, "late"))
        #expect(error.headers.contains { $0.name.canonicalName == "x-should-retry" && $0.value == "false" })
    }
}
