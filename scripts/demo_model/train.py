"""Training: the corpus through llama.cpp's own tokeniser, then a number of steps of Muon and AdamW.

A row begins where a text begins, as a prompt does, and what the model is to say weighs most.
"""

# torch is no package of the project: install it to train.
# pyright: basic, reportMissingImports=false

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import llama_cpp
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from scripts.demo_model import tokenizer
from scripts.demo_model.corpus import sample
from scripts.demo_model.muon import Muon
from scripts.demo_model.network import Network, Shape

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how fast to train.

    Attributes:
        steps: Steps of `step_tokens` each.
        texts: Size of the corpus; each is seen about once in the default number of steps.
        matrix_rate: Learning rate of Muon.
        other_rate: Learning rate of AdamW, for the embedding and the norms.
        prompt_weight: Weight of tokens that are not the model's to say.
        falling: Share of the steps, the last ones, over which the rates fall.
        resume: Start from the checkpoint.
    """

    steps: int = 1600
    step_tokens: int = 4096
    vocabulary: int = 1024
    texts: int = 60_000
    matrix_rate: float = 0.02
    other_rate: float = 4e-3
    prompt_weight: float = 0.05
    falling: float = 0.4
    resume: bool = False
    seed: int = 1
    threads: int = 1


class Rows(NamedTuple):
    """One step: tokens `(rows, length + 1)` and the weight of each."""

    tokens: Tensor
    weights: Tensor


def train(work: Path, plan: Plan) -> None:
    """Train a network and leave a checkpoint in `work` every hundred steps."""
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(plan.threads)
    saved = torch.load(work / CHECKPOINT, weights_only=True) if plan.resume else None
    vocabulary = (
        tokenizer.learn(plan.vocabulary)
        if saved is None
        else tokenizer.Vocabulary(tuple(saved["tokens"]), tuple(saved["merges"]))
    )
    tokens = _corpus_tokens(work, vocabulary, plan)
    torch.manual_seed(plan.seed)
    shape = Shape(vocabulary=vocabulary.size)
    network = Network(shape)
    if saved is not None:
        network.load_state_dict(saved["weights"])
    matrices = [weight for weight in network.blocks.parameters() if weight.dim() == 2]
    others = [weight for name, weight in network.named_parameters() if "blocks" not in name]
    others += [weight for weight in network.blocks.parameters() if weight.dim() == 1]
    muon = Muon(matrices, momentum=0.95, decay=0.01)
    adam = torch.optim.AdamW(others, lr=plan.other_rate, betas=(0.9, 0.95), weight_decay=0.0)
    size = sum(weight.numel() for weight in network.parameters())
    print(f"{size:,} weights, {len(tokens):,} tokens of text, {plan.steps} steps", flush=True)
    average = 0.0
    for step, rows in enumerate(_rows(tokens, vocabulary, plan), 1):
        loss = _loss(network, rows)
        loss.backward()
        share = _rate(plan, step)
        muon.step(plan.matrix_rate * share)
        for group in adam.param_groups:
            group["lr"] = plan.other_rate * share
        adam.step()
        adam.zero_grad(set_to_none=True)
        average = loss.item() if step == 1 else 0.98 * average + 0.02 * loss.item()
        if step % 50 == 0 or step == plan.steps:
            print(f"step {step}: loss {average:.3f}", flush=True)
            _save(work, network, shape, vocabulary)


def _loss(network: Network, rows: Rows) -> Tensor:
    logits = network(rows.tokens[:, :-1]).flatten(0, 1)
    each = F.cross_entropy(logits, rows.tokens[:, 1:].flatten(), reduction="none")
    weights = rows.weights[:, 1:].flatten()
    return (each * weights).sum() / weights.sum()


def _rate(plan: Plan, step: int) -> float:
    """Warm up over twenty steps, hold, then fall in a straight line."""
    return min(1.0, step / 20, max(0.02, (1 - step / plan.steps) / plan.falling))


def _rows(
    tokens: NDArray[np.int64], vocabulary: tokenizer.Vocabulary, plan: Plan
) -> Iterator[Rows]:
    end_of_text, turn_start = (
        vocabulary.special("<|endoftext|>"),
        vocabulary.special("<|im_start|>"),
    )
    [opening] = np.flatnonzero(np.array(vocabulary.tokens) == "assistant")[:1]
    # The token behind a turn's start tells the role, and all up to the next start is that turn.
    starts = np.flatnonzero(tokens == turn_start)
    roles = np.concatenate(([False], tokens[starts + 1] == opening))
    is_answer = roles[np.cumsum(tokens == turn_start)]
    weights = np.where(is_answer, 1.0, plan.prompt_weight).astype(np.float32)
    begins = np.concatenate(([0], np.flatnonzero(tokens == end_of_text) + 1))
    rng = np.random.default_rng(plan.seed)
    for _ in range(plan.steps):
        # Few texts are longer than the shorter rows, which take less attention.
        length = 512 if rng.random() < 0.15 else 256
        fitting = begins[begins + length + 1 < len(tokens)]
        places = rng.choice(fitting, plan.step_tokens // length)[:, None] + np.arange(length + 1)
        yield Rows(torch.from_numpy(tokens[places]), torch.from_numpy(weights[places]))


def _save(work: Path, network: Network, shape: Shape, vocabulary: tokenizer.Vocabulary) -> None:
    saved = {
        "weights": network.state_dict(),
        "shape": asdict(shape),
        "tokens": list(vocabulary.tokens),
        "merges": list(vocabulary.merges),
    }
    partial = work / (CHECKPOINT + ".part")
    torch.save(saved, partial)
    partial.replace(work / CHECKPOINT)


def _corpus_tokens(work: Path, vocabulary: tokenizer.Vocabulary, plan: Plan) -> NDArray[np.int64]:
    # llama.cpp tokenises, so that training and inference agree to the token.
    path = work / "vocabulary.gguf"
    tokenizer.write_vocabulary_only(vocabulary, path)
    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    rng = random.Random(plan.seed)
    parts = [
        np.array(
            model.tokenize(
                "".join(sample(rng) for _ in range(100)).encode(), add_bos=False, special=True
            ),
            np.int64,
        )
        for _ in range(plan.texts // 100)
    ]
    return np.concatenate(parts)
