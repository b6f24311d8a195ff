"""Bad input of every verb but `train` ends in one sentence; nothing was compiled or written."""

import pytest
from front_door import Row, check_refused, found, said, train_one

WRITER = """
Net = lambda: architecture.DecoderLM(vocab=256, depth=1, width=8, heads=2)
objective = evaluation.next_token
train = held = data.pack(data.arrays(text=['some words'] * 20), 8)
"""


def written(line, *words):
  return Row(line, words, WRITER)


ROWS = {
  # Before anything is trained.
  'page is a folder': found('inspect --out=run', '--out=run is a folder', 'run/inspect.html'),
  'page below a file': Row(
    'inspect --out=a/b.html', ('--out=a', 'a is a file', 'another --out'), files={'a': b''}
  ),
  'mesh of inspect': found('inspect --mesh=data:3', '--mesh=data:3', 'there are 8'),
  'no such topology': found('compile --topology=v9:2x2', '--topology=v9:2x2', 'such as v5e:4x4'),
  'topology without size': found('compile --topology=v5e', '--topology=v5e', 'KIND:SIZE'),
  'slices of nothing': found('compile --slices=2', '--slices=2', 'needs --topology'),
  'no slice': found('compile --topology=v5e:2x2 --slices=0', '--slices', 'at least 1', 'got 0'),
  'no try': found('compile --search --tries=0', '--tries', 'at least 1', 'got 0'),
  'figures into a folder': found('compile --out=run', '--out=run is a folder', 'compile.json'),
  'workdir of compile': said('compile --workdir=run', '--workdir is not a flag here', '--help'),
  # Of many runs.
  'lever of no knob': found('study --levers=depht=2', '--levers=depht=2', 'depht is no knob'),
  'lever without value': found('study --levers=lr', '--levers=lr', 'knob=value'),
  'lever of words': found('study --levers=lr=fast', 'lr=fast', 'a float is expected'),
  'judged by the test split': found('study --metric=test/loss', '--metric=test/loss', 'held_out'),
  'judged by no metric': found('study --metric=held_out', '--metric=held_out', 'held_out/loss'),
  'one seed': found('study --seeds=1', '--seeds=2', 'got 1'),
  'level of a study': found('study --level=95', '--level', 'got 95', 'use 0.95'),
  'rate of no knob': found('study --rate=lrr', '--rate=lrr', 'mean lr?'),
  'no spread': found('study --spread=1', '--spread', 'above 1', 'got 1', 'use 3'),
  'study in a file': Row(
    'study --workdir=a', ('--workdir=a is a file', 'another --workdir'), files={'a': b''}
  ),
  'no trial': found('tune --trials=0', '--trials=1', 'got 0'),
  'tuned on the test split': found('tune --metric=test/loss', '--metric=test/loss', 'held_out'),
  'level of tune': found('tune --level=3', '--level', 'got 3', 'use 0.95'),
  'a database that is none': found(
    'tune --storage=foo://me:canary@there/x', '--storage=foo://... cannot', 'sqlite:///FILE'
  ),
  'no such sampler': said('tune --sampler=grid', '--sampler=grid', 'tpe, sobol, random'),
  'one fold': found('crossvalidate --folds=1', '--folds', 'got 1', '5 and 10'),
  'too many folds': found(
    'crossvalidate --folds=99', '40 records', '99 folds', 'lower count', trained=False
  ),
  'folds in a run': found('crossvalidate', '--workdir=run', 'a single run', 'choose another'),
  'folds by no evaluation': found(
    'crossvalidate --evaluation=dev', '--evaluation=dev', 'it has held_out', trained=False
  ),
  'folds of the test split': found(
    'crossvalidate --evaluation=test', '--evaluation=test', 'test split', trained=False
  ),
  'folds by no key': found(
    'crossvalidate --group=patient', "'patient'", 'image, label', trained=False
  ),
  'folds saved never': found('crossvalidate --save_every=-1', '--save_every', 'got -1'),
  # Of a trained run.
  'unknown evaluation': found('evaluate --only=heldout', '--only=heldout', 'it has held_out'),
  'no such step': found('evaluate --step=3', 'no checkpoint of step 3', 'choose one of [4]'),
  'evaluated untrained': found('evaluate', 'run holds no checkpoint', 'train first', trained=False),
  'evaluated otherwise': found('evaluate --batch=4', '--batch=8, not --batch=4', 'leave --batch'),
  'mesh of evaluate': found('evaluate --mesh=x', '--mesh', "'x'", 'AXIS:SIZE'),
  'temperature of nothing': found('evaluate --temperature=dev', '--temperature=dev', 'held_out'),
  'writes without a model': found('generate', 'Net keeps no cache', 'needs DecoderLM'),
  'writes nothing': written('generate --tokens=0', '--tokens', 'at least 1', 'got 0'),
  'below freezing': written('generate --temperature=-1', 'temperature', 'got -1'),
  'nucleus above one': written('generate --top_p=2', 'top_p'),
  'writes untrained': written('generate', 'run holds no checkpoint', 'train first'),
  'no published family': found('export', 'Net is none', '--to=stablehlo takes any model'),
  'no such export': said('export --to=onnx', '--to=onnx', 'hugging_face, stablehlo'),
  'no such platform': found('export --to=stablehlo --platforms=abacus', 'abacus', 'cpu, cuda'),
  'export over work': found('export --to=stablehlo --out=run', '--out=run', 'name a new folder'),
  'export of no step': found('export --to=stablehlo --step=3', 'step 3', 'choose one of [4]'),
  'report of nothing': found('report --workdir=none', 'none holds no record.json', 'train one'),
  'report against nothing': found('report --against=none', 'none holds no record.json'),
  'report is a folder': found('report --out=run', '--out=run is a folder', 'run/report.html'),
  'no such port': found('report --serve --port=99999', '--port', 'got 99999', 'use 8000'),
  'damaged checkpoint': Row(
    'evaluate', ('checkpoints/4', 'is damaged', 'another --workdir'),
    files={'run/checkpoints/4/state/_METADATA': b'{'}, trained=True,
  ),
}  # fmt: skip


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  return train_one(tmp_path_factory.mktemp('trained'))


@pytest.mark.parametrize('row', ROWS.values(), ids=ROWS)
def test_bad_input_of_a_verb_is_a_sentence(row, run, tmp_path, capsys):
  check_refused(row, run, tmp_path, capsys)
