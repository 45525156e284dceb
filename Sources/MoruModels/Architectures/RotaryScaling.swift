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
    /// Each frequency divided by a factor of its own, as a GGUF file stores them.
    case perFrequency([Double])

    /// Reads `rope_scaling` (or `rope_parameters`) of a Hugging Face configuration.
    ///
    /// - Throws: ``MoruError/Code/modelConfiguration`` or ``MoruError/Code/modelUnsupported``.
    init(json: JSON?, contextLength: Int, source: String) throws(MoruError) {
        guard let json else {
            self = .none
            return
        }
        let reader = ConfigurationReader(json: json, source: "\(source), rope_scaling")
        let original = try reader.size("original_max_position_embeddings", default: contextLength)
        let olderType = try reader.text("type")
        switch try reader.text("rope_type") ?? olderType ?? "default" {
        case "default": self = .none
        case "linear": self = .linear(factor: try reader.number("factor"))
        case "llama3":
            self = .llama3(
                factor: try reader.number("factor"), lowFrequencyFactor: try reader.number("low_freq_factor"),
                highFrequencyFactor: try reader.number("high_freq_factor"), originalContext: original)
        case "yarn":
            let factor = try reader.number("factor")
            self = .yarn(
                factor: factor, betaFast: try reader.number("beta_fast", default: 32),
                betaSlow: try reader.number("beta_slow", default: 1), originalContext: original,
                attentionFactor: try reader.number("attention_factor", default: 0.1 * log(factor) + 1))
        case let other:
            throw MoruError(
                .modelUnsupported, "\(source): rope scaling of type \"\(other)\" is not supported",
                remedy: "supported are default, linear, llama3 and yarn")
        }
    }

    /// What cosines and sines are multiplied by.
    var attentionFactor: Double {
        if case .yarn(_, _, _, _, let factor) = self { factor } else { 1 }
    }

    /// Radians a position for each pair of a head's elements.
    func inverseFrequencies(headDim: Int, base: Double) -> [Double] {
        let plain = (0..<headDim / 2).map { 1 / pow(base, Double(2 * $0) / Double(headDim)) }
        switch self {
        case .none: return plain
        case .linear(let factor): return plain.map { $0 / factor }
        case .perFrequency(let factors): return zip(plain, factors).map { $0 / $1 }
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
