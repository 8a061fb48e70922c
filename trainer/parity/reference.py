"""The block of FLM-101B in plain PyTorch, written from the papers and not from our own code, and what it computes: the record for
`trainer/src/tests/parity.rs`.

    reference.py write RECORD    computes everything and writes it
    reference.py check RECORD    computes everything and compares it with what was written

One case for every combination of muP, document masks and teacher spans, named by a digit for each, as in 101. Teacher spans: of the documents in
every other row, the last token alone carries loss. A case is: logits and mean loss of the first batch, the gradient of every tensor, and every
tensor after ten optimizer steps with warm-up, weight decay and clipping. Weights and tokens come from a formula that both sides know, so the
record holds results only. It is in float64; the same in float32 is computed beside it, to see how far rounding alone carries.

Sources: the block, its optimizer and muP's rules, FLM-101B (arXiv 2309.03852, section 2); pre-LN and tanh-GELU, GPT-2; xPos, Sun et al. (arXiv
2212.10554, equation 13); AdamW, Loshchilov and Hutter (arXiv 1711.05101, algorithm 2).
"""
import itertools
import math
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

VOCABULARY, CONTEXT = 32, 12
HIDDEN, HEADS, FEED_FORWARD, LAYERS = 16, 4, 24, 2
N_ROWS, N_STEPS = 4, 10

BETAS, EPSILON, WEIGHT_DECAY, CLIP = (0.9, 0.95), 1e-8, 0.1, 0.5
# FLM-101B's rates. Larger ones carry rounding further: AdamW divides small gradients by their own size.
PEAK, END, WARM_UP_STEPS = 4e-4, 6e-6, 4

# The documents of a row, as (start, length); what is behind the last one is padding.
DOCUMENTS = [[(0, 13)], [(0, 5), (5, 8)], [(0, 6), (6, 4)], [(0, 3), (3, 3), (6, 7)]]

TOLERANCE = 1e-12


def number(stream, index):
    """A multiple of 2^-16 in [-1/2, 1/2), exact in every precision: bits of a multiplicative hash."""
    return (((stream * 1_000_003 + index + 1) * 2_654_435_761 % 2**32) >> 16) / 2**16 - 0.5


def numbers(stream, size, dtype):
    return torch.tensor([number(stream, index) for index in range(math.prod(size))], dtype=dtype).view(size)


