"""Drives the loaders: the same packed rows from each rival's own format, in order where it has one, 16 rows a batch.

Called as `loader_driver.py SYSTEM TASK FOLDER MEGABYTES SCRATCH`; what the tasks do stands in `trainer/examples/load.rs`, which does the same
for ours. FOLDER holds the system's format; `rows` makes it of memmap/rows.bin beside it, a plain file of `u32`, and adds up the ids of all batches
to see that they are the same. A rival is a function that opens its folder and returns what gives the batches from a row on; modules are
imported before the clock starts. A slow rival gives only the first batches of a pass, MEGABYTES of them.
"""
import dataclasses
import importlib.metadata
import itertools
import json
import pathlib
import shutil
import sys
import time
import typing
import warnings

# Tensors over read-only memory, and what the packages say about themselves.
warnings.filterwarnings("ignore")

import numpy as np
import torch

ROW = 2049
BATCH = 16
N_ROWS = 131_072

PERCENT = {"first-batch": 61.8, "resume": 99.0, "resume-1": 1.0, "resume-50": 50.0}


@dataclasses.dataclass
class Rival:
    package: str
    how: str
    imports: typing.Callable
    open: typing.Callable
    write: typing.Callable


def plain_rows(folder):
    return np.memmap(folder.parent / "memmap" / "rows.bin", dtype=np.int32, mode="r").reshape(-1, ROW)


def starts(first):
    return range(first, N_ROWS, BATCH)


def nothing():
    pass


# numpy


def open_memmap(folder):
    rows = np.memmap(folder / "rows.bin", dtype=np.uint32, mode="r").reshape(-1, ROW)
    return lambda first: (torch.from_numpy(rows[row : row + BATCH].astype(np.int64)) for row in starts(first))


def open_memmap_view(folder):
    rows = np.memmap(folder / "rows.bin", dtype=np.uint32, mode="r").reshape(-1, ROW)
    return lambda first: (torch.from_numpy(rows[row : row + BATCH].view(np.int32)) for row in starts(first))


# Megatron


def import_megatron():
    import megatron.core.datasets.gpt_dataset
    import megatron.core.datasets.indexed_dataset


def open_megatron(folder):
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    dataset = IndexedDataset(str(folder / "rows"))

    def batches(first):
        for row in starts(first):
            yield torch.from_numpy(np.stack([dataset.get(index) for index in range(row, row + BATCH)]))

    return batches


class Tokenizer:
    """What GPTDataset asks of one."""

    vocab_size, eod, pad = 100_277, 100_257, -1
    unique_identifiers = {"class": "Tokenizer"}


def open_megatron_gpt(folder):
    """Rows of one sample each: a sequence of 2049 without the extra token. It shuffles; a position is a number of consumed samples."""
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from megatron.core.datasets.indexed_dataset import IndexedDataset
    from megatron.core.datasets.utils import Split

    prefix = str(folder / "rows")
    config = GPTDatasetConfig(
        random_seed=1,
        sequence_length=ROW,
        blend=([prefix], None),
        split="1,0,0",
        tokenizer=Tokenizer(),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
        add_extra_token_to_sequence=False,
        path_to_cache=str(folder / "cache"),
    )
    indexed = IndexedDataset(prefix)
    dataset = GPTDataset(indexed, prefix, np.arange(N_ROWS, dtype=np.int32), None, Split.train, config)

    def batches(first):
        loader = torch.utils.data.DataLoader(dataset, BATCH, sampler=range(first, N_ROWS))
        return (batch["tokens"] for batch in loader)

    return batches


def write_megatron(folder):
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    builder = IndexedDatasetBuilder(str(folder / "rows.bin"), dtype=np.int32)
    for row in plain_rows(folder):
        builder.add_document(row, [ROW])
    builder.finalize(str(folder / "rows.idx"))


# MosaicML


def import_mosaicml():
    import streaming


