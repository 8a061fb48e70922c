"""Makes the inputs of all tasks out of the large corpus and newspaper4k's test pages.

Usage: inputs.py LARGE_CORPUS NEWSPAPER_SDIST OUT. Writes JSON lines, each file in a fixed shuffle (by the hash of the id), so that a prefix
of a file is a sample of all of it:
en.jsonl, zh.jsonl: {id, lang, text}; languages.jsonl: the same, of several languages; pages.jsonl: {id, html}; pipeline.jsonl.zst: English and
Chinese documents together; oracle.jsonl: {id, lang, html, expected}. inputs.json says how much of which source is in each.

Chinese is modern Chinese; classical verse would be half of it and is unlike anything else.
"""
import gzip
import hashlib
import io
import json
import pathlib
import sys

import pyarrow.parquet
import zstandard
from fastwarc import ArchiveIterator, WarcRecordType

NEWSPAPER_CHINESE = ("chinese_",)
NEWSPAPER_OTHER = ("arabic", "burmese", "japanese", "latvian", "spanish", "thai", "yna_co_kr")


def text_of(path):
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    elif path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    return data.decode("utf-8", errors="replace")


def json_lines(path):
    return (json.loads(line) for line in text_of(path).split("\n") if line)


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


class Corpus:
    """The large corpus's folder, source by source: (locator, text) pairs."""

    def __init__(self, folder):
        self.folder = folder

    def lines(self, name, accept=lambda record: True, field="text"):
        for index, record in enumerate(json_lines(self.folder / name)):
            if accept(record):
                yield str(index), record[field]

    def pieces(self, name, separator):
        for index, piece in enumerate(text_of(self.folder / name).split(separator)):
            yield str(index), piece.strip()

    def folder_of(self, name, accept=lambda path: True):
        for path in files(self.folder / name):
            if accept(path):
                yield str(path.relative_to(self.folder / name)), text_of(path)

    def fortunes(self, name):
        for path in files(self.folder / name):
            for index, piece in enumerate(text_of(path).split("\n%\n")):
                yield f"{path.name}/{index}", piece.strip()

    def news_zh(self):
        for path in files(self.folder / "news-zh"):
            for index, row in enumerate(pyarrow.parquet.read_table(path).to_pylist()):
                yield f"{path.name}/{index}", row["title"] + "\n" + row["content"]

    def warc(self, name):
        with open(self.folder / name, "rb") as file:
            for record in ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=True):
                if "html" in (record.http_content_type or "html"):
                    page = record.reader.read().decode("utf-8", errors="replace")
                    # A page in another character set is a test of decoding, not of extraction.
                    if "\ufffd" not in page:
                        yield record.headers.get("WARC-Target-URI"), page

    def replies(self, name):
        for index, record in enumerate(json_lines(self.folder / name)):
            yield str(index), record["conversations"][0]["value"] + "\n\n" + record["chosen"]["value"]

    def is_original(self, record):
        return "/translations/" not in record["url"]


def english(corpus):
    is_english = lambda record: "//en." in record["url"]
    original = lambda path: "translations" not in path.parts
    return {
        "web-en": (corpus.lines("web-en.jsonl.zst"), None),
        "wikipedia-en": (corpus.pieces("wikipedia-en.txt.zst", "\n"), None),
        "wikipedia-summaries": (corpus.lines("wikipedia-summaries.jsonl.gz", is_english), None),
        "news-en": (corpus.folder_of("news-en"), None),
        "foldoc": (corpus.pieces("foldoc.txt.zst", "\n%%\n"), None),
        "jargon": (corpus.pieces("jargon.txt.zst", "\n%%\n"), None),
        "anarchism-markdown": (corpus.folder_of("anarchism-markdown"), None),
        "python-sources": (corpus.folder_of("python-sources"), None),
        "kernel-sources": (corpus.lines("kernel-sources.jsonl.zst", corpus.is_original), 12),
        "kernel-texts": (corpus.folder_of("kernel-texts", original), 8),
        "answers-en": (corpus.replies("answers-en.jsonl.zst"), None),
    }


