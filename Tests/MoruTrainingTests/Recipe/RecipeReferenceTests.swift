import Foundation
import MoruBase
import MoruTestKit
import Testing

@testable import MoruTraining

@Suite struct RecipeReferenceTests {
    private static let root = String(
        #filePath.prefix(upTo: #filePath.range(of: "/Tests/")?.lowerBound ?? #filePath.endIndex))

    @Test func everyKeyHasAMeaning() {
        #expect(Set(Recipe.keys.map(\.path)) == Set(Recipe.meanings.keys))
        #expect(Recipe.keys.count == Recipe.meanings.count, "a key is there twice")
    }

    /// The page has the table that `moru recipe keys --markdown` prints.
    @Test func thePageSaysWhatTheProgramKnows() throws {
        let page = try FileSystem.readText(Self.root + "/docs/recipes.md")
        #expect(page.contains(Recipe.referenceMarkdown), "make it anew: moru recipe keys --markdown")
    }

    /// What a built-in recipe says as text is what it is.
    @Test func builtInRecipesReadBack() throws {
        #expect(BuiltInRecipe.all.count >= 6)
        for item in BuiltInRecipe.all {
            let read = try Recipe(yaml: item.yaml, source: item.name, name: item.name)
            #expect(read == item.recipe, "\(item.yaml)")
            #expect(item.yaml.contains("# The base model") && item.yaml.hasPrefix("# \(item.name): "))
        }
        let methods = Set(BuiltInRecipe.all.map(\.recipe.method))
        #expect(methods == Set(Recipe.Method.allCases))
    }
}
