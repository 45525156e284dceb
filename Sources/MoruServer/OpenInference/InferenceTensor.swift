import MoruBase

/// A tensor that a request brings: `{"name", "shape", "datatype", "data"}`, or with the parameter `binary_data_size`
/// in place of `data`.
struct InferenceTensor: Sendable, Hashable {
    /// The elements, row by row.
    enum Values: Sendable, Hashable {
        case bytes([[UInt8]])
        case integers([Int])
    }

    /// What it is called.
    let name: String
    /// Its dimensions.
    let shape: [Int]
    /// Its elements.
    let values: Values
    /// Where it stands in the request, such as `inputs[0]`.
    let path: String

    /// Reads a tensor.
    ///
    /// - Parameter binary: The binary data of the request, from which the tensor takes its own.
    init(_ json: JSON, path: String, binary: inout BinaryTensorData) throws(APIError) {
        var tensor = try RequestObject(json, path: path)
        guard let name = try tensor.string("name") else { throw .missing("\(path).name") }
        let shape = try Self.shape(try tensor.required("shape"), param: "\(path).shape")
        let datatype = try Self.datatype(try tensor.string("datatype"), param: "\(path).datatype")
        let data = tensor.value("data")
        var parameters = try RequestObject(tensor.value("parameters") ?? [:], path: "\(path).parameters")
        let size = try parameters.int("binary_data_size", in: 0...Int.max)
        try parameters.refuse("content_type", unless: ["str"], "texts are read as UTF-8; leave it out")
        try parameters.finish()
        try tensor.finish()
        let (count, overflows) = shape.reduce((1, false)) { product, dimension in
            let (next, overflow) = product.0.multipliedReportingOverflow(by: dimension)
            return (next, product.1 || overflow)
        }
        guard !overflows else { throw .wrongValue("\(path).shape", "has too many elements") }
        switch (data, size) {
        case (let data?, nil): values = try Self.values(data, shape, datatype, param: "\(path).data")
        case (nil, let size?):
            let param = "\(path).parameters.binary_data_size"
            values = try Self.values(try binary.take(size, for: param), datatype, param: param)
        case (nil, nil): throw .missing("\(path).data")
        case (_?, _?):
            throw .wrongValue("\(path).parameters.binary_data_size", "stands beside 'data'; send one of them")
        }
        (self.name, self.shape, self.path) = (name, shape, path)
        guard self.count == count else {
            throw .wrongValue("\(path).shape", "is \(shape), that is \(count) elements, and there are \(self.count)")
        }
    }

    /// The number of elements.
    var count: Int {
        switch values {
        case .bytes(let strings): strings.count
        case .integers(let integers): integers.count
        }
    }

    /// The elements as texts.
    ///
    /// - Throws: ``APIError`` that names the element which is no text.
    func texts() throws(APIError) -> [String] {
        guard case .bytes(let strings) = values else {
            throw .wrongValue("\(path).datatype", "must be BYTES: '\(name)' is text")
        }
        var texts: [String] = []
        for (place, bytes) in strings.enumerated() {
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw .wrongValue("\(path)", "has an element, number \(place), that is not UTF-8 text")
            }
            texts.append(text)
        }
        return texts
    }

    /// The elements as rows of whole numbers: those of `[t]` are one row, those of `[n, t]` are n.
    ///
    /// - Throws: ``APIError`` when they are none, or the shape is another.
    func rows() throws(APIError) -> [[Int]] {
        guard case .integers(let integers) = values else {
            throw .wrongValue("\(path).datatype", "must be INT32 or INT64: '\(name)' is whole numbers")
        }
        guard (1...2).contains(shape.count), let width = shape.last else {
            throw .wrongValue("\(path).shape", "is \(shape), and must be [tokens] or [texts, tokens]")
        }
        // Any number of rows has no elements where each has none
        guard width > 0 else { throw .wrongValue("\(path).shape", "is \(shape), and leaves no room for tokens") }
        return stride(from: 0, to: integers.count, by: width).map { Array(integers[$0..<$0 + width]) }
    }

    private static func shape(_ value: JSON, param: String) throws(APIError) -> [Int] {
        guard let elements = value.array else {
            throw .wrongType(param, expected: "an array of dimensions", found: value)
        }
        var shape: [Int] = []
        for element in elements {
            guard let dimension = element.int, dimension >= 0 else {
                throw .wrongValue(param, "has \(element.text()), which is not a dimension")
            }
            shape.append(dimension)
        }
        return shape
    }

    private static func datatype(_ name: String?, param: String) throws(APIError) -> TensorDatatype {
        guard let name else { throw .missing(param) }
        guard let datatype = TensorDatatype(rawValue: name) else {
            let names = TensorDatatype.allCases.map(\.rawValue).joined(separator: ", ")
            throw .wrongValue(param, "is '\(name)', and must be one of \(names)")
        }
        guard datatype == .bytes || datatype.isInteger else {
            throw .unsupportedValue(param, "is '\(name)', and models here read BYTES or whole numbers such as INT64")
        }
        return datatype
    }

    private static func values(
        _ bytes: ArraySlice<UInt8>, _ datatype: TensorDatatype, param: String
    ) throws(APIError) -> Values {
        datatype == .bytes
            ? .bytes(try BinaryTensorData.strings(in: bytes, param: param))
            : .integers(try BinaryTensorData.integers(in: bytes, datatype, param: param))
    }

    /// The elements of JSON: flat, or nested as the shape is.
    private static func values(
        _ data: JSON, _ shape: [Int], _ datatype: TensorDatatype, param: String
    ) throws(APIError) -> Values {
        var leaves: [JSON] = []
        try flatten(data, shape[...], into: &leaves, param: param)
        guard datatype == .bytes else {
            var integers: [Int] = []
            integers.reserveCapacity(leaves.count)
            for leaf in leaves {
                guard case .int(let integer) = leaf else {
                    throw .wrongType(param, expected: "whole numbers", found: leaf)
                }
                integers.append(integer)
            }
            return .integers(integers)
        }
        var strings: [[UInt8]] = []
        for leaf in leaves {
            guard let string = leaf.string else { throw .wrongType(param, expected: "strings", found: leaf) }
            strings.append(Array(string.utf8))
        }
        return .bytes(strings)
    }

    private static func flatten(
        _ data: JSON, _ shape: ArraySlice<Int>, into leaves: inout [JSON], param: String
    ) throws(APIError) {
        guard let elements = data.array else { throw .wrongType(param, expected: "an array", found: data) }
        guard elements.contains(where: { $0.array != nil }) else { return leaves += elements }
        guard let dimension = shape.first, shape.count > 1, elements.count == dimension else {
            throw .wrongValue(param, "is nested in another way than the shape says")
        }
        for element in elements { try flatten(element, shape.dropFirst(), into: &leaves, param: param) }
    }
}
