"""BLEU and chrF by sacrebleu, ROUGE by rouge-score, error rates by jiwer: figures of whole corpora.

    python scripts/goldens/text_metrics.py

writes Tests/MoruTrustTests/Goldens/text_metrics.json.
"""

import json
import pathlib
import random

import jiwer
import sacrebleu
from rouge_score import rouge_scorer

CORPORA = {
    "weather": [
        ("It rained all day in the north.", "It was raining in the north all day."),
        ("The south stayed dry, at 21.5 degrees.", "The south remained dry at 21.5 degrees."),
        ("Wind: 30-40 km/h (gusts up to 65).", "Winds of 30-40 km/h, with gusts of up to 65."),
        ("Sunny", "Sunny spells, then cloud & a little rain."),
    ],
    "marks": [
        ("\"Well,\" she said, 'no.'", "'Well', she said: \"no!\""),
        ("It costs $1,234.50 - or 5% less...", "It costs $1,234.50, i.e. 5 % less ..."),
        ("a_b {c} [d] e@f.org #g", "a_b {c} (d) e@f.com #h"),
        ("&lt;b&gt; &amp;c &quot;d&quot;", "<b> &c \"d\""),
        ("end of line-\ncontinued\nhere", "end of linecontinued here"),
    ],
    "scripts": [
        ("오늘은 날씨가 아주 좋습니다.", "오늘 날씨가 정말 좋습니다."),
        ("Grüße aus Köln, schöne Straße!", "Viele Grüße aus Köln: schöne Straßen!"),
        ("早上好 世界", "早上好，世界"),
        ("naïve café", "naive cafe"),
    ],
    "equal": [("The very same words here.", "The very same words here."), ("And here too, twice.", "And here too, twice.")],
    "disjoint": [("one two three four five", "six seven eight nine ten")],
    "short": [("yes", "yes"), ("no", "maybe"), ("", "something")],
}


def random_corpus(seed, size):
    chooser = random.Random(seed)
    words = "the a cat dog sat ran on under mat, tree. quickly 3.5 (and) or-else x".split()
    pairs = []
    for _ in range(size):
        reference = [chooser.choice(words) for _ in range(chooser.randint(3, 25))]
        text = [word if chooser.random() < 0.7 else chooser.choice(words) for word in reference]
        text = [word for word in text if chooser.random() < 0.9]
        pairs.append((" ".join(text) or "the", " ".join(reference)))
    return pairs


CORPORA["random"] = random_corpus(7, 40)


def figures(pairs):
    texts, references = [text for text, _ in pairs], [reference for _, reference in pairs]
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    scores = [scorer.score(reference, text) for text, reference in pairs]
    result = {
        "bleu": sacrebleu.corpus_bleu(texts, [references]).score,
        "chrf": sacrebleu.corpus_chrf(texts, [references]).score,
        "chrf++": sacrebleu.corpus_chrf(texts, [references], word_order=2).score,
        "wer": jiwer.wer(references, texts),
        "cer": jiwer.cer(references, texts),
    }
    for name in ("rouge1", "rouge2", "rougeL"):
        result[name] = sum(score[name].fmeasure for score in scores) / len(scores)
    return result


output = pathlib.Path(__file__).parents[2] / "Tests/MoruTrustTests/Goldens/text_metrics.json"
corpora = [
    {"name": name, "pairs": [list(pair) for pair in pairs], "figures": figures(pairs)} for name, pairs in CORPORA.items()
]
output.write_text(json.dumps({"corpora": corpora}, ensure_ascii=False, indent=1) + "\n")
