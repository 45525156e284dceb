extension JinjaInterpreter {
    /// The filters that return text.
    func applyTextFilter(_ name: String, _ value: JinjaValue, _ arguments: JinjaArguments) throws(JinjaError) -> String
    {
        switch name {
        case "xmlattr": return try xmlAttributes(value, arguments)
        case "urlencode":
            _ = try arguments.bind(name)
            return try urlEncode(value)
        case "indent", "truncate", "wordwrap": return try applyLayoutFilter(name, value, arguments)
        default: break
        }
        let text = try self.text(of: value)
        try budget.scan(text)
        try budget.allocate(text.utf8.count)
        switch name {
        case "replace":
            let bound = try arguments.bind(name, "old", "new", "count", required: 2)
            let limit = bound[2].map { $0.isNone } ?? true ? -1 : try bound[2].integer(-1)
            return try replace(
                text, try self.text(of: bound[0] ?? .null), try self.text(of: bound[1] ?? .null), limit: limit)
        case "trim":
            let bound = try arguments.bind(name, "chars")
            guard let unwanted = bound[0], !unwanted.isNone else { return text.pythonStripped() }
            return text.pythonStripped(of: try bound[0].text(""))
        case "center":
            let bound = try arguments.bind(name, "width")
            return try pad(text, to: try bound[0].integer(80), with: " ", name)
        case "format":
            guard arguments.named.isEmpty || arguments.positional.isEmpty else {
                throw JinjaError("can't handle positional and keyword arguments at the same time")
            }
            guard !arguments.named.isEmpty else {
                return try formatPercent(text, try .makeTuple(arguments.positional))
            }
            let dict = JinjaDict()
            for (name, value) in arguments.named { try dict.set(.string(name), value) }
            return try formatPercent(text, .dict(dict))
        default: break
        }
        _ = try arguments.bind(name)
        switch name {
        case "capitalize": return text.pythonCapitalized
        case "lower": return text.lowercased()
        case "upper": return text.uppercased()
        case "title": return Self.title(text)
        case "e", "escape", "forceescape": return Self.escape(text)
        case "striptags": return Self.stripTags(text)
        default: return text
        }
    }

    static func wordCount(_ text: String) -> Int {
        var count = 0
        var isInWord = false
        for scalar in text.unicodeScalars {
            let isWord = scalar == "_" || scalar.isLetter || scalar.isNumeric
            if isWord, !isInWord { count += 1 }
            isInWord = isWord
        }
        return count
    }

    private static func title(_ text: String) -> String {
        var result = ""
        var startsWord = true
        for scalar in text.unicodeScalars {
            if scalar.isPythonSpace || "-({[<".unicodeScalars.contains(scalar) {
                result.unicodeScalars.append(scalar)
                startsWord = true
            } else {
                result += startsWord ? scalar.properties.uppercaseMapping : scalar.properties.lowercaseMapping
                startsWord = false
            }
        }
        return result
    }

    private static func escape(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "'": result += "&#39;"
            case "\"": result += "&#34;"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// The text without comments and tags, its whitespace collapsed and the common entities replaced.
    private static func stripTags(_ text: String) -> String {
        var result = ""
        var rest = text[...]
        for (open, close) in [("<!--", "-->"), ("<", ">")] {
            result = ""
            while let start = String(rest).firstRange(ofText: open) {
                let whole = String(rest)
                guard let end = whole.firstRange(ofText: close, from: start.lowerBound) else { break }
                result += whole[..<start.lowerBound]
                rest = whole[end.upperBound...]
            }
            result += rest
            rest = result[...]
        }
        var words: [String] = []
        for word in result.unicodeScalars.split(whereSeparator: { $0.isPythonSpace }) { words.append(String(word)) }
        var joined = words.joined(separator: " ")
        for (entity, plain) in [
            ("&lt;", "<"), ("&gt;", ">"), ("&#39;", "'"), ("&#34;", "\""), ("&quot;", "\""), ("&amp;", "&"),
        ] {
            joined = joined.split(separator: entity, omittingEmptySubsequences: false).joined(separator: plain)
        }
        return joined
    }

    private func xmlAttributes(_ value: JinjaValue, _ arguments: JinjaArguments) throws(JinjaError) -> String {
        let bound = try arguments.bind("xmlattr", "autospace")
        guard case .dict(let dict) = value else {
            throw JinjaError("'\(value.typeName)' object has no attribute 'items'")
        }
        var parts: [String] = []
        for (key, value) in zip(dict.keys, dict.values) where !value.isNone && !value.isUndefined {
            guard let name = key.string else { throw JinjaError("attribute names are strings") }
            guard !name.unicodeScalars.contains(where: { $0.isPythonSpace || "/>=".unicodeScalars.contains($0) }) else {
                throw JinjaError("invalid character in attribute name: \(name.pythonRepr)")
            }
            parts.append("\(Self.escape(name))=\"\(Self.escape(try text(of: value)))\"")
        }
        let text = parts.joined(separator: " ")
        return bound[0].flag(true) && !text.isEmpty ? " " + text : text
    }

    // MARK: URLs

    private func urlEncode(_ value: JinjaValue) throws(JinjaError) -> String {
        if case .string(let text) = value { return Self.quote(text, isQuery: false) }
        guard value.isIterable else { return Self.quote(try text(of: value), isQuery: false) }
        var pairs = try iterate(value)
        if case .dict(let dict) = value { pairs = JinjaDictView(dict, .items).items }
        var parts: [String] = []
        for pair in pairs {
            let sides = try iterate(pair)
            guard sides.count == 2 else { throw JinjaError("urlencode needs pairs, got \(sides.count) elements") }
            let key = Self.quote(try text(of: sides[0]), isQuery: true)
            parts.append(key + "=" + Self.quote(try text(of: sides[1]), isQuery: true))
        }
        return parts.joined(separator: "&")
    }

    private static func quote(_ text: String, isQuery: Bool) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E:
                result.unicodeScalars.append(Unicode.Scalar(byte))
            case 0x2F where !isQuery: result += "/"
            case 0x20 where isQuery: result += "+"
            default: result += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        return result
    }

    // MARK: Layout

    private func applyLayoutFilter(
        _ name: String, _ value: JinjaValue, _ arguments: JinjaArguments
    ) throws(JinjaError) -> String {
        if case .undefined(let undefined) = value, name != "truncate" { throw JinjaError(undefined.message) }
        guard let text = value.isUndefined ? "" : value.string else {
            throw JinjaError("\(name) needs a string, got '\(value.typeName)'")
        }
        try budget.scan(text)
        switch name {
        case "indent":
            let bound = try arguments.bind(name, "width", "first", "blank")
            var indentation = bound[0]?.string
            if indentation == nil { indentation = try repeated(" ", try bound[0].integer(4)) }
            return try indent(text, by: indentation ?? "", first: bound[1].flag(false), blank: bound[2].flag(false))
        case "truncate":
            let bound = try arguments.bind(name, "length", "killwords", "end", "leeway")
            let end = try bound[2].text("...")
            let length = try bound[0].integer(255)
            let leeway = bound[3].map { $0.isNone } ?? true ? 5 : try bound[3].integer(5)
            return try truncate(text, to: length, end: end, leeway: leeway, cutsWords: bound[1].flag(false))
        default:
            let bound = try arguments.bind(name, "width", "break_long_words", "wrapstring", "break_on_hyphens")
            let separator = bound[2].map { $0.isNone } ?? true ? "\n" : try bound[2].text("\n")
            let wrapper = JinjaWordWrap(
                width: try bound[0].integer(79), breaksLongWords: bound[1].flag(true),
                breaksOnHyphens: bound[3].flag(true))
            var lines: [String] = []
            for line in text.pythonLines() {
                lines.append(try wrapper.wrap(line).joined(separator: separator))
            }
            let wrapped = lines.joined(separator: separator)
            try budget.allocate(wrapped.utf8.count)
            return wrapped
        }
    }

    private func indent(_ text: String, by indentation: String, first: Bool, blank: Bool) throws(JinjaError) -> String {
        let lines = (text + "\n").pythonLines()
        try budget.allocate(lines.count, times: indentation.utf8.count)
        var result = first ? indentation : ""
        for (position, line) in lines.enumerated() {
            if position > 0 {
                result += "\n"
                if blank || !line.isEmpty { result += indentation }
            }
            result += line
        }
        return result
    }

    private func truncate(
        _ text: String, to length: Int, end: String, leeway: Int, cutsWords: Bool
    ) throws(JinjaError) -> String {
        let room = length - end.unicodeScalars.count
        guard room >= 0 else { throw JinjaError("expected length >= \(end.unicodeScalars.count), got \(length)") }
        guard leeway >= 0 else { throw JinjaError("expected leeway >= 0, got \(leeway)") }
        guard text.unicodeScalars.count > length, text.unicodeScalars.count - length > leeway else { return text }
        let kept = text.unicodeScalars.prefix(room)
        if cutsWords { return String(kept) + end }
        guard let space = kept.lastIndex(of: " ") else { return String(kept) + end }
        return String(kept[..<space]) + end
    }
}

