import CMoruKernels

/// Texts on their way through an encoder's layers, on the CPU.
///
/// Each thread takes a few whole texts through all the layers, so that the threads wait for each other once a pass.
/// Fewer texts than threads are shared by rows and columns instead; the kernels, and so the results, are the same.
final class CPUEncoderPass: EncoderPass, @unchecked Sendable {
    /// Rows that a thread takes at a time: their values, and a layer's weights, pass by its second-level cache.
    private static let groupRows = 64
    /// Rows whose sums in f32 are held between a product and what follows it.
    private static let blockRows = 64

    /// A fully connected layer, its weight in the form that products read.
    private struct Product {
        /// [outputs, inputs]; nil once it is packed.
        var weight: Tensor?
        let bias: Tensor?
        let outputs, inputs: Int
        let dtype: DType
        var packedOffset: Int?

        init(weight: Tensor, bias: Tensor?) {
            (self.weight, self.bias, dtype) = (weight, bias, weight.dtype)
            (outputs, inputs) = (weight.shape[0], weight.shape[1])
        }
    }

    private struct Layer {
        var queryKeyValue, output, up, down: Product
        let attentionNorm, outputNorm: EncoderNorm
    }

    private let backend: CPUBackend
    private let kernels: moru_kernels
    private var layers: [Layer]
    private let norm: EncoderNorm
    private let dim, inner, heads: Int
    private let activation: moru_activation
    /// The format of what goes into products.
    private let type: DType
    private let allowsBF16: Bool
    private var packed: Storage?

