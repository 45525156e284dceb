import Foundation
import MoruBase

/// What every object of one answer has in common, chunks included.
struct AnswerHead: Sendable {
    /// `chatcmpl-...` or `cmpl-...`.
    var id: String
    /// When the request came, in seconds since 1970.
    var created: Int
    /// The model's name.
    var model: String
    /// Changes when the weights do, so that a seed can be trusted to repeat an answer while it stays.
    var fingerprint: String

    /// A head with a new id.
    init(prefix: String, model: ServedModel) {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
        id = prefix + String((0..<29).map { _ in alphabet[Int.random(in: alphabet.indices)] })
        created = Int(Date().timeIntervalSince1970)
        self.model = model.name
        fingerprint = model.fingerprint
    }

    /// An object with these members and more.
    func object(_ kind: String, _ members: [(String, JSON)]) -> JSON {
        let head: [(String, JSON)] = [
            ("id", .string(id)), ("object", .string(kind)), ("created", .int(created)), ("model", .string(model)),
            ("system_fingerprint", .string(fingerprint)),
        ]
        return .object(JSONObject(head + members))
    }
}
