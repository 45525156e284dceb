extension JinjaInterpreter {
    /// The methods of Python's `str`.
    func callText(_ text: String, _ name: String, _ arguments: JinjaArguments) throws(JinjaError) -> JinjaValue {
        switch name {
        case "strip", "lstrip", "rstrip":
            let bound = try arguments.bind("\(name)()", "chars")
            let unwanted = try characters(bound[0])
            try budget.allocate(text.utf8.count)
            return .string(text.pythonStripped(of: unwanted, left: name != "rstrip", right: name != "lstrip"))
        case "split", "rsplit":
            let bound = try arguments.bind("\(name)()", "sep", "maxsplit")
            try budget.scan(text)
            try budget.allocate(text.utf8.count, times: 8)
            return try split(text, by: bound[0], limit: try bound[1].integer(-1), fromRight: name == "rsplit")
        case "splitlines":
            let bound = try arguments.bind("splitlines()", "keepends")
            try budget.allocate(text.utf8.count, times: 8)
            return try list(text.pythonLines(keepEnds: bound[0].flag(false)))
        case "startswith", "endswith":
            return .bool(try hasAffix(text, name, arguments))
        case "removeprefix", "removesuffix":
            let bound = try arguments.bind("\(name)()", "affix", required: 1)
            let affix = try bound[0].text("")
            guard !affix.isEmpty, hasAffix(text[...], affix, atEnd: name == "removesuffix") else {
                return .string(text)
            }
            let count = affix.unicodeScalars.count
            let scalars = text.unicodeScalars
            return .string(name == "removesuffix" ? String(scalars.dropLast(count)) : String(scalars.dropFirst(count)))
        case "replace":
            let bound = try arguments.bind("replace()", "old", "new", "count", required: 2)
            return .string(
                try replace(text, try bound[0].text(""), try bound[1].text(""), limit: try bound[2].integer(-1)))
        case "join":
            let bound = try arguments.bind("join()", "iterable", required: 1)
            return .string(try join(try iterate(bound[0] ?? .null), separator: text, convert: false))
        case "find", "rfind", "index", "rindex", "count": return .int(try search(text, name, arguments))
        case "partition", "rpartition": return try partition(text, arguments, fromRight: name == "rpartition")
        case "center", "ljust", "rjust", "zfill": return .string(try justify(text, name, arguments))
        case "format": return .string(try formatBraces(text, arguments))
        case "format_map":
            let bound = try arguments.bind("format_map()", "mapping", required: 1)
            guard case .dict(let dict)? = bound[0] else { throw JinjaError("format_map() needs a mapping") }
            var named = JinjaArguments()
            for (key, value) in zip(dict.keys, dict.values) {
                if let name = key.string { named.named.append((name, value)) }
            }
            return .string(try formatBraces(text, named))
        case "expandtabs":
            let bound = try arguments.bind("expandtabs()", "tabsize")
            return .string(try expandTabs(text, try bound[0].integer(8)))
        default: break
        }
        _ = try arguments.bind("\(name)()")
        try budget.scan(text)
        try budget.allocate(text.utf8.count)
        return callPlainText(text, name)
    }

    /// The methods without arguments.
    private func callPlainText(_ text: String, _ name: String) -> JinjaValue {
        switch name {
        case "upper": return .string(text.uppercased())
        case "lower", "casefold": return .string(text.lowercased())
        case "capitalize": return .string(text.pythonCapitalized)
        case "title": return .string(text.pythonTitled)
        case "swapcase":
            return .string(
                text.unicodeScalars.map { scalar in
                    scalar.properties.isUppercase
                        ? scalar.properties.lowercaseMapping : scalar.properties.uppercaseMapping
                }.joined())
        default: return .bool(text.pythonHolds(name))
        }
    }

    func list(_ texts: [String]) throws(JinjaError) -> JinjaValue {
        try budget.allocate(texts.count, times: MemoryLayout<JinjaValue>.stride)
        return try .makeList(texts.map { .string($0) })
    }

    private func characters(_ value: JinjaValue?) throws(JinjaError) -> String? {
        guard let value, !value.isNone else { return nil }
        return try Optional(value).text("")
    }

    // MARK: Cutting and joining

    private func split(
        _ text: String, by separator: JinjaValue?, limit: Int, fromRight: Bool
    ) throws(JinjaError) -> JinjaValue {
        guard let separator = try characters(separator) else {
            return try list(text.pythonWords(limit: limit, fromRight: fromRight))
        }
        guard !separator.isEmpty else { throw JinjaError("empty separator") }
        var ranges: [Range<String.Index>] = []
        var start = text.startIndex
        while ranges.count != limit || fromRight, let found = text.firstRange(ofText: separator, from: start) {
            ranges.append(found)
            start = found.upperBound
        }
        if fromRight {
            try chargeBackwardSearch(text, separator)
            // Matches that overlap differ when they are sought from the right.
            ranges = text.lastRanges(ofText: separator, limit: limit)
        }
        var parts: [String] = []
        start = text.startIndex
        for range in ranges {
            parts.append(String(text[start..<range.lowerBound]))
            start = range.upperBound
        }
        parts.append(String(text[start...]))
        return try list(parts)
    }

    private func partition(
        _ text: String, _ arguments: JinjaArguments, fromRight: Bool
    ) throws(JinjaError) -> JinjaValue {
        let separator = try arguments.bind("partition()", "sep", required: 1)[0].text("")
        guard !separator.isEmpty else { throw JinjaError("empty separator") }
        if fromRight { try chargeBackwardSearch(text, separator) }
        let found =
            fromRight ? text.lastRanges(ofText: separator, limit: 1).first : text.firstRange(ofText: separator)
        guard let found else {
            return try .makeTuple((fromRight ? ["", "", text] : [text, "", ""]).map { .string($0) })
        }
        return try .makeTuple([
            .string(String(text[..<found.lowerBound])), .string(separator), .string(String(text[found.upperBound...])),
        ])
    }

    func replace(_ text: String, _ old: String, _ new: String, limit: Int) throws(JinjaError) -> String {
        var result = ""
        var rest = limit < 0 ? Int.max : limit
        guard !old.isEmpty else {
            try budget.allocate(text.unicodeScalars.count + 1, times: new.utf8.count)
            for scalar in text.unicodeScalars {
                if rest > 0 { result += new }
                rest -= rest > 0 ? 1 : 0
                result.unicodeScalars.append(scalar)
            }
            return rest > 0 ? result + new : result
        }
        var start = text.startIndex
        while rest > 0, let found = text.firstRange(ofText: old, from: start) {
            try budget.step()
            try budget.allocate(new.utf8.count)
            result += text[start..<found.lowerBound]
            result += new
            start = found.upperBound
            rest -= 1
        }
        return start == text.startIndex ? text : result + text[start...]
    }

    /// Joins items, which must be strings unless `convert` makes them so.
    func join(_ items: [JinjaValue], separator: String, convert: Bool) throws(JinjaError) -> String {
        var result = ""
        for (position, item) in items.enumerated() {
            if position > 0 { result += separator }
            guard convert || item.string != nil else {
                throw JinjaError("sequence item \(position): expected str instance, \(item.typeName) found")
            }
            let text = try self.text(of: item)
            try budget.allocate(text.utf8.count + separator.utf8.count)
            result += text
        }
        return result
    }

    // MARK: Searching

    /// Counts a search from the right, which compares at every place.
    private func chargeBackwardSearch(_ text: String, _ part: String) throws(JinjaError) {
        let (product, overflow) = text.utf8.count.multipliedReportingOverflow(by: part.utf8.count)
        try budget.step(overflow ? .max >> 8 : product >> 4)
    }

    private func hasAffix(_ text: String, _ name: String, _ arguments: JinjaArguments) throws(JinjaError) -> Bool {
        let bound = try arguments.bind("\(name)()", "affix", "start", "end", required: 1)
        var part = text[...]
        if bound[1] != nil || bound[2] != nil {
            let scalars = Array(text.unicodeScalars)
            let window = try JinjaSlice(start: bound[1], stop: bound[2], step: nil, count: scalars.count)
            part = String(window.of(scalars))[...]
        }
        let affixes: [JinjaValue]
        if case .tuple(let items)? = bound[0] { affixes = items.items } else { affixes = [bound[0] ?? .null] }
        for affix in affixes {
            guard let affix = affix.string else {
                throw JinjaError("\(name) first arg must be str or a tuple of str, not \(affix.typeName)")
            }
            if hasAffix(part, affix, atEnd: name == "endswith") { return true }
        }
        return false
    }

    private func hasAffix(_ text: Substring, _ affix: String, atEnd: Bool) -> Bool {
        atEnd
            ? text.utf8.count >= affix.utf8.count && text.utf8.suffix(affix.utf8.count).elementsEqual(affix.utf8)
            : text.utf8.starts(with: affix.utf8)
    }

    private func search(_ text: String, _ name: String, _ arguments: JinjaArguments) throws(JinjaError) -> Int {
        let bound = try arguments.bind("\(name)()", "sub", "start", "end", required: 1)
        let wanted = try bound[0].text("")
        let scalars = Array(text.unicodeScalars)
        let window = try JinjaSlice(start: bound[1], stop: bound[2], step: nil, count: scalars.count)
        let part = String(window.of(scalars))
        func offset(_ index: String.Index) -> Int { window.start + part.unicodeScalars[..<index].count }
        if name == "count" {
            guard !wanted.isEmpty else { return window.count + 1 }
            var (count, start) = (0, part.startIndex)
            while let found = part.firstRange(ofText: wanted, from: start) {
                count += 1
                start = found.upperBound
            }
            return count
        }
        let fromRight = name.utf8.first == UInt8(ascii: "r")
        if fromRight { try chargeBackwardSearch(part, wanted) }
        if wanted.isEmpty { return window.start + (fromRight ? window.count : 0) }
        let found = fromRight ? part.lastRanges(ofText: wanted, limit: 1).first : part.firstRange(ofText: wanted)
        if let found { return offset(found.lowerBound) }
        guard name == "find" || name == "rfind" else { throw JinjaError("substring not found") }
        return -1
    }

    // MARK: Padding

    private func justify(_ text: String, _ name: String, _ arguments: JinjaArguments) throws(JinjaError) -> String {
        let bound = try arguments.bind("\(name)()", "width", "fillchar", required: 1)
        let fill = name == "zfill" ? "0" : try bound[1].text(" ")
        guard fill.unicodeScalars.count == 1 else {
            throw JinjaError("the fill character must be exactly one character long")
        }
        return try pad(text, to: try bound[0].integer(0), with: fill, name)
    }

    func pad(_ text: String, to width: Int, with fill: String, _ how: String) throws(JinjaError) -> String {
        let missing = width - text.unicodeScalars.count
        guard missing > 0 else { return text }
        switch how {
        case "ljust": return text + (try repeated(fill, missing))
        case "rjust": return try repeated(fill, missing) + text
        case "zfill":
            guard let sign = text.unicodeScalars.first, sign == "-" || sign == "+" else {
                return try repeated(fill, missing) + text
            }
            return String(sign) + (try repeated(fill, missing)) + String(text.unicodeScalars.dropFirst())
        default:
            // Python puts the odd blank on the left when the width is odd too.
            let left = missing / 2 + (missing & width & 1)
            return try repeated(fill, left) + text + (try repeated(fill, missing - left))
        }
    }

    private func expandTabs(_ text: String, _ size: Int) throws(JinjaError) -> String {
        var result = ""
        var column = 0
        for scalar in text.unicodeScalars {
            if scalar == "\t" {
                let count = size > 0 ? size - column % size : 0
                result += try repeated(" ", count)
                column += count
            } else {
                result.unicodeScalars.append(scalar)
                column = scalar == "\n" || scalar == "\r" ? 0 : column + 1
            }
        }
        return result
    }
}

