/// Keys of other programs' configurations that mean the same as a recipe's, under other names.
enum ForeignKeys {
    /// The recipe's key for each of a program's.
    static func same(_ origin: RecipeImport.Origin) -> [String: String] {
        switch origin {
        case .axolotl: shared.merging(axolotl) { $1 }
        case .llamaFactory: shared.merging(transformers) { $1 }.merging(llamaFactory) { $1 }
        case .fmsHFTuning: shared.merging(transformers) { $1 }.merging(fmsHFTuning) { $1 }
        }
    }

    private static let shared = [
        "output_dir": "output", "learning_rate": "training.learning_rate", "weight_decay": "training.weight_decay",
        "warmup_steps": "training.warmup_steps", "warmup_ratio": "training.warmup_ratio", "seed": "training.seed",
        "gradient_accumulation_steps": "training.gradient_accumulation", "max_grad_norm": "training.clip_norm",
        "logging_steps": "training.log_every", "save_total_limit": "training.keep", "lora_alpha": "lora.alpha",
        "lora_dropout": "lora.dropout", "adam_beta1": "training.beta1", "adam_beta2": "training.beta2",
        "adam_epsilon": "training.epsilon", "early_stopping_patience": "early_stopping.patience",
    ]

    private static let axolotl = [
        "base_model": "model", "lora_r": "lora.rank", "micro_batch_size": "training.batch_size",
        "sequence_len": "data.max_length", "peft_use_rslora": "lora.rslora", "peft_use_dora": "lora.dora",
        "cosine_min_lr_ratio": "training.final_learning_rate_ratio",
    ]

    private static let transformers = [
        "model_name_or_path": "model", "per_device_train_batch_size": "training.batch_size",
        "early_stopping_threshold": "early_stopping.min_delta", "early_stopping_steps": "early_stopping.patience",
    ]

    private static let llamaFactory = [
        "lora_rank": "lora.rank", "cutoff_len": "data.max_length", "use_rslora": "lora.rslora",
        "use_dora": "lora.dora", "freeze_trainable_layers": "last_layers.count",
    ]

    private static let fmsHFTuning = [
        "training_data_path": "data.train", "validation_data_path": "data.validation",
        "max_seq_length": "data.max_length", "max_length": "data.max_length", "r": "lora.rank",
        "num_virtual_tokens": "virtual_tokens.count", "prompt_tuning_init_text": "virtual_tokens.text",
    ]

    /// Keys that are about how the other program runs, and why a recipe does without them.
    static let needless: [String: String] = [
        "bf16": precision, "fp16": precision, "tf32": precision, "torch_dtype": precision, "pure_bf16": precision,
        "float16": precision, "bfloat16": precision,
        "load_in_4bit": quantization, "load_in_8bit": quantization, "quantization_bit": quantization,
        "flash_attention": attention, "flash_attn": attention, "use_flash_attn": attention,
        "xformers_attention": attention, "sdp_attention": attention,
        "sample_packing": packing, "packing": packing, "pad_to_sequence_len": packing, "group_by_length": packing,
        "gradient_checkpointing": memory, "gradient_checkpointing_kwargs": memory,
        "deepspeed": distribution, "fsdp": distribution, "fsdp_config": distribution, "ddp_timeout": distribution,
        "local_rank": distribution,
        "model_type": model, "tokenizer_type": model, "tokenizer_name_or_path": model, "trust_remote_code": model,
        "chat_template": model, "template": model, "is_llama_derived_model": model, "special_tokens": model,
        "wandb_project": tracking, "wandb_entity": tracking, "wandb_watch": tracking, "wandb_name": tracking,
        "wandb_log_model": tracking, "report_to": tracking, "plot_loss": tracking, "tracker": tracking,
        "do_train": running, "do_eval": running, "overwrite_cache": running, "overwrite_output_dir": running,
        "preprocessing_num_workers": running, "dataloader_num_workers": running, "dataset_prepared_path": running,
        "per_device_eval_batch_size": running, "eval_batch_size": running, "save_safetensors": running,
        "strict": running, "debug": running, "save_only_model": running, "include_tokens_per_second": running,
        "resume_from_checkpoint": "go on with: moru tune --resume",
        "auto_resume_from_checkpoints": "go on with: moru tune --resume",
        "evaluation_strategy": "training.evaluate_every says it", "eval_strategy": "training.evaluate_every says it",
        "save_strategy": "training.save_every says it",
    ]

    private static let precision = "training.precision: auto uses bf16 where it is faster"
    private static let quantization = "name a quantised model (GGUF) as the model"
    private static let attention = "attention never holds the whole matrix"
    private static let packing = "sequences are never padded"
    private static let memory = "training.recompute: true does it; memory is estimated before a run"
    private static let distribution = "one machine"
    private static let model = "the model's own files say it"
    private static let tracking = "a run writes events.jsonl"
    private static let running = "not needed"
}
