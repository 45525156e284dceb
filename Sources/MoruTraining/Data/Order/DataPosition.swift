import MoruBase

/// Where a run is in its data; what a checkpoint keeps of it.
public struct DataPosition: Sendable, Hashable {
    /// The seed of the order.
    public var seed: UInt64
    /// The epoch, counted from 0.
    public var epoch: Int
    /// How many examples of the epoch have been taken.
    public var index: Int

    /// The beginning, or a place.
    public init(seed: UInt64, epoch: Int = 0, index: Int = 0) {
        self.seed = seed
        self.epoch = epoch
        self.index = index
    }

    /// A position as a checkpoint holds it.
    public var json: JSON { ["seed": .string(String(seed)), "epoch": .int(epoch), "index": .int(index)] }

    /// Reads a position; nil when it is none.
    public init?(json: JSON) {
        guard let seed = json["seed"]?.string.flatMap({ UInt64($0) }), let epoch = json["epoch"]?.int,
            let index = json["index"]?.int, epoch >= 0, index >= 0
        else { return nil }
        self.init(seed: seed, epoch: epoch, index: index)
    }
}

/// An endless walk over the examples of an order, which can be left and taken up again at any place.
public struct ExampleStream: Sendable {
    /// The order walked.
    public let order: EpochOrder
    /// The place of the next example.
    public private(set) var position: DataPosition

    /// A walk from the beginning.
    public init(_ order: EpochOrder) {
        self.order = order
        position = DataPosition(seed: order.seed)
    }

    /// A walk from a saved place, at no cost.
    ///
    /// - Throws: ``MoruError/Code/dataMixture`` when the place belongs to another order.
    public init(_ order: EpochOrder, from position: DataPosition) throws(MoruError) {
        guard position.seed == order.seed, position.index <= order.length else {
            throw MoruError(
                .dataMixture,
                "the position (seed \(position.seed), example \(position.index)) is not of this data "
                    + "(seed \(order.seed), \(order.length) examples an epoch)",
                remedy: "go on with the seed and the data that the run began with")
        }
        self.order = order
        self.position = position
    }

    /// The number of the next example; nil when there is none at all.
    public mutating func next() -> Int? {
        guard order.length > 0 else { return nil }
        if position.index == order.length { (position.epoch, position.index) = (position.epoch + 1, 0) }
        defer { position.index += 1 }
        return order.example(epoch: position.epoch, index: position.index)
    }
}
