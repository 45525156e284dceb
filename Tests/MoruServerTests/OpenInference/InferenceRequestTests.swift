import MoruBase
import MoruTestKit
import Testing

@testable import MoruServer

/// How the bodies of the Open Inference Protocol are read and written.
@Suite struct InferenceRequestTests {
    private func tensor(_ text: String, _ data: [UInt8] = []) throws -> InferenceTensor {
        var binary = BinaryTensorData(data[...])
        return try InferenceTensor(
            try JSON.parse(text, source: "tensor"), path: "inputs[0]", binary: &binary)
    }

    private func refusal(_ text: String, _ data: [UInt8] = []) -> APIError? {
        do {
            _ = try tensor(text, data)
            return nil
        } catch { return error as? APIError }
    }

    @Test func dataIsFlatOrNestedAsTheShapeIs() throws {
        for data in ["[1, 2, 3, 4, 5, 6]", "[[1, 2, 3], [4, 5, 6]]"] {
            let tensor = try tensor(#"{"name": "input_ids", "shape": [2, 3], "datatype": "INT32", "data": \#(data)}"#)
            #expect(try tensor.rows() == [[1, 2, 3], [4, 5, 6]])
        }
        for data in ["[[1, 2], [3, 4], [5, 6]]", "[[[1, 2, 3], [4, 5, 6]]]", "[[1, 2, 3], 4, 5, 6]"] {
            let text = #"{"name": "input_ids", "shape": [2, 3], "datatype": "INT32", "data": \#(data)}"#
            #expect(refusal(text)?.param?.hasPrefix("inputs[0]") == true, "\(data)")
        }
    }

    /// Took minutes when each name was compared with all before it.
    @Test(.timeLimit(.minutes(1))) func manyInputsAreReadInTime() throws {
        let inputs = (0..<30_000).map { place -> JSON in
            ["name": .string("some name or other \(place)"), "shape": [0], "datatype": "BYTES", "data": []]
        }
        #expect(try InferenceRequest(["inputs": .array(inputs)]).inputs.count == inputs.count)
        #expect(throws: APIError.self) { try InferenceRequest(["inputs": .array(inputs + [inputs[7]])]) }
    }

    @Test(arguments: TensorDatatype.allCases.filter(\.isInteger))
    func integersAreReadInTheirSize(datatype: TensorDatatype) throws {
        let size = try #require(datatype.byteCount)
        var generator = SplitMix64(seed: 3)
        // The numbers that need all bytes, and their neighbours, are among them
        let bound = datatype.isSigned ? Int.max >> (64 - size * 8) : size == 8 ? Int.max : (1 << (size * 8)) - 1
        let least = datatype.isSigned ? -bound - 1 : 0
        let numbers =
            [0, 1, bound, bound - 1, least] + (0..<20).map { _ in Int.random(in: least...bound, using: &generator) }
        let data = numbers.flatMap { number in
            (0..<size).map { UInt8(truncatingIfNeeded: UInt64(bitPattern: Int64(number)) >> UInt64(8 * $0)) }
        }
        let read = try tensor(
            #"""
            {"name": "input_ids", "shape": [\#(numbers.count)], "datatype": "\#(datatype.rawValue)",
             "parameters": {"binary_data_size": \#(data.count)}}
            """#, data)
        #expect(read.values == .integers(numbers))
    }

    @Test func stringsKeepTheirBytes() throws {
        let texts = ["", "é", "a\0b", String(repeating: "x", count: 300)]
        let data = BinaryTensorData.encode(texts)
        let read = try tensor(
            #"{"name": "text", "shape": [4], "datatype": "BYTES", "parameters": {"binary_data_size": \#(data.count)}}"#,
            data)
        #expect(try read.texts() == texts)
    }

    @Test(
        arguments: [
            (#""shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}"#, [9, 0, 0, 0, 1]),
            (#""shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 3}"#, [1, 0, 0]),
            (#""shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 6}"#, [1, 0, 0, 0, 97]),
            (#""shape": [1], "datatype": "INT32", "parameters": {"binary_data_size": 3}"#, [1, 0, 0]),
            (
                #""shape": [1], "datatype": "UINT64", "parameters": {"binary_data_size": 8}"#,
                [255, 255, 255, 255, 255, 255, 255, 255]
            ),
            (#""shape": [1], "datatype": "INT8", "data": [1], "parameters": {"binary_data_size": 1}"#, [1]),
            (#""shape": [1], "datatype": "INT8", "parameters": {"binary_data_size": -1}"#, []),
            (#""shape": [9223372036854775807, 3], "datatype": "INT8", "data": [1]"#, []),
            (#""shape": [-1], "datatype": "INT8", "data": [1]"#, []),
            (#""shape": 1, "datatype": "INT8", "data": [1]"#, []),
            (#""shape": [1], "datatype": "INT8", "data": ["a"]"#, []),
            (#""shape": [1], "datatype": "BYTES", "data": [1]"#, []),
            (#""shape": [1], "datatype": "TEXT", "data": ["a"]"#, []),
            (#""shape": [1], "datatype": "BYTES""#, []),
            (#""shape": [1], "datatype": "BYTES", "data": ["a"], "parameters": {"shared_memory_region": "r"}"#, []),
        ] as [(String, [UInt8])])
    func refusesWhatDoesNotFit(fields: String, data: [UInt8]) {
        let error = refusal(#"{"name": "text", \#(fields)}"#, data)
        #expect(error?.status == .badRequest && error?.param?.hasPrefix("inputs[0].") == true, "\(error as Any)")
    }

    @Test(arguments: ["[0]", "[3, 0]", "[9223372036854775807, 0]", "[1, 1, 0]"])
    func rowsHaveTokens(shape: String) throws {
        let read = try tensor(#"{"name": "input_ids", "shape": \#(shape), "datatype": "INT64", "data": []}"#)
        #expect(throws: APIError.self) { _ = try read.rows() }
    }

    @Test func textsAreUTF8() throws {
        let read = try tensor(
            #"{"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}}"#,
            [1, 0, 0, 0, 0xFF])
        #expect(throws: APIError.self) { _ = try read.texts() }
    }

    @Test func binaryDataIsReadToItsEnd() throws {
        let json = #"{"inputs": [{"name": "a", "shape": [0], "datatype": "INT8", "data": []}]}"#
        #expect(try InferenceRequest(Array(json.utf8), jsonCount: json.utf8.count).inputs.count == 1)
        #expect(throws: APIError.self) { _ = try InferenceRequest(Array(json.utf8) + [1], jsonCount: json.utf8.count) }
        #expect(throws: APIError.self) { _ = try InferenceRequest(Array(json.utf8), jsonCount: json.utf8.count + 1) }
    }

    @Test(
        arguments: [
            ("/v2/models/a", "a", nil, nil), ("/v2/models/a/ready", "a", nil, .ready),
            ("/v2/models/org/a/infer", "org/a", nil, .infer), ("/v2/models/org%2Fa%20b/infer", "org/a b", nil, .infer),
            ("/v2/models/a/versions/2/generate_stream", "a", "2", .generateStream),
            ("/v2/models/ready", "ready", nil, nil),
            ("/v2/models/a/versions/2", "a", "2", nil), ("/v2/models/versions/2", "versions/2", nil, nil),
            ("/v2/models/", "", nil, nil),
        ] as [(String, String, String?, OpenInferencePath.Action?)])
    func pathsNameAModel(path: String, name: String, version: String?, action: OpenInferencePath.Action?) {
        let read = OpenInferencePath(path)
        #expect(read.name == name && read.version == version && read.action == action, "\(read)")
    }
}
