"""Pictures are drawn from what they say, whatever the words in them."""

import numpy as np
import pytest

from bigtrain import evaluation


def test_every_picture_is_drawn(tmp_path):
  rng = np.random.default_rng(0)
  label = rng.integers(0, 3, 90)
  score = rng.normal(size=(90, 3)) + np.eye(3)[label]
  names = ['a', '$b', '<c>']
  line = (np.arange(5), np.exp(-np.arange(5.0)))
  figures = [
    evaluation.draw_roc(label, score, names),
    evaluation.draw_precision_recall(label, score, names),
    evaluation.draw_reliability(rng.random(90), rng.random(90) < 0.5),
    evaluation.draw_residuals(score[:, 0], score[:, 1]),
    evaluation.draw_residuals(np.zeros(6_000), rng.normal(size=6_000)),
    evaluation.draw_curves({'one': line, 'two': line}, ylabel='loss', log=True),
    evaluation.draw_bars([0.5, 0.7, 0.9], names, xlabel='recall', intervals=[(0.4, 0.6)] * 3),
    evaluation.draw_examples(list(rng.random((7, 4, 4, 1))), ['$3 for x'] * 7),
    evaluation.draw_examples(['it cost $3 and $4'], ['said good']),
  ]
  for i, figure in enumerate(figures):
    figure.savefig(tmp_path / f'{i}.png')
    assert (tmp_path / f'{i}.png').stat().st_size > 2_000
  legend = [text.get_text() for text in figures[0].axes[0].get_legend().get_texts()]
  areas = [evaluation.roc_auc(label == c, score[:, c]) for c in range(3)]
  assert legend == [f'{name}  {area:.3f}' for name, area in zip(names, areas, strict=True)]
  dashes = {line.get_linestyle() for line in figures[5].axes[0].lines}
  assert len(dashes) == 2  # Told apart in grey, too.
  with pytest.raises(ValueError, match='2 captions for 1 examples'):
    evaluation.draw_examples(['x'], ['a', 'b'])
