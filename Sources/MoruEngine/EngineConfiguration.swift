import Foundation
import MoruBase
import MoruModels
import MoruTensor

/// How an engine stores the keys and values of its sequences.
public enum CacheFormat: String, Sendable, Hashable, CaseIterable {
    /// As they are computed.
    case f32
    /// Half of the memory and of the traffic.
    case bf16
    /// 8 bits and a scale for each 32 elements: a bit more than a quarter.
    case int8

    var dtype: DType {
        switch self {
        case .f32: .f32
        case .bf16: .bf16
        case .int8: .q8_0
        }
    }
}

/// Whether an engine drafts tokens, to verify several in one pass. Answers are the same with and without.
public enum Speculation: String, Sendable, Hashable, CaseIterable {
    /// One token at a time.
    case off
    /// Drafts what followed the last tokens when they occurred earlier, in the prompt or in the answer.
    case lookup
}

/// The limits and strategies of an engine.
public struct EngineConfiguration: Sendable, Hashable {
    /// The maximum number of sequences computed together; further requests wait.
    public var maximumSequences: Int
    /// The maximum number of tokens that one step computes, over all sequences.
    public var tokenBudget: Int
    /// A context length below the model's own; nil for the model's.
    public var contextLength: Int?
    /// Whether tokens are drafted.
    public var speculation: Speculation
    /// The format of the KV cache.
    public var cacheFormat: CacheFormat
    /// The maximum size of the KV cache in bytes, including a draft model's; nil for what all sequences together may
    /// need, but no more than a quarter of the machine's memory.
    public var cacheBytes: Int?
    /// Whether requests with a common prefix share its computation; answers are the same with and without.
    public var sharesPrefixes: Bool
    /// Where KV pages are kept that do not fit into memory, and across restarts; nil for nowhere. Answers are the same
    /// with and without.
    public var prefixDirectory: PrefixDirectory?
    /// Requests are refused while the waiting ones have more tokens than this, counting prompts and estimated answers;
    /// nil for no limit.
    public var maximumWaitingTokens: Int?
    /// Requests are refused if they would probably wait longer than this, in seconds; nil for no limit.
    public var maximumWaitSeconds: Double?
    /// The gain that drafts must promise for a pass; with 0 some are made regardless of their cost.
    var minimumSpeculationGain = SpeculationPlanner.noticeableGain

    /// Makes a configuration.
    public init(
        maximumSequences: Int = 8, tokenBudget: Int = 520, contextLength: Int? = nil,
        speculation: Speculation = .lookup, cacheFormat: CacheFormat = .bf16, cacheBytes: Int? = nil,
        sharesPrefixes: Bool = true, prefixDirectory: PrefixDirectory? = nil, maximumWaitingTokens: Int? = nil,
        maximumWaitSeconds: Double? = nil
    ) {
        self.cacheBytes = cacheBytes
        self.sharesPrefixes = sharesPrefixes
        self.prefixDirectory = prefixDirectory
        self.maximumWaitingTokens = maximumWaitingTokens
        self.maximumWaitSeconds = maximumWaitSeconds
        self.speculation = speculation
        self.cacheFormat = cacheFormat
        self.maximumSequences = maximumSequences
        self.tokenBudget = tokenBudget
        self.contextLength = contextLength
    }

    /// The largest ``maximumSequences`` and ``tokenBudget`` that make sense on any machine.
    private static let (sequenceLimit, budgetLimit) = (1 << 16, 1 << 24)

    /// Changes how many sequences are computed together, leaving prompts the same share of a step.
    public mutating func changeMaximumSequences(to count: Int) {
        // A senseless count is left for ``validate(for:)`` to refuse, and not added up
        let limit = Self.sequenceLimit
        if 0...limit ~= count, 0...limit ~= maximumSequences { tokenBudget += count - maximumSequences }
        maximumSequences = count
    }