/// Breaks lines at spaces and hyphens, as Python's `textwrap` does with tabs and newlines left alone.
struct JinjaWordWrap {
    let width: Int
    let breaksLongWords: Bool
    let breaksOnHyphens: Bool

    func wrap(_ text: String) throws(JinjaError) -> [String] {
        guard width > 0 else { throw JinjaError("invalid width \(width) (must be > 0)") }
        var chunks = Array(chunks(text).reversed())
        var lines: [String] = []
        while !chunks.isEmpty {
            if !lines.isEmpty, let chunk = chunks.last, chunk.allSatisfy(\.isPythonSpace) { chunks.removeLast() }
            var line: [[Unicode.Scalar]] = []
            var length = 0
            while let chunk = chunks.last, length + chunk.count <= width {
                line.append(chunk)
                length += chunk.count
                chunks.removeLast()
            }
            if let chunk = chunks.last, chunk.count > width {
                if breaksLongWords {
                    let room = max(1, width - length)
                    line.append(Array(chunk.prefix(room)))
                    chunks[chunks.count - 1] = Array(chunk.dropFirst(room))
                } else if line.isEmpty {
                    line.append(chunks.removeLast())
                }
            }
            if let chunk = line.last, chunk.allSatisfy(\.isPythonSpace) { line.removeLast() }
            if !line.isEmpty { lines.append(String(line.joined())) }
        }
        return lines
    }

    /// Words and the spaces between them; a word with hyphens is several pieces.
    private func chunks(_ text: String) -> [[Unicode.Scalar]] {
        var chunks: [[Unicode.Scalar]] = []
        var chunk: [Unicode.Scalar] = []
        let scalars = Array(text.unicodeScalars)
        for (position, scalar) in scalars.enumerated() {
            if let last = chunk.last, last.isPythonSpace != scalar.isPythonSpace {
                chunks.append(chunk)
                chunk = []
            }
            chunk.append(scalar)
            let isBreak =
                breaksOnHyphens && scalar == "-" && position > 1 && position + 1 < scalars.count
                && scalars[position - 1].isLetter && scalars[position - 2].isLetter && scalars[position + 1].isLetter
            if isBreak {
                chunks.append(chunk)
                chunk = []
            }
        }
        if !chunk.isEmpty { chunks.append(chunk) }
        return chunks
    }
}
