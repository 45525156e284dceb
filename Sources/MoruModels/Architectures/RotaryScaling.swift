import Foundation
import MoruBase

/// How rotary frequencies are stretched to contexts longer than those of pre-training.
public enum RotaryScaling: Sendable, Hashable {
    /// Not at all.
    case none
    /// Every frequency divided by a factor (position interpolation; Chen et al., 2023).
    case linear(factor: Double)
    /// Low frequencies divided, high ones kept, a ramp between (Llama 3.1).
    case llama3(factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double, originalContext: Int)
    /// YaRN (Peng et al., 2023).
    case yarn(factor: Double, betaFast: Double, betaSlow: Double, originalContext: Int, attentionFactor: Double)
    /// Each frequency divided by a factor of its own, one for sequences within the original context and another for
    /// longer ones (LongRoPE; Ding et al., 2024).
    case longrope(short: [Double], long: [Double], originalContext: Int, attentionFactor: Double)
    /// Each frequency divided by a factor of its own, as a GGUF file stores them.
    case perFrequency([Double])

    /// Reads `rope_scaling` (or `rope_parameters`) of a Hugging Face configuration.
    ///
    /// - Parameters:
    ///   - originalContext: What the configuration gives for all of it, which comes before what the object says.
    ///   - allowsLong: Whether the architecture knows LongRoPE.
    /// - Throws: ``MoruError/Code/modelConfiguration`` or ``MoruError/Code/modelUnsupported``.
    init(
        json: JSON?, contextLength: Int, originalContext: Int? = nil, allowsLong: Bool = false, source: String
    ) throws(MoruError) {
        guard let json else {
            self = .none
            return
        }
        guard case .object = json else {
            throw MoruError(
                .modelConfiguration, "\(source): rope_scaling must be an object, found \(json.kindName)",
                remedy: "restore the file that came with the model")
        }
        let reader = ConfigurationReader(json: json, source: "\(source), rope_scaling")
        let inner = try reader.size("original_max_position_embeddings", default: contextLength)
        let original = originalContext ?? inner
        let olderType = try reader.text("type")
        switch try reader.text("rope_type") ?? olderType ?? "default" {
        case "default": self = .none
        // The first configurations of Phi-3 gave other names
        case "longrope" where allowsLong, "su" where allowsLong, "yarn" where allowsLong:
            let factor = try reader.positive("factor", default: Double(contextLength) / Double(original))
            self = .longrope(
                short: try reader.factors("short_factor"), long: try reader.factors("long_factor"),
                originalContext: original,
                attentionFactor: try reader.positive(
                    "attention_factor", default: Self.longAttentionFactor(factor, originalContext: original)))
        case "linear": self = .linear(factor: try reader.positive("factor"))
        case "llama3":
            let low = try reader.positive("low_freq_factor")
            let high = try reader.positive("high_freq_factor")
            guard high > low else {
                throw reader.unexpected("high_freq_factor", .double(high), "above low_freq_factor, which is \(low)")
            }
            self = .llama3(
                factor: try reader.positive("factor"), lowFrequencyFactor: low, highFrequencyFactor: high,
                originalContext: original)
        case "yarn":
            let factor = try reader.positive("factor")
            if try !reader.flag("truncate", default: true) {
                throw reader.unsupported(
                    "truncate", remedy: "Moru rounds the borders of YaRN's ramp, as its paper does")
            }
            var attention = Self.attentionFactor(factor, 1)
            if json["mscale"] != nil, json["mscale_all_dim"] != nil {
                attention =
                    Self.attentionFactor(factor, try reader.positive("mscale"))
                    / Self.attentionFactor(factor, try reader.positive("mscale_all_dim"))
            }
            self = .yarn(
                factor: factor, betaFast: try reader.positive("beta_fast", default: 32),
                betaSlow: try reader.positive("beta_slow", default: 1), originalContext: original,
                attentionFactor: try reader.positive("attention_factor", default: attention))
        case let other:
            throw MoruError(
                .modelUnsupported, "\(source): rope scaling of type \"\(other)\" is not supported",
                remedy: "supported are default, linear, llama3 and yarn")
        }
    }

    /// LongRoPE's factor of cosines and sines for a stretching factor.
    static func longAttentionFactor(_ factor: Double, originalContext: Int) -> Double {
        factor > 1 && originalContext > 1 ? (1 + log(factor) / log(Double(originalContext))).squareRoot() : 1
    }

    /// YaRN's factor of cosines and sines for a stretching factor.
    private static func attentionFactor(_ factor: Double, _ scale: Double) -> Double {
        factor > 1 ? 0.1 * scale * log(factor) + 1 : 1
    }

    /// The scaling of Llama 3.1 that gives these factors, which is what a GGUF file of such a model stores; nil when
    /// none does.
    static func llama3(factors: [Double], headDim: Int, base: Double) -> RotaryScaling? {
        guard let factor = factors.max(), factor > 1, factors.count == headDim / 2 else { return nil }
        let plain = RotaryScaling.none.inverseFrequencies(headDim: headDim, base: base)
        // Every published model has these factors
        return [8192, 4096, 16_384, 32_768, 2048].lazy
            .map {
                RotaryScaling.llama3(factor: factor, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: $0)
            }
            .first { candidate in
                let scaled = candidate.inverseFrequencies(headDim: headDim, base: base)
                return zip(zip(plain, scaled), factors).allSatisfy { abs($0.0 / $0.1 / $1 - 1) < 1e-4 }
            }
    }

    /// What cosines and sines are multiplied by.
    var attentionFactor: Double {
        switch self {
        case .yarn(_, _, _, _, let factor), .longrope(_, _, _, let factor): factor
        default: 1
        }
    }

    /// Radians a position for each pair of a head's elements.
    func inverseFrequencies(headDim: Int, base: Double) -> [Double] {
        let plain = (0..<headDim / 2).map { 1 / pow(base, Double(2 * $0) / Double(headDim)) }
        switch self {
        case .none: return plain
        case .linear(let factor): return plain.map { $0 / factor }
        case .perFrequency(let factors), .longrope(let factors, _, _, _): return zip(plain, factors).map { $0 / $1 }
        case .llama3(let factor, let low, let high, let original):
            return plain.map { frequency in
                let turns = Double(original) * frequency / (2 * .pi)
                if turns < low { return frequency / factor }
                if turns > high { return frequency }
                let smooth = (turns - low) / (high - low)
                return (1 - smooth) * frequency / factor + smooth * frequency
            }
        case .yarn(let factor, let betaFast, let betaSlow, let original, _):
            func dimension(ofTurns turns: Double) -> Double {
                Double(headDim) * log(Double(original) / (turns * 2 * .pi)) / (2 * log(base))
            }
            let low = max(0, floor(dimension(ofTurns: betaFast)))
            let high = min(Double(headDim - 1), ceil(dimension(ofTurns: betaSlow)))
            return plain.enumerated().map { index, frequency in
                let ramp = min(1, max(0, (Double(index) - low) / max(0.001, high - low)))
                return frequency / factor * ramp + frequency * (1 - ramp)
            }
        }
    }
}

extension ConfigurationReader {
    /// A list of positive numbers.
    fileprivate func factors(_ key: String) throws(MoruError) -> [Double] {
        guard let value = json[key] else { throw missing(key) }
        let numbers = (value.array ?? []).compactMap(\.double)
        guard !numbers.isEmpty, numbers.count == value.array?.count, numbers.allSatisfy({ $0 > 0 && $0.isFinite })
        else { throw unexpected(key, value, "a list of positive numbers") }
        return numbers
    }
}
