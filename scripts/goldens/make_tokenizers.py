"""Goldens for the tokenizers: small tokenizers of each family, with the ids and texts that the Rust `tokenizers`
library gives for a corpus of awkward strings.

    python scripts/goldens/make_tokenizers.py Tests/MoruTextTests/Goldens

Needs the package `tokenizers`. With `--smollm2 MODEL.gguf` (and the package `gguf`) it also writes what SmolLM2's
own tokenizer gives; with `--minilm DIR` what that of all-MiniLM-L6-v2 gives.
"""

import argparse
import json
import pathlib

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
DEEPSEEK = [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]

TRAINING = """
The anvil stands where the old smith left it, and every morning someone strikes it again. It doesn't complain.
She said: "I'll be there at 10:45, won't you?" He didn't answer; they've been late before, and we're used to it.
Please refund order 12345 from 2024-03-31: the package arrived broken, twice. Total: $1,299.99 (incl. 19% VAT).
def encode(text: str, limit: int = 512) -> list[int]:
    for index, word in enumerate(text.split()):
        if index >= limit:
            raise ValueError(f"too long: {index} >= {limit}")
        yield vocabulary.get(word, 0)
func main() { let xs = [1, 2, 3].map { $0 * 2 }; print("sum = \\(xs.reduce(0, +))") }
SELECT name, COUNT(*) FROM orders WHERE price > 100.5 GROUP BY name; -- done
안녕하세요, 저는 대장간에서 일합니다. 모루 위에서 쇠를 두드리면 불꽃이 튑니다.
배송이 너무 늦어서 실망했어요. 하지만 상담원은 정말 친절했습니다! 환불은 언제 되나요?
고객 센터에 세 번이나 전화했는데 아무도 받지 않았습니다. 다시는 주문하지 않을 겁니다.
こんにちは、世界。これはテストです。 你好，世界！这是一个测试。
Größe, naïve café, façade, Übermut, señor, Ångström, œuvre, Straße, İstanbul, Ελληνικά, русский язык, עברית, العربية
😀 😂 👍🏽 👩‍👩‍👧‍👦 🇰🇷 ❤️ ✅ → ≤ ≥ × ÷ ½ ² ³ № ™ © € £ ¥ ₩
"""

