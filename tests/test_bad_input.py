"""Bad input of `train` ends in one sentence: place, value, cure. Nothing was compiled or lost.

Each row is an experiment's file, a command line and a workdir as a person might have them. What
the functions of the data room say is tested in `tests/data/test_bad_data.py`; here it has to reach
the person through the front door. Rows of other verbs are in `test_bad_verbs.py`.
"""

import gzip

import pytest
from front_door import Row, check_refused, found, made, said, train_one

KEYED = 'train = held = data.arrays'
ROWS = {
  # The command line.
  'misspelt flag': said('--epohcs=3', '--epohcs is not a flag here', 'see --help'),
  'nearly a flag': said('--step=3', '--step is not a flag here', 'did you mean --steps?'),
  'misspelt option': said('--savevery=3', '--savevery', 'did you mean --save_every?'),
  'misspelt verb': said('evalute', 'evalute is neither', 'did you mean evaluate?'),
  'verb too late': said('train evaluate', 'evaluate comes too late', 'write the verb first'),
  'flag without dashes': said('train lr=3', 'lr=3 has no dashes', 'write --lr=3'),
  'further word': said('train again', 'again is neither a flag nor a verb', 'mean train?'),
  'text for int': said('--batch=many', '--batch=many', 'an int is expected'),
  'fraction for int': said('--batch=2.5', '--batch=2.5', 'an int is expected'),
  'text for float': said('--lr=fast', '--lr=fast', 'a float is expected'),
  'text for bool': said('--clean=maybe', '--clean=maybe', 'true or false'),
  'text in tuple': said('--widths=8,b', '--widths=8,b', 'an int is expected'),
  'no such choice': said('--model=nett', '--model=nett', 'net, wide', 'did you mean net?'),
  'no value': said('--lr', '--lr has no value', 'write --lr=VALUE'),
  'flagfile absent': said('--flagfile=nowhere', '--flagfile=nowhere', 'No such file'),
  'flagfile misspelt': Row(
    '--flagfile=my.txt', ('--bacth', 'mean --batch?'), files={'my.txt': b'--bacth=3'}, code=2
  ),
  # Knobs that make no experiment.
  'no steps': Row('--steps=0', ('steps must be at least 1', 'got 0')),
  'ema above one': Row('--ema=1.5', ('ema', 'got 1.5', 'try 0.999')),
  'batch of zero': Row('--batch=0', ('batch must be', 'at least 1', 'got 0')),
  'never evaluated': Row('--every=0', ('every', 'got 0', 'None is "at the end"')),
  'microbatches': Row('--accumulate=3', ('batch of 8', '3 microbatches', 'divisors of 8')),
  'no microbatch': Row('--accumulate=0', ('accumulate', 'got 0', 'at least 1')),
  'devices': Row('--batch=6 --mesh=fsdp:8', ('batch of 6', '8 devices', 'batch of 8')),
  'devices of a microbatch': Row(
    '--accumulate=2 --mesh=fsdp:8', ('batch of 4', '8 devices', 'use a batch')
  ),
  'mesh of words': Row('--mesh=all', ('--mesh', "'all'", 'AXIS:SIZE')),
  'mesh of another axis': Row('--mesh=rows:2', ('--mesh', "'rows:2'", 'data, stage, fsdp')),
  'mesh too large': Row('--mesh=data:3', ('--mesh=data:3', 'there are 8', 'product is 8')),
  'two rests': Row('--mesh=data:-1,fsdp:-1', ('--mesh', 'only one size may be -1')),
  'journal never': Row('--log_every=0', ('--log_every', 'got 0', 'at least 1')),
  'checkpoint never': Row('--save_every=-5', ('--save_every', 'got -5', 'at least 1')),
  'two durations': made(
    'duration = data.steps(source, batch, steps=3, epochs=2)', 'steps and epochs', 'exactly one'
  ),
  'no epoch': made('duration = data.steps(source, batch, epochs=0)', 'epochs', 'got 0', 'at least'),
  # Data that is not there, or not readable.
  'unknown dataset': made("source = data.tfds('mnits', 'train')", "'mnits'", "mean 'mnist'?"),
  'missing corpus': made('data.shakespeare()', 'tinyshakespeare.txt', '$BIGTRAIN_DATA', 'curl'),
  'missing file': made("data.text_files('books')", 'data.text_files', 'books', 'check the path'),
  'missing glob': made("data.csv('*.csv')", 'data.csv', '*.csv', 'check the path'),
  'missing image folder': made("data.image_folder('photos')", 'no folder photos', 'one folder'),
  'plain open': made("np.load('a.npz')", 'a.npz', 'No such file'),
  'not a csv': made("data.csv('a.csv')", 'cannot read', 'a.csv', 'repair', a_csv=b'x,y\n1,2\n3\n'),
  'no such column': made(
    "data.csv('a.csv', label='z')", "no column 'z'", 'use one of x, y', a_csv=b'x,y\n1,2\n'
  ),
  'hole in a csv': made(
    "data.csv('a.csv')", "column 'y'", 'row 1', 'missing=0.0', a_csv=b'x,y\n1,2\n3,\n'
  ),
  'not a parquet': made("data.parquet('a.parquet')", 'a.parquet', 'repair', a_parquet=b'PAR1 no'),
  'not an archive': made(
    "data.array_records('a.riegeli', decode=dict)", 'a.riegeli', 'Writer', a_riegeli=b'no'
  ),
  'not utf-8': made(
    "data.text_files('a.txt')", 'a.txt', 'not UTF-8 at byte 2', 'convert', a_txt=b'ab\xff\xfe'
  ),
  'damaged picture': made(
    "train = held = data.image_folder('p')", 'p/a/x.png', 'cannot read', 'repair', p__a__x_png=b'no'
  ),
  'damaged gzip': made(
    'data.fashion()', 'train-images-idx3-ubyte.gz', 'cannot read', 'apt-get',
    **{'fashion-mnist__train-images-idx3-ubyte_gz': gzip.compress(b'pictures' * 99)[:40]},
  ),
  # Splits and records.
  'held-out empty': Row('--held_out=0.01', ('held_out is empty', '40 records', 'raise held_out')),
  'nothing left': Row('--held_out=1.5', ('held_out', 'got 1.5', 'use 0.1 for a tenth')),
  'split by no key': made(
    "data.split_stratified(source, key='digit')", "no key 'digit'", 'use one of image, label'
  ),
  'text too short': made(
    "data.pack(data.arrays(text=['ab']), 64)", '4 tokens', 'takes 65', 'lower length'
  ),
  'columns of two lengths': made(
    'data.arrays(image=np.ones((3, 2)), label=np.ones(4))', "'label' has 4 rows", 'give every'
  ),
  'no record': made(f'{KEYED}(image=np.ones((0, 4)))', 'no record', 'check its path'),
  'no label': made(f'{KEYED}(image=np.ones((9, 4)))', "must hold 'label'", "['image']"),
  'no input': made(f'{KEYED}(x=np.ones((9, 4)), label=np.ones(9))', "'image'", "['label', 'x']"),
  'label of text': made(
    f"{KEYED}(image=np.ones((2, 4)), label=['cat', 'dog'])", "'label'", 'object', 'drop the key'
  ),
  'label of a wrong shape': made(
    f'{KEYED}(image=np.ones((9, 4)), label=np.ones((9, 3), int))', "'label'", '(8, 3)', '(8, 4)'
  ),
  'label too wide': made(
    f'{KEYED}(image=np.ones((9, 4)), label=np.full(9, 2**40))', "'label'", str(2**40), 'int32'
  ),
  'record lacks a key': made(
    "train = held = Listed(one, {'image': one['image']})", 'record 1 lacks', "'label'", 'same keys'
  ),
  'record of another shape': made(
    "train = held = Listed(one, {**one, 'image': np.zeros((3, 2, 1), np.float32)})",
    'record 1', "'image' of shape (3, 2, 1)", '(2, 2, 1)', 'resize',
  ),
  'record of another type': made(
    "train = held = Listed(one, {**one, 'image': np.zeros((2, 2, 1), np.uint8)})",
    'record 1', 'uint8', 'float32', 'convert',
  ),
  'map that drops rows': made(
    "shift = lambda batch, rng: {**batch, 'label': batch['label'][:0]}", 'map', "'label'", 'keep'
  ),
  # Objectives and evaluations.
  'objective without loss': made(
    '''
    plain = objective
    objective = lambda apply, batch: {'accuracy': plain(apply, batch)['accuracy']}
    ''',
    "without a 'loss'", "['accuracy']",
  ),
  'Eval of nothing': made(
    '', 'neither an objective nor an evaluator', 'give one',
    evals="evals['test'] = Eval(data.once(held, 8))",
  ),
  'held-out lacks a key': made(
    '', "must hold 'label'", "'held_out'",
    evals="evals['held_out'] = Eval(data.once(data.arrays(image=np.ones((9, 4))), 8), objective)",
  ),
  'held-out of texts': made(
    '', "'label'", 'object', "'held_out'",
    evals='''
    texts = data.arrays(image=np.ones((9, 4)), label=['a'] * 9)
    evals['held_out'] = Eval(data.once(texts, 8), objective)
    ''',
  ),
  'held-out over devices': made(
    '', "'held_out'", 'batch of 9', '8 devices', line='--mesh=fsdp:8',
    evals="evals['held_out'] = Eval(data.once(held, 9), objective)",
  ),
  # The workdir.
  'other knobs': found('--lr=0.2', '--workdir=run', '--lr=0.1, not --lr=0.2', 'choose another'),
  'other batch': found('--batch=4', '--workdir=run', '--batch=8', '--flagfile=run/flags.txt'),
  'other code': Row(
    '', ('--workdir=run', 'other code', 'choose another'), 'print()', trained=True
  ),
  'other experiment': found(
    '', '--workdir=run', 'a run of mnist, not of mine', 'choose another', trained=False,
    record_json=b'{"experiment": "mnist", "knobs": {}}',
  ),
  'foreign folder': found(
    '', '--workdir=run', 'holds thesis.tex', 'choose an empty', trained=False, thesis_tex=b'mine'
  ),
  'damaged record': found('', 'record.json is damaged', 'restore it', record_json=b'{"exper'),
  'workdir is a file': Row('', ('--workdir=run', 'is a file', 'another'), files={'run': b'mine'}),
  'workdir below a file': Row(
    '--workdir=run/a', ('--workdir=run/a', 'run is a file', 'another'), files={'run': b'mine'}
  ),
  'line break in a knob': Row("--workdir=a\nb", ('--workdir', 'line break', 'leave it out')),
}  # fmt: skip


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  return train_one(tmp_path_factory.mktemp('trained'))


@pytest.mark.parametrize('row', ROWS.values(), ids=ROWS)
def test_bad_input_is_a_sentence(row, run, tmp_path, capsys):
  check_refused(row, run, tmp_path, capsys)
