import CMoruKernels

/// How products row by row round what quantised weights are multiplied with.
enum PackedWay {
    /// To 8 bits in blocks of 32.
    case plain
    /// Likewise, from the least to the largest of each block: half the step where one of them stands out.
    case close
}

/// A weight [outputs, inputs] as products of few rows read it: packed where it is quantised, as it is otherwise. Valid
/// while the tensor lives that it is made of.
struct FewRowsWeight {
    /// Outputs that are computed together: a pair of panels.
    static let unit = 2 * Int(MORU_PANEL)

    let outputs, inputs: Int
    /// Whether the rows are rounded to 8 bits.
    let isPacked: Bool
    private let type: moru_dtype
    private let bytes: UnsafeRawPointer
    /// Bytes of an output's inputs: where they are packed, of as many as share a panel, divided among them.
    private let rowBytes: Int

    /// The packed form is made at the first use of a weight.
    init(_ weight: Tensor, threads: ThreadPool) {
        (outputs, inputs, type) = (weight.shape[0], weight.shape[1], weight.dtype.kernelType!)
        isPacked = inputs > 0 && moru_can_pack(type)
        bytes = isPacked ? weight.storage.packedForms.form(of: weight, threads: threads).bytes : weight.bytes
        let panel = Int(MORU_PANEL)
        rowBytes = isPacked ? moru_packed_bytes(type, panel, inputs) / panel : weight.dtype.byteCount(of: inputs)!
    }

    /// What an output costs, about: bytes to read, and the arithmetic of each row.
    func cost(rows: Int) -> Int { isPacked ? inputs + rows * inputs / 8 : rowBytes + rows * inputs }

    /// How many ``unit``s its outputs are.
    var unitCount: Int { (outputs + Self.unit - 1) / Self.unit }

    /// The bytes of a unit.
    func bytes(ofUnit number: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: bytes + number * Self.unit * rowBytes, count: Self.unit * rowBytes)
    }

    /// Writes some columns of the products of rows to `y` [rows, outputs], and asks for the bytes that are read `next`.
    func multiply(
        _ input: FewRowsInput, rows: Range<Int>, to y: UnsafeMutablePointer<Float>, columns: Range<Int>,
        next: UnsafeRawBufferPointer, _ kernels: FewRowsKernels
    ) {
        if isPacked {
            var arguments = moru_packed_product()
            (arguments.rows, arguments.n, arguments.k) = (rows.count, outputs, inputs)
            (arguments.w, arguments.w_type) = (bytes, type)
            arguments.x = UnsafeRawPointer(input.rounded + rows.lowerBound * input.roundedRowBytes)
            arguments.x_row_bytes = input.roundedRowBytes
            (arguments.y, arguments.y_row_stride) = (y, outputs)
            arguments.closely = input.way == .close
            (arguments.next, arguments.next_bytes) = (next.baseAddress, next.count)
            kernels.packed(&arguments, columns.lowerBound, columns.upperBound)
        } else {
            var arguments = moru_matvec()
            (arguments.rows, arguments.n, arguments.k) = (rows.count, outputs, inputs)
            (arguments.w, arguments.w_type, arguments.w_row_bytes) = (bytes, type, rowBytes)
            arguments.x = UnsafeRawPointer(input.floats + rows.lowerBound * inputs)
            arguments.x_row_bytes = inputs * MemoryLayout<Float>.size
            (arguments.y, arguments.y_row_stride) = (y, outputs)
            kernels.dense(&arguments, columns.lowerBound, columns.upperBound)
        }
    }
}

/// Rows [rows, inputs] that products read, and memory for what they are rounded to.
struct FewRowsInput {
    let floats: UnsafePointer<Float>
    /// As many rows, ``roundedRowBytes`` apart.
    let rounded: UnsafeMutableRawPointer
    let roundedRowBytes: Int
    private let inputs: Int
    let way: PackedWay

    init(
        _ floats: UnsafePointer<Float>, inputs: Int, rounded: UnsafeMutableRawPointer, _ way: PackedWay = .plain
    ) {
        (self.floats, self.inputs, self.rounded, self.way) = (floats, inputs, rounded, way)
        roundedRowBytes = Self.roundedRowBytes(inputs)
    }

    /// Bytes of a rounded row.
    static func roundedRowBytes(_ inputs: Int) -> Int { (moru_rounded_bytes(inputs) + 63) & ~63 }

    /// Rounds some rows.
    func round(_ rows: Range<Int>, _ kernels: FewRowsKernels) { round(rows, columns: 0..<inputs, kernels) }

    /// Rounds some columns of rows, in whole blocks of 32.
    func round(_ rows: Range<Int>, columns: Range<Int>, _ kernels: FewRowsKernels) {
        for row in rows {
            let out = rounded + row * roundedRowBytes
            kernels.round(
                floats + row * inputs, inputs, way == .close, out, columns.lowerBound, columns.upperBound)
        }
    }
}

/// The kernels of products of few rows.
struct FewRowsKernels {
    let dense: @convention(c) (UnsafePointer<moru_matvec>?, Int, Int) -> Void
    let packed: @convention(c) (UnsafePointer<moru_packed_product>?, Int, Int) -> Void
    let round: @convention(c) (UnsafePointer<Float>?, Int, Bool, UnsafeMutableRawPointer?, Int, Int) -> Void
    let updates: moru_low_rank_kernels

    init(_ runtime: Runtime) {
        let kernels = runtime.kernels
        (dense, packed, round) = (kernels.matvec!, kernels.packed_product!, kernels.round_row!)
        updates = runtime.lowRank
    }
}
