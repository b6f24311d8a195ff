"""What the benchmarks compare with must itself be right: the n-gram, the windows, the recipe."""

import importlib.util
import math
import os
import queue
import random
import sys
import threading
from collections import Counter, defaultdict

import numpy as np
import pytest

from benchmarks import baselines, blocks, nanogpt_race
from benchmarks import nanogpt_recipe as recipe

SYMBOLS = 5


def text(length: int, seed: int = 0) -> np.ndarray:
  """A sequence with structure: each symbol depends on the two before it."""
  rng = np.random.default_rng(seed)
  out = [0, 1]
  for _ in range(length - 2):
    likely = (2 * out[-1] + out[-2]) % SYMBOLS
    out.append(likely if rng.random() < 0.7 else int(rng.integers(SYMBOLS)))
  return np.array(out, np.uint8)


@pytest.mark.parametrize('order', [1, 2, 4, 8])
def test_probabilities_sum_to_one_over_the_vocabulary(order):
  # 300 symbols leave most long contexts unseen and most short ones seen.
  model = baselines.NGram(text(300), order=order, symbols=SYMBOLS)
  rng = np.random.default_rng(1)
  contexts = rng.integers(0, SYMBOLS, (200, order - 1)).astype(np.uint8)
  # A context may also hold a symbol that training never showed.
  if order > 2:
    contexts[:20, 0] = 77
  reach = rng.integers(0, order + 3, 200)
  total = np.zeros((order, 200))
  for symbol in range(SYMBOLS):
    windows = np.column_stack([contexts, np.full(200, symbol, np.uint8)])
    p = model.probabilities(windows, reach)
    assert (p > 0).all()
    total += p
  np.testing.assert_allclose(total, 1, rtol=1e-12)


def slow_kneser_ney(train: list[int], history: list[int], symbol: int) -> float:
  """The formula again, by dictionaries and recursion, with the history as the longest context."""

  def level(context: int, plain: bool) -> Counter:
    grams = [tuple(train[i : i + context + 1]) for i in range(len(train) - context)]
    if plain:
      return Counter(grams)
    longer = {tuple(train[i : i + context + 2]) for i in range(len(train) - context - 1)}
    return Counter(gram[1:] for gram in longer)

  def p(history: tuple, plain: bool) -> float:
    shorter = p(history[1:], plain=False) if history else 1 / SYMBOLS
    counts = level(len(history), plain)
    n = Counter(counts.values())
    y = n[1] / max(n[1] + 2 * n[2], 1)
    discount = {}
    for i in (1, 2, 3):
      discount[i] = i / 2
      if n[i] and n[i + 1]:
        discount[i] = min(max(i - (i + 1) * y * n[i + 1] / n[i], 0.05), i - 0.05)
    after = defaultdict(int, {g[-1]: c for g, c in counts.items() if g[:-1] == history})
    total = sum(after.values())
    if not total:
      return shorter
    off = {s: discount[min(c, 3)] for s, c in after.items()}
    kept = after[symbol] - off.get(symbol, 0)
    return (kept + sum(off.values()) * shorter) / total

  return p(tuple(history), plain=True)


def test_ngram_equals_the_formula_written_out():
  train = text(120)
  model = baselines.NGram(train, order=4, symbols=SYMBOLS)
  pick = random.Random(0)
  for _ in range(40):
    window = [pick.randrange(SYMBOLS) for _ in range(4)]
    got = model.probabilities(np.array([window], np.uint8), np.array([3]))[:, 0]
    for context in range(4):
      want = slow_kneser_ney(train.tolist(), window[3 - context : 3], window[3])
      assert got[context] == pytest.approx(want, rel=1e-12)


def test_ngram_learns_structure_and_never_sees_what_it_predicts():
  model = baselines.NGram(text(5000), order=4, symbols=SYMBOLS)
  held_out = text(2000, seed=1)
  nats = model.nats(held_out)
  best = -(0.76 * math.log(0.76) + 0.24 * math.log(0.06))  # Entropy of the process itself.
  assert nats[0] == pytest.approx(math.log(SYMBOLS), abs=0.02)
  assert best - 0.1 < nats[2] < best + 0.1
  # Noise cannot be predicted: a model that peeked would.
  noise = np.random.default_rng(2).integers(0, SYMBOLS, 2000).astype(np.uint8)
  assert (model.nats(noise) > math.log(SYMBOLS) - 0.01).all()


