"""A mixture of experts learns Python, beside the dense decoder that computes as much a token.

  python -m experiments.stdlib_moe --workdir=/tmp/moe
  python -m experiments.stdlib_moe --workdir=/tmp/dense --experts=0

Held-out bits a byte after 245 steps: experts 1.884 and 1.875 (seeds 1 and 2), dense 1.871 and 1.878
(seeds 0 and 1); 2 minutes on 2 CPU cores, from processor time. In so short a run experts bring
nothing, and both are behind an 8-gram, which has 1.638: `stdlib_lm` trains long enough to beat it.
"""

import dataclasses

from bigtrain import architecture, evaluation, launch
from bigtrain.experiment import Experiment
from experiments import stdlib_lm


def experiment(
  *,
  experts: int = 8,  # Feed-forward layers of a block; 0 is one without a router.
  active: int = 2,  # Experts of a token, which share the dense layer's hidden units.
  balance: float = 0.01,  # Weight of the loss that keeps experts evenly used.
  vocab: int = 4096,  # Tokens of the byte-pair encoding.
  epochs: float = 0.2,
  length: int = 256,  # Tokens of context.
  width: int = 128,
  lr: float = 5e-3,  # At the peak of the schedule.
  seed: int = 0,
) -> Experiment:
  """Returns the experiment; each argument is also a flag."""
  dense = stdlib_lm.experiment(
    vocab=vocab, epochs=epochs, length=length, width=width, lr=lr, seed=seed
  )
  if not experts:
    return dense

  # Architecture: a token passes `active` experts, each a share of the dense layer's width.
  assert isinstance(dense.model, architecture.DecoderLM)
  hidden = 4 * width // active
  model = dense.model.clone(experts=experts, active=active, hidden=hidden)

  # Metrics: the losses of the router are reported, and in training added.
  objective = evaluation.with_sown(evaluation.next_token, load_balance=balance, router_z=0.001)
  return dataclasses.replace(dense, model=model, objective=objective)


if __name__ == '__main__':
  launch.run(experiment)
