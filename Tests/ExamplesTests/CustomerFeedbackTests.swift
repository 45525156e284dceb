import Foundation
import MoruBase
import MoruTestKit
import MoruTraining
import MoruTrust
import Testing

/// The data set that ships with Moru, checked by `scripts/check-dataset`: format, labels, counts, near-duplicates.
@Suite struct CustomerFeedbackTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
    private static let folder = root + "/Examples/customer-feedback"

    private func check(_ folder: String) throws -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", Self.root + "/scripts/check-dataset", folder]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return process.terminationStatus
    }

    @Test func splitsAreCleanAndShareNoNearDuplicates() throws {
        #expect(try check(Self.folder) == 0)
    }

    @Test func aPlantedNearDuplicateIsFound() throws {
        let copy = TestNeeds.temporaryPath("feedback")
        try FileManager.default.copyItem(atPath: Self.folder, toPath: copy)
        defer { FileSystem.remove(copy) }
        let line = try #require(try FileSystem.readText(copy + "/train.jsonl").split(separator: "\n").first)
        let planted = line.replacing(/"id": "[^"]*"/, with: #""id": "cf-9999""#)
        let test = try FileSystem.readText(copy + "/test.jsonl")
        try FileSystem.write((test + planted + "\n").utf8, to: copy + "/test.jsonl")
        #expect(try check(copy) == 1)
    }

    @Test func everyLineIsALabelledExample() throws {
        let examples = try EvaluationExample.read(Self.folder + "/test.jsonl")
        #expect(examples.count >= 150)
        for example in examples {
            #expect(example.reference.wholeMatch(of: /sentiment: (positive|negative|neutral)\ntopic: [a-z]+/) != nil)
        }
    }

    @Test func theRecipeIsValid() throws {
        let recipe = try Recipe(file: Self.folder + "/recipe.yaml")
        #expect(recipe.data.train.hasSuffix("customer-feedback/train.jsonl"))
    }
}
