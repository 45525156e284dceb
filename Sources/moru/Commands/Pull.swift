import ArgumentParser
import MoruBase
import MoruStore

/// `moru pull`: fetches a model.
struct Pull: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Download a model.",
        discussion: """
            MODEL is a name from the catalog (moru models --catalog) or
            hf:ORG/REPO[@REVISION][:FILE] for a model on the Hugging Face Hub. An
            interrupted download resumes where it stopped. Set HF_TOKEN for gated models.

            Examples:
              moru pull smollm2-135m-instruct
              moru pull hf:Qwen/Qwen2.5-0.5B-Instruct
            """)

    @Argument(help: "The model to fetch.")
    var model = Catalog.defaultModel
    @Flag(help: "Download the model again even if it is already here.")
    var force = false
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let reference = try ModelReference(parsing: model)
        let display = PullDisplay()
        let pulling = Task { [force] in
            try await ModelStore().pull(reference, force: force) { display.show($0) }
        }
        let interruption = Interruption { pulling.cancel() }
        defer { withExtendedLifetime(interruption) {} }
        let result = await pulling.result
        display.finish()
        guard !interruption.isRequested else {
            throw MoruError(.cancelled, "stopped", remedy: "go on where it stopped with: moru pull \(model)")
        }
        let stored = try result.get()
        if output.json {
            Terminal.result(stored.json.text(pretty: true))
        } else {
            Terminal.talk("\(stored.name) is ready: \(ByteCount.text(stored.size)) in \(stored.directory)")
            Terminal.result(stored.path)
        }
    }
}

/// Shows the steps of a pull.
private final class PullDisplay: Sendable {
    private let downloading = ProgressLine("downloading", unit: "bytes")
    private let verifying = ProgressLine("verifying", unit: "bytes")

    func show(_ progress: PullProgress) {
        switch progress.phase {
        case .downloading:
            if progress.receivedBytes > 0 || progress.totalBytes != nil {
                downloading.update(progress.receivedBytes, of: progress.totalBytes, detail: progress.file ?? "")
            }
        case .verifying:
            downloading.finish()
            verifying.update(progress.receivedBytes, of: progress.totalBytes, detail: progress.file ?? "")
        case .looking, .extracting, .done:
            finish()
        }
        if let note = progress.note {
            finish()
            Terminal.talk(note)
        }
    }

    func finish() {
        downloading.finish()
        verifying.finish()
    }
}

extension StoredModel {
    /// The model as commands print it.
    var json: JSON {
        [
            "name": .string(name), "path": .string(path), "size": .int(size),
            "architecture": architecture.map { .string($0) } ?? .null,
            "license": license.map { .string($0) } ?? .null, "source": source.map { .string($0) } ?? .null,
            "pulled_at": pulledAt.map { .string($0.ISO8601Format()) } ?? .null,
            "problem": problem.map { .string($0) } ?? .null,
        ]
    }
}
