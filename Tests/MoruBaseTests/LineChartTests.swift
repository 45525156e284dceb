import Foundation
import MoruBase
import Testing

@Suite struct LineChartTests {
    /// The texts beside the axis of y.
    private func ticks(_ values: [Double]) -> [String] {
        let points = values.enumerated().map { (x: Double($0.offset), y: $0.element) }
        let chart = LineChart(
            title: "Loss", xName: "step", lines: [LineChart.Line(name: "a", points: points, style: "first")])
        return chart.svg.components(separatedBy: "text-anchor=\"end\">").dropFirst().dropLast().map {
            String($0.prefix { $0 != "<" })
        }
    }

    @Test(arguments: [
        ([5.655, 5.788], ["5.675", "5.700", "5.725", "5.750", "5.775"]),
        ([1.2301, 1.2349], ["1.231", "1.232", "1.233", "1.234"]),
        ([0, 3], ["0", "0.5", "1.0", "1.5", "2.0", "2.5", "3.0"]),
        ([0, 120_000], ["0", "20k", "40k", "60k", "80k", "100k", "120k"]),
    ])
    func ticksReadAsTheyStand(values: [Double], texts: [String]) {
        #expect(ticks(values) == texts)
    }
}
