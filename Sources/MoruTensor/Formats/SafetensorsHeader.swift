import Foundation
import MoruBase

/// Reads the JSON header of a safetensors file.
///
/// The header is read by its schema rather than into a general JSON tree: a hostile header is refused at its first
/// foreign value, before it can take memory, and a name that occurs twice is noticed.
struct SafetensorsHeader {
    /// A tensor as the header describes it; offsets count from the end of the header.
    struct Entry {
        let name: String
        let format: String
        let shape: [Int]
        let begin: Int
        let end: Int
    }

    private(set) var entries: [Entry] = []
    private(set) var metadata: [String: String] = [:]

    private let path: String
    private let bytes: UnsafeRawBufferPointer
    private var position = 0

    /// Reads a header.
    ///
    /// - Throws: ``MoruError/Code/safetensorsMalformed`` with the position in the file.
    init(_ bytes: UnsafeRawBufferPointer, path: String) throws(MoruError) {
        self.bytes = bytes
        self.path = path
        guard bytes.first == UInt8(ascii: "{") else { throw malformed("the header does not begin with '{'") }
        var seen: Set<String> = []
        try object { (header, key) throws(MoruError) in
            guard seen.insert(key).inserted else { throw header.malformed("\"\(key)\" occurs twice") }
            if key == "__metadata__" {
                try header.readMetadata()
            } else {
                try header.readEntry(named: key)
            }
        }
        skipWhitespace()
        if position < bytes.count { throw malformed("text after the end of the header's object") }
    }

    private mutating func readMetadata() throws(MoruError) {
        try object { (header, key) throws(MoruError) in
            let value = try header.string()
            guard header.metadata.updateValue(value, forKey: key) == nil else {
                throw header.malformed("metadata key \"\(key)\" occurs twice")
            }
        }
    }

    private mutating func readEntry(named name: String) throws(MoruError) {
        var format: String?
        var shape: [Int]?
        var offsets: [Int]?
        try object { (header, key) throws(MoruError) in
            switch key {
            case "dtype" where format == nil: format = try header.string()
            case "shape" where shape == nil: shape = try header.integers(atMost: Self.maximumRank)
            case "data_offsets" where offsets == nil: offsets = try header.integers(atMost: 2)
            default: throw header.malformed("tensor \"\(name)\" has an unknown or repeated field \"\(key)\"")
            }
        }
        guard let format, let shape, let offsets, offsets.count == 2 else {
            throw malformed("tensor \"\(name)\" needs the fields dtype, shape and data_offsets with two numbers")
        }
        entries.append(Entry(name: name, format: format, shape: shape, begin: offsets[0], end: offsets[1]))
    }

    /// More dimensions than any model has; bounds the memory that a hostile shape takes.
    private static let maximumRank = 64
}

// The little JSON that a header may contain.
extension SafetensorsHeader {
    private mutating func object(
        _ member: (inout SafetensorsHeader, String) throws(MoruError) -> Void
    ) throws(MoruError) {
        skipWhitespace()
        try expect("{")
        skipWhitespace()
        if take("}") { return }
        while true {
            skipWhitespace()
            let key = try string()
            skipWhitespace()
            try expect(":")
            try member(&self, key)
            skipWhitespace()
            if take("}") { return }
            try expect(",")
        }
    }

    private mutating func string() throws(MoruError) -> String {
        skipWhitespace()
        let start = position
        try expect("\"")
        var isEscaped = false
        while position < bytes.count, bytes[position] != UInt8(ascii: "\"") {
            if bytes[position] < 0x20 { throw malformed("a control character inside a string") }
            if bytes[position] == UInt8(ascii: "\\") {
                isEscaped = true
                position += 1
            }
            position += 1
        }
        guard position < bytes.count else { throw malformed("the header ends inside a string") }
        position += 1
        if isEscaped {
            let text = UnsafeRawBufferPointer(rebasing: bytes[start..<position])
            if case .string(let value)? = try? JSON.parse(text, source: path) { return value }
            position = start
            throw malformed("a string with an invalid escape")
        }
        let content = UnsafeRawBufferPointer(rebasing: bytes[(start + 1)..<(position - 1)])
        guard let value = String(validating: content, as: UTF8.self) else {
            position = start
            throw malformed("a string that is not valid UTF-8")
        }
        return value
    }

    private mutating func integers(atMost limit: Int) throws(MoruError) -> [Int] {
        var values: [Int] = []
        skipWhitespace()
        try expect("[")
        skipWhitespace()
        if take("]") { return values }
        while true {
            if values.count == limit { throw malformed("a list of more than \(limit) numbers") }
            values.append(try integer())
            skipWhitespace()
            if take("]") { return values }
            try expect(",")
        }
    }

    private mutating func integer() throws(MoruError) -> Int {
        skipWhitespace()
        var value = 0
        let start = position
        while position < bytes.count, UInt8(ascii: "0")...UInt8(ascii: "9") ~= bytes[position] {
            let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(Int(bytes[position] - UInt8(ascii: "0")))
            if overflow || carry { throw malformed("a number too large for 64 bits") }
            value = sum
            position += 1
        }
        let digits = position - start
        guard digits > 0 else { throw malformed("expected a number that is not negative") }
        if digits > 1, bytes[start] == UInt8(ascii: "0") { throw malformed("a number with leading zeros") }
        return value
    }

    private mutating func skipWhitespace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ character: Unicode.Scalar) throws(MoruError) {
        if !take(character) { throw malformed("expected '\(character)'") }
    }

    private func malformed(_ what: String) -> MoruError {
        MoruError(
            .safetensorsMalformed, "\(path), byte \(position + 8), in the header: \(what)",
            remedy: "the file is damaged: download or write it again")
    }
}