AWKWARD = [
    "", " ", "  ", "   a", "a   ", "a  b   c    d", "\n", "\n\n\n", " \n \n", "\t\ttab\tbed", "line\r\nline\r\n\r\nend",
    "trailing space ", " leading", "   \n   x", "x \n", "a\u00a0b\u3000c\u2003d\u2028e\u0085f",
    "Hello, world!", "The quick brown fox jumps over the lazy dog.", "I'll I'LL we've WE'VE don't DON'T it's IT'S he'd HE'D",
    "'s 't 're ''' 'sss x'sy o'clock 'ſ '", "won't've", "can’t “quoted” — dash … ellipsis",
    "안녕하세요, 모루입니다!", "배송이 너무 늦어서 실망했어요ㅠㅠ ㅋㅋㅋ", "한글과 English를 섞어 123개 씁니다.",
    "\u1112\u1161\u11ab\u1100\u1173\u11af", "각\u11a8 가\u11a8", "こんにちは世界。テスト", "カ\u3099 か\u3099 ｶﾞ ﾊﾟ",
    "你好，世界！𠀀𪜀 㐀豈", "中文english混合123", "日本語とEnglish", "Größe naïve café façade", "cafe\u0301 e\u0301\u0302 n\u0303o\u0323\u0302",
    "A\u030a \u212b \u2126 \u1e9b\u0323 ﬁ ﬂ ½ ² ① Ⅷ ㎏ ｆｕｌｌ", "İstanbul ISTANBUL ß ẞ Σίσυφος ΣΑΣ ǅ",
    "עִבְרִית العَرَبِيَّة हिन्दी ไทย", "क्षि த்த แม่น้ำ", "русский язык Ёлка й\u0306",
    "😀", "😀😂👍🏽", "👩‍👩‍👧‍👦 family", "🇰🇷🇺🇸 flags", "❤️ ☎︎ ✅", "🏴󠁧󠁢󠁥󠁮󠁧󠁿 x", "a😀b 😀 c",
    "1", "12", "123", "1234", "12345678901", "3.14159 1,299.99 $5 50% 1e-9 0xFF", "２０２４年 ٣٤٥ ५६ ²³ ⅷ ௧", "v2.0.1-rc3", "10:45 2024-03-31",
    "def f(x):\n    return x**2  # square\n", "for (int i = 0; i < n; ++i) { a[i] += b[i]; }", "if x != y && z <= 3 || !w { }",
    "SELECT * FROM t WHERE a='b';", "<html><body class=\"x\">&nbsp;</body></html>", "```swift\nlet a = 1\n```", "C:\\path\\to\\file /usr/bin",
    "camelCase snake_case SCREAMING_CASE kebab-case HTMLParser iOS", "user@example.com https://example.com/?q=1&r=2#top",
    "....", "!!!???", "---", "a-b_c.d,e;f", "( ) [ ] { }", "~`^|\\@#$%&*+=<>", "\"'\"'\"", "a'b\"c",
    "\u0000", "a\u0000b", "\u0001\u0002\u001f\u007f\u0080\u009f", "a\u200bb\u200cc\u200dd\u2060e\ufefff", "\ufffd", "a\u00adb\u200e\u200f", "\ue000\uf8ff\U000f0000",
    "\u0378\u0e5c\U0001fbff", "\U0001f9ff\U0001fae8 \u0560 \U00016fe4", "▁", "▁a ▁▁b", "a▁b", "Ġ Ċ ĠĠ", "##ing ##", "<0x0A>", "</w>",
    "<|endoftext|>", "a<|endoftext|>b", " <|im_start|>user\nhi<|im_end|>\n", "<|im_start|>", "<|im_start", "<|im_end|><|im_end|>", "<s>[INST] x [/INST]</s>",
    "[CLS] a [SEP] [MASK] [UNK] [PAD]", "a <mask> b<mask>c  <mask>  d", "<unk>", "word words word's sword word", "Mixed CASE Word", "x\u0301word word\u0301",
    "lefttok  left righttok  right  bothtok  both", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "supercalifragilisticexpialidocious", "the the the the the the the the the the the the the the the the the the the the the the the",
    " " * 50 + "x" + " " * 33, "\n" * 20 + "x", "ab" * 80, "가나다라마바사" * 12, "e" + "\u0301" * 40,
    "The smith said: \"strike while the iron is hot\" — 쇠는 뜨거울 때 두드려라. 🔥🔨\n\n\tindent;\n", TRAINING,
]

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def corpus():
    return [line + "\n" for line in TRAINING.strip().split("\n")] * 4


def byte_level(pre, size=480, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIALS, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def split(pattern, behavior="isolated", **options):
    return pre_tokenizers.Split(Regex(pattern), behavior, **options)


def plain_bytes():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def template(single, tokens):
    return processors.TemplateProcessing(single=single, special_tokens=tokens)


def gpt2():
    return byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))


def smollm():
    return byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False)]))


def llama3():
    tokenizer = byte_level(pre_tokenizers.Sequence([split(LLAMA3), plain_bytes()]), ignore_merges=True)
    # A word that no chain of merges reaches, to tell ignore_merges from its absence.
    document = json.loads(tokenizer.to_str())
    document["model"]["vocab"]["Ġsupercalifragilistic"] = len(document["model"]["vocab"])
    document["model"]["vocab"]["tab"] = len(document["model"]["vocab"])
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False),
                                                    template("<|endoftext|> $A", [("<|endoftext|>", 0)])])
    return tokenizer


def qwen2():
    tokenizer = byte_level(pre_tokenizers.Sequence([split(QWEN2), plain_bytes()]))
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def pattern(text):
    return lambda: byte_level(pre_tokenizers.Sequence([split(text), plain_bytes()]))


def deepseek():
    return byte_level(pre_tokenizers.Sequence([split(each) for each in DEEPSEEK] + [plain_bytes()]))


def roberta():
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))
    tokenizer.add_special_tokens([AddedToken("<s>"), AddedToken("</s>"), AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>")))
    return tokenizer


def added_tokens():
    """Every flag of an added token."""
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.add_tokens([
        AddedToken("word", single_word=True), AddedToken("lefttok", lstrip=True), AddedToken("righttok", rstrip=True),
        AddedToken("bothtok", lstrip=True, rstrip=True), AddedToken("MIXED case", normalized=True),
        AddedToken("Word", normalized=False), AddedToken("aa", normalized=False), AddedToken("aaa", normalized=False),
        AddedToken("<unk>", normalized=True)])
    tokenizer.add_special_tokens([AddedToken("  <mask>", normalized=False), AddedToken("[MASK]", lstrip=True)])
    return tokenizer


def sentencepiece_bpe(**options):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True, **options))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=700, show_progress=False, limit_alphabet=120,
                                  special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)])
    tokenizer.train_from_iterator(corpus(), trainer)
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = document["added_tokens"][:3]
    return document


