"""What every driver of a rival does in the same way: reading the task's documents, the clock, the printed result.

A driver is called as `DRIVER.py SYSTEM TASK INPUT MEGABYTES SCRATCH`. It reads documents from the JSON lines of INPUT until their texts are
MEGABYTES long, in the file's order, which is a fixed shuffle, so that a prefix is a sample. Imports, models and dictionaries are loaded and
used once before the clock starts. The clock is the CPU time of the process and its children, all threads together, from the texts in memory
to the results in memory, unless the driver says otherwise in `includes`. The last line of the output is a JSON object.
"""
import importlib.metadata
import json
import resource
import sys


def open_text(path):
    if path.endswith(".zst"):
        import zstandard

        return zstandard.open(path, "rt", encoding="utf-8")
    return open(path, encoding="utf-8")


def documents(path, megabytes, field="text"):
    """The first documents whose `field` is `megabytes` long in all, in UTF-8."""
    with open_text(path) as lines:
        return prefix(map(json.loads, lines), megabytes, field)


def prefix(documents, megabytes, field="text"):
    found, size = [], 0
    for document in documents:
        if size >= megabytes * 1e6:
            break
        size += len(document[field].encode())
        found.append(document)
    return found


def cpu_seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


class Clock:
    """CPU seconds between entering and leaving."""

    def __enter__(self):
        self.start = cpu_seconds()
        return self

    def __exit__(self, *_):
        self.seconds = cpu_seconds() - self.start


def peak_mib():
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def report(found, clock, package, field="text", **more):
    """Prints the result of a measurement of `found`."""
    result = {
        "n_documents": len(found),
        "n_bytes": sum(len(document[field].encode()) for document in found),
        "cpu_seconds": clock.seconds,
        "peak_mib": more.pop("peak_mib", None) or peak_mib(),
        "version": more.pop("version", None) or importlib.metadata.version(package),
    }
    print(json.dumps(result | more, ensure_ascii=False))


def arguments():
    system, task, path, megabytes, scratch = sys.argv[1:]
    return system, task, path, float(megabytes), scratch