def open_mosaicml(folder):
    from streaming import StreamingDataLoader, StreamingDataset

    dataset = StreamingDataset(local=str(folder), batch_size=BATCH, num_canonical_nodes=1, shuffle=False)
    loader = StreamingDataLoader(dataset, batch_size=BATCH)

    def batches(first):
        epoch = dataset.next_epoch
        position = {"epoch": epoch, "sample_in_epoch": first, "num_canonical_nodes": 1, "initial_physical_nodes": 1}
        loader.load_state_dict(position | {"shuffle_seed": dataset.shuffle_seed})
        return (batch["tokens"] for batch in loader)

    return batches


def open_mosaicml_index(folder):
    from streaming import StreamingDataset

    dataset = StreamingDataset(local=str(folder), batch_size=BATCH, num_canonical_nodes=1, shuffle=False)

    def batches(first):
        for row in starts(first):
            yield torch.from_numpy(np.stack([sample["tokens"] for sample in dataset[row : row + BATCH]]))

    return batches


def write_mosaicml(folder):
    from streaming import MDSWriter

    with MDSWriter(out=str(folder), columns={"tokens": f"ndarray:int32:{ROW}"}) as writer:
        for row in plain_rows(folder):
            writer.write({"tokens": row})


# Hugging Face


def import_datasets():
    import datasets
    import pyarrow


def open_datasets(folder):
    import datasets

    dataset = datasets.load_from_disk(str(folder)).with_format("torch")
    return lambda first: (batch["tokens"] for batch in dataset.skip(first).iter(BATCH))


def open_datasets_arrow(folder):
    import datasets

    dataset = datasets.load_from_disk(str(folder)).with_format("arrow")

    def batches(first):
        for batch in dataset.skip(first).iter(BATCH):
            tokens = batch["tokens"].combine_chunks().flatten().to_numpy()
            yield torch.from_numpy(tokens).view(-1, ROW)

    return batches


def open_datasets_iterable(folder):
    import datasets

    dataset = datasets.load_from_disk(str(folder)).to_iterable_dataset().with_format("torch")

    def batches(first):
        state = json.loads((folder / f"state-{first}.json").read_text()) if first else None
        if state:
            dataset.load_state_dict(state)
        return (batch["tokens"] for batch in dataset.iter(BATCH))

    return batches


def write_datasets(folder):
    import datasets
    import pyarrow

    rows = plain_rows(folder)
    chunks = [pyarrow.array(rows[start : start + 1000].reshape(-1)) for start in range(0, N_ROWS, 1000)]
    column = pyarrow.chunked_array([pyarrow.FixedSizeListArray.from_arrays(chunk, ROW) for chunk in chunks])
    dataset = datasets.Dataset(datasets.table.InMemoryTable(pyarrow.table({"tokens": column})))
    dataset.save_to_disk(str(folder))
    # The states from which the iterable one resumes are those that it gives when it comes there.
    wanted = {first_row(percent) for percent in PERCENT.values()}
    iterable = datasets.load_from_disk(str(folder)).to_iterable_dataset().with_format("arrow")
    for number, _ in enumerate(iterable.iter(BATCH), 1):
        if number * BATCH in wanted:
            (folder / f"state-{number * BATCH}.json").write_text(json.dumps(iterable.state_dict()))


RIVALS = {
    "memmap": Rival(
        "numpy", "astype(int64) of a slice of rows, as nanoGPT does it", nothing, open_memmap, nothing
    ),
    "memmap-view": Rival("numpy", "a view of a slice of rows as int32, no copy", nothing, open_memmap_view, nothing),
    "megatron": Rival(
        "megatron-core", "IndexedDataset.get by row, stacked; int32", import_megatron, open_megatron, write_megatron
    ),
    "megatron-gpt": Rival(
        "megatron-core",
        "GPTDataset by DataLoader, shuffled; int64 with labels, loss mask and positions",
        import_megatron,
        open_megatron_gpt,
        write_megatron,
    ),
    "mosaicml": Rival(
        "mosaicml-streaming",
        "StreamingDataLoader, not shuffled, no compression; int32",
        import_mosaicml,
        open_mosaicml,
        write_mosaicml,
    ),
    "mosaicml-index": Rival(
        "mosaicml-streaming",
        "a slice of StreamingDataset, stacked, which is not how it is trained with; int32",
        import_mosaicml,
        open_mosaicml_index,
        write_mosaicml,
    ),
    "datasets": Rival(
        "datasets", 'with_format("torch"), skip and iter(16); int64', import_datasets, open_datasets, write_datasets
    ),
    "datasets-arrow": Rival(
        "datasets",
        'with_format("arrow"), skip and iter(16), a view where a batch is one chunk; int32',
        import_datasets,
        open_datasets_arrow,
        write_datasets,
    ),
    "datasets-iterable": Rival(
        "datasets",
        'to_iterable_dataset, with_format("torch"), load_state_dict and iter(16); int64',
        import_datasets,
        open_datasets_iterable,
        write_datasets,
    ),
}


