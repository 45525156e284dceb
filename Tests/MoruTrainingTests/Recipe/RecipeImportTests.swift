import MoruBase
import MoruNN
import MoruTensor
import MoruTestKit
import Testing

@testable import MoruTraining

@Suite struct RecipeImportTests {
    private func read(_ text: String, _ origin: RecipeImport.Origin? = nil) throws -> RecipeImport {
        let imported = try RecipeImport(text: text, source: "config.yaml", origin: origin)
        // what comes out is a valid recipe that says the same
        let recipe = try Recipe(
            yaml: imported.yaml, source: "imported", overrides: ["output=\(imported.recipe.output)"])
        #expect(recipe == imported.recipe, "\(imported.yaml)")
        return imported
    }

    @Test func axolotl() throws {
        let imported = try read(
            """
            base_model: ./models/base
            model_type: AutoModelForCausalLM
            load_in_4bit: true
            adapter: qlora
            lora_r: 32
            lora_alpha: 16
            lora_dropout: 0.05
            lora_target_linear: true
            lora_fan_in_fan_out:
            datasets:
              - path: data/train.jsonl
                type: alpaca
              - path: tatsu-lab/alpaca
                type: alpaca
            val_set_size: 0.05
            sequence_len: 2048
            sample_packing: true
            micro_batch_size: 2
            gradient_accumulation_steps: 4
            num_epochs: 3
            optimizer: paged_adamw_8bit
            lr_scheduler: cosine
            learning_rate: 0.0002
            warmup_steps: 10
            weight_decay: 0.01
            early_stopping_patience: 3
            saves_per_epoch: 1
            output_dir: ./outputs/out
            rl: dpo
            """)
        let recipe = imported.recipe
        #expect(imported.origin == .axolotl && recipe.model == "./models/base" && recipe.output == "./outputs/out")
        #expect(recipe.method == .lora && recipe.lora.rank == 32 && recipe.lora.targets == ["all-linear"])
        #expect(recipe.data.train == "data/train.jsonl" && recipe.data.maxLength == 2048)
        #expect(recipe.training.batchSize == 2 && recipe.training.gradientAccumulation == 4)
        #expect(recipe.training.length == .epochs(3) && recipe.training.warmup == .steps(10))
        #expect(recipe.training.optimizer == OptimizerSettings(.adamw8Bit, weightDecay: 0.01))
        #expect(recipe.training.earlyStopping.patience == 3)
        let left = Dictionary(uniqueKeysWithValues: imported.leftovers.map { ($0.key, $0.reason) })
        #expect(left["saves_per_epoch"] == "has no counterpart")
        #expect(left["load_in_4bit"]?.contains("GGUF") == true && left["adapter"]?.contains("GGUF") == true)
        #expect(left["datasets[1]"] != nil && left["datasets[0]"] == nil && left["rl"] != nil)
        #expect(left["val_set_size"]?.contains("moru data split") == true)
        #expect(left["lora_fan_in_fan_out"] == nil, "an empty key says nothing")
        #expect(imported.yaml.contains("#   saves_per_epoch: 1  (has no counterpart)"))
    }

    @Test func llamaFactory() throws {
        let imported = try read(
            """
            model_name_or_path: qwen3-0.6b
            stage: sft
            do_train: true
            finetuning_type: lora
            lora_rank: 16
            lora_target: q_proj, v_proj
            use_dora: true
            dataset: identity,alpaca_en_demo
            template: qwen3
            cutoff_len: 512
            output_dir: saves/lora
            per_device_train_batch_size: 1
            num_train_epochs: 2.5
            max_steps: -1
            lr_scheduler_type: constant_with_warmup
            warmup_ratio: 0.1
            bf16: true
            """)
        let recipe = imported.recipe
        #expect(imported.origin == .llamaFactory && recipe.method == .lora && recipe.lora.decomposesWeights)
        // its default where the file says nothing
        #expect(recipe.lora.alpha == 32 && recipe.training.learningRate == 5e-5)
        #expect(recipe.lora.targets == ["q_proj", "v_proj"] && recipe.data.maxLength == 512)
        #expect(recipe.training.schedule == .constant && recipe.training.length == .epochs(3))
        #expect(recipe.data.train == "train.jsonl")
        #expect(imported.leftovers.map(\.key).contains("dataset") && imported.leftovers.map(\.key).contains("data"))
        #expect(
            try read("model_name_or_path: m\nfinetuning_type: freeze\nfreeze_trainable_layers: 3\n").recipe.lastLayers
                .count == 3)
    }

    @Test func fmsHFTuning() throws {
        let imported = try read(
            """
            {"model_name_or_path": "m", "training_data_path": "train.json", "output_dir": "out", "peft_method": "pt",
             "num_virtual_tokens": 16, "prompt_tuning_init": "TEXT", "prompt_tuning_init_text": "Sort: it",
             "learning_rate": 0.03, "num_train_epochs": 5, "response_template": "\\nLabel:", "max_steps": 100}
            """)
        let recipe = imported.recipe
        #expect(imported.origin == .fmsHFTuning && recipe.method == .prompt)
        #expect(recipe.virtualTokens == VirtualTokenSettings(count: 16, start: .text("Sort: it")))
        #expect(recipe.data.train == "train.json" && recipe.training.length == .steps(100))
        #expect(imported.leftovers.map(\.key) == ["response_template"])
        let lora = try read("model_name_or_path: m\ntraining_data_path: t.jsonl\npeft_method: lora\nr: 4\n").recipe
        #expect(lora.lora.rank == 4 && lora.lora.alpha == 32 && lora.lora.dropout == 0.05)
    }

    /// Every key that has a counterpart has one that exists.
    @Test(arguments: RecipeImport.Origin.allCases) func counterpartsExist(origin: RecipeImport.Origin) {
        for (key, path) in ForeignKeys.same(origin) {
            #expect(Recipe.keys.contains { $0.path == path }, "\(key) stands for \(path)")
            #expect(ForeignKeys.needless[key] == nil, "\(key)")
        }
    }

    @Test func whatCannotBeImportedIsNamed() {
        expectError(.recipeMalformed, "not told by its keys", "axolotl, llama-factory, fms-hf-tuning") {
            _ = try RecipeImport(text: "model: x\n", source: "config.yaml")
        }
        expectError(.recipeMalformed, "config.yaml is not a mapping") {
            _ = try RecipeImport(text: "- a\n", source: "config.yaml")
        }
        expectError(.recipeValue, "config.yaml:2: lora_r is many", "as lora.rank of a recipe it must be an integer") {
            _ = try RecipeImport(text: "base_model: m\nlora_r: many\n", source: "config.yaml")
        }
        expectError(.recipeValue, "names no model") {
            _ = try RecipeImport(text: "peft_method: lora\n", source: "config.yaml")
        }
    }
}
