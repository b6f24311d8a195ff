"""A trained model writes text."""

import dataclasses
import functools

import numpy as np
import optax
import pytest
import toys
from toys import check_sentence

from bigtrain import architecture, data, evaluation, launch
from bigtrain.experiment import Eval, Experiment
from bigtrain.program import Program
from bigtrain.train import fit
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


@pytest.mark.parametrize(
  'flags',
  [
    ['--samples=8'],
    *(pytest.param([f'--samples={n}', '--beams=2'], marks=pytest.mark.slow) for n in (1, 3)),
  ],
)
def test_several_devices_write_what_one_does(run, flags):
  flags = [f'--workdir={run}', '--prompt=def ', '--tokens=9', '--temperature=0', *flags]
  alone = launch.run(language, ['generate', *flags])
  assert launch.run(language, ['generate', *flags, '--mesh=data:2,fsdp:2,tensor:2']) == alone


def test_a_student_learns_from_what_a_teacher_wrote(run, tmp_path, capsys):
  file = tmp_path / 'texts.jsonl'
  flags = [f'--workdir={run}', '--samples=4', '--tokens=20', '--prompt=def ', f'--out={file}']
  texts = launch.run(language, ['generate', *flags])
  assert capsys.readouterr().out == f'The texts: {file}\n'
  written = data.json_lines(str(file))
  assert [record['text'] for record in written] == [f'def {text}' for text in texts]
  batch = next(data.forever(data.pack(written, 16), 2).iterator())
  assert batch['inputs'].shape == (2, 16)
  check_sentence(
    lambda: generate(language(), workdir=run, out=str(file)), ['name a new file'], '--out='
  )


def test_a_recurrent_model_writes_too(tmp_path):
  model = architecture.RecurrentLM(vocab=256, depth=1, width=8)
  experiment = dataclasses.replace(language(), model=model)
  fit(Program(experiment), str(tmp_path), progress=False)
  write = functools.partial(generate, experiment, workdir=str(tmp_path), prompt='def ', tokens=5)
  assert write() == write()


def test_what_cannot_write_is_refused(run):
  check_sentence(
    lambda: generate(toys.experiment(), workdir=run), ['needs DecoderLM'], 'Net keeps no cache'
  )
  for options, words in (({'tokens': 0}, 'got 0'), ({'beams': -1}, 'and -1')):
    check_sentence(lambda o=options: generate(language(), workdir=run, **o), [words], '--tokens')
  learned = dataclasses.replace(
    language(), model=language().model.clone(position='learned', length=16)
  )
  for prompt, words in (('def ', ['--tokens=200 to 11 or less']), ('x' * 20, ['a shorter'])):
    check_sentence(
      lambda p=prompt: generate(learned, workdir=run, prompt=p), words, 'the model learned 16'
    )
  tokens = data.arrays(inputs=np.ones((8, 4), int), targets=np.ones((8, 4), int))
  bare = dataclasses.replace(language(), data=data.forever(tokens, 4))
  check_sentence(lambda: generate(bare, workdir=run), ['use data.pack'], 'the training data has no')
  check_sentence(
    lambda: generate(language(), workdir=run, stop=('',)), ['must not be empty'], 'a stop string'
  )