def chinese(corpus):
    return {
        "news-zh": (corpus.news_zh(), 12),
        "laws-zh": (corpus.lines("laws-zh.jsonl.gz"), 5),
        "debian-reference-hans": (corpus.lines("debian-reference-hans.jsonl.zst"), None),
        "debian-reference-hant": (corpus.lines("debian-reference-hant.jsonl.zst"), None),
        "manual-pages-hans": (corpus.lines("manual-pages-hans.jsonl.zst"), 2),
        "commands-zh": (corpus.folder_of("commands-zh"), None),
        "answers-zh": (corpus.replies("answers-zh.jsonl.zst"), None),
    }


def pages(corpus):
    return {
        "libreoffice-en": (corpus.folder_of("libreoffice-en"), 8),
        "libreoffice-hans": (corpus.folder_of("libreoffice-hans"), 8),
        "apache-manual": (corpus.warc("apache-manual.warc.gz"), 12),
        "debian-books": (corpus.warc("debian-books.warc.gz"), 12),
        "python-pages": (corpus.lines("python-pages.jsonl.gz", field="html"), 12),
        "kernel-pages": (corpus.folder_of("kernel-pages"), 12),
        "rust-pages": (corpus.lines("rust-pages/00.jsonl.zst", field="html"), 8),
        "anarchism-pages": (corpus.folder_of("anarchism-pages"), 6),
    }


def other_languages(corpus):
    found = {}
    for lang in ("fr", "es"):
        accept = lambda record, lang=lang: f"//{lang}." in record["url"]
        found[f"wikipedia-summaries-{lang}"] = (corpus.lines("wikipedia-summaries.jsonl.gz", accept), 1.5)
    return found


def shuffle_key(identifier):
    return hashlib.blake2b(identifier.encode(), digest_size=8).digest()


def gather(sources, lang, field="text"):
    """Documents of `sources`, each source cut to its megabytes after shuffling."""
    found, sizes = [], {}
    for name, (documents, megabytes) in sources.items():
        own = [{"id": f"{name}/{locator}", "lang": lang, field: text} for locator, text in documents if text.strip()]
        own.sort(key=lambda document: shuffle_key(document["id"]))
        n_documents, size = 0, 0
        for document in own:
            if megabytes is not None and size >= megabytes * 1e6:
                break
            size += len(document[field].encode())
            n_documents += 1
        found += own[:n_documents]
        sizes[name] = {"n_documents": n_documents, "megabytes": round(size / 1e6, 2)}
    return sorted(found, key=lambda document: shuffle_key(document["id"])), sizes


def oracle(sdist):
    """newspaper4k's test pages with the text that its maintainers recorded as right for their own parser: a page's score says
    "agrees with them", not "is perfect"."""
    rows = []
    for text in files(sdist / "tests/data/txt"):
        page = sdist / "tests/data/html" / (text.stem + ".html")
        if page.exists():
            name = text.stem
            lang = "zh" if name.startswith(NEWSPAPER_CHINESE) else "other" if name.startswith(NEWSPAPER_OTHER) else "en"
            rows.append({"id": name, "lang": lang, "html": text_of(page), "expected": text_of(text)})
    return rows


def write(path, rows):
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8", errors="replace")
    path.write_bytes(zstandard.ZstdCompressor(level=3).compress(lines) if path.suffix == ".zst" else lines)


def main(large, sdist, out):
    out.mkdir(parents=True, exist_ok=True)
    corpus, sizes = Corpus(large), {}
    en, sizes["en"] = gather(english(corpus), "en")
    zh, sizes["zh"] = gather(chinese(corpus), "zh")
    write(out / "en.jsonl", en)
    write(out / "zh.jsonl", zh)
    both = sorted(en + zh, key=lambda document: shuffle_key(document["id"]))
    write(out / "pipeline.jsonl.zst", both)
    others = []
    for name, source in other_languages(corpus).items():
        found, sizes[name] = gather({name: source}, name[-2:])
        others += found
    write(out / "languages.jsonl", sorted(both + others, key=lambda document: shuffle_key(document["id"])))
    found, sizes["pages"] = gather(pages(corpus), "", "html")
    write(out / "pages.jsonl", found)
    if sdist.exists():
        write(out / "oracle.jsonl", oracle(sdist))
    # Written last: its presence says that the others are whole.
    (out / "inputs.json").write_text(json.dumps(sizes, indent=1))


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
