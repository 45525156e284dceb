import MoruBase
import MoruNN
import MoruTensor
import MoruText

/// How much each column of a model's weights matters: the mean square of what it is multiplied with over some texts.
///
/// llama.cpp calls this an importance matrix; its GGUF files of it are read and written.
public struct Calibration: Sendable, Hashable {
    /// Mean squared inputs by the path of the weight.
    public private(set) var means: [String: [Float]] = [:]
    /// Tokens that went through the model.
    public private(set) var tokens = 0

    /// Runs texts through a model and watches what its layers read.
    ///
    /// - Parameters:
    ///   - windows: Tokens; each window is a sequence of its own.
    ///   - progress: Called with the number of windows done.
    /// - Throws: ``MoruError/Code/weightsNotFinite`` when the model's activations are not finite.
    public init(
        of model: any LanguageModel, on windows: [[Int32]], progress: (Int) -> Void = { _ in }
    ) throws(MoruError) {
        let observer = LinearObserver()
        for (done, window) in windows.enumerated() where !window.isEmpty {
            progress(done)
            var batch = TokenBatch([window])
            batch.observer = observer
            observer.observe(model.outputProjection.path, model.hiddenStates(batch))
            tokens += window.count
        }
        progress(windows.count)
        for (path, squares) in observer.squares {
            means[path] = squares.sums.map { Float($0 / Double(max(1, squares.rows))) }
        }
        guard means.values.allSatisfy({ $0.allSatisfy(\.isFinite) }) else {
            throw MoruError(
                .weightsNotFinite, "the model's activations over the calibration texts are not finite",
                remedy: "fetch or save the model again")
        }
    }

    /// Reads llama.cpp's importance matrix.
    ///
    /// - Parameter plan: The file that is to be written, which knows the names of the weights.
    /// - Throws: ``MoruError/Code/calibrationMalformed``, or what the format throws.
    public init(file path: String, for plan: GGUFExport) throws(MoruError) {
        let file = try GGUFFile(path: path)
        guard file.metadata["general.type"]?.string == "imatrix" else {
            throw MoruError(
                .calibrationMalformed, "\(path) is not an importance matrix (its general.type is not \"imatrix\")",
                remedy: "name a file that llama-imatrix or --save-imatrix wrote, or texts with --calibration")
        }
        for tensor in plan.tensors {
            guard !tensor.paths.isEmpty, let info = file.info(tensor.name + ".in_sum2") else { continue }
            let columns = tensor.shape.last ?? 0
            guard info.shape.last == columns, info.count == columns * tensor.paths.count, info.dtype == .f32 else {
                throw MoruError(
                    .calibrationMalformed, "\(file.path): \(info.name) has shape \(info.shape), not that of the model",
                    remedy: "use the importance matrix of this model")
            }
            let counts = tensor.name + ".counts"
            let rows = file.info(counts) == nil ? [] : try file.tensor(counts).values()
            let sums = try file.tensor(info.name).values()
            guard (rows + sums).allSatisfy({ $0.isFinite && $0 >= 0 }) else {
                throw MoruError(
                    .calibrationMalformed, "\(file.path): \(info.name) holds numbers that are negative or not finite",
                    remedy: "make the importance matrix anew")
            }
            for (index, path) in tensor.paths.enumerated() {
                // What no token went through has no importance
                let count = index < rows.count ? rows[index] : rows.first ?? 1
                guard count > 0 else { continue }
                means[path] = sums[index * columns..<(index + 1) * columns].map { $0 / count }
            }
        }
        guard !means.isEmpty else {
            throw MoruError(
                .calibrationMalformed, "\(path) names no weight of the model",
                remedy: "use the importance matrix of this model")
        }
        let chunks = file.metadata["imatrix.chunk_count"]?.int ?? 0
        let (total, isTooLarge) = chunks.multipliedReportingOverflow(by: file.metadata["imatrix.chunk_size"]?.int ?? 0)
        guard !isTooLarge, total >= 0 else {
            throw MoruError(
                .calibrationMalformed, "\(file.path): imatrix.chunk_count \(chunks) cannot be",
                remedy: "make the importance matrix anew")
        }
        tokens = total
    }

    /// Writes the matrix as llama.cpp reads it.
    ///
    /// - Throws: What the file system throws.
    public func write(to path: String, for plan: GGUFExport, texts: String, windowTokens: Int) throws {
        var tensors: [(name: String, tensor: Tensor)] = []
        for tensor in plan.tensors {
            guard tensor.paths.contains(where: { means[$0] != nil }) else { continue }
            let (rows, columns) = (Float(max(1, tokens)), tensor.shape.last ?? 0)
            let sums = tensor.paths.flatMap { path in
                means[path]?.map { $0 * rows } ?? Array(repeating: 0, count: columns)
            }
            let counts = tensor.paths.map { means[$0] == nil ? 0 : rows }
            tensors.append((tensor.name + ".in_sum2", Tensor(sums, shape: [counts.count, columns])))
            tensors.append((tensor.name + ".counts", Tensor(counts, shape: [counts.count, 1])))
        }
        let metadata = [
            GGUFField("general.type", .string("imatrix")), GGUFField("imatrix.datasets", .strings([texts])),
            GGUFField("imatrix.chunk_count", .int((tokens + windowTokens - 1) / windowTokens)),
            GGUFField("imatrix.chunk_size", .int(windowTokens)),
        ]
        try GGUFWriter.write(metadata: metadata, tensors: tensors, to: path)
    }
}

/// Text cut into sequences of tokens.
public struct TokenWindows: Sendable, Hashable {
    /// The sequences, each of at least two tokens.
    public let windows: [[Int32]]
    /// The most tokens of a window.
    public let length: Int

    /// Windows that were made elsewhere.
    public init(windows: [[Int32]], length: Int) { (self.windows, self.length) = (windows, length) }

    /// Cuts text into windows that begin as the model's sequences do.
    ///
    /// - Parameters:
    ///   - length: The most tokens of a window; never more than the model's context.
    ///   - maximumTokens: Windows beyond are left out.
    /// - Throws: ``MoruError/Code/textTooShort``.
    public init(
        _ text: String, for model: PretrainedModel, length: Int = 512, maximumTokens: Int = .max, source: String
    ) throws(MoruError) {
        let start = model.tokenizer.encode("").prefix { $0 == model.tokenizer.beginOfSequence }
        let length = min(length, model.model.facts.contextLength)
        let tokens = model.tokenizer.encode(text, addSpecialTokens: false)
        let step = max(1, length - start.count)
        var (windows, count): ([[Int32]], Int) = ([], 0)
        for begin in stride(from: 0, to: tokens.count, by: step) where count < maximumTokens {
            let window = start + tokens[begin..<min(tokens.count, begin + step)]
            if window.count < 2 { continue }
            windows.append(Array(window))
            count += window.count
        }
        guard !windows.isEmpty else {
            throw MoruError(.textTooShort, "\(source) has \(tokens.count) tokens", remedy: "name a longer text")
        }
        (self.windows, self.length) = (windows, length)
    }
}

extension MoruError.Code {
    /// A file that is no importance matrix of the model.
    public static let calibrationMalformed = MoruError.Code("calibration.malformed", .invalidInput)
    /// A text without enough tokens to measure or calibrate with.
    public static let textTooShort = MoruError.Code("text.too-short", .invalidInput)
}
