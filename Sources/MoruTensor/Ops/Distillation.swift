import Foundation

/// How a student learns from a teacher's distribution (Hinton, Vinyals and Dean, 2015).
public struct DistillationLoss: Sendable, Hashable {
    /// What the logits of both are divided by before they are compared; higher shows more of what the teacher thinks of
    /// unlikely tokens.
    public var temperature: Float
    /// The weight of the teacher's distribution, from 0 to 1; the rest is that of the data.
    public var softShare: Float
    /// How many of the teacher's likeliest tokens count, renormalised; nil for all.
    public var topK: Int?

    /// Makes settings.
    public init(temperature: Float = 2, softShare: Float = 0.5, topK: Int? = nil) {
        self.temperature = temperature
        self.softShare = softShare
        self.topK = topK
    }
}

/// Rows of logits that ``linearDistillation(_:_:_:teacher:_:_:transform:teacherTransform:)`` holds at a time.
private let distillationChunk = 128

/// The summed loss of a student's `hidden weight^T` against target ids and a teacher's logits, without ever holding all
/// logits of either.
///
/// A row's loss is `(1 - softShare) * cross-entropy + softShare * T^2 * KL(teacher / T || student / T)`.
///
/// - Parameters:
///   - hidden: [N, D], the student's.
///   - weight: [V, D], in any dtype; f32 to be trained.
///   - targets: N ids.
///   - teacher: The teacher's hidden states [N, D'].
///   - teacherWeight: [V', D']; ids from V' on have no probability under the teacher, ids from V on are left out.
///   - transform: What becomes of the student's products before they are logits.
///   - teacherTransform: The same of the teacher's.
/// - Returns: A scalar, and the parts that it is made of: cross-entropy and divergence (with its factor T^2), summed.
public func linearDistillation(
    _ hidden: Tensor, _ weight: Tensor, _ targets: [Int32], teacher: Tensor, _ teacherWeight: Tensor,
    _ settings: DistillationLoss, transform: LogitTransform = .none, teacherTransform: LogitTransform = .none
) -> (loss: Tensor, hard: Double, soft: Double) {
    precondition(
        hidden.rank == 2 && weight.rank == 2 && hidden.shape[1] == weight.shape[1]
            && teacher.rank == 2 && teacherWeight.rank == 2 && teacher.shape[1] == teacherWeight.shape[1]
            && hidden.shape[0] == targets.count && teacher.shape[0] == targets.count,
        "linearDistillation: \(hidden.shape), \(weight.shape), \(teacher.shape), \(teacherWeight.shape) and "
            + "\(targets.count) targets do not fit")
    precondition(
        targets.allSatisfy { 0..<Int32(weight.shape[0]) ~= $0 },
        "linearDistillation: a target lies outside the \(weight.shape[0]) classes")
    let backend = Runtime.shared.backend
    let hidden = transform.scaling(hidden)
    let known = teacherTransform.scaling(teacher.detached())
    let (x, w) = (hidden.detached(), weight.detached())
    let (wantsX, wantsW) = (hidden.isTracked, weight.isTracked)
    let teacherRows = teacherWeight.detached().rows(0..<min(teacherWeight.shape[0], weight.shape[0]))
    let dX = wantsX ? Tensor(uninitialized: x.shape) : nil
    var dW: Tensor?
    var (hard, soft) = (0.0, 0.0)
    for begin in stride(from: 0, to: targets.count, by: distillationChunk) {
        let rows = begin..<min(targets.count, begin + distillationChunk)
        let chunk = x.rows(rows)
        let products = backend.matmul(chunk, transposeA: false, w, transposeB: true, alpha: 1, adding: nil)
        let logits = transform.capping(products, backend)
        let taught = backend.matmul(
            known.rows(rows), transposeA: false, teacherRows, transposeB: true, alpha: 1, adding: nil)
        let wanted = teacherTransform.capping(taught, backend)
        let isFollowed = wantsX || wantsW
        // The logits are still needed beside their gradient, so that this makes a copy
        var gradient = logits
        let losses = backend.crossEntropy(
            &gradient, targets: Array(targets[rows]), scale: 1 - settings.softShare, wantsGradient: isFollowed)
        hard += Double(backend.sum(losses).scalar)
        soft += divergence(logits, from: wanted, settings, addingGradientTo: isFollowed ? gradient : nil)
        guard isFollowed else { continue }
        gradient = transform.uncapping(gradient, of: logits, backend)
        if let dX {
            let part = backend.matmul(gradient, transposeA: false, w, transposeB: false, alpha: 1, adding: nil)
            (dX.floats + begin * x.shape[1]).update(from: part.floats, count: part.count)
        }
        if wantsW { backend.addProduct(gradient, transposeA: true, chunk, to: &dW) }
    }
    let share = Double(settings.softShare)
    let loss = Tensor(Float((1 - share) * hard + share * soft)).recording(hidden, weight) { dy in
        [dX.map { backend.scale($0, by: dy.scalar) }, dW.map { backend.scale($0, by: dy.scalar) }]
    }
    return (loss, hard, soft)
}

