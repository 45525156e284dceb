import MoruBase
import MoruTensor

/// Reads the values of a configuration with checks that name the file and key.
struct ConfigurationReader {
    let json: JSON
    let source: String

    /// A positive integer.
    func size(_ key: String, default fallback: Int? = nil) throws(MoruError) -> Int {
        guard let value = json[key] else {
            if let fallback { return fallback }
            throw missing(key)
        }
        // 2^31 bounds every product of two sizes below the range of Int
        guard let size = value.int, 1..<1 << 31 ~= size else {
            throw unexpected(key, value, "a positive integer below 2^31")
        }
        return size
    }

    /// A finite number above 0.
    func positive(_ key: String, default fallback: Double? = nil) throws(MoruError) -> Double {
        let number = try number(key, default: fallback)
        guard number > 0 else { throw unexpected(key, .double(number), "a positive number") }
        return number
    }

    /// A finite number.
    func number(_ key: String, default fallback: Double? = nil) throws(MoruError) -> Double {
        guard let value = json[key] else {
            if let fallback { return fallback }
            throw missing(key)
        }
        guard let number = value.double, number.isFinite else { throw unexpected(key, value, "a number") }
        return number
    }

    /// A boolean.
    func flag(_ key: String, default fallback: Bool) throws(MoruError) -> Bool {
        guard let value = json[key] else { return fallback }
        guard let flag = value.bool else { throw unexpected(key, value, "true or false") }
        return flag
    }

    /// A string, or nil when there is none.
    func text(_ key: String) throws(MoruError) -> String? {
        guard let value = json[key] else { return nil }
        guard let text = value.string else { throw unexpected(key, value, "a string") }
        return text
    }

    /// Token ids: one, a list of them, or none.
    func tokenIDs(_ key: String) throws(MoruError) -> [Int32] {
        guard let value = json[key] else { return [] }
        var ids: [Int32] = []
        for element in value.array ?? [value] {
            guard let number = element.int, number >= 0, let id = Int32(exactly: number) else {
                throw unexpected(key, value, "a token id or a list of token ids")
            }
            ids.append(id)
        }
        return ids
    }

    /// An activation function.
    func activation(_ key: String, default fallback: String) throws(MoruError) -> Activation {
        let name = try text(key) ?? fallback
        guard let activation = Activation.configurationNames.first(where: { $0.name == name })?.function else {
            throw unsupported(
                key, remedy: "supported are \(Activation.configurationNames.map(\.name).joined(separator: ", "))")
        }
        return activation
    }

    func missing(_ key: String) -> MoruError {
        MoruError(
            .modelConfiguration, "\(source): the key \"\(key)\" is missing",
            remedy: "restore the file that came with the model")
    }

    func unexpected(_ key: String, _ value: JSON, _ wanted: String) -> MoruError {
        MoruError(
            .modelConfiguration, "\(source): \"\(key)\" must be \(wanted), found \(String(value.text().prefix(60)))",
            remedy: "correct the value, or restore the file that came with the model")
    }

    /// Refuses what Moru would otherwise have to ignore.
    func unsupported(_ key: String, remedy: String) -> MoruError {
        MoruError(
            .modelUnsupported,
            "\(source): \"\(key)\": \(String((json[key] ?? nil).text().prefix(60))) is not supported",
            remedy: remedy)
    }
}

extension Activation {
    /// What configurations call the functions; the first name of each is the usual one.
    static let configurationNames: [(name: String, function: Activation)] = [
        ("gelu_new", .geluTanh), ("gelu_pytorch_tanh", .geluTanh), ("gelu_fast", .geluTanh), ("gelu", .gelu),
        ("silu", .silu), ("swish", .silu),
    ]

    /// The usual name in configurations.
    var configurationName: String {
        Self.configurationNames.first { $0.function == self }?.name ?? rawValue
    }
}
