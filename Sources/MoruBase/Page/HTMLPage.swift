import Foundation

/// A page of HTML that needs nothing else: no scripts, no fonts, nothing from elsewhere; light or dark as the reader
/// likes.
package struct HTMLPage {
    private let title: String
    private let parts: [String]
    private let footer: String

    /// Makes a page.
    ///
    /// - Parameters:
    ///   - title: The page's title, as text.
    ///   - parts: What stands on it, as HTML; empty ones are left out.
    ///   - footer: What stands at its end, as text.
    package init(title: String, parts: [String], footer: String) {
        (self.title, self.parts, self.footer) = (title, parts.filter { !$0.isEmpty }, footer)
    }

    /// The page.
    package var html: String {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>\(Self.escaped(title))</title>
        <style>\(Self.style)</style>
        </head>
        <body>
        <main>
        \(parts.joined(separator: "\n"))
        <footer>\(Self.escaped(footer))</footer>
        </main>
        </body>
        </html>

        """
    }

    /// Text as HTML shows it.
    package static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
            .replacing("\"", with: "&quot;")
    }

    /// The page's heading.
    ///
    /// - Parameters:
    ///   - title: The heading, as text.
    ///   - state: A word or two on how it stands, with the class that colours it.
    ///   - detail: What follows, as text.
    package static func header(_ title: String, state: (text: String, style: String)?, _ detail: String) -> String {
        let badge = state.map { "<span class=\"state \($0.style)\">\(escaped($0.text))</span> " } ?? ""
        return "<header><h1>\(escaped(title))</h1><p>\(badge)\(escaped(detail))</p></header>"
    }

    /// A section with a title; nothing where there is no content.
    package static func section(_ title: String, _ content: String) -> String {
        content.isEmpty ? "" : "<section><h2>\(escaped(title))</h2>\n\(content)\n</section>"
    }

    /// Charts side by side; nothing where all are empty.
    package static func charts(_ charts: [LineChart]) -> String {
        let drawn = charts.map(\.svg).filter { !$0.isEmpty }
        return drawn.isEmpty ? "" : "<section class=\"charts\">\(drawn.joined(separator: "\n"))</section>"
    }

    /// Figures with what they are.
    package static func tiles(_ tiles: [(value: String, name: String)]) -> String {
        "<dl class=\"tiles\">"
            + tiles.map { "<div><dt>\(escaped($0.name))</dt><dd>\(escaped($0.value))</dd></div>" }.joined() + "</dl>"
    }

    /// A table of names and texts; nothing where there are none.
    package static func table(_ rows: [(name: String, text: String)]) -> String {
        rows.isEmpty
            ? ""
            : "<div class=\"scroll\"><table>"
                + rows.map { "<tr><th scope=\"row\">\(escaped($0.name))</th><td>\(escaped($0.text))</td></tr>" }
                .joined()
                + "</table></div>"
    }

    /// A length of time as people say it.
    package static func duration(_ seconds: Double) -> String {
        let whole = Int(seconds.rounded())
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
        return "\(whole / 3600) h \(whole % 3600 / 60) min"
    }

    /// A date and time as people write it, in UTC.
    package static func date(_ date: Date) -> String {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(identifier: "UTC")
        formatter.dateFormat = "d MMMM yyyy, HH:mm 'UTC'"
        return formatter.string(from: date)
    }
}
