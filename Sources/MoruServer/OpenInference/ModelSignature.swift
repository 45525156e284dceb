import MoruBase

/// What a model reads and gives as tensors, as `GET /v2/models/{name}` tells it.
struct ModelSignature: Sendable, Hashable {
    /// A tensor; a dimension of -1 is of any size.
    struct Tensor: Sendable, Hashable {
        var name: String
        var datatype: TensorDatatype
        var shape: [Int]

        fileprivate var json: JSON {
            [
                "name": .string(name), "datatype": .string(datatype.rawValue),
                "shape": .array(shape.map { .int($0) }),
            ]
        }
    }

    /// What a model must be given. Token ids (`input_ids`) may take its place.
    let inputs = [Tensor(name: "text", datatype: .bytes, shape: [-1])]
    /// What it gives.
    let outputs: [Tensor]
    /// The labels of a classifier, in the order of the columns of its scores; empty for others.
    let labels: [String]

    /// What a model of this function gives.
    init(_ function: ServedModel.Function) {
        if case .classifier(let model) = function { labels = model.configuration.labels } else { labels = [] }
        switch function {
        case .generator:
            outputs = [
                Tensor(name: "text", datatype: .bytes, shape: [-1]),
                Tensor(name: "finish_reason", datatype: .bytes, shape: [-1]),
            ]
        case .classifier(let model) where model.configuration.place == .token:
            outputs = [Tensor(name: "spans", datatype: .bytes, shape: [-1])]
        case .classifier(let model):
            let scores = Tensor(name: "scores", datatype: .fp32, shape: [-1, labels.count])
            outputs =
                switch model.configuration.problem {
                case .regression: [scores]
                case .singleLabel: [Tensor(name: "label", datatype: .bytes, shape: [-1]), scores]
                case .multiLabel: [Tensor(name: "labels", datatype: .bytes, shape: [-1]), scores]
                }
        case .embedder(let embedder):
            outputs = [Tensor(name: "embedding", datatype: .fp32, shape: [-1, embedder.dimensions])]
        }
    }

    /// `inputs` and `outputs` of a model's metadata, and what else there is to know of them.
    var json: [(String, JSON)] {
        let tensors: [(String, JSON)] = [
            ("inputs", .array(inputs.map(\.json))), ("outputs", .array(outputs.map(\.json))),
        ]
        guard !labels.isEmpty else { return tensors }
        return tensors + [("parameters", ["labels": .array(labels.map { .string($0) })])]
    }

    /// Refuses outputs that the model does not give.
    ///
    /// - Throws: ``APIError`` that names those there are.
    func check(_ asked: [InferenceRequest.Output]?) throws(APIError) {
        let names = outputs.map(\.name)
        for (place, output) in (asked ?? []).enumerated() where !names.contains(output.name) {
            throw .wrongValue(
                "outputs[\(place)].name",
                "is '\(output.name)', and the model gives \(names.map { "'\($0)'" }.joined(separator: " and "))")
        }
    }
}
