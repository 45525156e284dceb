/// What a key of a recipe is, for people.
public struct RecipeKeyReference: Sendable, Hashable {
    /// The path from the root, joined by dots.
    public let path: String
    /// What a value must be, such as "an integer from 1 to 4096".
    public let expectation: String
    /// What holds where the key is left out, as YAML; nil where nothing does.
    public let defaultValue: String?
    /// What the key means.
    public let meaning: String
}

extension Recipe {
    /// Every key that a recipe may have, in the order in which recipes are written.
    public static let reference: [RecipeKeyReference] = keys.map { key in
        RecipeKeyReference(
            path: key.path, expectation: key.expectation, defaultValue: key.get(defaults)?.text,
            meaning: meanings[key.path] ?? "")
    }

    /// The reference as Markdown tables, a section each.
    public static var referenceMarkdown: String {
        var lines: [String] = []
        var section: String?
        for key in keys {
            if key.section != section {
                section = key.section
                lines += ["", key.section.isEmpty ? "### At the top" : "### `\(key.section)`", ""]
                lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
            }
            let value = key.get(defaults).map { "`\($0.text)`" } ?? emptyDefaults[key.path] ?? "none"
            lines.append("| `\(key.name)` | \(key.expectation) | \(value) | \(meanings[key.path] ?? "") |")
        }
        return lines.dropFirst().joined(separator: "\n") + "\n"
    }

    /// What holds where a key without a default value is left out.
    private static let emptyDefaults = [
        "model": "required", "data.train": "required", "data.weights": "every example once an epoch",
        "output": "`runs/NAME` beside the recipe",
        "data.max_length": "the model's context", "data.instruction": "nothing", "data.template": "a conversation",
        "training.steps": "as `epochs` say",
        "training.warmup_steps": "as `warmup_ratio` says", "training.evaluate_every": "every epoch",
        "training.save_every": "every epoch", "training.beta1": "the optimizer's own",
        "training.beta2": "the optimizer's own", "training.epsilon": "1e-8", "training.momentum": "the optimizer's own",
        "save_dtype": "f32 where it moved", "quantize": "as it is", "distillation.teacher": "required for it",
        "embedding.pooling": "`mean` of an encoder, `lasttoken` of a language model", "distillation.top_k": "all",
        "virtual_tokens.text": "random numbers",
        "early_stopping.patience": "never stops early", "training.ema_decay": "no average",
    ]

