"""Main text of web pages by trafilatura, resiliparse and readability-lxml: how fast (task extract), and what (task oracle)."""
import json
import pathlib

import harness


def trafilatura():
    from trafilatura import extract

    return "trafilatura", lambda html: extract(html, include_comments=False)


def trafilatura_precision():
    """As datatrove, and so FineWeb, calls it."""
    from trafilatura import extract

    return "trafilatura", lambda html: extract(html, include_comments=False, favor_precision=True, deduplicate=True)


def resiliparse():
    from resiliparse.extract.html2text import extract_plain_text

    return "resiliparse", lambda html: extract_plain_text(html, main_content=True, alt_texts=False)


def readability():
    import lxml.html
    from readability import Document

    blocks = ("p", "div", "h1", "h2", "h3", "h4", "li", "br", "pre", "blockquote", "tr")

    def extract(html):
        tree = lxml.html.fromstring(Document(html).summary())
        for block in tree.iter(*blocks):
            block.tail = "\n" + (block.tail or "")
        return tree.text_content()

    return "readability-lxml", extract


SYSTEMS = {
    "trafilatura": trafilatura,
    "trafilatura-precision": trafilatura_precision,
    "trafilatura-2": trafilatura,
    "resiliparse": resiliparse,
    "readability-lxml": readability,
}


def attempt(extract, html):
    """A page that a library cannot parse is an empty text, as its callers would have it."""
    try:
        return extract(html) or ""
    except Exception:
        return ""


def main(system, task, path, megabytes, scratch):
    package, extract = SYSTEMS[system]()
    pages = harness.documents(path, megabytes, "html")
    extract("<html><body><article><p>One page first, so that nothing is loaded late.</p></article></body></html>")
    with harness.Clock() as clock:
        texts = [attempt(extract, page["html"]) for page in pages]
    if task == "oracle":
        rows = [json.dumps({"id": page["id"], "text": text}) for page, text in zip(pages, texts)]
        pathlib.Path(scratch, "texts.jsonl").write_text("\n".join(rows))
    n_empty = sum(not text.strip() for text in texts)
    harness.report(pages, clock, package, "html", remark=f"{n_empty} pages without text")


if __name__ == "__main__":
    main(*harness.arguments())
