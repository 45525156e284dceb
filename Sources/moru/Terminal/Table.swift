/// A table in aligned columns.
struct Table {
    /// How a column is aligned.
    enum Alignment {
        case left, right
    }

    private let header: [String]
    private let alignments: [Alignment]
    private var rows: [[String]] = []

    /// A table with a header.
    init(_ header: [String], _ alignments: [Alignment] = []) {
        self.header = header
        self.alignments = header.indices.map { $0 < alignments.count ? alignments[$0] : .left }
    }

    /// Adds a row, one cell a column.
    mutating func add(_ cells: String...) { rows.append(cells) }
    /// Adds a row, one cell a column.
    mutating func add(_ cells: [String]) { rows.append(cells) }

    /// The lines of the table.
    var text: String {
        let all = [header] + rows
        let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        func line(_ cells: [String]) -> String {
            var text = ""
            for (column, cell) in cells.enumerated() {
                let space = String(repeating: " ", count: widths[column] - cell.count)
                text += (column > 0 ? "  " : "") + (alignments[column] == .left ? cell + space : space + cell)
            }
            return text.reversed().drop { $0 == " " }.reversed().map(String.init).joined()
        }
        let rule = widths.map { String(repeating: "─", count: $0) }.joined(separator: "  ")
        return ([line(header), rule] + rows.map(line)).joined(separator: "\n")
    }
}
