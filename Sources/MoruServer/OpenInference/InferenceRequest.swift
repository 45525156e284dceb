import MoruBase

/// The body of `POST /v2/models/{name}/infer`, as the Open Inference Protocol has it, with its binary tensor data
/// extension.
struct InferenceRequest: Sendable {
    /// An output that the client asks for.
    struct Output: Sendable, Hashable {
        var name: String
        /// Whether it is to come as binary data; nil for what the request says of all.
        var isBinary: Bool?
    }

    /// The client's name for the request, which the answer repeats.
    let id: String?
    /// What the model is to read.
    let inputs: [InferenceTensor]
    /// The outputs asked for; nil for all.
    let outputs: [Output]?
    /// Whether outputs that say nothing else come as binary data.
    let hasBinaryOutputs: Bool
    /// The parameters that are the model's to read.
    let parameters: JSONObject

    /// Reads the body.
    ///
    /// - Parameters:
    ///   - bytes: The JSON, and the binary data after it.
    ///   - jsonCount: Bytes of the JSON (`Inference-Header-Content-Length`); nil for all.
    /// - Throws: ``APIError`` that names what is wrong, or the parser's error with line and column.
    init(_ bytes: [UInt8], jsonCount: Int? = nil) throws {
        let end = jsonCount ?? bytes.count
        guard (0...bytes.count).contains(end) else {
            throw APIError.wrongValue(
                "Inference-Header-Content-Length", "is \(end), and the body has \(bytes.count) bytes")
        }
        let json = try JSON.parse(Array(bytes[..<end]), source: "request body")
        try self.init(json, binary: BinaryTensorData(bytes[end...]))
    }

    /// Reads the JSON of a body and what follows it.
    init(_ json: JSON, binary: BinaryTensorData = BinaryTensorData()) throws(APIError) {
        var (request, binary) = (try RequestObject(json), binary)
        id = try request.string("id")
        inputs = try Self.inputs(try request.required("inputs"), &binary)
        outputs = try Self.outputs(request.value("outputs"))
        let value = request.value("parameters") ?? [:]
        var known = try RequestObject(value, path: "parameters")
        hasBinaryOutputs = try known.bool("binary_data_output") ?? false
        for key in ["sequence_id", "sequence_start", "sequence_end"] {
            try known.refuse(key, unless: [0, "", false], "models here keep nothing from one request to the next")
        }
        try known.refuse("priority", unless: [0], "requests are served in turn; leave it out")
        var parameters = value.object ?? JSONObject()
        for key in ["binary_data_output", "sequence_id", "sequence_start", "sequence_end", "priority"] {
            parameters[key] = nil
        }
        self.parameters = parameters
        // Some clients repeat what the path says
        request.accept("model_name", "model_version")
        try request.finish()
        guard binary.count == 0 else {
            throw .wrongValue("inputs", "leave \(binary.count) bytes of the body's binary data unread")
        }
    }

    private static func inputs(_ value: JSON, _ binary: inout BinaryTensorData) throws(APIError) -> [InferenceTensor] {
        guard let elements = value.array else { throw .wrongType("inputs", expected: "an array", found: value) }
        var inputs: [InferenceTensor] = []
        var names: Set<String> = []
        for (place, element) in elements.enumerated() {
            let input = try InferenceTensor(element, path: "inputs[\(place)]", binary: &binary)
            guard names.insert(input.name).inserted else {
                throw .wrongValue("inputs[\(place)].name", "is '\(input.name)', as another input's is")
            }
            inputs.append(input)
        }
        return inputs
    }

    private static func outputs(_ value: JSON?) throws(APIError) -> [Output]? {
        guard let value else { return nil }
        guard let elements = value.array else { throw .wrongType("outputs", expected: "an array", found: value) }
        var outputs: [Output] = []
        for (place, element) in elements.enumerated() {
            var output = try RequestObject(element, path: "outputs[\(place)]")
            guard let name = try output.string("name") else { throw .missing("outputs[\(place)].name") }
            var parameters = try RequestObject(output.value("parameters") ?? [:], path: "outputs[\(place)].parameters")
            outputs.append(Output(name: name, isBinary: try parameters.bool("binary_data")))
            try parameters.refuse(
                "classification", unless: [0], "a classifier's outputs name its labels; ask for 'label' and 'scores'")
            try parameters.finish()
            try output.finish()
        }
        return outputs.isEmpty ? nil : outputs
    }
}
