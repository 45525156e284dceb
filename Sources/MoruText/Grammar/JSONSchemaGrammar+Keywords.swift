import MoruBase

extension JSONSchemaGrammar {
    /// Keywords that say nothing about what fits.
    private static let annotations: Set<String> = [
        "$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "example", "examples",
        "readOnly", "writeOnly", "deprecated", "contentEncoding", "contentMediaType",
    ]

    /// Keywords that are followed, with the type that they belong to.
    private static let supported: [String: String?] = [
        "$ref": nil, "allOf": nil, "anyOf": nil, "oneOf": nil, "const": nil, "enum": nil, "type": nil,
        "minLength": "string", "maxLength": "string", "pattern": "string", "format": "string",
        "minimum": "number", "maximum": "number", "exclusiveMinimum": "number", "exclusiveMaximum": "number",
        "multipleOf": "number",
        "items": "array", "prefixItems": "array", "minItems": "array", "maxItems": "array", "uniqueItems": "array",
        "properties": "object", "required": "object", "additionalProperties": "object", "patternProperties": "object",
        "minProperties": "object", "maxProperties": "object",
    ]

    /// Keywords of JSON Schema that a grammar cannot follow.
    private static let refused: Set<String> = [
        "not", "if", "then", "else", "contains", "minContains", "maxContains", "propertyNames", "dependentRequired",
        "dependentSchemas", "dependencies", "unevaluatedItems", "unevaluatedProperties", "additionalItems", "$anchor",
        "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "contentSchema", "nullable",
    ]

    /// The keywords of a schema that say what fits.
    ///
    /// - Throws: ``MoruError/Code/grammarUnsupported`` for one that is not followed; those that begin with `x-` are
    ///   notes.
    static func constraints(of schema: JSONObject, at path: String) throws(MoruError) -> JSONObject {
        var result = JSONObject()
        for (key, value) in schema.members where !annotations.contains(key) && !key.hasPrefix("x-") {
            guard supported[key] != nil else {
                let isKnown = refused.contains(key)
                let nearest = isKnown ? nil : nearestName(to: key, among: supported.keys)
                throw MoruError(
                    .grammarUnsupported,
                    "JSON schema, \(path): the keyword \(key) is \(isKnown ? "not supported" : "unknown")",
                    remedy: nearest.map { "did you mean \($0)?" }
                        ?? "leave it out, and check the answer for it yourself")
            }
            result[key] = value
        }
        return result
    }

    private static let typeNames = ["object", "array", "string", "number", "integer", "boolean", "null"]

    /// The types that fit: those that `type` names, or else the one that the other keywords speak of.
    func types(_ constraints: JSONObject, at path: String) throws(MoruError) -> [String] {
        if let type = constraints["type"] { return try types(named: type, at: path) }
        for (key, _) in constraints.members {
            if let type = Self.supported[key] ?? nil { return [type] }
        }
        return Self.typeNames.filter { $0 != "integer" }
    }

    private func types(named type: JSON, at path: String) throws(MoruError) -> [String] {
        let names = type.string.map { [$0] } ?? type.array?.compactMap(\.string) ?? []
        guard !names.isEmpty, names.count == type.array?.count ?? 1 else {
            throw malformed(path, "type is \(type.kindName), not a name or a list of names")
        }
        if let wrong = names.first(where: { !Self.typeNames.contains($0) }) {
            let nearest = nearestName(to: wrong, among: Self.typeNames).map { "; did you mean \($0)?" } ?? ""
            throw malformed(path, "there is no type \"\(wrong)\"\(nearest)")
        }
        return names
    }

