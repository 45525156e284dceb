/// The tokens of a vocabulary that stand for text, by their bytes: a tree in which tokens share their beginnings, laid
/// out so that one pass from its first node to its last visits it.
public struct TokenTrie: Sendable {
    /// A node is one byte further than its parent, which stands before it.
    struct Node: Sendable {
        /// The byte.
        var byte: UInt8
        /// How many bytes lead to the node, without its own.
        var depth: UInt16
        /// The node after the last of those below.
        var end: Int32
        /// Which of ``ids`` are the tokens that end here.
        var tokens: Range<Int32>
    }

    /// The nodes, each followed by those below it.
    private(set) var nodes: [Node] = []
    /// The tokens in the order of their bytes.
    private(set) var ids: [Int32] = []
    /// The bytes of each token, by id; empty for what stands for no text.
    let tokens: [[UInt8]]
    /// The depth of the deepest node.
    private(set) var maximumDepth = 0
    /// The number of ids, those included that stand for no text.
    public var vocabularySize: Int { tokens.count }

    /// The tree of a tokenizer's vocabulary. Special tokens stand for no text.
    public init(_ tokenizer: Tokenizer) {
        self.init(
            (0..<Int32(tokenizer.vocabularySize)).map { tokenizer.isSpecial($0) ? [] : tokenizer.bytes(of: $0) })
    }

    /// The tree of some tokens, by id; what is empty stands for no text.
    init(_ tokens: [[UInt8]]) {
        // Depths are held in 16 bits
        let tokens = tokens.map { $0.count < Int(UInt16.max) ? $0 : [] }
        self.tokens = tokens
        let order = tokens.indices.filter { !tokens[$0].isEmpty }.sorted {
            tokens[$0].lexicographicallyPrecedes(tokens[$1])
        }
        var path: [(node: Int, byte: UInt8)] = []
        for id in order {
            let bytes = tokens[id]
            var shared = 0
            while shared < min(path.count, bytes.count), path[shared].byte == bytes[shared] { shared += 1 }
            close(&path, to: shared)
            for (depth, byte) in bytes.enumerated().dropFirst(shared) {
                path.append((nodes.count, byte))
                let here = Int32(ids.count)
                nodes.append(Node(byte: byte, depth: UInt16(depth), end: 0, tokens: here..<here))
                maximumDepth = max(maximumDepth, depth)
            }
            ids.append(Int32(id))
            let node = path[path.count - 1].node
            nodes[node].tokens = nodes[node].tokens.lowerBound..<Int32(ids.count)
        }
        close(&path, to: 0)
    }

    private mutating func close(_ path: inout [(node: Int, byte: UInt8)], to depth: Int) {
        while path.count > depth { nodes[path.removeLast().node].end = Int32(nodes.count) }
    }
}
