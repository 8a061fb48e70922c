"""Token F1 of an extracted text against an expected one: bags of words, or of characters where a script does not space its words.

A word is what white space separates, with everything but letters, digits and marks stripped from both ends; a text's character bag holds
every character that is not white space.

Usage: f1.py ORACLE_JSONL TEXTS_JSONL. Prints {LANG: {n, f1, precision, recall, lowest}} as JSON; means are of pages.
"""
import collections
import json
import sys
import unicodedata

# Pages whose script puts no spaces between words, beside the Chinese ones.
UNSPACED = ("burmese", "japanese", "thai")


def _is_edge(character):
    return unicodedata.category(character)[0] not in "LNM"


def tokens(text, by_character):
    if by_character:
        return [c for c in text if not c.isspace()]
    words = []
    for word in text.split():
        start, end = 0, len(word)
        while start < end and _is_edge(word[start]):
            start += 1
        while end > start and _is_edge(word[end - 1]):
            end -= 1
        if end > start:
            words.append(word[start:end])
    return words


def f1(found, expected, by_character):
    """Returns (f1, precision, recall) of the bag of tokens of `found` against that of `expected`."""
    have = collections.Counter(tokens(found or "", by_character))
    want = collections.Counter(tokens(expected, by_character))
    common = sum((have & want).values())
    if not common:
        return 0.0, 0.0, 0.0
    precision, recall = common / sum(have.values()), common / sum(want.values())
    return 2 * precision * recall / (precision + recall), precision, recall


def main(oracle, texts):
    with open(texts, encoding="utf-8") as lines:
        found = {row["id"]: row["text"] for row in map(json.loads, lines)}
    scores = collections.defaultdict(list)
    with open(oracle, encoding="utf-8") as lines:
        for page in map(json.loads, lines):
            by_character = page["lang"] == "zh" or page["id"].startswith(UNSPACED)
            scores[page["lang"]].append((f1(found[page["id"]], page["expected"], by_character), page["id"]))
    table = {}
    for lang, pages in sorted(scores.items()):
        means = [sum(score[part] for score, _ in pages) / len(pages) for part in range(3)]
        (lowest, _, _), where = min(pages)
        table[lang] = {"n": len(pages), "f1": means[0], "precision": means[1], "recall": means[2], "lowest": lowest, "lowest_page": where}
    print(json.dumps(table))


if __name__ == "__main__":
    main(*sys.argv[1:])