    /// The values of `const` or `enum` that have a type that fits; nil where there is neither.
    func enumeration(_ constraints: JSONObject, at path: String) throws(MoruError) -> [JSON]? {
        var values: [JSON]
        switch (constraints["const"], constraints["enum"]) {
        case (nil, nil): return nil
        case (let value?, nil): values = [value]
        case (let value, let list?):
            guard let all = list.array, !all.isEmpty else {
                throw malformed(path, "enum is \(list.kindName), not a list of values")
            }
            values = value.map { value in all.filter { $0 == value } } ?? all
        }
        let allowed = try constraints["type"] == nil ? nil : types(constraints, at: path)
        for (key, _) in constraints.members where !["const", "enum", "type"].contains(key) {
            throw unsupported(path, "\(key) stands beside const or enum", "keep only the values that fit both")
        }
        return values.filter { value in
            allowed?.contains { Self.isOf(type: $0, value) } ?? true
        }
    }

    private static func isOf(type: String, _ value: JSON) -> Bool {
        switch value {
        case .null: type == "null"
        case .bool: type == "boolean"
        case .int: type == "integer" || type == "number"
        case .double: type == "number" || (type == "integer" && value.int != nil)
        case .string: type == "string"
        case .array: type == "array"
        case .object: type == "object"
        }
    }

    /// A keyword's value as a count.
    func count(_ key: String, _ constraints: JSONObject, at path: String) throws(MoruError) -> Int? {
        guard let value = constraints[key] else { return nil }
        guard let count = value.int, count >= 0 else {
            throw malformed(path, "\(key) is \(value.text()), not a whole number from 0 on")
        }
        return count
    }

    // MARK: - References

    /// The schema that a reference points to, within the whole.
    func resolved(_ pointer: String, at path: String) throws(MoruError) -> JSON {
        guard pointer.hasPrefix("#") else {
            throw unsupported(path, "$ref points outside the schema: \(pointer)", "put what it points to under $defs")
        }
        var place = schema
        for part in pointer.dropFirst().split(separator: "/", omittingEmptySubsequences: true) {
            let key = part.replacing("~1", with: "/").replacing("~0", with: "~").removingPercentEncoding
            let next = Int(key).flatMap { place[$0] } ?? place[key]
            guard let next else { throw malformed(path, "$ref points to nothing: \(pointer) has no \(key)") }
            place = next
        }
        return place
    }

    /// What fits both of two schemas, as one schema.
    mutating func merging(_ left: JSONObject, _ right: JSON, at path: String) throws(MoruError) -> JSON {
        let others = right.object ?? JSONObject()
        // What only one of them has is not copied
        let shared = others.members.reduce(0) { sum, member in
            left[member.key].map { sum + Self.size($0) + Self.size(member.value) } ?? sum
        }
        try spend(1 + others.count + shared, at: path)
        return try descending(at: path) { builder throws(MoruError) in
            try builder.merged(left, right, at: path)
        }
    }

    private static func size(_ value: JSON) -> Int { value.object?.count ?? value.array?.count ?? 1 }

    private mutating func merged(_ left: JSONObject, _ right: JSON, at path: String) throws(MoruError) -> JSON {
        if let isAnything = right.bool { return isAnything ? .object(left) : false }
        guard let keywords = right.object else {
            throw malformed(path, "a schema is an object, true or false, not \(right.kindName)")
        }
        var other = try Self.constraints(of: keywords, at: path)
        while let pointer = other["$ref"]?.string {
            other["$ref"] = nil
            guard let next = try merging(other, try resolved(pointer, at: path), at: path).object else { return false }
            other = next
        }
        try refuseClosedObjects(left, other, at: path)
        var result = left
        for (key, value) in other.members {
            guard let mine = result[key], mine != value else {
                result[key] = value
                continue
            }
            switch key {
            case "properties", "patternProperties": result[key] = Self.mergingProperties(mine, value)
            case "required":
                var seen: Set<JSON> = []
                result[key] = .array(((mine.array ?? []) + (value.array ?? [])).filter { seen.insert($0).inserted })
            case "type":
                result[key] = .array(
                    Self.common(
                        try types(named: mine, at: path), try types(named: value, at: path)
                    ).map { .string($0) })
                if result[key] == .array([]) { return false }
            case "enum":
                let others = value.array ?? []
                try spend((mine.array ?? []).count * others.count, at: path)
                result[key] = .array((mine.array ?? []).filter { others.contains($0) })
            case "minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum":
                result[key] = (mine.double ?? 0) < (value.double ?? 0) ? value : mine
            case "maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum":
                result[key] = (mine.double ?? 0) > (value.double ?? 0) ? value : mine
            case "items", "additionalProperties": result[key] = ["allOf": [mine, value]]
            case "allOf": result[key] = .array((mine.array ?? []) + (value.array ?? []))
            default:
                throw unsupported(
                    path, "two schemas that must fit together give \(key) different values", "merge them by hand")
            }
        }
        return .object(result)
    }

