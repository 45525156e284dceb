import MoruBase
import MoruModels
import MoruTensor

/// What a draft model knows of one sequence.
final class DraftState {
    /// The draft model's own keys and values.
    let cache: SequenceCache
    /// The share of its guesses that were right lately.
    private(set) var confidence = 0.7

    init(cache: SequenceCache) { self.cache = cache }

    /// Pages of the cache.
    var pageCount: Int { cache.byteCount / max(1, cache.layout.pageBytes) }

    /// Notes that of the tokens guessed after `known` ones, so many were right.
    func note(known: Int, tried: Int, right: Int) {
        for trial in 0..<min(tried, right + 1) { confidence += 0.1 * ((trial < right ? 1 : 0) - confidence) }
        cache.truncate(to: min(cache.count, known + right))
    }

    /// Notes that it was not worth guessing; after a while it is tried again.
    func rest() { confidence += 0.005 * (0.7 - confidence) }
}

/// A small model that guesses the next tokens of a larger one (speculative decoding; Leviathan et al., 2023).
///
/// Its guesses are drawn with the very random numbers with which the large model will draw, and one is right when it is
/// what the large model chooses. Answers are therefore not only distributed as without guesses, but the same. Guesses
/// agree as often as the two distributions do where the numbers fall, a little less often than the best coupling, which
/// has no such promise to keep.
///
/// Belongs to the engine's actor.
final class DraftModel {
    private let model: any LanguageModel
    private var passSeconds: Double?
    /// Tokens that it reads in a pass to catch up.
    private static let chunk = 512
    private let assumedCost: Double

    /// - Throws: ``MoruError/Code/engineConfiguration`` when the vocabularies differ.
    init(_ draft: any LanguageModel, for model: any LanguageModel) throws(MoruError) {
        let (own, other) = (draft.facts.vocabularySize, model.facts.vocabularySize)
        guard own == other else {
            throw MoruError(
                .engineConfiguration, "the draft model's vocabulary has \(own) tokens, the model's \(other)",
                remedy: "use a draft model of the same family, with the same tokenizer")
        }
        self.model = draft
        assumedCost = Double(draft.parameterCount) / Double(max(1, model.parameterCount))
    }

    /// The most tokens of a sequence.
    var contextLength: Int { model.facts.contextLength }
    /// What a pass costs: measured seconds, or while there are none a share of the large model's pass.
    var passCost: SpeculationPlanner.PassCost { passSeconds.map { .seconds($0) } ?? .share(assumedCost) }

    /// What a page of its caches holds.
    var cacheLayout: CacheLayout { Self.cacheLayout(of: model) }

    /// What a page of a draft model's caches holds.
    static func cacheLayout(of model: any LanguageModel) -> CacheLayout {
        model.cacheLayout(model.facts.headDim % DType.bf16.blockElements == 0 ? .bf16 : .f32)
    }

    func makeCache() -> SequenceCache { SequenceCache(cacheLayout) }

    /// Notes what some passes took together.
    func note(passes: Int, seconds: Double) {
        let one = seconds / Double(passes)
        passSeconds = passSeconds.map { $0 + 0.1 * (min(one, 2 * $0) - $0) } ?? one
    }

    /// Guesses the tokens that follow the known ones of each sequence, as many as it asks for.
    func guess(
        _ wanted: [(state: DraftState, known: [Int32], sampler: Sampler, count: Int)]
    ) -> [[Int32]] {
        var guesses = Array(repeating: [Int32](), count: wanted.count)
        var samplers = wanted.map(\.sampler)
        for one in wanted { catchUp(one.state.cache, one.known) }
        for number in 0..<(wanted.map(\.count).max() ?? 0) {
            var batch = TokenBatch()
            var (places, rows): ([Int], [Int]) = ([], [])
            for (place, one) in wanted.enumerated() where one.count > number && guesses[place].count == number {
                let cache = one.state.cache
                let next = number == 0 ? Array(one.known[cache.count...]) : guesses[place].suffix(1)
                batch.append(next, cache: cache)
                places.append(place)
                rows.append(batch.count - 1)
            }
            guard !places.isEmpty else { break }
            let logits = model.logits(model.hiddenStates(batch).gatheringRows(rows))
            for (row, place) in places.enumerated() {
                let its = logits.rows(row..<row + 1)
                // Nothing follows a guess that cannot be drawn
                if its.isFinite { guesses[place].append(samplers[place].next(its)) }
            }
        }
        return guesses
    }

    /// Reads all but the last few of the known tokens.
    private func catchUp(_ cache: SequenceCache, _ known: [Int32]) {
        while known.count - cache.count > Self.chunk {
            var batch = TokenBatch()
            batch.append(known[cache.count..<cache.count + Self.chunk], cache: cache)
            _ = Runtime.withByteProducts { model.hiddenStates(batch) }
        }
    }
}
