/// A layer's path with its hash: adapters of many requests are asked for many layers in every step.
struct LayerKey: Sendable, Hashable {
    let path: String
    private let number: UInt64

    init(_ path: String) {
        self.path = path
        number = stableHash(path)
    }

    static func == (left: LayerKey, right: LayerKey) -> Bool { left.number == right.number && left.path == right.path }
    func hash(into hasher: inout Hasher) { hasher.combine(number) }
}