    /// What each key means, in a sentence.
    static let meanings: [String: String] = [
        "model": "The base model: a name that `moru pull` knows, or a path that begins with `/`, `./`, `../` or `~/`.",
        "output": "The directory of the run: its result, checkpoints, events and a copy of the recipe.",
        "method": "Which parameters move.",
        "objective":
            "What is learnt: `sft` the examples themselves, `dpo` which of two answers people prefer, `distillation` "
            + "what a larger model thinks too; with a head in place of generation: `classification` which labels a text "
            + "has, `extraction` what is found in it and where, `regression` a number; `embedding` vectors that are near "
            + "for texts that belong together.",
        "quantize": "The format that a dense base is held in while an adapter is learnt beside it (QLoRA).",
        "save_dtype": "How a tuned model (`full`, `last_layers`, `head`) is stored.",
        "data.train": "A file, folder or pattern to learn from, or a list of them: JSONL, JSON, CSV, TSV, texts.",
        "data.weights": "The share of an epoch that each of several sources has, in their order.",
        "data.epoch_end": "Where an epoch over weighted sources ends: with the largest, or with the smallest.",
        "data.train_on": "The roles whose messages are learnt, or `[all]` for every token.",
        "data.instruction": "How classification is asked: the system message.",
        "data.template":
            "How classification is asked: a text with `{text}` and then `{label}` in it, in place of a conversation.",
        "data.fields": "What fields are called in the data, by their usual names: `[prompt=question]`.",
        "data.labels":
            "The names of labels that are given as numbers 0, 1, ...; of a head every label, in this order.",
        "data.validation": "What is measured on during the run; the result with the lowest loss is kept.",
        "data.format": "The shape of the data's records; `auto` tells it from their fields.",
        "data.max_length": "The most tokens of an example.",
        "data.too_long": "What happens to a longer example; those left out or cut are counted and reported.",
        "lora.rank": "The size of the update: more learns more and is slower.",
        "lora.alpha": "The update is scaled by alpha / rank.",
        "lora.dropout": "The share of the inputs that is dropped in training.",
        "lora.targets":
            "The layers that get an update, by the last part of their names; `auto` is the attention's, `all-linear` every one.",
        "lora.rslora": "Scale by alpha / sqrt(rank) instead, which suits high ranks.",
        "lora.dora": "Learn the size of each weight apart from its direction (DoRA).",
        "ia3.targets": "The layers that are scaled; `auto` is keys, values and the end of the feed-forward.",
        "ia3.input_targets": "Those of them whose input is scaled, not their output; `auto` is the feed-forward's.",
        "virtual_tokens.count": "How many learnt positions stand before every sequence (`prompt`, `prefix`).",
        "virtual_tokens.text": "What they begin as, such as a sentence that describes the task.",
        "last_layers.count": "How many of the last layers move.",
        "last_layers.head": "Whether the output projection moves too, and embeddings that are tied to it.",
        "dpo.beta": "How strongly the model is held to what it was: higher strays less.",
        "dpo.label_smoothing": "The probability that a preference is the wrong way round.",
        "distillation.teacher": "The larger model, which must have the same tokenizer: a name or a path, as `model`.",
        "distillation.temperature": "What both models' logits are divided by before they are compared.",
        "distillation.soft_share": "The weight of the teacher's distribution; the rest is the data's.",
        "distillation.top_k": "How many of the teacher's likeliest tokens count.",
        "head.dropout": "The share of the head's inputs that is dropped in training.",
        "embedding.pooling": "How hidden states become a vector, where the model does not say it.",
        "embedding.scale": "What cosines are multiplied by before the softmax: the inverse of the temperature.",
        "training.epochs": "Passes over the data; or give `steps`.",
        "training.steps": "Optimizer steps of the run; excludes `epochs`.",
        "training.batch_size":
            "Examples that pass through the model together; memory grows with it. With `embedding` they are each other's "
            + "negatives.",
        "training.gradient_accumulation":
            "Batches that are summed up before a step; costs time, not memory. Not with `embedding`.",
        "training.learning_rate": "The highest learning rate.",
        "training.schedule":
            "How the rate moves after the warm-up; `wsd` stays and falls over the last part (`decay_ratio`).",
        "training.warmup_steps": "Steps over which the rate rises; excludes `warmup_ratio`.",
        "training.warmup_ratio": "The share of the run over which the rate rises.",
        "training.final_learning_rate_ratio": "The rate at the end, as a share of the highest.",
        "training.decay_ratio": "With `wsd`: the share of the run over which the rate falls.",
        "training.optimizer": "What moves the parameters.",
        "training.weight_decay": "The share of each matrix that a step of rate 1 would take away.",
        "training.beta1": "Decay of the first moment: 0.9 for AdamW, Lion and Muon's AdamW.",
        "training.beta2": "Decay of the second moment: 0.999 for AdamW, 0.99 for Lion, 0.95 for Muon's AdamW.",
        "training.epsilon": "What AdamW adds to the root of the second moment.",
        "training.momentum": "Decay of the momentum: 0.9 for SGD, 0.95 for Muon.",
        "training.nesterov": "Whether SGD's momentum looks ahead.",
        "training.decay_embeddings": "Whether weight decay takes embeddings and output heads too.",
        "training.decay_vectors": "Whether weight decay takes norms and biases too.",
        "training.layer_decay": "What the rate is multiplied by from each layer to the one below it; 1 for one rate.",
        "training.ema_decay":
            "Decay of a moving average of the weights, which is then measured and saved in their place; 0.999 is usual.",
        "training.clip_norm": "Larger gradients are scaled down to this norm; 0 for never.",
        "training.seed": "Decides the order of the data, the start of what is new, and dropout.",
        "training.evaluate_every": "Steps between measurements on the validation data; the last step always measures.",
        "training.evaluate_at_start": "Whether to measure before the first step too.",
        "training.save_every": "Steps between checkpoints; the last step always saves.",
        "training.log_every": "Steps between reports of the loss.",
        "training.keep": "Checkpoints that are kept; older ones are removed.",
        "training.precision":
            "`auto` may round the inputs of matrix products to bf16, and forward what multiplies weights that stay "
            + "quantised to 8 bits in blocks of 32, as serving does, where that is faster; `bf16` keeps to bf16.",
        "training.recompute":
            "Compute activations again for the backward pass rather than keep them, whatever the architecture but a "
            + "recurrent one: less memory for about a third more time, and the same result.",
        "early_stopping.patience": "Measurements without an improvement after which the run ends.",
        "early_stopping.metric":
            "What is watched: `validation_loss`, another validation figure that the run reports, or `loss`.",
        "early_stopping.min_delta": "By how much the metric must get better to count.",
        "early_stopping.mode": "Which way is better.",
        "evaluation.data": "Labelled examples that `moru eval` asks.",
        "evaluation.max_tokens": "The most tokens of an answer.",
        "evaluation.labels": "The lines of an answer, each `label: value`; empty when the whole answer is the label.",
        "evaluation.gates":
            "What must hold of the tuned model on `evaluation.data`, as for `moru eval --gate`; else `moru tune` ends with "
            + "exit code 8.",
    ]
}