def llama2():
    tokenizer = Tokenizer.from_str(json.dumps(sentencepiece_bpe()))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = None
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = template("<s> $A", [("<s>", 1)])
    return tokenizer


def mistral():
    """SentencePiece BPE in the newer spelling, with a Metaspace that marks only the first word."""
    tokenizer = Tokenizer.from_str(json.dumps(sentencepiece_bpe()))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(["[INST]", "[/INST]"])
    tokenizer.post_processor = template("<s> $A </s>", [("<s>", 1), ("</s>", 2)])
    return tokenizer


def gemma():
    """Pairs instead of strings in the merges, runs of spaces and newlines as added tokens."""
    document = sentencepiece_bpe()
    document["model"]["merges"] = [merge.split(" ") if isinstance(merge, str) else merge
                                   for merge in document["model"]["merges"]]
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_tokens([AddedToken("\n" * count, normalized=False) for count in range(2, 6)]
                         + [AddedToken("▁" * count, normalized=False) for count in range(2, 6)])
    tokenizer.post_processor = template("<s> $A", [("<s>", 1)])
    return tokenizer


def unigram_tokenizer(pre):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre
    trainer = trainers.UnigramTrainer(vocab_size=420, show_progress=False, unk_token="<unk>",
                                      special_tokens=["<pad>", "</s>", "<unk>"])
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def t5():
    tokenizer = unigram_tokenizer(pre_tokenizers.Metaspace())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(),
                                                 normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = template("$A </s>", [("</s>", 1)])
    return tokenizer


