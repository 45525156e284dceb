import MoruBase
import MoruModels
import MoruNN
import MoruTensor
import Synchronization

/// A language model without weights: a function says which logits follow a token at a position.
///
/// Its hidden states are the logits themselves, and its output projection is the identity. It keeps a record of the
/// batches that it was asked to compute.
public final class ScriptedModel: LanguageModel {
    /// The logits that follow `token` at `position`.
    public typealias Script = @Sendable (_ token: Int32, _ position: Int) -> [Float]

    /// The facts.
    public let facts: TextModelFacts
    /// The identity.
    public let outputProjection: Parameter
    private let script: Script
    private let pace: (@Sendable () -> Void)?
    private let record = Mutex<[[Int]]>([])

    /// A model of a script.
    ///
    /// - Parameter pace: Called at the start of every forward pass; a test may let a pass take its time here.
    public init(
        vocabularySize: Int, contextLength: Int = 256, pace: (@Sendable () -> Void)? = nil, script: @escaping Script
    ) {
        facts = TextModelFacts(
            architecture: "scripted", vocabularySize: vocabularySize, contextLength: contextLength, layerCount: 1,
            hiddenSize: vocabularySize, kvHeads: 1, headDim: 1)
        var identity = [Float](repeating: 0, count: vocabularySize * vocabularySize)
        for index in 0..<vocabularySize { identity[index * vocabularySize + index] = 1 }
        outputProjection = Parameter("lm_head.weight", Tensor(identity, shape: [vocabularySize, vocabularySize]))
        self.script = script
        self.pace = pace
    }

    /// A model for which one next token is by far the likeliest.
    public convenience init(
        vocabularySize: Int, contextLength: Int = 256, pace: (@Sendable () -> Void)? = nil,
        next: @escaping @Sendable (_ token: Int32, _ position: Int) -> Int32
    ) {
        self.init(vocabularySize: vocabularySize, contextLength: contextLength, pace: pace) { token, position in
            var logits = [Float](repeating: 0, count: vocabularySize)
            logits[Int(next(token, position))] = 20
            return logits
        }
    }

    /// The sizes of the segments of every batch so far.
    public var batches: [[Int]] { record.withLock { $0 } }

    /// The output projection.
    public var parameters: [Parameter] { [outputProjection] }
    /// None.
    public var linears: [Linear] { [] }
    /// A type alone.
    public var configurationJSON: JSON { ["model_type": "scripted"] }

    /// The scripted logits of each token [N, V].
    public func hiddenStates(_ batch: TokenBatch) -> Tensor {
        pace?()
        record.withLock { $0.append(batch.segments.map(\.rows.count)) }
        let rows = zip(batch.tokens, batch.positions).flatMap { script($0, $1) }
        batch.advanceCaches()
        return Tensor(rows, shape: [batch.count, facts.vocabularySize])
    }
}