extension String {
    /// Matches of `part`, sought from the right, in the order of the text; a negative limit is none.
    fileprivate func lastRanges(ofText part: String, limit: Int) -> [Range<String.Index>] {
        let wanted = Array(part.utf8)
        var ranges: [Range<String.Index>] = []
        var end = utf8.endIndex
        while ranges.count != limit, let start = utf8.index(end, offsetBy: -wanted.count, limitedBy: utf8.startIndex) {
            if utf8[start..<end].elementsEqual(wanted) {
                ranges.append(start..<end)
                end = start
            } else {
                end = utf8.index(before: end)
            }
        }
        return ranges.reversed()
    }

    /// The words between runs of whitespace, as `str.split()` cuts them.
    fileprivate func pythonWords(limit: Int, fromRight: Bool) -> [String] {
        if fromRight, limit >= 0 {
            let reversed = String(unicodeScalars.reversed())
            return reversed.pythonWords(limit: limit, fromRight: false).reversed().map {
                String($0.unicodeScalars.reversed())
            }
        }
        var words: [String] = []
        var rest = unicodeScalars[...].drop { $0.isPythonSpace }
        while !rest.isEmpty {
            if words.count == limit {
                words.append(String(rest))
                break
            }
            let word = rest.prefix { !$0.isPythonSpace }
            words.append(String(word))
            rest = rest[word.endIndex...].drop { $0.isPythonSpace }
        }
        return words
    }

