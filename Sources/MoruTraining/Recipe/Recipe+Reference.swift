/// The documentation of a recipe key.
public struct RecipeKeyReference: Sendable, Hashable {
    /// The path from the root, joined by dots.
    public let path: String
    /// What a value must be, such as "an integer from 1 to 4096".
    public let expectation: String
    /// The default, as YAML; nil if there is none.
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

    /// The reference as Markdown, with a table for each section.
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

    /// What applies by default to keys without a default value.
    private static let emptyDefaults = [
        "model": "required", "data.train": "required", "data.weights": "every example once per epoch",
        "output": "`runs/NAME` beside the recipe",
        "data.max_length": "the model's context", "data.instruction": "none", "data.template": "a conversation",
        "training.steps": "see `epochs`",
        "training.warmup_steps": "see `warmup_ratio`", "training.evaluate_every": "every epoch",
        "training.save_every": "every epoch", "training.beta1": "the optimizer's default",
        "training.beta2": "the optimizer's default", "training.epsilon": "1e-8",
        "training.momentum": "the optimizer's default",
        "save_dtype": "f32 for what was trained", "quantize": "unchanged",
        "distillation.teacher": "required for distillation",
        "embedding.pooling": "`mean` for an encoder, `lasttoken` for a language model", "distillation.top_k": "all",
        "virtual_tokens.text": "random numbers",
        "early_stopping.patience": "never stops early", "training.ema_decay": "no average",
    ]