/// `T^2 * KL(teacher / T || student / T)`, summed over the rows; adds the gradient of the student's logits, times the
/// soft share, where one is wanted.
private func divergence(
    _ student: Tensor, from teacher: Tensor, _ settings: DistillationLoss, addingGradientTo gradient: Tensor?
) -> Double {
    let backend = Runtime.shared.backend
    let temperature = settings.temperature
    let (s, t) = (backend.scale(student, by: 1 / temperature), backend.scale(teacher, by: 1 / temperature))
    let p = backend.softmax(s)
    let (rows, classes, known) = (s.shape[0], s.shape[1], t.shape[1])
    if let topK = settings.topK, topK < known {
        Runtime.shared.threads.run(rows) { keepLargest(topK, of: t.floats + $0 * known, count: known) }
    }
    let q = backend.softmax(t)
    let sums = Tensor(uninitialized: [rows])
    let factor = settings.softShare * temperature
    Runtime.shared.threads.run(rows) { row in
        let (s, p) = (s.floats + row * classes, p.floats + row * classes)
        let (t, q) = (t.floats + row * known, q.floats + row * known)
        // log p = s - lse, found where p is largest, so that no logarithm of a small number is taken
        let (sMax, tMax) = (largest(s, classes), largest(t, known))
        let shift = (Double(s[sMax]) - log(Double(p[sMax]))) - (Double(t[tMax]) - log(Double(q[tMax])))
        var sum = 0.0
        for index in 0..<known where q[index] > 0 { sum += Double(q[index]) * (Double(t[index] - s[index]) + shift) }
        sums.floats[row] = Float(sum) * temperature * temperature
        guard let gradient else { return }
        let d = gradient.floats + row * classes
        for index in 0..<known { d[index] += factor * (p[index] - q[index]) }
        for index in known..<classes { d[index] += factor * p[index] }
    }
    return sums.values().reduce(0) { $0 + Double($1) }
}

private func largest(_ values: UnsafeMutablePointer<Float>, _ count: Int) -> Int {
    var best = 0
    for index in 1..<max(1, count) where values[index] > values[best] { best = index }
    return best
}

/// Makes all but the `limit` largest values minus infinity; of equal ones the first stay.
private func keepLargest(_ limit: Int, of values: UnsafeMutablePointer<Float>, count: Int) {
    // The indices of the largest so far, the largest first
    var kept: [Int] = []
    for index in 0..<count {
        if kept.count == limit, let last = kept.last, values[index] <= values[last] { continue }
        let place = kept.firstIndex { values[$0] < values[index] } ?? kept.count
        kept.insert(index, at: place)
        if kept.count > limit { kept.removeLast() }
    }
    let largest = kept.map { values[$0] }
    values.update(repeating: -.infinity, count: count)
    for (index, value) in zip(kept, largest) { values[index] = value }
}
