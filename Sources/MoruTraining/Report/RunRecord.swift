import Foundation
import MoruBase

/// What a run's directory says of it: its events in order, its recipe, its samples.
public struct RunRecord: Sendable {
    /// How a run stands.
    public enum State: String, Sendable, Hashable {
        /// Complete.
        case finished
        /// Ended before its last step; it can go on.
        case stopped
        /// Neither complete nor stopped: it is at work, or was killed.
        case open
    }

    /// An optimizer step.
    public struct Step: Sendable, Hashable {
        /// The step, counted from 1.
        public var step: Int
        /// Passes over the data so far.
        public var epoch: Double
        /// The mean loss in nats, the learning rate, the norm of the gradients, and what was read a second.
        public var loss, learningRate, gradientNorm, inputsPerSecond: Double
        /// The most bytes that tensors held at once so far.
        public var peakMemoryBytes: Int
    }

    /// A measurement on held-out data.
    public struct Validation: Sendable, Hashable {
        /// Steps taken before.
        public var step: Int
        /// The mean loss in nats.
        public var loss: Double
        /// Other figures by name.
        public var others: [String: Double]
        /// Whether it was the lowest loss so far.
        public var isBest: Bool
    }

    /// The directory.
    public let path: String
    /// The steps that were reported.
    public private(set) var steps: [Step] = []
    /// The measurements.
    public private(set) var validations: [Validation] = []
    /// What the reader of the run should know.
    public private(set) var notices: [String] = []
    /// The newest `started` event.
    public private(set) var start: JSON?
    /// What the run came to, where it is complete.
    public private(set) var summary: JSON?
    /// When the first and the last event happened.
    public private(set) var began: Date?, ended: Date?
    private var wasStopped = false

    /// The name: the directory's own.
    public var name: String { (path as NSString).lastPathComponent }
    /// How it stands.
    public var state: State { summary != nil ? .finished : wasStopped ? .stopped : .open }
    /// The best measurement; nil where nothing was held out.
    public var best: Validation? {
        validations.filter { $0.step > 0 }.min { $0.loss < $1.loss } ?? validations.last
    }
    /// Steps of the whole run.
    public var totalSteps: Int { start?["total_steps"]?.int ?? steps.last?.step ?? 0 }
    /// How long it took so far.
    public var seconds: Double {
        summary?["seconds"]?.double ?? began.flatMap { began in ended.map { $0.timeIntervalSince(began) } } ?? 0
    }
    /// What was asked for, as YAML.
    public var recipe: String? { try? FileSystem.readText(path + "/recipe.yaml") }

    /// Whether a directory holds a run.
    public static func isRun(_ path: String) -> Bool { FileSystem.exists(path + "/events.jsonl") }

    /// Reads a run. A last line that was cut off is passed over, as a kill may leave it.
    ///
    /// - Throws: ``MoruError/Code/runNotFound``, or what reading a file throws.
    public init(_ path: String) throws(MoruError) {
        self.path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        guard Self.isRun(path) else {
            throw MoruError(
                .runNotFound, "\(path) holds no run: there is no events.jsonl",
                remedy: "name a run's directory; moru runs list finds them")
        }
        for line in try FileSystem.readText(path + "/events.jsonl").split(separator: "\n") {
            guard let event = try? JSON.parse(String(line), source: path) else { continue }
            take(event)
        }
    }

    private mutating func take(_ event: JSON) {
        if let time = event["time"]?.double {
            let date = Date(timeIntervalSince1970: time)
            began = began ?? date
            ended = date
        }
        func number(_ key: String) -> Double { event[key]?.double ?? .nan }
        switch event["event"]?.string {
        case "started": (start, wasStopped) = (event, false)
        case "step":
            steps.append(
                Step(
                    step: event["step"]?.int ?? 0, epoch: number("epoch"), loss: number("loss"),
                    learningRate: number("learning_rate"), gradientNorm: number("gradient_norm"),
                    inputsPerSecond: number("inputs_per_second"),
                    peakMemoryBytes: event["peak_memory_bytes"]?.int ?? 0))
        case "validation":
            var others: [String: Double] = [:]
            for (name, value) in event["others"]?.object?.members.map({ ($0.key, $0.value) }) ?? [] {
                others[name] = value.double
            }
            validations.append(
                Validation(
                    step: event["step"]?.int ?? 0, loss: number("loss"), others: others,
                    isBest: event["is_best"]?.bool ?? false))
        case "notice": if let text = event["text"]?.string { notices.append(text) }
        case "stopped": wasStopped = true
        case "finished": summary = event
        default: break
        }
    }