class Mup:
    """How much wider than the base the model is, and the factors on embeddings and logits."""

    def __init__(self, is_on):
        self.ratio = 2.0 if is_on else 1.0
        self.input = 1.5 if is_on else 1.0
        self.output = 2.0 if is_on else 1.0


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(HIDDEN, HIDDEN) for _ in range(4))

    def forward(self, x, may_see):
        def heads(x):
            return x.unflatten(-1, (HEADS, HIDDEN // HEADS)).transpose(-3, -2)

        query, key = xpos(heads(self.query(x)), +1), xpos(heads(self.key(x)), -1)
        scores = query @ key.transpose(-2, -1) / math.sqrt(HIDDEN // HEADS)
        scores = scores.masked_fill(~may_see[:, None], -torch.inf)
        mixed = scores.softmax(-1) @ heads(self.value(x))
        return self.output(mixed.transpose(-3, -2).flatten(-2))


def xpos(x, sign):
    """Turns coordinates i and i + d/2, as one complex number, by position * 10000^(-2i/d), and scales it by zeta_i^(+-(position - centre) / 512)."""
    length, size = x.shape[-2:]
    pair = torch.arange(size // 2, dtype=torch.float64)
    position = torch.arange(length, dtype=torch.float64)[:, None]
    zeta = (2 * pair / size + 0.4) / 1.4
    scale = zeta ** (sign * (position - CONTEXT // 2) / 512)
    turn = torch.polar(scale, position * 10_000 ** (-2 * pair / size))
    first, second = x.split(size // 2, dim=-1)
    turned = torch.complex(first, second) * turn.to(torch.complex128 if x.dtype == torch.float64 else torch.complex64)
    return torch.cat((turned.real, turned.imag), dim=-1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(HIDDEN, eps=1e-5), nn.LayerNorm(HIDDEN, eps=1e-5)
        self.attention = Attention()
        self.up, self.down = nn.Linear(HIDDEN, FEED_FORWARD), nn.Linear(FEED_FORWARD, HIDDEN)

    def forward(self, x, may_see):
        x = x + self.attention(self.attention_norm(x), may_see)
        return x + self.down(F.gelu(self.up(self.feed_forward_norm(x)), approximate="tanh"))


class Model(nn.Module):
    def __init__(self, mup):
        super().__init__()
        self.mup = mup
        self.embedding = nn.Embedding(VOCABULARY, HIDDEN)
        self.final_norm = nn.LayerNorm(HIDDEN, eps=1e-5)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))

    def forward(self, tokens, may_see):
        x = self.embedding(tokens) * self.mup.input
        for block in self.blocks:
            x = block(x, may_see)
        return self.final_norm(x) @ self.embedding.weight.T * (self.mup.output / self.mup.ratio)

    def tensors(self):
        """By the names of our checkpoints, in their order."""
        for outer in ("embedding", "final_norm"):
            yield from of_module(outer, getattr(self, outer))
        for index, block in enumerate(self.blocks):
            attention = block.attention
            for name, module in (
                ("attention_norm", block.attention_norm),
                ("query", attention.query),
                ("key", attention.key),
                ("value", attention.value),
                ("output", attention.output),
                ("feed_forward_norm", block.feed_forward_norm),
                ("up", block.up),
                ("down", block.down),
            ):
                yield from of_module(f"blocks.{index}.{name}", module)


def of_module(name, module):
    match module:
        case nn.Embedding():
            yield name, module.weight
        case nn.LayerNorm():
            yield from ((f"{name}.gain", module.weight), (f"{name}.bias", module.bias))
        case nn.Linear():
            yield from ((f"{name}.weight", module.weight), (f"{name}.bias", module.bias))


def set_weights(model, dtype):
    """Gains are around 1, everything else around 0."""
    model.to(dtype)
    for stream, (name, tensor) in enumerate(model.tensors()):
        tensor.data = numbers(stream, tensor.shape, dtype) + (1.0 if name.endswith("gain") else 0.0)


class Batch:
    """Rows of step `step`: tokens, what each position may see, and the places that carry loss."""

    def __init__(self, step, has_masks, has_teacher):
        rows = range(step * N_ROWS, (step + 1) * N_ROWS)
        tokens = [[int((number(1000 + row, index) + 0.5) * VOCABULARY) for index in range(CONTEXT + 1)] for row in rows]
        self.tokens = torch.tensor(tokens)
        document = torch.full((N_ROWS, CONTEXT + 1), -1)
        self.carries = torch.zeros((N_ROWS, CONTEXT + 1), dtype=torch.bool)
        for row, documents in enumerate(DOCUMENTS):
            for index, (start, length) in enumerate(documents):
                document[row, start : start + length] = index
                # Else every token is predicted that has one before it.
                first = start + length - 1 if has_teacher and row % 2 else start + 1
                self.carries[row, first : start + length] = True
        position = torch.arange(CONTEXT)
        may_see = (position[:, None] >= position).expand(N_ROWS, -1, -1)
        if has_masks:
            may_see = may_see & (document[:, :-1, None] == document[:, None, :-1])
        self.may_see = may_see

    def loss(self, model):
        logits = model(self.tokens[:, :-1], self.may_see)
        targets = torch.where(self.carries, self.tokens, -100)[:, 1:]
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


def learning_rate(step):
    """Of the step with that number, counted from 1: a line up to the peak, then a cosine to the end, which the last step reaches."""
    if step < WARM_UP_STEPS:
        return PEAK * step / WARM_UP_STEPS
    progress = (step - WARM_UP_STEPS) / (N_STEPS - WARM_UP_STEPS)
    return END + (PEAK - END) * (1 + math.cos(math.pi * progress)) / 2


class AdamW:
    """Written out. Hidden matrices learn slower by muP's ratio and decay with what undoes that; gains and biases do not decay."""

    def __init__(self, model):
        self.model, self.step_number, self.state = model, 0, {}
        for name, tensor in model.tensors():
            self.state[name] = (torch.zeros_like(tensor), torch.zeros_like(tensor))

    @torch.no_grad()
    def step(self):
        self.step_number += 1
        tensors = list(self.model.tensors())
        norm = math.sqrt(sum(tensor.grad.double().square().sum().item() for _, tensor in tensors))
        clip = min(1.0, CLIP / norm)
        for name, tensor in tensors:
            gradient, (first, second) = tensor.grad * clip, self.state[name]
            rate, decay = learning_rate(self.step_number), WEIGHT_DECAY
            if tensor.dim() == 1:
                decay = 0.0
            elif name != "embedding":
                rate, decay = rate / self.model.mup.ratio, decay * self.model.mup.ratio
            first.mul_(BETAS[0]).add_((1 - BETAS[0]) * gradient)
            second.mul_(BETAS[1]).add_((1 - BETAS[1]) * gradient**2)
            mean, square = (moment / (1 - beta**self.step_number) for moment, beta in zip((first, second), BETAS))
            tensor -= rate * (mean / (square.sqrt() + EPSILON) + decay * tensor)
        return norm


def compute_case(dtype, is_mup, has_masks, has_teacher):
    """Results by WHAT/TENSOR."""
    model = Model(Mup(is_mup))
    set_weights(model, dtype)
    optimizer = AdamW(model)
    found = {}
    for step in range(N_STEPS):
        logits, loss = Batch(step, has_masks, has_teacher).loss(model)
        model.zero_grad()
        loss.backward()
        if step == 0:
            found |= {"logits": logits.detach(), "loss": loss.detach().view(1)}
            found |= {f"gradient/{name}": tensor.grad.clone() for name, tensor in model.tensors()}
        norm = optimizer.step()
        assert norm > CLIP, f"a gradient of norm {norm} is not clipped"
    return found | {f"after/{name}": tensor.detach() for name, tensor in model.tensors()}


def compute(dtype):
    """All cases; results by CASE/WHAT/TENSOR."""
    found = {}
    for mup, masks, teacher in itertools.product([False, True], repeat=3):
        results = compute_case(dtype, mup, masks, teacher)
        found |= {f"{mup:d}{masks:d}{teacher:d}/{name}": tensor for name, tensor in results.items()}
    return found


def difference(found, expected):
    """The largest difference in any tensor, as a share of the largest value there, and where."""
    assert found.keys() == expected.keys(), "the record is of other cases"
    shares = (
        (((found[name].double() - expected[name].double()).abs().max() / expected[name].double().abs().max()).item(), name)
        for name in expected
    )
    return max(shares)


def main(what, path):
    torch.set_num_threads(1)
    exact = compute(torch.float64)
    rounded, where = difference(compute(torch.float32), exact)
    print(f"{len(exact)} tensors by torch {torch.__version__}; in float32 up to {rounded:.1e} away ({where})")
    if what == "write":
        save_file({name: tensor.contiguous() for name, tensor in exact.items()}, path)
        return
    far, where = difference(exact, load_file(path))
    print(f"the record is up to {far:.1e} away ({where})")
    if far > TOLERANCE:
        sys.exit("the record is not what PyTorch computes: write it again, if the change is meant")


if __name__ == "__main__":
    main(*sys.argv[1:])
