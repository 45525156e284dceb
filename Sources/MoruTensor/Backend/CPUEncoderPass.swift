import CMoruKernels

/// The pass of texts through an encoder's layers, on the CPU.
///
/// Each thread takes a few whole texts through all the layers, so that the threads wait for each other once per pass.
/// If there are fewer texts than threads, rows and columns are shared instead; the kernels, and so the results, are the
/// same. Unchecked: nothing changes after the initializer.
final class CPUEncoderPass: EncoderPass, @unchecked Sendable {
    /// Rows that a thread takes at a time: their values, and a layer's weights, pass by its second-level cache.
    static let groupRows = 64
    /// Rows whose sums in f32 are held between a product and what follows it.
    private static let blockRows = 64

    struct Layer {
        var queryKeyValue, output, up, down: Product
        let attentionNorm, outputNorm: EncoderNorm
    }

    let backend: CPUBackend
    let kernels: moru_kernels
    let byteKernels: moru_byte_kernels
    var layers: [Layer]
    private let norm: EncoderNorm
    private let dim, inner, heads: Int
    private let activation: moru_activation
    /// The format of what lies between products, and of the normalised residual stream that goes into them.
    private let type, inputType: DType
    let allowsBF16: Bool
    /// Whether products are of bytes.
    let usesBytes: Bool
    var packed: Storage?

    init(_ backend: CPUBackend, norm: EncoderNorm, layers: [EncoderLayer], heads: Int, activation: Activation) {
        self.backend = backend
        kernels = backend.kernels
        self.norm = norm
        self.heads = heads
        self.activation = activation.kernelFunction
        dim = norm.weight.count
        inner = layers.first?.up.weight.shape[0] ?? 0
        type = backend.runtime.activationType
        allowsBF16 = backend.runtime.allowsBF16
        byteKernels = moru_byte_kernels_for(kernels.level).pointee
        usesBytes = backend.runtime.precision == .int8 && byteKernels.is_fast
        inputType = usesBytes ? .f32 : type
        self.layers = layers.map { layer in
            Layer(
                queryKeyValue: Self.joined([layer.query, layer.key, layer.value]),
                output: Product(weight: layer.output.weight, bias: layer.output.bias),
                up: Product(weight: layer.up.weight, bias: layer.up.bias),
                down: Product(weight: layer.down.weight, bias: layer.down.bias),
                attentionNorm: layer.attentionNorm, outputNorm: layer.outputNorm)
        }
        pack()
    }

    func hiddenStates(_ embeddings: [(table: Tensor, ids: [Int32])], segments: [Range<Int>]) -> Tensor {
        let rows = segments.last?.upperBound ?? 0
        let states = Tensor(uninitialized: [rows, dim])
        var groups: [Range<Int>] = []
        var begin = 0
        for (index, segment) in segments.enumerated() where index > begin {
            guard segment.upperBound - segments[begin].lowerBound > Self.groupRows else { continue }
            groups.append(begin..<index)
            begin = index
        }
        if begin < segments.count { groups.append(begin..<segments.count) }
        // Within the threads' own loop, what a text splits into is computed by its thread
        let isShared = groups.count < 2 * backend.threads.threadCount
        func computeGroup(_ index: Int) {
            let group = Array(segments[groups[index]])
            guard let first = group.first?.lowerBound, let end = group.last?.upperBound, first < end else { return }
            compute(embeddings, rows: first..<end, segments: group, states.floats + first * dim, isShared: isShared)
        }
        if isShared {
            groups.indices.forEach(computeGroup)
        } else {
            backend.threads.run(groups.count, computeGroup)
        }
        return states
    }

    /// Texts that are computed together.
    private struct Group {
        let count: Int
        let segments: [Range<Int>]
        /// The residual stream, normalised, in f32; and in the format that goes into products, maybe in the same memory.
        let x: UnsafeMutablePointer<Float>
        let input, queryKeyValue, mixed, inner: UnsafeMutableRawPointer
        let isShared: Bool
    }

    private func compute(
        _ embeddings: [(table: Tensor, ids: [Int32])], rows: Range<Int>, segments: [Range<Int>],
        _ x: UnsafeMutablePointer<Float>, isShared: Bool
    ) {
        let (count, size) = (rows.count, type.blockBytes)
        func aligned(_ elements: Int) -> Int { (count * elements * size + 63) & ~63 }
        let sizes = [inputType == .f32 ? 0 : aligned(dim), aligned(3 * dim), aligned(dim), aligned(inner)]
        withScratch(max(1, sizes.reduce(0, +))) { memory in
            let starts = sizes.indices.map { memory + sizes[..<$0].reduce(0, +) }
            let group = Group(
                count: count,
                segments: segments.map { $0.lowerBound - rows.lowerBound..<$0.upperBound - rows.lowerBound },
                x: x, input: inputType == .f32 ? UnsafeMutableRawPointer(x) : starts[0], queryKeyValue: starts[1],
                mixed: starts[2], inner: starts[3], isShared: isShared)
            embed(embeddings, rows, group)
            for layer in layers {
                project(group, layer.queryKeyValue, MORU_IDENTITY, to: group.queryKeyValue)
                attend(group)
                add(group, group.mixed, layer.output, layer.attentionNorm)
                project(group, layer.up, activation, to: group.inner)
                add(group, group.inner, layer.down, layer.outputNorm)
            }
        }
    }