    /// Checks the settings against a model.
    ///
    /// - Throws: ``MoruError/Code/engineConfiguration``, naming the setting.
    public func validate(for model: any LanguageModel) throws(MoruError) {
        let headDim = model.facts.headDim
        guard headDim % cacheFormat.dtype.blockElements == 0 else {
            throw MoruError(
                .engineConfiguration,
                "keys and values cannot be stored as \(cacheFormat.rawValue): the model's heads have \(headDim) elements, "
                    + "which is not a multiple of \(cacheFormat.dtype.blockElements)",
                remedy: "use bf16")
        }
        guard 1...Self.sequenceLimit ~= maximumSequences else {
            throw MoruError(
                .engineConfiguration, "maximumSequences is \(maximumSequences)",
                remedy: "use 1 to \(Self.sequenceLimit)")
        }
        let least = maximumSequences + Scheduler.Limits.leastChunk()
        guard tokenBudget >= least else {
            throw MoruError(
                .engineConfiguration,
                "a token budget of \(tokenBudget) leaves too few tokens for prompts beside \(maximumSequences) sequences",
                remedy: "use \(least) or more, such as \(maximumSequences + 512)")
        }
        guard tokenBudget <= Self.budgetLimit else {
            throw MoruError(
                .engineConfiguration, "the token budget is \(tokenBudget)", remedy: "use at most \(Self.budgetLimit)")
        }
        if let maximumWaitingTokens, maximumWaitingTokens < 0 {
            throw MoruError(
                .engineConfiguration, "maximumWaitingTokens is \(maximumWaitingTokens)", remedy: "use 0 or more")
        }
        if let maximumWaitSeconds, !(maximumWaitSeconds >= 0) {
            throw MoruError(
                .engineConfiguration, "maximumWaitSeconds is \(maximumWaitSeconds)", remedy: "use 0 or more")
        }
        if let contextLength, contextLength < 2 {
            throw MoruError(.engineConfiguration, "contextLength is \(contextLength)", remedy: "use 2 or more")
        }
    }

    /// The maximum size of the KV cache of an engine with this configuration, including a draft model's, in bytes.
    ///
    /// - Throws: As ``validate(for:)``.
    package func cacheCapacityBytes(
        for model: any LanguageModel, draft: (any LanguageModel)? = nil
    ) throws(MoruError) -> Int {
        try validate(for: model)
        let layout = model.cacheLayout(cacheFormat.dtype)
        let draftLayout = speculation == .off ? nil : draft.map { DraftModel.cacheLayout(of: $0) }
        let length = min(model.facts.contextLength, contextLength ?? .max)
        return try pageCapacity(layout, draft: draftLayout, contextLength: length)
            .multipliedClamped(by: layout.pageBytes + (draftLayout?.pageBytes ?? 0))
    }

    /// Pages of keys and values that there is memory for.
    ///
    /// - Parameter draft: Pages of a draft model, of which there may be as many.
    /// - Throws: ``MoruError/Code/engineConfiguration`` when it is not enough for one.
    func pageCapacity(_ layout: CacheLayout, draft: CacheLayout?, contextLength: Int) throws(MoruError) -> Int {
        let pageBytes = max(1, layout.pageBytes + (draft?.pageBytes ?? 0))
        if let cacheBytes {
            guard cacheBytes >= pageBytes else {
                throw MoruError(
                    .engineConfiguration,
                    "\(cacheBytes) bytes of keys and values are less than the \(pageBytes) bytes of one page"
                        + (draft == nil ? "" : " and one of the draft model's"),
                    remedy: "give at least \(pageBytes) bytes, better those of a whole context")
            }
            return cacheBytes / pageBytes
        }
        let wanted = SequenceCache.pageCount(contextLength).multipliedClamped(by: maximumSequences)
        return max(1, min(wanted, Machine.memory / 4 / pageBytes))
    }
}

extension Int {
    /// The product, or the largest number where that is too large.
    func multipliedClamped(by factor: Int) -> Int {
        let (product, overflow) = multipliedReportingOverflow(by: factor)
        return overflow ? .max : product
    }
}
