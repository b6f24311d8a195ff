"""The models of benchmarks/models.py in plain PyTorch, whose modules are named as bigtrain's are.

Letters: B examples, L positions, D width, H heads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]


class Attention(nn.Module):
  def __init__(self, width: int, heads: int, causal: bool):
    super().__init__()
    self.heads, self.causal = heads, causal
    self.qkv = nn.Linear(width, 3 * width, bias=False)
    self.out = nn.Linear(width, width, bias=False)

  def forward(self, x_BLD):
    B, L, D = x_BLD.shape
    qkv = self.qkv(x_BLD).view(B, L, 3, self.heads, D // self.heads)
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
    return self.out(y.transpose(1, 2).reshape(B, L, D))


class Feed(nn.Module):
  def __init__(self, width: int, hidden: int, bias: bool = True):
    super().__init__()
    self.up = nn.Linear(width, hidden, bias=bias)
    self.down = nn.Linear(hidden, width, bias=bias)

  def forward(self, x):
    return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
  def __init__(self, width, heads, *, first=True, causal=False, bias=True, names=(0, 1)):
    super().__init__()
    self.first, self.names = first, names
    self.attention = Attention(width, heads, causal)
    self.feed = Feed(width, 4 * width, bias)
    for name in names:
      self.add_module(str(name), nn.LayerNorm(width, eps=1e-6 if first else 1e-12))

  def forward(self, x):
    one, two = (getattr(self, str(name)) for name in self.names)
    if self.first:
      x = x + self.attention(one(x))
      return x + self.feed(two(x))
    x = one(x + self.attention(x))
    return two(x + self.feed(x))


def patches(image: Any, side: int) -> Any:
  """[B, height, width, C] to [B, L, side * side * C]."""
  B, height, width, C = image.shape
  x = image.view(B, height // side, side, width // side, side, C).transpose(2, 3)
  return x.reshape(B, -1, side * side * C)


class Net(nn.Module):
  """Parts by name, and what is done with them."""

  def __init__(self, call: Callable[[Any, Any], Any], **parts: Any):
    super().__init__()
    self.call = call
    for name, part in parts.items():
      if isinstance(part, nn.Parameter):
        self.register_parameter(name, part)
      else:
        self.add_module(name, part)

  def forward(self, x):
    return self.call(self, x)


def mlp(widths: tuple[int, ...], classes: int, inputs: int) -> Net:
  sizes = (inputs, *widths)
  layers = {f'Dense_{i}': nn.Linear(sizes[i], w) for i, w in enumerate(widths)}

  def call(net, x):
    for name in layers:
      x = F.relu(net.get_submodule(name)(x))
    return net.head(x)

  return Net(call, **layers, head=nn.Linear(widths[-1], classes))


def vit(depth: int, width: int, heads: int, side: int) -> Net:
  blocks = {
    f'block_{i}': Block(width, heads, names=('LayerNorm_0', 'LayerNorm_1')) for i in range(depth)
  }

  def call(net, image):
    x = net.embed(patches(image, 4)) + net.position_embed
    for name in blocks:
      x = net.get_submodule(name)(x)
    return net.head(net.out_norm(x).mean(1))

  places = nn.Parameter(0.02 * torch.randn((side // 4) ** 2, width))
  return Net(
    call, embed=nn.Linear(48, width), position_embed=places, **blocks,
    out_norm=nn.LayerNorm(width, 1e-6), head=nn.Linear(width, 10),
  )  # fmt: skip


def decoder(vocab: int, depth: int, width: int, heads: int, length: int) -> Net:
  names = ('attention_norm', 'feed_norm')
  blocks = {
    f'block_{i}': Block(width, heads, causal=True, bias=False, names=names) for i in range(depth)
  }

  def call(net, tokens):
    x = net.embed(tokens) + net.position_embed
    for name in blocks:
      x = net.get_submodule(name)(x)
    return (net.out_norm(x) @ net.embed.weight.T).flatten(0, 1)

  return Net(
    call, embed=nn.Embedding(vocab, width), **blocks, out_norm=nn.LayerNorm(width, 1e-6),
    position_embed=nn.Parameter(0.02 * torch.randn(length, width)),
  )  # fmt: skip


def encoder(vocab: int, depth: int, width: int, heads: int, length: int) -> Net:
  blocks = {
    f'block_{i}': Block(width, heads, first=False, bias=False, names=('LayerNorm_0', 'LayerNorm_1'))
    for i in range(depth)
  }

  def call(net, tokens):
    x = net.outer_norm(net.embed(tokens) + net.position_embed.weight)
    for name in blocks:
      x = net.get_submodule(name)(x)
    return net.head(x.mean(1))

  return Net(
    call, embed=nn.Embedding(vocab, width), position_embed=nn.Embedding(length, width), **blocks,
    outer_norm=nn.LayerNorm(width, 1e-12), head=nn.Linear(width, 10),
  )  # fmt: skip


def mixer(depth: int, width: int, side: int) -> Net:
  tokens = (side // 4) ** 2
  parts = {}
  for i in range(depth):
    parts[f'block_{i}_across_norm'] = nn.LayerNorm(width, 1e-6)
    parts[f'block_{i}_across'] = Feed(tokens, width // 2)
    parts[f'block_{i}_within_norm'] = nn.LayerNorm(width, 1e-6)
    parts[f'block_{i}_within'] = Feed(width, 4 * width)

  def call(net, image):
    x = net.embed(image.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
    get = net.get_submodule
    for i in range(depth):
      y = get(f'block_{i}_across_norm')(x).transpose(1, 2)
      x = x + get(f'block_{i}_across')(y).transpose(1, 2)
      x = x + get(f'block_{i}_within')(get(f'block_{i}_within_norm')(x))
    return net.head(net.out_norm(x).mean(1))

  return Net(
    call, embed=nn.Conv2d(3, width, 4, 4), **parts,
    out_norm=nn.LayerNorm(width, 1e-6), head=nn.Linear(width, 10),
  )  # fmt: skip


def recurrent(kind: str, inputs: int, depth: int, width: int) -> Net:
  layers = (nn.LSTM if kind == 'lstm' else nn.GRU)(width, width, depth, batch_first=True)

  def call(net, x):
    return net.head(net.layers(net.embed(x))[0][:, -1])

  return Net(call, embed=nn.Linear(inputs, width), layers=layers, head=nn.Linear(width, 10))


class Residual(nn.Module):
  def __init__(self, before: int, width: int, stride: int):
    super().__init__()
    self.conv_0 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
    self.conv_1 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
    self.norm_0, self.norm_1 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
    if stride > 1:
      self.shortcut = nn.Conv2d(before, width, 1, stride, bias=False)
      self.shortcut_norm = nn.BatchNorm2d(width)

  def forward(self, x):
    y = self.norm_1(self.conv_1(F.relu(self.norm_0(self.conv_0(x)))))
    return F.relu(y + (self.shortcut_norm(self.shortcut(x)) if hasattr(self, 'shortcut') else x))


def resnet(width: int, stages: int) -> Net:
  blocks = {
    f'stage_{i}_block_0': Residual(width * 2 ** max(0, i - 1), width * 2**i, 2 if i else 1)
    for i in range(stages)
  }

  def call(net, image):
    x = F.relu(net.stem_norm(net.stem(image.permute(0, 3, 1, 2))))
    for name in blocks:
      x = net.get_submodule(name)(x)
    return net.head(x.mean((2, 3)))

  net: Any = Net(
    call, stem=nn.Conv2d(3, width, 3, 1, 1, bias=False), stem_norm=nn.BatchNorm2d(width), **blocks,
    head=nn.Linear(width * 2 ** (stages - 1), 10),
  )  # fmt: skip
  return net.to(memory_format=torch.channels_last)  # As it is fastest.


class ConvNeXtBlock(nn.Module):
  def __init__(self, width: int):
    super().__init__()
    self.conv = nn.Conv2d(width, width, 7, 1, 3, groups=width)
    self.norm = nn.LayerNorm(width, 1e-6)
    self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
    self.gain = nn.Parameter(1e-6 * torch.ones(width))

  def forward(self, x):
    y = self.norm(self.conv(x).permute(0, 2, 3, 1))
    return x + (self.gain * self.down(F.gelu(self.up(y)))).permute(0, 3, 1, 2)


def convnext(widths: tuple[int, int], blocks: int) -> Net:
  first, second = ([f'stage_{s}_block_{i}' for i in range(blocks)] for s in (0, 1))

  def call(net, image):
    get = net.get_submodule
    x = get('embed')(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    x = net.embed_norm(x).permute(0, 3, 1, 2)
    for name in first:
      x = get(name)(x)
    x = net.stage_1_norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    x = net.stage_1_halve(x)
    for name in second:
      x = get(name)(x)
    return net.head(net.out_norm(x.mean((2, 3))))

  net: Any = Net(
    call, embed=nn.Conv2d(3, widths[0], 2, 2), embed_norm=nn.LayerNorm(widths[0], 1e-6),
    **{name: ConvNeXtBlock(widths[0]) for name in first},
    stage_1_norm=nn.LayerNorm(widths[0], 1e-6), stage_1_halve=nn.Conv2d(*widths, 2, 2),
    **{name: ConvNeXtBlock(widths[1]) for name in second},
    out_norm=nn.LayerNorm(widths[1], 1e-6), head=nn.Linear(widths[1], 10),
  )  # fmt: skip
  return net.to(memory_format=torch.channels_last)


def carry(params: Mapping[str, np.ndarray], net: nn.Module) -> None:
  """Copies parameters, by path as in 'block_0/feed/up/kernel', into a model; all must have a place.

  Raises:
    KeyError: A parameter of the model is not there.
    ValueError: One was left over, or its shape differs.
  """
  left = dict(params)
  cells = {'weight_ih': 'in/kernel', 'weight_hh': 'recurrent_kernel', 'bias_ih': 'in/bias'}
  for name, to in net.named_parameters():
    path = name.replace('.', '/')
    if found := re.fullmatch(r'layers/(\w+?)_l(\d+)', path):
      path = f'layers/layer_{found[2]}/{cells.get(found[1], "recurrent_bias")}'
    elif path.endswith('weight'):
      stem = path.removesuffix('/weight')
      ends = ('', '/kernel', '/scale', '/embedding')
      path = next(stem + end for end in ends if stem + end in left)
    x = left.pop(path)
    if x.ndim == 4:
      x = x.transpose(3, 2, 0, 1)
    elif x.ndim == 3:
      x = x.transpose(0, 2, 1).reshape(-1, x.shape[1])
    elif path.endswith('kernel'):
      x = x.T
    if x.shape != tuple(to.shape):
      raise ValueError(f'{path} has shape {x.shape}, {name} {tuple(to.shape)}')
    to.data.copy_(torch.from_numpy(np.array(x)))
  if left:
    raise ValueError(f'PyTorch has no place for {sorted(left)}')
