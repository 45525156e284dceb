import Foundation

/// Small plots of Unicode characters.
enum TerminalPlot {
    /// A curve of a plot.
    struct Curve {
        var name: String
        var points: [(x: Int, y: Double)]
    }

    private static let blocks: [Character] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]

    /// Values as a row of blocks, means over what falls on each.
    static func spark(_ values: [Double], width: Int) -> String {
        let values = values.filter(\.isFinite)
        guard let low = values.min(), let high = values.max(), width > 0 else { return "" }
        let count = min(width, values.count)
        return String(
            (0..<count).map { column -> Character in
                let part = values[values.count * column / count..<values.count * (column + 1) / count]
                let mean = part.reduce(0, +) / Double(part.count)
                let level = high > low ? (mean - low) / (high - low) * 7 : 0
                return blocks[max(0, min(7, Int(level.rounded())))]
            })
    }

    /// Marks of the curves, in their order.
    private static let marks: [Character] = ["·", "●", "▲", "■", "◆", "○", "△", "□"]

    /// Curves in one plot, with their names below.
    ///
    /// - Returns: Lines; none where there is nothing to show.
    static func plot(_ curves: [Curve], width: Int, height: Int = 12) -> [String] {
        let points = curves.flatMap(\.points).filter { $0.y.isFinite }
        guard let low = points.map(\.y).min(), let high = points.map(\.y).max(),
            let first = points.map(\.x).min(), let last = points.map(\.x).max()
        else { return [] }
        let columns = max(10, width - 9)
        var cells = Array(repeating: Array(repeating: Character(" "), count: columns), count: height)
        for (number, curve) in curves.enumerated() {
            // With a single curve of many points, dots; else each its own mark
            let mark = curves.count == 1 ? marks[0] : marks[number % marks.count]
            for point in curve.points where point.y.isFinite {
                let x = last > first ? Double(point.x - first) / Double(last - first) : 0
                let y = high > low ? (point.y - low) / (high - low) : 0
                let column = Int((x * Double(columns - 1)).rounded())
                cells[height - 1 - Int((y * Double(height - 1)).rounded())][column] = mark
            }
        }
        var lines: [String] = []
        for (row, line) in cells.enumerated() {
            let value = high - (high - low) * Double(row) / Double(height - 1)
            let label = row % 3 == 0 || row == height - 1 ? Format.fixed(value, 3) : ""
            let text = String(line).replacing(/\s+$/, with: "")
            lines.append(String(repeating: " ", count: max(0, 7 - label.count)) + label + " │" + text)
        }
        let (left, right) = ("\(first)", "\(last)")
        lines.append(String(repeating: " ", count: 8) + "└" + String(repeating: "─", count: columns))
        lines.append(
            String(repeating: " ", count: 9) + left
                + String(repeating: " ", count: max(1, columns - left.count - right.count)) + right)
        let names = curves.enumerated().map { number, curve in
            "\(curves.count == 1 ? marks[0] : marks[number % marks.count]) \(curve.name)"
        }
        lines.append(String(repeating: " ", count: 9) + names.joined(separator: "   "))
        return lines
    }
}
