import MoruTensor

/// An exponential moving average of parameters over the steps of a run (Polyak and Juditsky, 1992), which often does
/// better than the last step's.
public struct WeightAverage: Sendable {
    /// The parameters.
    public let parameters: [Parameter]
    /// The share of the average that a step keeps, in the long run.
    public let decay: Float
    /// Steps averaged so far.
    public private(set) var step = 0
    private var averages: [Tensor]

    /// The average of the parameters as they are now.
    public init(_ parameters: [Parameter], decay: Float) {
        self.parameters = parameters
        self.decay = decay
        averages = parameters.map { $0.value.copied() }
    }

    /// Takes the parameters after a step into the average. The first steps count for more, so that the beginning is
    /// forgotten soon.
    public mutating func update() {
        step += 1
        let share = 1 - min(decay, Float(1 + step) / Float(10 + step))
        for (index, parameter) in parameters.enumerated() { averages[index].approach(parameter.value, by: share) }
    }

    /// Calls `body` while the parameters have their averages for values.
    public func whileInPlace<Result>(_ body: () throws -> Result) rethrows -> Result {
        let values = parameters.map(\.value)
        for (parameter, average) in zip(parameters, averages) { parameter.value = average }
        defer {
            for (parameter, value) in zip(parameters, values) { parameter.value = value }
        }
        return try body()
    }

    /// The averages, by name.
    public var state: [(name: String, tensor: Tensor)] {
        zip(parameters, averages).map { ("\($0.path).average", $1) }
    }

    /// Takes up a saved state.
    public mutating func restore(step: Int, _ tensor: (String) -> Tensor) {
        self.step = step
        averages = parameters.map { tensor("\($0.path).average") }
    }
}
