"""Trains the same model in PyTorch: the same weights, rows and settings as `trainer/examples/step.rs`, two threads, eager or compiled.

Called as `train_driver.py SYSTEM TASK CONTEST MEGABYTES SCRATCH`. CONTEST is a JSON file that our own program wrote, with the shape, the batch
and the number of steps; beside it lie the rows and the first weights. The last line of the output is a JSON object, as in the other drivers.

SYSTEM is `pytorch-eager` or `pytorch-compile`, and may have variants behind it. `+malloc` tells glibc to keep what is freed instead of giving it
back to the system: a third of eager's time in bfloat16 goes into pages that are mapped again and cleared. PyTorch's tuning guide has TCMalloc or jemalloc
for that; these variables do the same without another library, and cost memory. Other variants are not measured by default, as they
made no difference beyond a few per cent: `+micro=16` (rows of a micro-batch: twice and half of the contest's), `+mode=max-autotune-no-cudagraphs`.
"""
import json
import os
import pathlib
import sys
import time

THREADS = 2
# Read when the libraries are loaded. The contests of the other stages run on one thread, and their harness says so.
os.environ.update({name: str(THREADS) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")})
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
if "+malloc" in "".join(sys.argv[1:2]) and "MALLOC_TOP_PAD_" not in os.environ:
    # Read when the process starts.
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEEP_MEMORY)
if len(sys.argv) > 5:
    # What was compiled once is taken from there by later processes; compiling is not among the measured steps.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(pathlib.Path(sys.argv[5]) / "inductor"))

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn


def rotary_tables(context, head_size, theta=10_000.0, scale_base=512.0, gamma=0.4):
    """cos and sin of every position and pair, times xPos' scale of queries and divided by it for keys; `(context, head_size / 2)`."""
    pair = torch.arange(head_size // 2, dtype=torch.float64)
    position = torch.arange(context, dtype=torch.float64)[:, None]
    angle = position * theta ** (-2 * pair / head_size)
    zeta = (2 * pair + gamma * head_size) / ((1 + gamma) * head_size)
    scale = zeta ** ((position - context // 2) / scale_base)
    return [table.float() for table in (angle.cos() * scale, angle.sin() * scale, angle.cos() / scale, angle.sin() / scale)]


def rotate(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


class Block(nn.Module):
    def __init__(self, hidden, heads, ffn):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(hidden, eps=1e-5)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.output = nn.Linear(hidden, hidden)
        self.feed_forward_norm = nn.LayerNorm(hidden, eps=1e-5)
        self.up = nn.Linear(hidden, ffn)
        self.down = nn.Linear(ffn, hidden)

    def forward(self, x, tables):
        rows, length, hidden = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key = rotate(qkv[0], tables[0], tables[1]), rotate(qkv[1], tables[2], tables[3])
        mixed = F.scaled_dot_product_attention(query, key, qkv[2], is_causal=True)
        x = x + self.output(mixed.transpose(1, 2).reshape(rows, length, hidden))
        return x + self.down(F.gelu(self.up(self.feed_forward_norm(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, vocabulary, hidden, layers, heads, ffn, context):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.blocks = nn.ModuleList(Block(hidden, heads, ffn) for _ in range(layers))
        self.final_norm = nn.LayerNorm(hidden, eps=1e-5)
        self.head = nn.Linear(hidden, vocabulary, bias=False)
        self.head.weight = self.embedding.weight
        for index, table in enumerate(rotary_tables(context, hidden // heads)):
            self.register_buffer(f"rotary_{index}", table, persistent=False)

    def forward(self, tokens, targets):
        tables = [self.rotary_0, self.rotary_1, self.rotary_2, self.rotary_3]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, tables)
        logits = self.head(self.final_norm(x))
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))


def load_weights(model, path):
    """From our names: gain and bias of norms, and query, key and value apart."""
    ours = safetensors.torch.load_file(path)
    state = {}
    for name, tensor in ours.items():
        for role, part in ((".query.", 0), (".key.", 1), (".value.", 2)):
            if role in name:
                whole = state.setdefault(name.replace(role, ".qkv."), [None] * 3)
                whole[part] = tensor
                break
        else:
            name = name.replace("norm.gain", "norm.weight")
            state["embedding.weight" if name == "embedding" else name] = tensor
    state = {name: torch.cat(tensor) if isinstance(tensor, list) else tensor for name, tensor in state.items()}
    missing, unknown = model.load_state_dict(state, strict=False)
    assert missing == ["head.weight"] and not unknown, (missing, unknown)


def optimizer_of(model, contest):
    """Matrices decay, gains and biases do not."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": contest["weight_decay"]},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    betas = (contest["beta1"], contest["beta2"])
    return torch.optim.AdamW(groups, lr=contest["learning_rate"], betas=betas, eps=contest["epsilon"], fused=True)


def status_mib(name):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return float(line.split()[1]) / 1024
    return 0.0


def median(values):
    values = sorted(values)
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


class Trainer:
    def __init__(self, contest, folder, is_bf16, is_compiled, variants):
        self.contest, self.is_bf16 = contest, is_bf16
        self.micro = int(variants.get("micro", contest["micro_rows"]))
        shape = contest["shape"]
        self.model = Gpt(**shape)
        load_weights(self.model, folder / "weights.safetensors")
        self.optimizer = optimizer_of(self.model, contest)
        self.loss = self.model
        if is_compiled:
            self.loss = torch.compile(self.model, mode=variants.get("mode"), fullgraph=True)
        self.rows = np.fromfile(folder / "rows.bin", dtype=np.uint32).reshape(-1, shape["context"] + 1)

    def step(self, number):
        size = self.contest["rows"]
        rows = torch.from_numpy(self.rows[number * size : (number + 1) * size].astype(np.int64))
        total = 0.0
        for micro in rows.split(self.micro):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.is_bf16):
                loss = self.loss(micro[:, :-1], micro[:, 1:])
            loss = loss * (len(micro) / size)
            loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.contest["clip"], foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total.item()


def measure(trainer, n_warm, n_steps):
    """Seconds by the clock and CPU seconds of every measured step, and the loss of the last one."""
    seconds, cpu, loss = [], [], None
    for number in range(n_warm + n_steps):
        start, cpu_start = time.perf_counter(), time.process_time()
        loss = trainer.step(number)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)
    return seconds, cpu, loss


def main(system, task, path, _megabytes, _scratch):
    system, *variants = system.split("+")
    variants = dict(variant.split("=") for variant in variants if "=" in variant)
    path = pathlib.Path(path)
    contest = json.loads(path.read_text())
    torch.set_num_threads(int(variants.get("threads", THREADS)))
    is_compiled = system.endswith("compile")
    trainer = Trainer(contest, path.with_suffix(""), task.startswith("bf16"), is_compiled, variants)
    n_warm, n_steps = contest["n_warm"], contest["n_steps"]
    seconds, cpu, loss = measure(trainer, n_warm, n_steps)
    n_tokens = contest["rows"] * contest["shape"]["context"]
    remark = [f"loss {loss:.4f} after {n_warm + n_steps} steps"]
    if is_compiled:
        remark.append(f"{seconds[0]:.0f} s for the first step")
    print(
        json.dumps(
            {
                "n_documents": contest["rows"],
                "n_bytes": 4 * n_tokens,
                "wall_seconds": median(seconds[n_warm:]),
                "cpu_seconds": median(cpu[n_warm:]),
                "seconds": seconds,
                "loss": loss,
                "peak_mib": status_mib("VmHWM:"),
                "version": torch.__version__,
                "remark": "; ".join(remark),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
