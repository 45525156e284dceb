/// A token of a template.
struct JinjaToken {
    enum Kind {
        case data
        case variableBegin
        case variableEnd
        case blockBegin
        case blockEnd
        case name
        case string
        case integer
        case float
        case symbol
        case end
    }

    let kind: Kind
    var text = ""
    var integer = 0
    var double = 0.0
    let line: Int

    func isName(_ name: String) -> Bool { kind == .name && text == name }
    func isSymbol(_ symbol: String) -> Bool { kind == .symbol && text == symbol }

    /// What to call this token in a message.
    var description: String {
        switch kind {
        case .data: "template data / text"
        case .variableBegin: "begin of print statement"
        case .variableEnd: "end of print statement"
        case .blockBegin: "begin of statement block"
        case .blockEnd: "end of statement block"
        case .end: "end of template"
        case .string: "string"
        case .integer: "integer"
        case .float: "float"
        case .name, .symbol: text
        }
    }
}
