"""A trained model writes text."""

import optax
import pytest
import toys
from toys import check_sentence

from bigtrain import architecture, data, evaluation, launch
from bigtrain.experiment import Eval, Experiment
from bigtrain.verbs.generate import generate

TEXTS = ['def main():\n  return 1\n\n', 'def other(x):\n  return x\n\n'] * 8


def language(*, steps: int = 2, seed: int = 0) -> Experiment:
  """Returns a language model of bytes that trains in a moment."""
  source = data.pack(toys.Records(*({'text': text} for text in TEXTS)), 16)
  model = architecture.DecoderLM(
    vocab=256, depth=1, width=8, heads=2, hidden=16, feed='swiglu', qk_norm=False
  )
  return Experiment(
    data=data.forever(source, 4, seed=seed),
    model=model,
    objective=evaluation.next_token,
    optimizer=optax.adam(0.01),
    steps=steps,
    evals={'held_out': Eval(data.once(source, 4), evaluation.next_token)},
    seed=seed,
  )


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """The workdir of a trained language model."""
  workdir = str(tmp_path_factory.mktemp('run') / 'language')
  launch.run(language, [f'--workdir={workdir}', '--progress=off'])
  return workdir


def test_the_same_seed_writes_the_same_text_and_a_stop_string_ends_it(run, capsys):
  flags = [f'--workdir={run}', '--prompt=def ', '--tokens=40']
  (text,) = launch.run(language, ['generate', *flags])
  assert 0 < len(text) <= 40
  assert capsys.readouterr().out == f'def {text}\n'
  assert launch.run(language, ['generate', *flags, '--samples=2'])[0] == text
  assert launch.run(language, ['generate', *flags, '--sampling_seed=1']) != [text]
  stop = text[len(text) // 2]
  assert launch.run(language, ['generate', *flags, f'--stop={stop}']) == [text[: text.index(stop)]]


def test_what_cannot_write_is_refused(run):
  check_sentence(
    lambda: generate(toys.experiment(), workdir=run), ['needs a DecoderLM'], 'Net keeps no cache'
  )
  check_sentence(lambda: generate(language(), workdir=run, tokens=0), ['got 0'], '--tokens')