    /// The runs below a directory, the newest first; at most four folders deep.
    public static func find(in directory: String) -> [RunRecord] {
        var (found, pending) = ([RunRecord](), [(directory, 0)])
        while let (path, depth) = pending.popLast() {
            if isRun(path), let record = try? RunRecord(path) {
                found.append(record)
                continue
            }
            guard depth < 4, let names = try? FileSystem.list(path) else { continue }
            for name in names where !name.hasPrefix(".") && FileSystem.isDirectory("\(path)/\(name)") {
                pending.append(("\(path)/\(name)", depth + 1))
            }
        }
        return found.sorted { ($0.ended ?? .distantPast, $1.path) > ($1.ended ?? .distantPast, $0.path) }
    }

    /// The figures in one object.
    public var json: JSON {
        func number(_ value: Double?) -> JSON { value.flatMap { $0.isFinite ? .double($0) : nil } ?? .null }
        var figures = JSONObject()
        for (name, value) in (best?.others ?? [:]).sorted(by: { $0.key < $1.key }) { figures[name] = number(value) }
        return [
            "path": .string(path), "name": .string(name), "state": .string(state.rawValue),
            "step": .int(steps.last?.step ?? 0), "total_steps": .int(totalSteps),
            "training_loss": number(steps.last?.loss), "best_validation_loss": number(best?.loss),
            "best_step": best.map { .int($0.step) } ?? .null, "best": .object(figures),
            "inputs_per_second": number(medianInputsPerSecond), "seconds": .double(seconds),
            "trainable_parameters": start?["trainable_parameters"] ?? .null,
            "peak_memory_bytes": .int(steps.map(\.peakMemoryBytes).max() ?? 0),
        ]
    }

    /// The median rate of reading.
    public var medianInputsPerSecond: Double? {
        let rates = steps.map(\.inputsPerSecond).filter(\.isFinite).sorted()
        return rates.isEmpty ? nil : rates[rates.count / 2]
    }
}

extension MoruError.Code {
    /// A directory without a run.
    public static let runNotFound = MoruError.Code("run.not-found", .notFound)
}

extension RunRecord {
    /// The figures with every point of the curves.
    public var detailedJSON: JSON {
        func number(_ value: Double) -> JSON { value.isFinite ? .double(value) : .null }
        var object = json.object ?? JSONObject()
        object["steps"] = .array(
            steps.map {
                [
                    "step": .int($0.step), "epoch": number($0.epoch), "loss": number($0.loss),
                    "learning_rate": number($0.learningRate), "gradient_norm": number($0.gradientNorm),
                    "inputs_per_second": number($0.inputsPerSecond),
                ]
            })
        object["validations"] = .array(
            validations.map { validation in
                var entry = JSONObject([("step", .int(validation.step)), ("loss", number(validation.loss))])
                for (name, value) in validation.others.sorted(by: { $0.key < $1.key }) { entry[name] = number(value) }
                return .object(entry)
            })
        object["notices"] = .array(notices.map { .string($0) })
        return .object(object)
    }

    /// The keys of the recipes whose values differ between runs, with the value of each run.
    public static func differences(_ runs: [RunRecord]) -> [(key: String, values: [String?])] {
        let recipes = runs.map { $0.recipe.map(values) ?? [] }
        var keys: [String] = []
        for (key, _) in recipes.joined() where !keys.contains(key) { keys.append(key) }
        return keys.compactMap { key in
            let values = recipes.map { recipe in recipe.first { $0.key == key }?.value }
            return Set(values).count > 1 ? (key, values) : nil
        }
    }

    /// The keys and values of a recipe as runs write it: two levels, a value a line.
    private static func values(_ yaml: String) -> [(key: String, value: String)] {
        var section = ""
        var result: [(key: String, value: String)] = []
        for line in yaml.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
            guard let name = parts.first, !name.isEmpty else { continue }
            let isInner = line.hasPrefix("  ")
            if parts.count < 2 || parts[1].isEmpty {
                section = name
            } else {
                result.append((isInner ? "\(section).\(name)" : name, parts[1]))
            }
        }
        return result
    }
}
