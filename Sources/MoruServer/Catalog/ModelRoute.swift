import MoruBase
import MoruNN

/// A name that stands for models: for one of them as an alias, or shared out among several by weight.
public struct ModelRoute: Sendable, Hashable {
    /// A model's part of the requests.
    public struct Share: Sendable, Hashable {
        /// The model's name.
        public var model: String
        /// Its part, in proportion to the sum of all.
        public var weight: Double

        /// Makes a share.
        public init(_ model: String, weight: Double = 1) { (self.model, self.weight) = (model, weight) }
    }

    /// The models, each once.
    public var shares: [Share]
    /// Whether the requests of one user, as the field `user` names them, go to the same model as long as the shares stay.
    public var isSticky: Bool

    /// Makes a route.
    public init(_ shares: [Share], isSticky: Bool = false) { (self.shares, self.isSticky) = (shares, isSticky) }

    /// Another name for a model.
    public init(alias model: String) { self.init([Share(model)]) }

    /// Checks what can be said without knowing the models.
    ///
    /// - Throws: ``MoruError/Code/routeInvalid``.
    func validate(as name: String) throws(MoruError) {
        func invalid(_ problem: String, _ remedy: String) -> MoruError {
            MoruError(.routeInvalid, "the route '\(name)' \(problem)", remedy: remedy)
        }
        if let problem = ModelSpecification.problem(ofName: name) {
            throw MoruError(.routeInvalid, "a route's name \(problem)", remedy: "give it another name")
        }
        guard !shares.isEmpty else { throw invalid("leads to no model", "name one or more, each with a weight") }
        var seen: Set<String> = []
        for share in shares {
            guard share.model != name else { throw invalid("leads to itself", "name models") }
            guard seen.insert(share.model).inserted else {
                throw invalid("names '\(share.model)' twice", "give it one weight")
            }
            guard share.weight.isFinite, share.weight >= 0 else {
                throw invalid("gives '\(share.model)' the weight \(share.weight)", "use 0 or more")
            }
        }
        let sum = shares.reduce(0) { $0 + $1.weight }
        guard sum > 0, sum.isFinite else { throw invalid("has no weights above 0", "give one of its models some") }
    }

    /// The model of a request.
    ///
    /// - Parameters:
    ///   - user: Whose request it is; empty for nobody in particular.
    ///   - generator: What decides where no user does.
    func choose(as name: String, user: String, using generator: inout SplitMix64) -> String {
        let bits = isSticky && !user.isEmpty ? Self.hash("\(name)\n\(user)") : generator.next()
        // When a share grows at the cost of its neighbour, only some of the neighbour's users move
        var left = Double(bits >> 11) * 0x1p-53 * shares.reduce(0) { $0 + $1.weight }
        for share in shares {
            if left < share.weight { return share.model }
            left -= share.weight
        }
        return shares.last { $0.weight > 0 }?.model ?? ""
    }

    /// A hash with the end of MurmurHash3, so that names that differ little lie far apart.
    private static func hash(_ text: String) -> UInt64 {
        var hash = stableHash(text)
        hash = (hash ^ (hash >> 33)) &* 0xFF51_AFD7_ED55_8CCD
        hash = (hash ^ (hash >> 33)) &* 0xC4CE_B9FE_1A85_EC53
        return hash ^ (hash >> 33)
    }
}
