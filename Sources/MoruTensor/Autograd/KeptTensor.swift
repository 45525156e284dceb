/// A tensor as a backward rule keeps it: as it is, or by what it is computed from, where that costs little.
enum KeptTensor {
    case whole(Tensor)
    case again(() -> Tensor)

    init(_ tensor: Tensor) {
        if let again = tensor.node?.again { self = .again(again) } else { self = .whole(tensor.detached()) }
    }

    /// The tensor, perhaps computed once more.
    var tensor: Tensor {
        switch self {
        case .whole(let tensor): tensor
        case .again(let compute): compute()
        }
    }
}

/// What a backward rule is the last to use, handed over, so that its memory may be written.
final class LastUse<Value> {
    private var value: Value?

    init(_ value: Value) { self.value = value }

    /// The value, once.
    func take() -> Value {
        guard let taken = value else { preconditionFailure("gradients were taken through this tensor before") }
        value = nil
        return taken
    }
}