    /// What each key means, in a sentence.
    static let meanings: [String: String] = [
        "model": "The base model: a name that `moru pull` knows, or a path that begins with `/`, `./`, `../` or `~/`.",
        "output": "The run's directory: its result, checkpoints, events and a copy of the recipe.",
        "method": "Which parameters are trained.",
        "objective":
            "What is learned: `sft` the examples themselves, `dpo` which of two answers people prefer, "
            + "`distillation` also a larger model's predictions; with a head in place of text generation "
            + "`classification` the labels of a text, `extraction` what is found in it and where, `regression` a "
            + "number; `embedding` vectors that are close for texts that belong together.",
        "quantize": "The format in which a dense base is held while an adapter is trained on it (QLoRA).",
        "save_dtype": "The format in which a tuned model (`full`, `last_layers`, `head`) is saved.",
        "data.train":
            "The training data, a file, folder or pattern, or a list of them: JSONL, JSON, CSV, TSV, text "
            + "files.",
        "data.weights": "Each source's share of an epoch, in the order of the sources.",
        "data.epoch_end": "Where an epoch over weighted sources ends: with the largest source, or with the smallest.",
        "data.train_on": "The roles whose messages are trained on, or `[all]` for every token.",
        "data.instruction": "For classification: the system message that asks for the label.",
        "data.template":
            "For classification: a text with `{text}` and then `{label}` in it, instead of a conversation.",
        "data.fields": "Other names for fields of the data, after their usual names: `[prompt=question]`.",
        "data.labels": "Names for labels that are numbers 0, 1, ...; for a head, all labels in their order.",
        "data.validation": "Data to evaluate on during the run; the result with the lowest loss is kept.",
        "data.format": "The shape of the data's records; `auto` detects it from their fields.",
        "data.max_length": "The maximum number of tokens in an example.",
        "data.too_long": "What to do with a longer example; skipped and truncated ones are counted and reported.",
        "lora.rank": "The rank of the update: higher learns more and is slower.",
        "lora.alpha": "The update is scaled by alpha / rank.",
        "lora.dropout": "The fraction of the inputs dropped during training.",
        "lora.targets":
            "The layers to adapt, by the last part of their names; `auto` means the attention's, `all-linear` "
            + "all.",
        "lora.rslora": "Scale by alpha / sqrt(rank) instead, which suits high ranks (rsLoRA).",
        "lora.dora": "Learn the magnitude of each weight separately from its direction (DoRA).",
        "ia3.targets": "The layers to scale; `auto` means keys, values and the end of the feed-forward.",
        "ia3.input_targets":
            "Those of them whose input is scaled instead of the output; `auto` means the feed-forward's.",
        "virtual_tokens.count": "The number of learned positions in front of every sequence (`prompt`, `prefix`).",
        "virtual_tokens.text":
            "A text to start from, such as a sentence that describes the task; `null` starts from random "
            + "numbers, which the prefix of an encoder requires.",
        "last_layers.count": "The number of layers to train, counted from the end.",
        "last_layers.head": "Whether to train the output projection too, and embeddings that are tied to it.",
        "dpo.beta": "How closely the model stays to the original: higher is closer.",
        "dpo.label_smoothing": "The assumed probability that a preference is mislabelled.",
        "distillation.teacher":
            "The larger model, which must have the same tokenizer: a name or a path, as for `model`.",
        "distillation.temperature": "Both models' logits are divided by this before they are compared.",
        "distillation.soft_share": "The weight of the teacher's distribution; the rest is the data's.",
        "distillation.top_k": "How many of the teacher's likeliest tokens count.",
        "head.dropout": "The fraction of the head's inputs dropped during training.",
        "embedding.pooling": "How hidden states become one vector, if the model does not say.",
        "embedding.scale": "Cosines are multiplied by this before the softmax: the inverse of the temperature.",
        "training.epochs": "Passes over the data; the alternative is `steps`.",
        "training.steps": "Optimizer steps of the run; excludes `epochs`.",
        "training.batch_size":
            "Examples per batch; memory grows with it. With `embedding` they are each other's negatives.",
        "training.gradient_accumulation":
            "Batches to accumulate before an optimizer step; costs time, not memory. Not with `embedding`.",
        "training.learning_rate": "The highest learning rate.",
        "training.schedule":
            "How the rate changes after the warm-up; `wsd` stays constant and falls at the end (`decay_ratio`).",
        "training.warmup_steps": "Steps over which the rate rises; excludes `warmup_ratio`.",
        "training.warmup_ratio": "The fraction of the run over which the rate rises.",
        "training.final_learning_rate_ratio": "The rate at the end, as a fraction of the highest.",
        "training.decay_ratio": "For `wsd`: the fraction of the run over which the rate falls.",
        "training.optimizer": "The optimizer.",
        "training.weight_decay": "The fraction of each matrix that a step with rate 1 would remove.",
        "training.beta1": "Decay of the first moment: 0.9 for AdamW, Lion and Muon's AdamW.",
        "training.beta2": "Decay of the second moment: 0.999 for AdamW, 0.99 for Lion, 0.95 for Muon's AdamW.",
        "training.epsilon": "Added to the root of the second moment by AdamW.",
        "training.momentum": "Decay of the momentum: 0.9 for SGD, 0.95 for Muon.",
        "training.nesterov": "Whether SGD uses Nesterov momentum.",
        "training.decay_embeddings": "Whether weight decay applies to embeddings and output heads too.",
        "training.decay_vectors": "Whether weight decay applies to norms and biases too.",
        "training.layer_decay": "The rate is multiplied by this from each layer to the one below; 1 for a single rate.",
        "training.ema_decay":
            "Decay of a moving average of the weights, which is evaluated and saved in their place; 0.999 is "
            + "usual.",
        "training.clip_norm":
            "Gradients with a larger norm are scaled down to this; 0 turns it off, and lets each parameter move during "
            + "the backward pass, so that the gradients of all are never in memory together.",
        "training.seed": "Decides the order of the data, the initial values of new parameters, and dropout.",
        "training.evaluate_every": "Steps between evaluations on the validation data; the last step always evaluates.",
        "training.evaluate_at_start": "Whether to evaluate before the first step too.",
        "training.save_every": "Steps between checkpoints; the last step always saves.",
        "training.log_every": "Steps between reports of the loss.",
        "training.keep": "The number of checkpoints to keep; older ones are removed.",
        "training.precision":
            "`auto` may, where that is faster, round the inputs of matrix products to bf16, and activations "
            + "that meet weights that stay quantised to 8 bits in blocks of 32 in the forward pass, as serving "
            + "does; `bf16` rounds to bf16 only.",
        "training.recompute":
            "Recompute activations in the backward pass instead of storing them (not for recurrent models): "
            + "less memory for about a third more time, and the same result.",
        "early_stopping.patience": "End the run after this many evaluations without an improvement.",
        "early_stopping.metric":
            "The metric to watch: `validation_loss`, another validation figure that the run reports, or `loss`.",
        "early_stopping.min_delta": "The smallest change of the metric that counts as an improvement.",
        "early_stopping.mode": "Whether lower or higher is better.",
        "evaluation.data": "Labelled examples for the evaluation after the run, as for `moru eval`.",
        "evaluation.max_tokens": "The maximum number of tokens in an answer.",
        "evaluation.labels": "The lines of an answer, each `label: value`; empty if the whole answer is the label.",
        "evaluation.gates":
            "Conditions on the tuned model's results on `evaluation.data`, as for `moru eval --gate`; if one "
            + "fails, `moru tune` exits with code 8.",
    ]
}
