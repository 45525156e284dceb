/// Whose turn it is: every client that wants something gets as many tokens computed as the others, whatever the number
/// of its requests.
///
/// Start-time fair queueing (Goyal et al., 1996) with equal weights: a client that comes, or comes back, begins where the
/// one that was served least stands, so that time without requests is not saved up.
struct FairShare: Sendable {
    private struct Client {
        var sequences = 0
        var served = 0
    }

    private var clients: [String: Client] = [:]

    /// Tokens served to a client, on a scale that clients share.
    func served(_ client: String) -> Int { clients[client]?.served ?? 0 }

    /// A sequence of a client begins to want something.
    mutating func enter(_ client: String) {
        if clients[client] == nil {
            clients[client] = Client(served: clients.values.map(\.served).min() ?? 0)
        }
        clients[client]?.sequences += 1
    }

    /// A sequence of a client has ended.
    mutating func leave(_ client: String) {
        guard let sequences = clients[client]?.sequences else { return }
        if sequences > 1 { clients[client]?.sequences = sequences - 1 } else { clients[client] = nil }
    }

    /// Tokens of a client are computed.
    mutating func serve(_ client: String, _ tokens: Int) { clients[client]?.served += tokens }
}