    private static func common(_ left: [String], _ right: [String]) -> [String] {
        left.compactMap { type in
            if right.contains(type) { return type }
            if type == "integer", right.contains("number") { return type }
            return type == "number" && right.contains("integer") ? "integer" : nil
        }
    }

    private static func mergingProperties(_ left: JSON, _ right: JSON) -> JSON {
        var result = left.object ?? JSONObject()
        for (key, value) in (right.object ?? JSONObject()).members {
            result[key] = result[key].map { $0 == value ? value : ["allOf": [$0, value]] } ?? value
        }
        return .object(result)
    }

    /// An object that allows no others beside its own properties cannot take those of another schema.
    private func refuseClosedObjects(_ left: JSONObject, _ right: JSONObject, at path: String) throws(MoruError) {
        for (closed, other) in [(left, right), (right, left)] where closed["additionalProperties"] == false {
            let own = closed["properties"]?.object
            guard let extra = other["properties"]?.object?.keys.first(where: { own?[$0] == nil }) else { continue }
            throw unsupported(
                path, "additionalProperties: false stands beside a schema with the other property \"\(extra)\"",
                "declare all properties in one schema")
        }
    }

    /// Whether it is certain that no value fits both schemas.
    mutating func areDisjoint(_ left: JSON, _ right: JSON, at path: String) throws(MoruError) -> Bool {
        try descending(at: path) { builder throws(MoruError) in try builder.excludeEachOther(left, right, at: path) }
    }

    private mutating func excludeEachOther(
        _ left: JSON, _ right: JSON, at path: String
    ) throws(MoruError) -> Bool {
        guard let a = try merging(JSONObject(), left, at: path).object,
            let b = try merging(JSONObject(), right, at: path).object
        else { return true }
        switch (try enumeration(a, at: path), try enumeration(b, at: path)) {
        case (let first?, let second?):
            try spend(first.count * second.count, at: path)
            return !first.contains { second.contains($0) }
        case (let values?, nil):
            guard b["type"] != nil else { return false }
            let types = try types(b, at: path)
            return !values.contains { value in types.contains { Self.isOf(type: $0, value) } }
        case (nil, .some): return try areDisjoint(right, left, at: path)
        case (nil, nil): break
        }
        guard a["type"] != nil, b["type"] != nil else { return false }
        let shared = Self.common(try types(a, at: path), try types(b, at: path))
        guard !shared.isEmpty else { return true }
        guard shared == ["object"] else { return false }
        let others = Set(b["required"]?.array ?? [])
        let required = (a["required"]?.array ?? []).filter { others.contains($0) }
        for name in required.compactMap(\.string) {
            guard let first = a["properties"]?[name], let second = b["properties"]?[name] else { continue }
            if try areDisjoint(first, second, at: path) { return true }
        }
        return false
    }
}

extension StringProtocol {
    /// The text with `%41` and the like as the bytes that they stand for.
    fileprivate var removingPercentEncoding: String {
        var bytes: [UInt8] = []
        var rest = Array(utf8)[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(2)
            if byte == 0x25, digits.count == 2, let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16) {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
