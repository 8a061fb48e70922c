"""dolma: its taggers for Gopher's and C4's rules, which annotate and drop nothing; the mixer that drops is left out."""
import harness
from dolma.core.data_types import Document
from dolma.core.registry import TaggerRegistry
from dolma.taggers import c4, gopher  # noqa: F401  (they register themselves)


def main(system, task, path, megabytes, scratch):
    taggers = [TaggerRegistry.get(name)() for name in ("gopher_v2", "c4_v2")]
    documents = harness.documents(path, megabytes)
    texts = [Document(source="", id=document["id"], text=document["text"]) for document in documents]
    first = Document(source="", id="", text="One sentence first, so that nothing is loaded late.")
    for tagger in taggers:
        tagger.predict(first)
    with harness.Clock() as clock:
        for text in texts:
            for tagger in taggers:
                tagger.predict(text)
    harness.report(documents, clock, "dolma", remark="taggers gopher_v2 and c4_v2: every number for every document, nothing dropped; no FineWeb rules")


if __name__ == "__main__":
    main(*harness.arguments())
