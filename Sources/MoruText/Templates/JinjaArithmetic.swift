import Foundation

extension JinjaInterpreter {
    /// Python's arithmetic between two values.
    func calculate(
        _ left: JinjaValue, _ operation: JinjaOperator, _ right: JinjaValue
    ) throws(JinjaError) -> JinjaValue {
        if case .undefined(let undefined) = left { throw JinjaError(undefined.message) }
        if operation == .modulo, case .string(let format) = left {
            return .string(try formatPercent(format, right))
        }
        if case .undefined(let undefined) = right { throw JinjaError(undefined.message) }
        switch (operation, left, right) {
        case (.add, .string(let a), .string(let b)):
            try budget.allocate(a.utf8.count + b.utf8.count)
            return .string(a + b)
        case (.add, .list(let a), .list(let b)): return try .makeList(try joined(a.items, b.items))
        case (.add, .tuple(let a), .tuple(let b)): return try .makeTuple(try joined(a.items, b.items))
        case (.multiply, .string(let text), _):
            if let count = right.index { return .string(try repeated(text, count)) }
        case (.multiply, _, .string(let text)):
            if let count = left.index { return .string(try repeated(text, count)) }
        case (.multiply, .list(let a), _):
            if let count = right.index { return try .makeList(try repeated(a.items, count)) }
        case (.multiply, _, .list(let a)):
            if let count = left.index { return try .makeList(try repeated(a.items, count)) }
        case (.multiply, .tuple(let a), _):
            if let count = right.index { return try .makeTuple(try repeated(a.items, count)) }
        case (.multiply, _, .tuple(let a)):
            if let count = left.index { return try .makeTuple(try repeated(a.items, count)) }
        default:
            if let a = left.index, let b = right.index { return try calculate(a, operation, b) }
            if let a = left.number, let b = right.number { return .double(try calculate(a, operation, b)) }
        }
        let symbol = operation == .power ? "** or pow()" : operation.rawValue
        throw JinjaError(
            "unsupported operand type(s) for \(symbol): '\(left.typeName)' and '\(right.typeName)'")
    }

    private func joined(_ a: [JinjaValue], _ b: [JinjaValue]) throws(JinjaError) -> [JinjaValue] {
        try budget.allocate(a.count + b.count, times: MemoryLayout<JinjaValue>.stride)
        return a + b
    }

    func repeated(_ text: String, _ count: Int) throws(JinjaError) -> String {
        guard count > 0 else { return "" }
        try budget.allocate(count, times: text.utf8.count)
        return String(repeating: text, count: count)
    }

    private func repeated(_ items: [JinjaValue], _ count: Int) throws(JinjaError) -> [JinjaValue] {
        guard count > 0, !items.isEmpty else { return [] }
        let (total, overflow) = items.count.multipliedReportingOverflow(by: count)
        try budget.allocate(overflow ? .max : total, times: MemoryLayout<JinjaValue>.stride)
        var result: [JinjaValue] = []
        result.reserveCapacity(total)
        for _ in 0..<count { result += items }
        return result
    }

    private func calculate(_ a: Int, _ operation: JinjaOperator, _ b: Int) throws(JinjaError) -> JinjaValue {
        let result: (partialValue: Int, overflow: Bool)
        switch operation {
        case .add: result = a.addingReportingOverflow(b)
        case .subtract: result = a.subtractingReportingOverflow(b)
        case .multiply: result = a.multipliedReportingOverflow(by: b)
        case .divide, .floorDivide, .modulo:
            guard b != 0 else {
                throw JinjaError(operation == .divide ? "division by zero" : "integer division or modulo by zero")
            }
            if operation == .divide { return .double(Double(a) / Double(b)) }
            result = Self.floorDivide(a, b, wantsRemainder: operation == .modulo)
        case .power:
            guard b >= 0 else {
                guard a != 0 else { throw JinjaError("0.0 cannot be raised to a negative power") }
                return .double(pow(Double(a), Double(b)))
            }
            result = Self.power(a, b)
        }
        guard !result.overflow else {
            throw JinjaError("the result of '\(operation.rawValue)' does not fit 64 bits", kind: .limit)
        }
        return .int(result.partialValue)
    }

    private static func floorDivide(_ a: Int, _ b: Int, wantsRemainder: Bool) -> (partialValue: Int, overflow: Bool) {
        let (quotient, overflow) = a.dividedReportingOverflow(by: b)
        guard !overflow else { return (0, !wantsRemainder) }
        let remainder = a % b
        let isUneven = remainder != 0 && (remainder < 0) != (b < 0)
        if wantsRemainder { return (isUneven ? remainder + b : remainder, false) }
        return (isUneven ? quotient - 1 : quotient, false)
    }

    private static func power(_ base: Int, _ exponent: Int) -> (partialValue: Int, overflow: Bool) {
        var (result, base, exponent) = (1, base, exponent)
        while exponent > 0 {
            if exponent & 1 == 1 {
                let product = result.multipliedReportingOverflow(by: base)
                if product.overflow { return product }
                result = product.partialValue
            }
            exponent >>= 1
            guard exponent > 0 else { break }
            let square = base.multipliedReportingOverflow(by: base)
            if square.overflow { return square }
            base = square.partialValue
        }
        return (result, false)
    }

    private func calculate(_ a: Double, _ operation: JinjaOperator, _ b: Double) throws(JinjaError) -> Double {
        switch operation {
        case .add: return a + b
        case .subtract: return a - b
        case .multiply: return a * b
        case .divide:
            guard b != 0 else { throw JinjaError("division by zero") }
            return a / b
        case .floorDivide, .modulo:
            guard b != 0 else { throw JinjaError("float floor division or modulo by zero") }
            var remainder = fmod(a, b)
            var quotient = (a - remainder) / b
            if remainder != 0, (remainder < 0) != (b < 0) {
                remainder += b
                quotient -= 1
            }
            if operation == .modulo { return remainder == 0 ? Double(signOf: b, magnitudeOf: 0) : remainder }
            let floored = quotient.rounded(.down)
            return quotient - floored > 0.5 ? floored + 1 : floored
        case .power:
            guard a != 0 || b >= 0 else { throw JinjaError("0.0 cannot be raised to a negative power") }
            let result = pow(a, b)
            guard !result.isNaN || a.isNaN || b.isNaN else { throw JinjaError("complex numbers are not supported") }
            guard result.isFinite || !a.isFinite || !b.isFinite else {
                throw JinjaError("numerical result out of range")
            }
            return result
        }
    }

    func negate(_ value: JinjaValue) throws(JinjaError) -> JinjaValue {
        switch value {
        case .double(let number): return .double(-number)
        case .undefined(let undefined): throw JinjaError(undefined.message)
        default:
            guard let number = value.index else {
                throw JinjaError("bad operand type for unary -: '\(value.typeName)'")
            }
            return try calculate(0, .subtract, number)
        }
    }

    func positive(_ value: JinjaValue) throws(JinjaError) -> JinjaValue {
        switch value {
        case .double: return value
        case .undefined(let undefined): throw JinjaError(undefined.message)
        default:
            guard let number = value.index else {
                throw JinjaError("bad operand type for unary +: '\(value.typeName)'")
            }
            return .int(number)
        }
    }
}