def unigram_bytes():
    document = json.loads(unigram_tokenizer(pre_tokenizers.Metaspace(prepend_scheme="never")).to_str())
    document["model"]["vocab"] += [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    document["model"]["byte_fallback"] = True
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")])
    return tokenizer


def double_array(entries):
    """A darts-clone double array of byte strings to numbers, laid out as SentencePiece writes it."""
    trie = {}
    for key, value in entries.items():
        node = trie
        for byte in key:
            node = node.setdefault(byte, {})
        node[None] = value
    units, used = {0: 0}, {0}

    def place(node, position):
        labels = [0 if label is None else label for label in node]
        base = 1
        while any((base ^ label) in used for label in labels) or (base ^ position) >= 1 << 21:
            base += 1
        offset = base ^ position
        units[position] |= offset << 10
        if None in node:
            units[position] |= 1 << 8
        for label in node:
            child = base ^ (0 if label is None else label)
            used.add(child)
            units[child] = node[None] | 1 << 31 if label is None else label
        for label in node:
            if label is not None:
                place(node[label], base ^ label)

    place(trie, 0)
    return [units.get(position, 0) for position in range(max(units) + 256 & ~255)]


def precompiled():
    """A Unigram model behind a charsmap of its own."""
    import base64
    import struct
    rules = {"ﬁ": "fi", "½": "1/2", "²": "2", "①": "1", "ｆ": "f", "ｕ": "u", "ｌ": "l", "\u00a0": " ", "\u3000": " ",
             "\u200b": "", "e\u0301": "é", "A\u030a": "Å", "\u212b": "Å", "\t": " ", "\n": " ", "か\u3099": "が"}
    text, entries = b"", {}
    for key, value in rules.items():
        entries[key.encode()] = len(text)
        text += value.encode() + b"\0"
    units = double_array(entries)
    charsmap = struct.pack("<I", len(units) * 4) + struct.pack(f"<{len(units)}I", *units) + text
    document = json.loads(unigram_tokenizer(pre_tokenizers.Metaspace()).to_str())
    document["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}
    document["decoder"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return Tokenizer.from_str(json.dumps(document))


def bert(lowercase=True, **options):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, **options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=600, show_progress=False, limit_alphabet=250,
                                        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.post_processor = template("[CLS] $A [SEP]", [("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


def bert_cased():
    tokenizer = bert(lowercase=False, handle_chinese_chars=False, clean_text=False, strip_accents=True)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def word_level():
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(),
                                                 normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(corpus(), trainers.WordLevelTrainer(vocab_size=300, show_progress=False,
                                                                      special_tokens=["[UNK]"]))
    return tokenizer


def openai_gpt():
    """BPE over characters with a suffix at the end of words."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=600, show_progress=False, special_tokens=["<unk>"], end_of_word_suffix="</w>", limit_alphabet=150))
    return tokenizer


def continuing_prefix():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", fuse_unk=False))
    tokenizer.normalizer = normalizers.NFKD()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("merged_with_previous"),
        pre_tokenizers.Digits(individual_digits=False)])
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=500, show_progress=False, special_tokens=["<unk>"], continuing_subword_prefix="##",
        limit_alphabet=120))
    return tokenizer


def behaviors():
    """Every behavior of a Split, one after the other."""
    return byte_level(pre_tokenizers.Sequence([
        split(r"[,;]", "removed"), split(r"\s+", "merged_with_next"), pre_tokenizers.Punctuation("contiguous"),
        split(r"[aeiou]+", "contiguous"), split(r"\p{Lu}", "merged_with_previous"),
        split(r"\p{L}+|\p{N}+", "isolated", invert=True), pre_tokenizers.CharDelimiterSplit("q"), plain_bytes()]))


FAMILIES = {
    "gpt2": gpt2, "smollm": smollm, "llama3": llama3, "qwen2": qwen2, "cl100k": pattern(CL100K), "o200k": pattern(O200K),
    "deepseek": deepseek, "roberta": roberta, "added-tokens": added_tokens, "llama2": llama2, "mistral": mistral,
    "gemma": gemma, "t5": t5, "unigram-bytes": unigram_bytes, "precompiled": precompiled, "bert": bert,
    "bert-cased": bert_cased, "word-level": word_level, "openai-gpt": openai_gpt,
    "continuing-prefix": continuing_prefix, "behaviors": behaviors,
}


def expected(tokenizer):
    cases = []
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for text in AWKWARD:
        ids = tokenizer.encode(text).ids
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = True
        unparsed = tokenizer.encode(text, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = False
        case = {"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=False),
                "visible": tokenizer.decode(ids, skip_special_tokens=True)}
        if plain != ids:
            case["plain"] = plain
        if unparsed != plain:
            case["unparsed"] = unparsed
        cases.append(case)
    return cases


def smollm2(path):
    """The tokenizer inside SmolLM2's GGUF, built from its metadata, and that metadata."""
    import gguf
    fields = gguf.GGUFReader(path).fields
    metadata = {key: field.contents() for key, field in fields.items() if key.startswith("tokenizer.ggml.")}
    tokens = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False)
                                  for token, kind in zip(tokens, metadata["tokenizer.ggml.token_type"]) if kind == 3])
    return tokenizer, metadata


def sentencepiece_metadata():
    """A SentencePiece BPE model as GGUF has it (pieces and scores, no merges), and the tokenizer it stands for: every
    cut of a piece into two pieces is a merge, ranked by the score of the whole."""
    vocabulary = sentencepiece_bpe()["model"]
    pieces = sorted(vocabulary["vocab"], key=vocabulary["vocab"].get)
    scores, types = [], []
    for index, piece in enumerate(pieces):
        special = index < 3
        byte = not special and piece.startswith("<0x")
        scores.append(0.0 if special or byte else -float(index))
        types.append([2, 3, 3][index] if special else 6 if byte else 1)
    metadata = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": pieces, "tokenizer.ggml.scores": scores,
                "tokenizer.ggml.token_type": types, "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2,
                "tokenizer.ggml.unknown_token_id": 0, "tokenizer.ggml.add_bos_token": True}
    ids = {piece: index for index, piece in enumerate(pieces)}
    merges = [(piece[:cut], piece[cut:]) for index, piece in enumerate(pieces) if types[index] == 1
              for cut in range(1, len(piece)) if piece[:cut] in ids and piece[cut:] in ids]
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(piece, normalized=False) for piece in pieces[1:3]])
    tokenizer.post_processor = template("<s> $A", [("<s>", 1)])
    return tokenizer, metadata


def ranges(members):
    """Runs of consecutive numbers as a flat list: how far the next run starts after the last, then its length."""
    flat, end = [], 0
    for value in members:
        if flat and value == end:
            flat[-1] += 1
        else:
            flat += [value - end, 1]
        end = value + 1
    return flat


