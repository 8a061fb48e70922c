"""Token F1 of an extracted text against an expected one: bags of words, or of characters where a script does not space its words.

A word is what white space separates, with everything but letters, digits and marks stripped from both ends; a text's character bag holds
every character that is not white space.
"""
import collections
import unicodedata


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
