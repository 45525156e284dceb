import ArgumentParser
import MoruBase
import MoruStore

/// `moru config`: the settings and where they come from.
struct Config: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the settings and where each comes from.",
        discussion: """
            Flags override the environment, the environment overrides the file, the file
            overrides the defaults. The file is YAML, at $MORU_CONFIG or ~/.config/moru/config.yaml.

            Examples:
              moru config show
              MORU_PORT=9000 moru config show --json
            """,
        subcommands: [ShowConfig.self], defaultSubcommand: ShowConfig.self)
}

/// `moru config show`.
struct ShowConfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Print each setting, its value and where it comes from.")

    @OptionGroup var output: OutputOptions

    func run() throws {
        let settings = try Settings.load()
        let rows = settings.values
        if output.json {
            let members = rows.map { row -> (String, JSON) in
                (row.key.rawValue, ["value": .string(row.value), "origin": .string(row.origin.description)])
            }
            Terminal.result(JSON.object(JSONObject(members)).text(pretty: true))
            return
        }
        var table = Table(["setting", "value", "from", "what it is"])
        for row in rows {
            table.add(row.key.rawValue, row.value.isEmpty ? "-" : row.value, row.origin.description, row.key.summary)
        }
        Terminal.result(table.text)
    }
}