    private func embed(_ embeddings: [(table: Tensor, ids: [Int32])], _ rows: Range<Int>, _ group: Group) {
        withScratch(dim * MemoryLayout<Float>.stride) { scratch in
            let row = scratch.assumingMemoryBound(to: Float.self)
            for index in 0..<group.count {
                let sum = group.x + index * dim
                for (number, (table, ids)) in embeddings.enumerated() {
                    let from = table.bytes + Int(ids[rows.lowerBound + index]) * table.dtype.byteCount(of: dim)!
                    kernels.dequantize(table.dtype.kernelType!, from, number == 0 ? sum : row, dim)
                    if number > 0 { kernels.add(sum, row, sum, 0, dim) }
                }
            }
        }
        normalize(group, nil, norm)
    }

    /// Parts of a product's results: blocks of rows, or of columns where the threads share few rows.
    private func forParts(
        _ group: Group, columns: Int, _ body: (_ rows: Range<Int>, _ columns: Range<Int>) -> Void
    ) {
        let unit = usesBytes ? 4 * Int(MORU_BYTE_COLUMNS) : 64
        let blocks = (group.count + Self.blockRows - 1) / Self.blockRows
        let threads = backend.threads.threadCount
        let units = (columns + unit - 1) / unit
        let splits = group.isShared && blocks < 2 * threads ? min(threads, units) : 1
        backend.threads.run(blocks * splits) { part in
            let (block, split) = part.quotientAndRemainder(dividingBy: splits)
            let columns = units * split / splits * unit..<min(columns, units * (split + 1) / splits * unit)
            body(group.count * block / blocks..<group.count * (block + 1) / blocks, columns)
        }
    }

    /// `function(input W^T + bias)` of the normalised residual stream, in the format of what lies between products.
    private func project(
        _ group: Group, _ product: Product, _ function: moru_activation, to output: UnsafeMutableRawPointer
    ) {
        forParts(group, columns: product.outputs) { rows, columns in
            withScratch(rows.count * product.outputs * MemoryLayout<Float>.stride) { scratch in
                let sums = scratch.assumingMemoryBound(to: Float.self)
                let input = group.input + rows.lowerBound * product.inputs * inputType.blockBytes
                multiply(product, (input, inputType), rows.count, columns, to: sums)
                var after = moru_biased_activation()
                (after.function, after.dim) = (function, columns.count)
                (after.x, after.x_row_stride) = (UnsafePointer(sums + columns.lowerBound), product.outputs)
                after.bias = product.bias.map { UnsafePointer($0.floats + columns.lowerBound) }
                after.y = output + (rows.lowerBound * product.outputs + columns.lowerBound) * type.blockBytes
                (after.y_row_stride, after.y_type) = (product.outputs, type.kernelType!)
                kernels.biased_activation(&after, 0, rows.count)
            }
        }
    }

    /// Adds `input W^T + bias` to the residual stream and normalises it.
    private func add(_ group: Group, _ input: UnsafeMutableRawPointer, _ product: Product, _ norm: EncoderNorm) {
        forParts(group, columns: dim) { rows, columns in
            let input = input + rows.lowerBound * product.inputs * type.blockBytes
            let sums = group.x + rows.lowerBound * dim
            multiply(product, (input, type), rows.count, columns, to: sums, accumulates: true)
        }
        normalize(group, product.bias, norm)
    }

    private func normalize(_ group: Group, _ bias: Tensor?, _ norm: EncoderNorm) {
        var arguments = moru_biased_layer_norm()
        (arguments.dim, arguments.x, arguments.epsilon) = (dim, group.x, norm.epsilon)
        (arguments.bias, arguments.w) = (bias.map { UnsafePointer($0.floats) }, UnsafePointer(norm.weight.floats))
        arguments.b = norm.bias.map { UnsafePointer($0.floats) }
        (arguments.copy, arguments.copy_type) = (inputType == .f32 ? nil : group.input, inputType.kernelType!)
        withUnsafePointer(to: arguments) { arguments in
            backend.forRows(group.count, dim: dim) { kernels.biased_layer_norm(arguments, $0, $1) }
        }
    }

    private func attend(_ group: Group) {
        let (headDim, size) = (dim / heads, type.blockBytes)
        let bases = group.segments.map { UnsafeRawPointer(group.queryKeyValue + $0.lowerBound * 3 * dim * size) }
        let keys = bases.map { ($0 + dim * size) as UnsafeRawPointer? }
        let values = bases.map { ($0 + 2 * dim * size) as UnsafeRawPointer? }
        keys.withUnsafeBufferPointer { keys in
            values.withUnsafeBufferPointer { values in
                let all = group.segments.enumerated().map { index, segment in
                    var one = moru_attention()
                    (one.rows, one.kv_count, one.page_tokens) = (segment.count, segment.count, segment.count)
                    (one.heads, one.kv_heads, one.head_dim) = (heads, heads, headDim)
                    (one.q, one.q_row_stride, one.kv_row_stride) = (bases[index], 3 * dim, 3 * dim)
                    (one.k_pages, one.v_pages) = (keys.baseAddress! + index, values.baseAddress! + index)
                    one.scale = 1 / Float(headDim).squareRoot()
                    (one.out, one.out_row_stride) = (group.mixed + segment.lowerBound * dim * size, dim)
                    (one.io_type, one.kv_type) = (type.kernelType!, type.kernelType!)
                    one.allow_bf16 = type == .bf16
                    return one
                }
                backend.run(all)
            }
        }
    }
}

extension CPUBackend {
    func encoderPass(
        norm: EncoderNorm, layers: [EncoderLayer], heads: Int, activation: Activation
    ) -> any EncoderPass {
        CPUEncoderPass(self, norm: norm, layers: layers, heads: heads, activation: activation)
    }
}