def test_windows_forget_what_came_before():
  model = baselines.NGram(text(2000), order=4, symbols=SYMBOLS)
  held_out = text(401, seed=1)
  separate = [model.nats(held_out[i : i + 9]) for i in range(0, 400, 8)]
  np.testing.assert_allclose(model.nats(held_out, window=8), np.mean(separate, axis=0))
  np.testing.assert_allclose(model.nats(held_out, window=400), model.nats(held_out))
  assert model.nats(held_out, window=1)[3] == pytest.approx(model.nats(held_out)[1])


def test_ngram_of_an_impossible_order_is_refused():
  with pytest.raises(ValueError, match='order must be 1 to 8'):
    baselines.NGram(text(100), order=9, symbols=SYMBOLS)


def test_xz_counts_only_what_the_held_out_part_adds():
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, 20_000, np.uint8).tobytes()
  assert baselines.xz_bits_per_byte(noise, noise) < 0.2
  fresh = rng.integers(0, 256, 20_000, np.uint8).tobytes()
  assert baselines.xz_bits_per_byte(noise, fresh) == pytest.approx(8, abs=0.1)


def test_recipe_rate_warms_up_and_ends_at_a_tenth():
  rates = [recipe.rate(step) for step in range(recipe.STEPS + 1)]
  assert rates[0] == pytest.approx(recipe.RATE / (recipe.WARMUP + 1))
  assert max(rates) == rates[recipe.WARMUP] == pytest.approx(recipe.RATE)
  assert rates[-1] == pytest.approx(recipe.LAST_RATE)
  assert all(np.diff(rates[: recipe.WARMUP]) > 0)
  assert all(np.diff(rates[recipe.WARMUP :]) < 0)


class Counted:
  """Batches that count how many were taken."""

  taken = 0

  def iterator(self, shard, shards):
    return self

  def __next__(self):
    self.taken += 1
    return self.taken


def test_gate_lets_through_what_was_ordered_and_no_more():
  orders, done = queue.Queue(), queue.Queue()
  batches = Counted()
  gate = blocks.Gate(batches, orders, done).iterator(0, 1)
  threading.Thread(target=lambda: [next(gate) for _ in range(100)], daemon=True).start()
  for total in (3, 8):
    orders.put(total - batches.taken)
    assert done.get(timeout=30) is None
    assert batches.taken == total


def test_share_of_other_processes():
  before = nanogpt_race.Usage(mine=100, busy=1000, total=4000)
  assert before.others(nanogpt_race.Usage(mine=150, busy=1060, total=4100)) == pytest.approx(0.1)
  assert before.others(nanogpt_race.Usage(mine=200, busy=1099, total=4100)) == 0
  assert math.isnan(before.others(nanogpt_race.Usage(0, 0, 0)))
  mine = nanogpt_race.Usage.now(os.getpid())
  if os.path.exists('/proc/stat'):
    assert 0 < mine.mine <= mine.busy <= mine.total


def test_race_without_torch_says_so_and_succeeds(tmp_path, monkeypatch, capsys):
  (tmp_path / 'tinyshakespeare.txt').write_text('To be, or not to be')
  monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path))
  monkeypatch.setattr(sys, 'argv', ['nanogpt_race'])
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  nanogpt_race.main()
  assert 'PyTorch is not installed' in capsys.readouterr().out


def test_race_without_the_text_names_the_folder(tmp_path, monkeypatch):
  monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path))
  with pytest.raises(SystemExit, match='set BIGTRAIN_DATA'):
    recipe.tokens()


def test_torch_side_has_the_published_size_and_is_causal():
  torch = pytest.importorskip('torch')
  model = recipe.decoder(torch, symbols=65)
  assert 795_000 < sum(p.numel() for p in model.parameters()) < 810_000
  tokens = torch.randint(65, (2, recipe.LENGTH))
  changed = tokens.clone()
  changed[:, 40:] = (changed[:, 40:] + 1) % 65
  with torch.no_grad():
    a, b = model(tokens), model(changed)
  torch.testing.assert_close(a[:, :40], b[:, :40])
  assert not torch.allclose(a[:, 40:], b[:, 40:])
  # Untrained, it knows nothing of unrelated targets.
  unrelated = torch.randint(65, (a.numel() // 65,))
  loss = float(torch.nn.functional.cross_entropy(a.flatten(0, 1), unrelated))
  assert loss == pytest.approx(math.log(65), abs=0.1)


def test_torch_side_learns_and_validates_on_whole_windows(tmp_path, monkeypatch):
  pytest.importorskip('torch')
  (tmp_path / 'tinyshakespeare.txt').write_text('abcdefgh' * 400)
  monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path))
  side = recipe.Torch(threads=1, compile=False)
  side.start()
  before = side.validate()
  side.steps(60)
  assert side.step == 60
  assert before > 2.0 > 0.5 > side.validate()
