import MoruBase

/// Reads the values of a configuration with checks that name the file and key.
struct ConfigurationReader {
    let json: JSON
    let source: String

    /// A positive integer.
    func size(_ key: String, default fallback: Int? = nil) throws(MoruError) -> Int {
        guard let value = json[key] else {
            if let fallback { return fallback }
            throw MoruError(.modelConfiguration, "\(source): the key \"\(key)\" is missing")
        }
        // 2^31 bounds every product of two sizes below the range of Int
        guard let size = value.int, 1..<1 << 31 ~= size else {
            throw unexpected(key, value, "a positive integer")
        }
        return size
    }

    /// A finite number.
    func number(_ key: String, default fallback: Double? = nil) throws(MoruError) -> Double {
        guard let value = json[key] else {
            if let fallback { return fallback }
            throw MoruError(.modelConfiguration, "\(source): the key \"\(key)\" is missing")
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

    func unexpected(_ key: String, _ value: JSON, _ wanted: String) -> MoruError {
        MoruError(
            .modelConfiguration, "\(source): \"\(key)\" must be \(wanted), found \(String(value.text().prefix(60)))")
    }
}
