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
        id = Self.identifier(prefix, length: 29)
        created = Int(Date().timeIntervalSince1970)
        self.model = model.name
        fingerprint = model.fingerprint
    }

    /// A name that nothing else has.
    static func identifier(_ prefix: String, length: Int) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
        return prefix + String((0..<length).map { _ in alphabet[Int.random(in: alphabet.indices)] })
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