def unicode_properties():
    """What the components think of every scalar: each has the Unicode version of the crate it was built with."""
    scalars = [value for value in range(0x110000) if not 0xD800 <= value < 0xE000]

    def dropped(by):
        found = []
        for start in range(0, len(scalars), 2000):
            chunk = scalars[start:start + 2000]
            kept = set(by("".join(map(chr, chunk))))
            found += [value for value in chunk if chr(value) not in kept]
        return ranges(found)

    def split_off(pre):
        return dropped(lambda text: "".join(piece for piece, _ in pre.pre_tokenize_str(text)))

    def apart(pre):
        return ranges([value for value in scalars if pre.pre_tokenize_str("a" + chr(value))[0][0] == "a"])

    bert = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    clean = normalizers.BertNormalizer(**(bert | {"clean_text": True}))
    accents = normalizers.BertNormalizer(**(bert | {"strip_accents": True}))
    result = {f"\\p{{{name}}}": split_off(split(rf"\p{{{name}}}", "removed"))
              for name in ["L", "N", "P", "S", "M", "Lu", "Ll", "Lt", "Lm", "Nd"]}
    result |= {rf"\{name}": split_off(split(rf"\{name}", "removed")) for name in "sw"}
    result["Whitespace"] = split_off(pre_tokenizers.WhitespaceSplit())
    result["word"] = ranges([value for value in scalars
                             if pre_tokenizers.Whitespace().pre_tokenize_str("a" + chr(value))[0][0] != "a"])
    result["Digits"] = apart(pre_tokenizers.Digits(individual_digits=True))
    result["Punctuation"] = apart(pre_tokenizers.Punctuation())
    result["BertNormalizer.clean_text"] = ranges([value for value in scalars if not clean.normalize_str(chr(value))])
    result["BertNormalizer.strip_accents"] = ranges([v for v in scalars if not accents.normalize_str(chr(v))])
    result["StripAccents"] = ranges([v for v in scalars if not normalizers.StripAccents().normalize_str(chr(v))])
    return result


def normal_forms():
    """FNV-1a over the normalized scalars of each block of 4096, in UTF-8."""
    forms = {name: getattr(normalizers, name)() for name in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Nmt"]}
    result = {}
    for name, form in forms.items():
        hashes = []
        for start in range(0, 0x20000, 4096):
            value = 0xCBF29CE484222325
            for scalar in range(start, start + 4096):
                if not 0xD800 <= scalar < 0xE000:
                    for byte in form.normalize_str(chr(scalar)).encode():
                        value = (value ^ byte) * 0x100000001B3 % 2**64
            hashes.append(f"{value:016x}")
        result[name] = hashes
    return result


def normalized_strings():
    """Random strings of marks, jamo, composites and scalars beyond U+FFFF, with their normalization forms."""
    import random
    source = random.Random(9)
    pool = [value for start, end in [(0x41, 0x250), (0x370, 0x460), (0x900, 0xE80), (0x1DC0, 0x1FFF), (0x3040, 0x3100)]
            for value in range(start, end)]
    pool += list(range(0x300, 0x370)) * 8 + list(range(0x1100, 0x11FF)) * 2
    pool += [0xAC00, 0xAC01, 0xAC1C, 0x11099, 0x110BA, 0x114B9, 0x114BA, 0x1D15E, 0x1D165, 0x10041, 0x100C5, 0x7FD] * 20
    strings = ["".join(chr(source.choice(pool)) for _ in range(source.randint(2, 8))) for _ in range(400)]
    return [[text] + [getattr(normalizers, form)().normalize_str(text) for form in ["NFC", "NFD", "NFKC", "NFKD"]]
            for text in strings]


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{path}: {path.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--smollm2")
    parser.add_argument("--minilm", type=pathlib.Path)
    parser.add_argument("--metadata", type=pathlib.Path, help="only write the metadata of --smollm2 here")
    arguments = parser.parse_args()
    if arguments.metadata:
        write(arguments.metadata, smollm2(arguments.smollm2)[1])
        return
    folder = arguments.output / "tokenizers"
    write(folder / "corpus.json", AWKWARD)
    for name, make in FAMILIES.items():
        tokenizer = make()
        write(folder / f"{name}.tokenizer.json", json.loads(tokenizer.to_str()))
        write(folder / f"{name}.expected.json", expected(tokenizer))
    tokenizer, metadata = sentencepiece_metadata()
    write(folder / "sentencepiece.metadata.json", metadata)
    write(folder / "sentencepiece.expected.json", expected(tokenizer))
    write(folder / "unicode.json", unicode_properties() | {"forms": normal_forms()})
    write(folder / "forms.json", normalized_strings())
    if arguments.smollm2:
        write(folder / "smollm2.expected.json", expected(smollm2(arguments.smollm2)[0]))
    if arguments.minilm:
        tokenizer = Tokenizer.from_file(str(arguments.minilm / "tokenizer.json"))
        write(folder / "minilm.expected.json", expected(tokenizer))


if __name__ == "__main__":
    main()
