import MoruBase
import MoruTensor

/// How the tensors of a GGUF file are stored: all as one format, or a mixture that spends more bits where they matter.
public enum StorageTypes: Sendable, Hashable {
    /// As the model holds them; what is quantised stays as it is.
    case original
    /// Matrices in one format; vectors stay f32.
    case uniform(DType)
    /// The usual mixture of a k-quantised format, as llama.cpp's names have it: `Q4_K_S`, `Q4_K_M`, `Q5_K_S`, `Q5_K_M`.
    case mixture(DType, isMedium: Bool)

    /// The name, as `--type` takes it.
    public var name: String {
        switch self {
        case .original: "original"
        case .uniform(let dtype): dtype.ggufName
        case .mixture(let dtype, let isMedium): dtype.ggufName + (isMedium ? "_M" : "_S")
        }
    }

    /// Every quantised choice and dense format, smallest last.
    public static let all: [StorageTypes] =
        [.f32, .bf16, .f16, .q8_0, .q6_K].map { .uniform($0) } + [
            .mixture(.q5_K, isMedium: true), .mixture(.q5_K, isMedium: false), .uniform(.q5_K), .uniform(.q5_1),
            .uniform(.q5_0), .mixture(.q4_K, isMedium: true), .mixture(.q4_K, isMedium: false), .uniform(.q4_K),
            .uniform(.q4_1), .uniform(.q4_0),
        ]

    /// The choice of a name, in any case.
    public init?(name: String) {
        guard let match = Self.all.first(where: { $0.name.lowercased() == name.lowercased() }) else { return nil }
        self = match
    }

    /// Why a tensor is stored in another format than the one requested.
    public enum Deviation: Sendable, Hashable, CustomStringConvertible {
        /// A small tensor that matters much stays f32.
        case important
        /// More bits where they matter.
        case moreBits
        /// Rows of so many elements do not fit the format's blocks.
        case rowLength(Int, blockElements: Int)

        /// The reason, for people.
        public var description: String {
            switch self {
            case .important: "small, and matters much"
            case .moreBits: "more bits where they matter"
            case .rowLength(let columns, let blockElements): "rows of \(columns) are not a multiple of \(blockElements)"
            }
        }
    }

    /// The format of one tensor, and why it is not the one requested.
    ///
    /// - Throws: ``MoruError/Code/quantizationUnsupported`` where the original cannot be kept.
    func choose(
        for name: String, shape: [Int], source: DType, layerCount: Int, isTied: Bool
    ) throws(MoruError) -> (DType, Deviation?) {
        // Vectors, positions and routers are small and matter much
        if shape.count < 2 { return (.f32, nil) }
        let wanted: DType
        switch self {
        case .original: return (source, nil)
        case .uniform(let dtype):
            if !dtype.isQuantized { return (dtype, nil) }
            wanted = dtype
        case .mixture(let dtype, _): wanted = dtype
        }
        if ["position_embd", "token_types", "ffn_gate_inp"].contains(where: name.contains) {
            return (.f32, .important)
        }
        let better = moreBits(wanted, name: name, layerCount: layerCount, isTied: isTied)
        let columns = shape.last ?? 0
        if columns % better.blockElements == 0 {
            return (better, better == wanted ? nil : .moreBits)
        }
        let fallback: [DType: DType] = [.q4_K: .q5_0, .q5_K: .q5_1, .q6_K: .q8_0]
        if let next = fallback[better], columns % next.blockElements == 0 {
            return (next, .rowLength(columns, blockElements: better.blockElements))
        }
        return (.f16, .rowLength(columns, blockElements: 32))
    }

    /// llama.cpp's usual places: the output projection (the embedding, where it is both), and in mixtures the values and
    /// the feed-forward's second projection of the first and last eighth of the layers and of every third between.
    private func moreBits(_ wanted: DType, name: String, layerCount: Int, isTied: Bool) -> DType {
        let isOutput = name == "output.weight" || (isTied && name == "token_embd.weight")
        if isOutput { return wanted == .q8_0 ? .q8_0 : .q6_K }
        guard case .mixture(let dtype, let isMedium) = self else { return wanted }
        let isValue = name.hasSuffix(".attn_v.weight")
        guard isValue || name.hasSuffix(".ffn_down.weight") || name.hasSuffix(".ffn_down_exps.weight"),
            let layer = name.split(separator: ".").dropFirst().first.flatMap({ Int($0) })
        else { return wanted }
        let eighth = layerCount / 8
        if isMedium {
            return layer < eighth || layer >= 7 * layerCount / 8 || (layer - eighth) % 3 == 2 ? .q6_K : wanted
        }
        guard dtype == .q4_K else { return wanted }
        return layer < (isValue ? 4 : eighth) ? .q5_K : wanted
    }

    /// GGUF's `general.file_type`.
    func fileType(of tensors: [GGUFExport.PlannedTensor]) -> Int {
        let uniform: [DType: Int] = [
            .f32: 0, .f16: 1, .q4_0: 2, .q4_1: 3, .q8_0: 7, .q5_0: 8, .q5_1: 9, .q2_K: 10, .q3_K: 12, .q4_K: 14,
            .q5_K: 16, .q6_K: 18, .bf16: 32,
        ]
        switch self {
        case .mixture(let dtype, let isMedium): return (uniform[dtype] ?? 0) + (isMedium ? 1 : 0)
        case .uniform(let dtype): return uniform[dtype] ?? 0
        case .original:
            var bytes: [DType: Int] = [:]
            for tensor in tensors { bytes[tensor.dtype, default: 0] += tensor.byteCount }
            return bytes.max { $0.value < $1.value }.flatMap { uniform[$0.key] } ?? 0
        }
    }
}

extension DType {
    /// The format in GGUF's spelling: `Q4_K`, `BF16`.
    public var ggufName: String { isQuantized ? rawValue.replacing("q", with: "Q") : rawValue.uppercased() }
}
