import MoruBase
import Testing

@testable import MoruServer

@Suite struct MetricFormatTests {
    private var families: [MetricFamily] {
        var requests = MetricFamily("asked_total", .counter, "Asked, with \"quotes\"\nand a \\.")
        requests.add(3, [MetricLabel("model", "a\"b\\c\nd"), MetricLabel("status", "200")])
        requests.add(0.5, [MetricLabel("model", "é"), MetricLabel("status", "400")])
        var histogram = Histogram([0.25, 1])
        for value in [0.1, 0.25, 0.5, 7] { histogram.record(value) }
        var seconds = MetricFamily("wait_seconds", .histogram, "Waits.")
        seconds.add(histogram, [MetricLabel("model", "m")])
        var odd = MetricFamily("odd", .gauge, "Odd.")
        for value in [Double.infinity, -.infinity, .nan, 1e300, -2] { odd.add(value, [MetricLabel("v", "\(value)")]) }
        return [requests, MetricFamily("empty", .gauge, "Without samples."), seconds, odd]
    }

    @Test func prometheus() {
        #expect(
            MetricFormat.prometheus.text(families) == #"""
                # HELP asked_total Asked, with "quotes"\nand a \\.
                # TYPE asked_total counter
                asked_total{model="a\"b\\c\nd",status="200"} 3
                asked_total{model="é",status="400"} 0.5
                # HELP wait_seconds Waits.
                # TYPE wait_seconds histogram
                wait_seconds_bucket{model="m",le="0.25"} 2
                wait_seconds_bucket{model="m",le="1.0"} 3
                wait_seconds_bucket{model="m",le="+Inf"} 4
                wait_seconds_sum{model="m"} 7.85
                wait_seconds_count{model="m"} 4
                # HELP odd Odd.
                # TYPE odd gauge
                odd{v="inf"} +Inf
                odd{v="-inf"} -Inf
                odd{v="nan"} NaN
                odd{v="1e+300"} 1e+300
                odd{v="-2.0"} -2

                """#)
    }

    @Test func openMetrics() {
        let text = MetricFormat.openMetrics.text(families)
        #expect(
            text.hasPrefix("# HELP asked Asked, with \\\"quotes\\\"\\nand a \\\\.\n# TYPE asked counter\nasked_total{"))
        #expect(text.hasSuffix("odd{v=\"-2.0\"} -2\n# EOF\n"))
    }

    @Test(arguments: [
        (nil, "text/plain"), ("", "text/plain"), ("*/*", "text/plain"), ("text/html", "text/plain"),
        ("application/openmetrics-text", "application/openmetrics-text"),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", "application/openmetrics-text"),
        ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0", "application/openmetrics-text"),
        ("application/openmetrics-text;version=1.0.0;q=0.2, text/plain;version=0.0.4;q=0.3", "text/plain"),
        // What Prometheus 2.50 asks for
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
                + "text/plain;version=0.0.4;q=0.3,*/*;q=0.2", "application/openmetrics-text"
        ),
    ])
    func theFormatIsTheOneAskedFor(accept: String?, wanted: String) {
        #expect(MetricFormat(accept: accept).contentType.hasPrefix(wanted))
    }
}
