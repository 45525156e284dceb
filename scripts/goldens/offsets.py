"""Where the tokens of awkward strings stand in them, by the Rust `tokenizers` library, for the small tokenizers that
`make_tokenizers.py` made. Writes Tests/MoruTextTests/Goldens/tokenizers/offsets.json: for each tokenizer and text the
beginnings and ends of its tokens one after the other, without the white space around each."""
import json
import pathlib

from tokenizers import Tokenizer

FAMILIES = ["gpt2", "smollm", "qwen2", "roberta", "llama2", "mistral", "gemma", "t5", "bert", "bert-cased",
            "word-level"]
# White space as Unicode has it; Python counts four separators more
SPACE = {chr(c) for c in [9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
                          0x205F, 0x3000]}


def trimmed(text, begin, end):
    while begin < end and text[begin] in SPACE:
        begin += 1
    while begin < end and text[end - 1] in SPACE:
        end -= 1
    return [begin, end]


folder = pathlib.Path(__file__).parents[2] / "Tests/MoruTextTests/Goldens/tokenizers"
corpus = json.loads((folder / "corpus.json").read_text())
result = {}
for family in FAMILIES:
    tokenizer = Tokenizer.from_file(str(folder / f"{family}.tokenizer.json"))
    result[family] = []
    for text in corpus:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        result[family].append([place for b, e in encoding.offsets for place in trimmed(text, b, e)])
target = folder / "offsets.json"
target.write_text(json.dumps(result, separators=(",", ":")))
print(target, target.stat().st_size)
