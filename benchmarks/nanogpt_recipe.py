"""nanoGPT's CPU recipe for tiny-shakespeare, in plain PyTorch: what bigtrain is raced against.

Written from the published description (README and configuration of karpathy/nanoGPT): 4 layers,
4 heads, width 128, context 64, 12 random windows a step, exact GELU, no dropout, float32, AdamW
with decay on matrices, clipping at 1, linear warm-up and a cosine, 2,000 steps.
"""

from __future__ import annotations

import importlib
import math
import os
import pathlib
import sys
import time
from typing import Any

import numpy as np

LENGTH, BATCH, DEPTH, HEADS, WIDTH = 64, 12, 4, 4, 128
STEPS, WARMUP, RATE, LAST_RATE = 2_000, 100, 1e-3, 1e-4
BETAS, DECAY, CLIP = (0.9, 0.99), 0.1, 1.0


def rate(step: int) -> float:
  """Learning rate of a step, counted from 0: linear warm-up, then a cosine."""
  if step < WARMUP:
    return RATE * (step + 1) / (WARMUP + 1)
  progress = min(1.0, (step - WARMUP) / (STEPS - WARMUP))
  return LAST_RATE + (RATE - LAST_RATE) * (1 + math.cos(math.pi * progress)) / 2


def text_file() -> pathlib.Path:
  path = pathlib.Path(os.environ.get('BIGTRAIN_DATA', '.'), 'tinyshakespeare.txt')
  if not path.is_file():
    sys.exit(f'{path} is missing: set BIGTRAIN_DATA to the folder that holds tinyshakespeare.txt')
  return path


def tokens() -> tuple[np.ndarray, np.ndarray, int]:
  """The first nine tenths and the last, as int64 [N], and the number of characters."""
  characters, ids = np.unique(list(text_file().read_text()), return_inverse=True)
  cut = int(0.9 * len(ids))
  return ids[:cut], ids[cut:], len(characters)


class Torch:
  """The published recipe in plain PyTorch."""

  def __init__(self, *, threads: int, compile: bool):
    torch: Any = importlib.import_module('torch')
    torch.set_num_threads(threads)
    torch.manual_seed(1337)
    self.torch, self.compile = torch, compile
    *parts, self.symbols = tokens()
    self.train, self.held_out = (torch.from_numpy(part) for part in parts)
    self.step = 0
    self.model: Any = None
    self.parameters = sum(p.numel() for p in decoder(torch, self.symbols).parameters())

  def start(self) -> None:
    self.plain = decoder(self.torch, self.symbols)
    self.model = self.torch.compile(self.plain) if self.compile else self.plain
    matrices = [p for p in self.plain.parameters() if p.dim() > 1]
    vectors = [p for p in self.plain.parameters() if p.dim() <= 1]
    groups = [
      {'params': matrices, 'weight_decay': DECAY},
      {'params': vectors, 'weight_decay': 0.0},
    ]
    self.optimizer = self.torch.optim.AdamW(groups, lr=RATE, betas=BETAS)

  def steps(self, count: int) -> float:
    torch = self.torch
    begin = time.perf_counter()
    if self.model is None:
      self.start()
    for step in range(self.step, self.step + count):
      for group in self.optimizer.param_groups:
        group['lr'] = rate(step)
      starts = torch.randint(len(self.train) - LENGTH, (BATCH, 1))
      window = self.train[starts + torch.arange(LENGTH + 1)]
      loss = self.loss(self.model, window[:, :-1], window[:, 1:])
      loss.backward()
      torch.nn.utils.clip_grad_norm_(self.plain.parameters(), CLIP)
      self.optimizer.step()
      self.optimizer.zero_grad(set_to_none=True)
      loss.item()  # The recipe prints it after each step.
    self.step += count
    return time.perf_counter() - begin

  def race(self) -> dict[str, float]:
    first = self.steps(1)
    seconds = first + self.steps(STEPS - 1)
    return {'ready': first, 'seconds': seconds, 'steps': STEPS, 'loss': self.validate()}

  def loss(self, model: Any, inputs_BL: Any, targets_BL: Any) -> Any:
    logits = model(inputs_BL).flatten(0, 1)
    return self.torch.nn.functional.cross_entropy(logits, targets_BL.flatten())

  def validate(self) -> float:
    """Loss over consecutive windows; at most 63 characters at the very end fill none."""
    count = (len(self.held_out) - 1) // LENGTH * LENGTH
    inputs_NL = self.held_out[:count].view(-1, LENGTH)
    targets_NL = self.held_out[1 : count + 1].view(-1, LENGTH)
    total = 0.0
    with self.torch.no_grad():
      for x, y in zip(inputs_NL.split(64), targets_NL.split(64), strict=True):
        total += self.loss(self.plain, x, y).item() * y.numel()
    return total / count

  def close(self) -> None:
    pass


def decoder(torch: Any, symbols: int) -> Any:
  """GPT-2's shape without biases; the embedding is also the output matrix."""
  nn = torch.nn

  class Block(nn.Module):
    def __init__(self):
      super().__init__()
      self.norms = nn.ModuleList(nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
      self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
      self.mixed = nn.Linear(WIDTH, WIDTH, bias=False)
      self.up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
      self.down = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x_BLD):
      B, L, D = x_BLD.shape
      qkv = self.qkv(self.norms[0](x_BLD)).view(B, L, 3, HEADS, D // HEADS)
      q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
      mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
      x_BLD = x_BLD + self.mixed(mixed.transpose(1, 2).reshape(B, L, D))
      return x_BLD + self.down(nn.functional.gelu(self.up(self.norms[1](x_BLD))))

  class Decoder(nn.Module):
    def __init__(self):
      super().__init__()
      self.token = nn.Embedding(symbols, WIDTH)
      self.place = nn.Embedding(LENGTH, WIDTH)
      self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
      self.norm = nn.LayerNorm(WIDTH, bias=False)
      for name, p in self.named_parameters():
        if p.dim() > 1:
          # What adds to the residual stream starts smaller, by the number of additions.
          end = name.endswith(('mixed.weight', 'down.weight'))
          nn.init.normal_(p, std=0.02 / math.sqrt(2 * DEPTH) if end else 0.02)

    def forward(self, tokens_BL):
      x_BLD = self.token(tokens_BL) + self.place.weight[: tokens_BL.shape[1]]
      for block in self.blocks:
        x_BLD = block(x_BLD)
      return self.norm(x_BLD) @ self.token.weight.T

  return Decoder()