    init(_ backend: CPUBackend, norm: EncoderNorm, layers: [EncoderLayer], heads: Int, activation: Activation) {
        self.backend = backend
        kernels = backend.kernels
        self.norm = norm
        self.heads = heads
        self.activation = activation.kernelFunction
        dim = norm.weight.count
        inner = layers.first?.up.weight.shape[0] ?? 0
        type = backend.runtime.activationType
        allowsBF16 = backend.runtime.precision != .f32
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

    /// Projections of the same input as one.
    private static func joined(_ parts: [DecoderLayer.Projection]) -> Product {
        let isUniform = Set(parts.map(\.weight.dtype)).count == 1
        let weights = isUniform ? parts.map(\.weight) : parts.map { $0.weight.converted(to: .f32) }
        let biases = parts.map { $0.bias ?? Tensor.zeros([$0.weight.shape[0]]) }
        return Product(
            weight: Tensor.concatenated(weights),
            bias: parts.contains { $0.bias != nil } ? Tensor.concatenated(biases) : nil)
    }

    private static var products: [WritableKeyPath<Layer, Product>] { [\.queryKeyValue, \.output, \.up, \.down] }

    /// Packs every weight into one piece of memory.
    private func pack() {
        var total = 0
        for index in layers.indices {
            for path in Self.products {
                var gemm = arguments(layers[index][keyPath: path], rows: Self.groupRows)
                let bytes = kernels.gemm_packed_bytes(&gemm)
                guard bytes > 0 else { continue }
                layers[index][keyPath: path].packedOffset = total
                total += (bytes + 63) & ~63
            }
        }
        guard total > 0 else { return }
        let storage = Storage(byteCount: total)
        let all = layers.flatMap { layer in Self.products.map { layer[keyPath: $0] } }.filter { $0.packedOffset != nil }
        let unit = 128
        let pieces = all.enumerated().flatMap { index, product in
            stride(from: 0, to: product.outputs, by: unit).map { (index, $0..<min(product.outputs, $0 + unit)) }
        }
        backend.threads.run(pieces.count) { piece in
            let (index, columns) = pieces[piece]
            var gemm = arguments(all[index], rows: Self.groupRows)
            withScratch(max(1, kernels.gemm_scratch_bytes(&gemm))) { scratch in
                kernels.gemm_pack(
                    &gemm, columns.lowerBound, columns.upperBound, storage.base + (all[index].packedOffset ?? 0),
                    scratch)
            }
        }
        packed = storage
        for index in layers.indices {
            for path in Self.products where layers[index][keyPath: path].packedOffset != nil {
                layers[index][keyPath: path].weight = nil
            }
        }
    }

    private func arguments(_ product: Product, rows: Int) -> moru_gemm {
        var gemm = moru_gemm()
        (gemm.m, gemm.n, gemm.k) = (rows, product.outputs, product.inputs)
        gemm.a_type = type.kernelType!
        (gemm.a_row_stride, gemm.a_column_stride) = (product.inputs, 1)
        gemm.b = product.weight?.bytes
        gemm.b_type = product.dtype.kernelType!
        gemm.b_row_bytes = product.dtype.byteCount(of: product.inputs)!
        gemm.b_transposed = true
        gemm.c_type = MORU_F32
        gemm.alpha = 1
        gemm.allow_bf16 = allowsBF16
        if let offset = product.packedOffset, let packed { gemm.packed_b = UnsafeRawPointer(packed.base + offset) }
        return gemm
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
        /// The residual stream, normalised, in f32; and in the format of products, which may be the same memory.
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
        let sizes = [type == .f32 ? 0 : aligned(dim), aligned(3 * dim), aligned(dim), aligned(inner)]
        withScratch(max(1, sizes.reduce(0, +))) { memory in
            let starts = sizes.indices.map { memory + sizes[..<$0].reduce(0, +) }
            let group = Group(
                count: count,
                segments: segments.map { $0.lowerBound - rows.lowerBound..<$0.upperBound - rows.lowerBound },
                x: x, input: type == .f32 ? UnsafeMutableRawPointer(x) : starts[0], queryKeyValue: starts[1],
                mixed: starts[2], inner: starts[3], isShared: isShared)
            embed(embeddings, rows, group)
            for layer in layers {
                project(group, group.input, layer.queryKeyValue, MORU_IDENTITY, to: group.queryKeyValue)
                attend(group)
                add(group, group.mixed, layer.output, layer.attentionNorm)
                project(group, group.input, layer.up, activation, to: group.inner)
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
        let unit = 64
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

    /// `function(input W^T + bias)`, in the format of products.
    private func project(
        _ group: Group, _ input: UnsafeMutableRawPointer, _ product: Product, _ function: moru_activation,
        to output: UnsafeMutableRawPointer
    ) {
        forParts(group, columns: product.outputs) { rows, columns in
            var gemm = arguments(product, rows: rows.count)
            gemm.a = UnsafeRawPointer(input + rows.lowerBound * product.inputs * type.blockBytes)
            let gemmBytes = (kernels.gemm_scratch_bytes(&gemm) + 63) & ~63
            let sumBytes = rows.count * product.outputs * MemoryLayout<Float>.stride
            withScratch(gemmBytes + sumBytes) { scratch in
                let sums = (scratch + gemmBytes).assumingMemoryBound(to: Float.self)
                (gemm.c, gemm.c_row_stride) = (UnsafeMutableRawPointer(sums), product.outputs)
                kernels.gemm(&gemm, 0, rows.count, columns.lowerBound, columns.upperBound, scratch)
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
            var gemm = arguments(product, rows: rows.count)
            gemm.a = UnsafeRawPointer(input + rows.lowerBound * product.inputs * type.blockBytes)
            (gemm.c, gemm.c_row_stride) = (UnsafeMutableRawPointer(group.x + rows.lowerBound * dim), dim)
            gemm.accumulate = true
            withScratch(max(1, kernels.gemm_scratch_bytes(&gemm))) { scratch in
                kernels.gemm(&gemm, 0, rows.count, columns.lowerBound, columns.upperBound, scratch)
            }
        }
        normalize(group, product.bias, norm)
    }

    private func normalize(_ group: Group, _ bias: Tensor?, _ norm: EncoderNorm) {
        var arguments = moru_biased_layer_norm()
        (arguments.dim, arguments.x, arguments.epsilon) = (dim, group.x, norm.epsilon)
        (arguments.bias, arguments.w) = (bias.map { UnsafePointer($0.floats) }, UnsafePointer(norm.weight.floats))
        arguments.b = norm.bias.map { UnsafePointer($0.floats) }
        (arguments.copy, arguments.copy_type) = (type == .f32 ? nil : group.input, type.kernelType!)
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