def first_row(percent):
    return int(N_ROWS * percent / 100) // BATCH * BATCH


class Staging:
    """Where batches are copied to."""

    buffer = None

    def take(self, batch):
        if self.buffer is None or self.buffer.shape != batch.shape:
            self.buffer = torch.empty_like(batch)
        self.buffer.copy_(batch)


def field(path, name):
    for line in pathlib.Path(path).read_text().splitlines():
        if line.startswith(name):
            return float(line.split()[1])
    return 0.0


class Clock:
    """Counts from its making."""

    def __init__(self):
        self.wall, self.cpu, self.n_bytes_read = time.perf_counter(), time.process_time(), bytes_read()

    def report(self, rival, n_rows):
        result = {
            "n_documents": n_rows,
            "n_bytes": n_rows * ROW * 4,
            "wall_seconds": time.perf_counter() - self.wall,
            "cpu_seconds": time.process_time() - self.cpu,
            "megabytes_read": (bytes_read() - self.n_bytes_read) / 1e6,
            "peak_mib": field("/proc/self/status", "VmHWM:") / 1024,
            "anonymous_mib": field("/proc/self/status", "RssAnon:") / 1024,
            "version": importlib.metadata.version(rival.package),
            "remark": rival.how,
        }
        print(json.dumps(result))


def bytes_read():
    return field("/proc/self/io", "read_bytes:")


def make_rows(rival, system, folder):
    if not folder.is_dir():
        # Made beside it under another name: what has the right name is whole.
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        rival.write(partial)
        partial.rename(folder)
    marker = folder.with_name(f"{system}.checked")
    if not marker.exists():
        found, expected = sum(int(batch.sum()) for batch in rival.open(folder)(0)), int(plain_rows(folder).sum())
        assert found == expected, f"the ids of {system} add up to {found} and not to {expected}"
        marker.touch()


def take_all(batches, n_batches, take):
    n_rows = 0
    for batch in itertools.islice(batches(0), n_batches):
        take(batch)
        n_rows += len(batch)
    return n_rows


def take_once(rival, folder, n_batches):
    clock = Clock()
    n_rows = take_all(rival.open(folder), n_batches, Staging().take)
    clock.report(rival, n_rows)


def take_again(rival, folder, n_batches, is_taken):
    batches = rival.open(folder)
    take = Staging().take
    take_all(batches, n_batches, take)
    clock = Clock()
    n_rows = take_all(batches, n_batches, take if is_taken else len)
    clock.report(rival, n_rows)


def read_once(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(1 << 20):
                    pass


def take_first(rival, folder, percent):
    staging = Staging()
    clock = Clock()
    staging.take(next(iter(rival.open(folder)(first_row(percent)))))
    clock.report(rival, BATCH)


def main(system, task, folder, megabytes, _scratch):
    folder, rival = pathlib.Path(folder), RIVALS[system]
    n_batches = min(N_ROWS // BATCH, int(float(megabytes) * 1e6 / (BATCH * ROW * 4)))
    torch.set_num_threads(1)
    rival.imports()
    if task == "rows":
        make_rows(rival, system, folder)
        print("{}")
    elif task in PERCENT:
        if task.startswith("resume"):
            read_once(folder)
        take_first(rival, folder, PERCENT[task])
    elif task in ("tokens-warm", "tokens-untouched"):
        take_again(rival, folder, n_batches, is_taken=task == "tokens-warm")
    else:
        take_once(rival, folder, n_batches)


if __name__ == "__main__":
    main(*sys.argv[1:])
