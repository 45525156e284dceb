import Foundation
import MoruBase
import Testing

/// Reads every import line against the table of floors in docs/architecture.md.
@Suite struct FloorTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

    /// What each target may import, by the table's columns; "everything below" is expanded.
    private func floors() throws -> [(floor: Int, target: String, imports: Set<String>)] {
        let text = try FileSystem.readText(Self.root + "/docs/architecture.md")
        var rows: [(floor: Int, target: String, imports: String)] = []
        for line in text.split(separator: "\n") where line.hasPrefix("| ") {
            let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            guard cells.count == 4, let floor = Int(cells[0]) else { continue }
            let target = cells[1].split(separator: "`").first { !$0.isEmpty }.map(String.init) ?? ""
            rows.append((floor, target, cells[3]))
        }
        var closed: [String: Set<String>] = [:]
        return rows.map { row in
            let direct: Set<String> =
                row.imports == "everything below"
                ? Set(rows.filter { $0.floor < row.floor }.map(\.target))
                : Set(row.imports.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) })
                    .subtracting(["–"])
            let all = direct.reduce(into: direct) { $0.formUnion(closed[$1] ?? []) }
            closed[row.target] = all
            return (row.floor, row.target, all)
        }
    }

    @Test func everyTargetHasAFloor() throws {
        let targets = try FileSystem.list(Self.root + "/Sources")
        #expect(Set(targets) == Set(try floors().map(\.target)))
    }

    @Test func importsPointDownwards() throws {
        let table = try floors()
        let ours = Set(table.map(\.target))
        #expect(table.count >= 12, "the table of floors was not found")
        var checked = 0
        for (_, target, allowed) in table {
            let directory = Self.root + "/Sources/" + target
            for case let name as String in FileManager.default.enumerator(atPath: directory) ?? .init()
            where name.hasSuffix(".swift") {
                for line in try FileSystem.readText("\(directory)/\(name)").split(separator: "\n") {
                    let words = line.split(separator: " ")
                    guard let position = words.firstIndex(of: "import"), position < words.count - 1,
                        words[..<position].allSatisfy({ $0.hasPrefix("@") || $0 == "public" || $0 == "package" })
                    else { continue }
                    let module = String(words[position + 1])
                    checked += 1
                    guard ours.contains(module) else { continue }
                    #expect(allowed.contains(module), "\(target)/\(name) imports \(module), which is not a floor below")
                }
            }
        }
        #expect(checked > 100, "only \(checked) import lines were found")
    }

    @Test func noFileIsTooLong() throws {
        for folder in ["Sources", "Tests"] {
            for case let name as String in FileManager.default.enumerator(atPath: "\(Self.root)/\(folder)") ?? .init()
            where name.hasSuffix(".swift") || name.hasSuffix(".c") {
                let lines = try FileSystem.readText("\(Self.root)/\(folder)/\(name)").split(
                    separator: "\n", omittingEmptySubsequences: false
                ).count
                #expect(lines <= 800, "\(folder)/\(name) has \(lines) lines")
            }
        }
    }
}
