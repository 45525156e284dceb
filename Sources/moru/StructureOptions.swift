import ArgumentParser
import MoruBase
import MoruEngine

/// The form that an answer must have.
struct StructureOptions: ParsableArguments {
    @Option(name: .customLong("json-schema"), help: "A file with a JSON Schema for the answer.")
    var jsonSchema: String?
    @Flag(name: .customLong("json-object"), help: "The answer is a JSON object.")
    var jsonObject = false
    @Option(parsing: .unconditional, help: "A regular expression that the answer must match.")
    var regex: String?
    @Option(help: "A file with a GBNF grammar for the answer.")
    var grammar: String?

    func validate() throws {
        guard [jsonSchema != nil, jsonObject, regex != nil, grammar != nil].count(where: { $0 }) <= 1 else {
            throw ValidationError("An answer has one form: --json-schema, --json-object, --regex or --grammar.")
        }
    }

    /// The form; nil for any.
    ///
    /// - Throws: What reading the files throws.
    func form() throws -> StructuredOutput? {
        if let jsonSchema { return .jsonSchema(try JSON.parse(file: jsonSchema, refusesRepeatedKeys: true)) }
        if let grammar { return .gbnf(try FileSystem.readText(grammar)) }
        return jsonObject ? .jsonObject : regex.map { .regex($0) }
    }
}