    /// Python's `str.capitalize`.
    var pythonCapitalized: String {
        guard let first = unicodeScalars.first else { return self }
        return first.properties.titlecaseMapping + String(unicodeScalars.dropFirst()).lowercased()
    }

    /// Python's `str.title`: every run of letters starts with a capital.
    fileprivate var pythonTitled: String {
        var result = ""
        var isInWord = false
        for scalar in unicodeScalars {
            result += isInWord ? scalar.properties.lowercaseMapping : scalar.properties.titlecaseMapping
            isInWord = scalar.isCased
        }
        return result
    }

    /// Python's `str.isdigit` and its kin, by name.
    func pythonHolds(_ name: String) -> Bool {
        let scalars = unicodeScalars
        switch name {
        case "isascii": return scalars.allSatisfy { $0.isASCII }
        case "islower", "isupper":
            let wantsUpper = name == "isupper"
            var isCased = false
            for scalar in scalars where scalar.isCased {
                isCased = true
                if wantsUpper ? !scalar.properties.isUppercase : !scalar.properties.isLowercase { return false }
            }
            return isCased
        case "istitle":
            var (isInWord, isCased) = (false, false)
            for scalar in scalars {
                let isUpper = scalar.properties.isUppercase || scalar.properties.generalCategory == .titlecaseLetter
                if isUpper ? isInWord : scalar.properties.isLowercase && !isInWord { return false }
                isInWord = scalar.isCased
                isCased = isCased || isInWord
            }
            return isCased
        default: break
        }
        guard !scalars.isEmpty else { return false }
        return scalars.allSatisfy { scalar in
            switch name {
            case "isspace": scalar.isPythonSpace
            case "isalpha": scalar.isLetter
            case "isdecimal": scalar.isDecimal
            case "isdigit": scalar.isDigit
            case "isnumeric": scalar.isNumeric
            default: scalar.isLetter || scalar.isNumeric
            }
        }
    }
}
