import MoruBase

/// What a configuration says of rotary positions.
struct RotaryFacts {
    /// The base of the frequencies.
    var base: Double
    /// The share of each head's elements that is turned.
    var fraction: Double
    /// How the frequencies are stretched.
    var scaling: RotaryScaling

    /// The number of a head's elements that are turned.
    func rotatedDim(headDim: Int) -> Int { Int(Double(headDim) * fraction) }
}

extension ConfigurationReader {
    /// Reads rotary positions, from the one object that newer configurations hold or the keys of older ones.
    func rotary(
        baseKey: String = "rope_theta", defaultBase: Double = 10_000, fractionKey: String = "partial_rotary_factor",
        defaultFraction: Double = 1, contextLength: Int, originalContext: Int? = nil, allowsLong: Bool = false
    ) throws(MoruError) -> RotaryFacts {
        let rope = json["rope_parameters"] ?? json["rope_scaling"]
        let inner = ConfigurationReader(json: rope ?? .null, source: "\(source), rope_parameters")
        let hasBase = rope?["rope_theta"] != nil
        let hasFraction = rope?["partial_rotary_factor"] != nil
        let fraction =
            hasFraction ? try inner.number("partial_rotary_factor") : try number(fractionKey, default: defaultFraction)
        guard 0...1 ~= fraction else { throw unexpected(fractionKey, .double(fraction), "from 0 to 1") }
        return RotaryFacts(
            base: hasBase ? try inner.number("rope_theta") : try number(baseKey, default: defaultBase),
            fraction: fraction,
            scaling: try RotaryScaling(
                json: rope, contextLength: contextLength, originalContext: originalContext, allowsLong: allowsLong,
                source: source))
    }
}
