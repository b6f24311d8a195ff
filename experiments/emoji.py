"""Two towers learn which emoji goes with which name, and with the same one of another vendor.

  python -m experiments.emoji --workdir=/tmp/emoji

Of 211 held-out names Google's drawing finds Twitter's first in 0.621 (by pixels: 0.483), its name
in 0.137; one seed, 2 minutes on 2 CPU cores (half of the processor time; the machine was shared).
"""

from bigtrain import architecture, data, evaluation, launch, tuning
from bigtrain.experiment import Eval, Experiment

VENDORS = 'image', 'other'  # Google's drawing, and Twitter's.


class AcrossVendors:
  """An evaluator: is Google's drawing nearest to Twitter's of the same name, among all?"""

  def predict(self, apply, batch):
    return {key: apply(batch[key], method='embed_image') for key in VENDORS}

  def report(self, table):
    nearest = (table['image'] @ table['other'].T).argmax(1)
    return {'recall@1': (nearest == range(len(nearest))).mean()}


def objective(apply, batch):
  """Each drawing finds its name, and the other vendor's drawing, among those of the batch."""
  asked = [(apply, (key, 'tokens')) for key in VENDORS]
  asked.append((lambda *xs: (*(apply(x, method='embed_image') for x in xs), 10.0), VENDORS))
  means = [evaluation.softmax_contrastive(each, batch, keys=keys) for each, keys in asked]
  return {'loss': means[0]['loss'] + means[1]['loss'] + means[2]['loss']}


def pairs(source, tokenizer, length=16):
  """Returns a record a name: its first emoji as both vendors draw it, on black, and its tokens."""
  first = {}
  for row, key in enumerate(zip(source.column('text'), source.column('vendor'), strict=True)):
    first.setdefault(key, row)
  names = [name for name, vendor in first if vendor == 0 and (name, 1) in first]
  images = [255 - source.column('image')[[first[name, i] for name in names]] for i in (0, 1)]
  tokens = [[*tokenizer.encode(name), *[tokenizer.vocab] * length][:length] for name in names]
  return data.arrays(image=images[0], other=images[1], tokens=tokens)


def experiment(
  *,
  batch: int = 128,  # Names per step, over all devices; two drawings each.
  width: int = 64,  # Of both towers and of the common space.
  epochs: int = 24,
  lr: float = 3e-3,  # At the peak of the schedule.
  seed: int = 0,
) -> Experiment:
  """Returns the experiment; each argument is also a flag."""
  # A tenth of the names is held out; the first emoji of a name stands for its variants of skin.
  parts = data.split_by_document(data.emoji(), 0.1, key='text')
  tokenizer = data.bpe(parts[0], 1024)
  tokens = tokenizer.vocab  # One more fills up.
  train, held_out = pairs(parts[0], tokenizer), data.once(pairs(parts[1], tokenizer), 64)
  changes = [data.random_affine(rotate=10, scale=0.1, shift=2, key=key) for key in VENDORS]
  steps = data.steps(train, batch, epochs=epochs)
  schedule = tuning.warmup_cosine(lr, steps)
  image = architecture.Convnet(classes=width, widths=(width // 4, width // 2, width))
  kinds = {'position': 'sinusoidal', 'norm_first': True, 'dropout': 0.1}
  text = architecture.Encoder(tokens + 1, 2, width, pad=tokens, pool='mean', **kinds)
  asked = {'held_out': (objective, evaluation.Retrieval()), 'vendors': (None, AcrossVendors())}
  return Experiment(
    data=data.forever(train, batch, seed=seed, map=data.compose(*changes)),
    model=architecture.TwoTowers(image, text, width, bias=None),
    objective=objective,
    optimizer=tuning.muon(schedule, decay=0.1),
    schedule=schedule,
    steps=steps,
    evals={name: Eval(held_out, *e, every=-(-steps // 4)) for name, e in asked.items()},
    ema=0.99,
    seed=seed,
  )


if __name__ == '__main__':
  launch.run(experiment)
