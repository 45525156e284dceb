import HTTPTypes
import Hummingbird
import MoruBase

/// A tensor that answers a request.
struct OutputTensor: Sendable, Hashable {
    /// The elements, row by row.
    enum Values: Sendable, Hashable {
        case texts([String])
        case numbers([Float])
    }

    /// What it is called.
    var name: String
    /// Its dimensions.
    var shape: [Int]
    /// Its elements.
    var values: Values

    /// A text for each of the inputs.
    init(_ name: String, _ texts: [String]) {
        (self.name, shape, values) = (name, [texts.count], .texts(texts))
    }

    /// A row of numbers for each of the inputs.
    init(_ name: String, _ rows: [[Float]]) {
        (self.name, shape, values) = (name, [rows.count, rows.first?.count ?? 0], .numbers(rows.flatMap(\.self)))
    }

    private var datatype: TensorDatatype {
        switch values {
        case .texts: .bytes
        case .numbers: .fp32
        }
    }

    private var head: [(String, JSON)] {
        [
            ("name", .string(name)), ("datatype", .string(datatype.rawValue)),
            ("shape", .array(shape.map { .int($0) })),
        ]
    }

    /// The tensor with its data.
    fileprivate var json: JSON {
        let data: [JSON] =
            switch values {
            case .texts(let texts): texts.map { .string($0) }
            case .numbers(let numbers): numbers.map { .shortest($0) }
            }
        return .object(JSONObject(head + [("data", .array(data))]))
    }

    /// The tensor as binary data, and what the JSON before it says.
    fileprivate var binary: (json: JSON, bytes: [UInt8]) {
        let bytes =
            switch values {
            case .texts(let texts): BinaryTensorData.encode(texts)
            case .numbers(let numbers): BinaryTensorData.encode(numbers)
            }
        let parameters: JSON = ["binary_data_size": .int(bytes.count)]
        return (.object(JSONObject(head + [("parameters", parameters)])), bytes)
    }
}

/// The answer to an ``InferenceRequest``.
struct InferenceResponse: Sendable {
    /// The model that answers, as the client asked for it.
    var modelName: String
    /// Its version.
    var modelVersion: String
    /// The outputs that the model gave.
    var outputs: [OutputTensor]
    /// What else there is to say of the answer, such as the tokens that it cost.
    var parameters = JSONObject()

    /// Names the header with the bytes of the JSON at the beginning of a body that has binary data after it.
    static let jsonCountHeader = HTTPField.Name("Inference-Header-Content-Length")

    /// The response, with the outputs that the request asks for in the form that it asks for.
    func response(to request: InferenceRequest) -> Response {
        var (members, data): ([JSON], [UInt8]) = ([], [])
        var hasBinary = false
        for (output, isBinary) in asked(by: request) {
            guard isBinary else {
                members.append(output.json)
                continue
            }
            hasBinary = true
            let binary = output.binary
            members.append(binary.json)
            data += binary.bytes
        }
        var object = JSONObject([("model_name", .string(modelName)), ("model_version", .string(modelVersion))])
        if let id = request.id { object["id"] = .string(id) }
        if !parameters.isEmpty { object["parameters"] = .object(parameters) }
        object["outputs"] = .array(members)
        guard hasBinary else { return Response(JSON.object(object)) }
        let json = JSON.object(object).text()
        var headers: HTTPFields = [.contentType: "application/octet-stream"]
        if let name = Self.jsonCountHeader { headers[name] = "\(json.utf8.count)" }
        var buffer = ByteBuffer(string: json)
        buffer.writeBytes(data)
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: buffer))
    }

    private func asked(by request: InferenceRequest) -> [(OutputTensor, isBinary: Bool)] {
        guard let asked = request.outputs else { return outputs.map { ($0, request.hasBinaryOutputs) } }
        return asked.compactMap { output in
            outputs.first { $0.name == output.name }.map { ($0, output.isBinary ?? request.hasBinaryOutputs) }
        }
    }
}
