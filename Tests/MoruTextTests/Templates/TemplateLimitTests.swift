import Foundation
import MoruBase
import Testing

@testable import MoruText

/// Hostile templates end in a typed error, soon, instead of hanging, crashing or filling memory.
@Suite struct TemplateLimitTests {
    @Test(arguments: [
        "{{ 'x' * 1000000000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ 'x' * 9223372036854775807 }}",
        "{{ [0, 1] * 9223372036854775807 }}",
        "{{ 'x'|center(1000000000) }}",
        "{{ 'x'.ljust(9999999999) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '%.1000000000f' % 1 }}",
        "{{ '%99999999999999999999d' % 1 }}",
        "{{ 'a\nb'|indent(1000000000) }}",
        "{{ [1]|tojson(indent=1000000000) }}",
        "{{ [1]|batch(1000000000, 0)|list }}",
        "{{ [1]|slice(1000000000)|list }}",
        "{{ 10 ** 100 }}",
        "{{ 9223372036854775807 + 1 }}",
        "{{ -9223372036854775807 - 2 }}",
        "{{ (-9223372036854775807 - 1) // -1 }}",
        "{{ 99999999999999999999 }}",
        "{{ range(100001) }}",
        "{{ range(-9223372036854775807, 9223372036854775807) }}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(x) %}{% if x %}{% for y in [1] %}{{ [m([x])]|first }}{% endfor %}{% endif %}{% endmacro %}{{ m(1) }}",
        "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}",
        "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = {'a': ns.x} %}{% endfor %}",
        "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x].index %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x='x') %}{% for i in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='x') %}{% for i in range(100) %}{% set ns.x = ns.x|replace('x', 'xx') %}{% endfor %}",
        "{% set ns = namespace(x='x') %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x]|join %}{% endfor %}",
        "{% set ns = namespace(x='x') %}{% for i in range(100) %}{% set ns.x = '%s%s' % (ns.x, ns.x) %}{% endfor %}",
        "{% set ns = namespace(x='x') %}{% for i in range(100) %}{% set ns.x = ns.x.join([ns.x] * 9) %}{% endfor %}",
        "{% set ns = namespace(x='x') %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x]|string %}{% endfor %}",
        "{% set a = [0] * 1000000 %}{% for i in range(100000) %}{{ a == a + [] }}{% endfor %}",
        "{% set a = 'a' * 1000000 %}{% for i in range(100000) %}{{ a.rfind('a' * 1000 ~ 'b') }}{% endfor %}",
        "{% set a = 'a' * 10000000 %}{% for i in range(100000) %}{{ 'b' in a }}{% endfor %}",
        "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    ])
    func hostile(source: String) throws {
        let started = Date()
        do throws(MoruError) {
            // A smaller budget than a real rendering has, so that debug builds are done soon.
            let interpreter = JinjaInterpreter(try Self.parse(source), variables: [], now: Date())
            interpreter.budget.maximumSteps /= 50
            interpreter.budget.maximumBytes /= 8
            let text = try Self.run(interpreter)
            Issue.record("rendered \(text.utf8.count) bytes: \(source)")
        } catch {
            let codes: [MoruError.Code] = [.templateLimit, .templateRender, .templateSyntax]
            #expect(codes.contains(error.code))
        }
        // Generous, for a debug build on a busy machine; unbounded work would take hours.
        #expect(Date().timeIntervalSince(started) < 60)
    }

    private static func parse(_ source: String) throws(MoruError) -> JinjaSyntax {
        do throws(JinjaError) { return try JinjaParser.parse(source) } catch { throw error.error(in: "t", line: 1) }
    }

    private static func run(_ interpreter: JinjaInterpreter) throws(MoruError) -> String {
        do throws(JinjaError) { return try interpreter.run() } catch { throw error.error(in: "t", line: 1) }
    }

    @Test(arguments: [
        String(repeating: "(", count: 100_000), String(repeating: "[", count: 100_000),
        String(repeating: "{1:", count: 100_000), String(repeating: "not ", count: 100_000),
        String(repeating: "-", count: 100_000) + "1", String(repeating: "a(", count: 100_000),
        String(repeating: "a[", count: 100_000), String(repeating: "1 if 1 else ", count: 100_000) + "1",
        "1" + String(repeating: " if 1", count: 100_000), String(repeating: "x is y(", count: 100_000),
        "x" + String(repeating: " is y not", count: 100_000), "x" + String(repeating: " is y [", count: 100_000),
    ])
    func deepExpressions(expression: String) {
        #expect(throws: MoruError.self) { try ChatTemplate("{{ \(expression) }}").render(JSONObject()) }
    }

    @Test func deepStatements() {
        for tag in ["if x", "for x in y", "macro m()", "filter upper", "set x", "with", "call m()", "generation"] {
            let source = String(repeating: "{% \(tag) %}", count: 100_000)
            #expect(throws: MoruError.self) { try ChatTemplate(source) }
        }
        let targets = String(repeating: "(", count: 100_000)
        #expect(throws: MoruError.self) { try ChatTemplate("{% set \(targets)x = 1 %}") }
    }

    /// Long is not deep: chains of operators, branches and messages have no such limit.
    @Test func longIsFine() throws {
        let sum = try ChatTemplate("{{ " + String(repeating: "1 + ", count: 50_000) + "1 }}").render(JSONObject())
        #expect(sum == "50001")
        let filters = String(repeating: "|upper", count: 5_000)
        #expect(try ChatTemplate("{{ 'a'\(filters) }}").render(JSONObject()) == "A")
        let branches = String(repeating: "{% elif x %}b", count: 20_000)
        #expect(try ChatTemplate("{% if x %}a\(branches)" + "{% else %}c{% endif %}").render(JSONObject()) == "c")
        let long = String(repeating: "lorem ipsum ", count: 20_000)
        let messages = (0..<40).map { ChatMessage(role: $0 % 2 == 0 ? "user" : "assistant", content: long) }
        let text = try TemplateGoldens.template("qwen3-style").render(
            messages: messages, addGenerationPrompt: true, now: TemplateGoldens.now)
        #expect(text.utf8.count > 40 * long.utf8.count)
    }

    /// Rendering leaves nothing behind, though macros and namespaces can refer to themselves.
    @Test func cyclesAreBroken() throws {
        let interpreter = {
            let syntax = try JinjaParser.parse(
                "{% macro m() %}{% endmacro %}{% set ns = namespace() %}{% set ns.a = ns %}{% set ns.m = m %}")
            return JinjaInterpreter(syntax, variables: [], now: Date())
        }
        weak var scope: JinjaScope?
        weak var namespace: JinjaNamespace?
        do {
            let run = try interpreter()
            _ = try run.run()
            scope = run.scope
            namespace = run.makeNamespace()
        }
        #expect(scope == nil)
        #expect(namespace == nil)
    }
}
