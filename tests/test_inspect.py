"""`inspect`: what a person sees is what the model gets, and what a page holds is only text."""

import base64
import dataclasses
import html.parser
import importlib
import io
import json
import pathlib
import re

import jax
import numpy as np
import pytest
import toys
from PIL import Image

from bigtrain import compute, data, launch, record
from bigtrain.charts import curves
from bigtrain.data import views
from bigtrain.datasheet import Stream, data_sections
from bigtrain.model_summary import bytes_per_device, facts, learning_rates, parameter_rows
from bigtrain.page import Html, bars, page, picture, table, tag, text
from bigtrain.program import Program
from bigtrain.verbs.inspect import inspect

FASHION = pathlib.Path('/usr/share/datasets/fashion-mnist')
EVIL = '<script>alert(1)</script>" onload="x" & \0 \ud800'


class Parsed(html.parser.HTMLParser):
  """What a browser makes of a page: its elements with their attributes, and its text."""

  def __init__(self, markup):
    super().__init__()
    self.elements, self.words = [], ''
    self.feed(markup)

  def handle_starttag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))

  def handle_data(self, data):
    self.words += data

  def all(self, tag):
    return [attributes for name, attributes in self.elements if name == tag]


def sections(**streams):
  return data_sections({name: Stream.of(batches) for name, batches in streams.items()})


def decoded(figure):
  """Returns the pixels of the one picture in some markup."""
  (image,) = Parsed(figure).all('img')
  raw = base64.b64decode(image['src'].removeprefix('data:image/png;base64,'))
  return np.asarray(Image.open(io.BytesIO(raw)))


def test_only_markup_is_markup():
  bold = tag('b', 'a < b')
  assert bold == '<b>a &lt; b</b>'
  assert text(bold) is bold
  for made in (tag('p', EVIL), tag('p', x=EVIL), table([EVIL], [[EVIL]]), bars({EVIL: 1})):
    names = [name for name, _ in Parsed(made).elements]
    assert 'script' not in names
    assert not any('onload' in attributes for _, attributes in Parsed(made).elements)


def test_a_page_asks_for_nothing_and_runs_nothing():
  shown = Parsed(page('A', {'B c': picture(np.zeros((2, 2), np.uint8))}))
  policy = next(a['content'] for a in shown.all('meta') if 'http-equiv' in a)
  assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
  assert not shown.all('script')
  assert not shown.all('link')
  assert all(a['src'].startswith('data:') for a in shown.all('img'))
  assert [a['href'] for a in shown.all('a')] == ['#b-c']
  assert [a['id'] for a in shown.all('h2')] == ['b-c']


def test_a_picture_keeps_its_pixels_and_a_large_one_is_shrunk():
  pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 3)).astype(np.uint8)
  np.testing.assert_array_equal(decoded(picture(pixels)), pixels)
  assert decoded(picture(np.zeros((1000, 500), np.uint8))).shape == (256, 128)


def test_a_curve_rises_where_its_values_rise():
  points = Parsed(curves({'rate': ([0, 1, 2], [0.0, 2.0, 1.0])})).all('polyline')[0]['points']
  x, y = np.array([point.split(',') for point in points.split()], float).T
  assert x[0] < x[1] < x[2]
  assert y[1] < y[2] < y[0]  # Downward, as drawings count.
  with pytest.raises(ValueError, match='at least 1, got 0 and 0'):
    curves({'rate': ([], [])})


# The data.


def test_a_large_source_is_sampled_and_the_page_says_so():
  read = []

  class Counting(toys.Records):
    def __len__(self):
      return 10**9

    def __getitem__(self, index):
      read.append(index)
      return {'image': np.zeros((2, 2, 1), np.uint8), 'label': np.int32(index % 3)}

  shown = sections(training=data.forever(Counting(), 32))
  assert len(read) < 400
  assert 'a sample of 256 of 1,000,000,000 records' in shown['Class balance']
  assert len(set(read)) > 256
  read.clear()
  assert len(views.sample(Counting(), seconds=0)) == 16
  assert np.ptp(read) > 5e8


def test_the_balance_of_labels_in_memory_is_of_all_records():
  source = data.arrays(x=np.zeros(1000, np.float32), label=np.repeat([0, 1, 2], [700, 299, 1]))
  part = data.select(data.mix({'a': source, 'b': source}), np.arange(999, 2000))
  numbers = re.findall(r'class="number">([\d,]+)<', sections(a=data.once(part, 8))['Class balance'])
  assert numbers == ['700', '299', '2']
  assert 'all 1,001 records' in sections(a=data.once(part, 8))['Class balance']


def test_texts_reach_the_page_as_text():
  evil = EVIL[:-2]
  texts = data.arrays(text=[evil] * 9)
  shown = page('x', sections(training=data.forever(data.pack(texts, 40), 4)))
  assert 'script' not in [name for name, _ in Parsed(shown).elements]
  assert evil[:25] in Parsed(shown).words


def test_a_table_shows_its_columns_by_name():
  source = data.breast_cancer()
  shown = sections(training=data.forever(source, 8))
  words = Parsed(shown['Columns']).words
  assert all(name in words for name in source.about['features'])
  assert 'all 569 records' in words
  assert 'malignant' in Parsed(shown['Class balance']).words


def test_reports_of_the_data_are_shown():
  def short(each):
    return data.Drop('too short') if len(each['text']) < 3 else each

  texts = data.arrays(text=['x', *(f'{"word " * 20}{i % 3} and {"tail " * 9}' for i in range(9))])
  kept = data.clean(data.drop_duplicates(texts), short)
  mixed = data.mix({'a': data.pack(kept, 16), 'b': data.pack(texts, 16)}, weights={'a': 3, 'b': 1})
  words = Parsed(sections(training=data.forever(mixed, 4))['Provenance']).words
  for said in (
    'Cleaning',
    'outcome',
    'too short',
    'Duplicates',
    'exact',
    'Shares',
    '0.75',
    'Sources',
  ):
    assert said in words


def test_what_several_streams_say_alike_is_shown_once():
  train, held_out, _ = data.split_stratified(data.digits(), held_out=0.1, test=0.1)
  shown = sections(training=data.forever(train, 8), held_out=data.once(held_out, 8))
  assert shown['Provenance'].count(data.digits().about['digest']) == 1
  assert 'training, held_out' in shown['Provenance']


def test_labels_are_names_and_mixed_labels_are_shares():
  def mixed(batch, draws):
    return {**batch, 'label': np.full((len(batch['label']), 2), [0.75, 0.25], np.float32)}

  source = data.arrays(image=np.zeros((8, 2, 2, 1), np.uint8), label=np.arange(8) % 2)
  source.about['classes'] = ('cat', 'dog')
  hard = Parsed(sections(a=data.once(source, 8))['As the model sees it']).words
  assert hard.count('cat') == hard.count('dog') == 4
  soft = Parsed(sections(a=data.once(source, 8, map=mixed))['As the model sees it']).words
  assert soft.count('75% cat, 25% dog') == 8


# The model.


def test_bytes_are_those_that_a_device_will_hold():
  program = Program(
    dataclasses.replace(
      toys.experiment(), partition=lambda mesh, tree: compute.fsdp(mesh, tree, min_size=16)
    ),
    'fsdp:-1',
  )
  state = program.init()
  on_first = jax.devices()[0]
  held = sum(
    shard.data.nbytes
    for leaf in jax.tree.leaves(state.params)
    for shard in leaf.addressable_shards
    if shard.device == on_first
  )
  rows = parameter_rows(program)
  assert sum(row[5] for row in rows) == bytes_per_device(program.shapes.params) == held
  assert sum(row[4] for row in rows) == program.parameters
  kernel = next(row for row in rows if row[0] == 'Dense_0/kernel')
  assert kernel[1:] == ('[16, 16]', 'float32', str(jax.P('fsdp')), 256, 128)


def test_facts_add_up():
  found = facts(Program(toys.experiment(batch=10, steps=30)))
  assert found['epochs'] == 30 * 10 / 50
  assert found['examples in all'] == 300
  assert found['FLOPs a step'] == '24.96 kFLOP'  # 10 rows, 16 x 16 + 16 x 10 products, 2 x 3 each.


def test_the_schedule_is_followed_from_the_first_step_to_the_last():
  experiment = dataclasses.replace(toys.experiment(steps=5000), schedule=lambda s: 1.0 + 2 * s)
  steps, rates = learning_rates(experiment)
  assert (steps[0], steps[-1], len(steps)) == (0, 4999, 160)
  np.testing.assert_array_equal(rates, 1.0 + 2 * steps)
  short = dataclasses.replace(experiment, steps=3)
  assert learning_rates(short)[0].tolist() == [0, 1, 2]
  with pytest.raises(ValueError, match='states no schedule'):
    learning_rates(toys.experiment())


# The verb.


def test_it_shows_everything_and_compiles_no_step(tmp_path, monkeypatch, capsys):
  def refuse(*_):
    raise AssertionError('the step must not be compiled')

  monkeypatch.setattr(Program, 'compile', refuse)
  monkeypatch.setattr(Program, '_step', property(refuse))
  monkeypatch.chdir(tmp_path)
  experiment = dataclasses.replace(toys.experiment(), schedule=lambda step: 0.01)
  assert inspect(experiment) == 'inspect.html'
  shown = Parsed((tmp_path / 'inspect.html').read_text())
  titles = ['data', 'as-the-model-sees-it', 'class-balance', 'run', 'model', 'learning-rate']
  assert [a['id'] for a in shown.all('h2')] == titles
  assert len(shown.all('img')) == 8 + 8 + 8  # Training, held out and test.
  printed = capsys.readouterr().out
  for said in ('training', 'held_out', 'test', '50 records', '474', 'inspect.html'):
    assert said in printed


def test_a_workdir_stays_fit_for_training(tmp_path):
  workdir = tmp_path / 'run'
  start = record.Record.of('toys', toys.__file__, {}, {'workdir': str(workdir)}, command='toys')
  assert inspect(toys.experiment(), workdir=str(workdir)) == f'{workdir}.inspect.html'
  start.check()
  start.write()
  assert inspect(toys.experiment(), workdir=str(workdir)) == f'{workdir}/inspect.html'
  start.check()
  assert json.loads((workdir / 'record.json').read_text())['experiment'] == 'toys'
  assert (workdir / 'inspect.html').exists()


def test_a_folder_is_no_page(tmp_path):
  with pytest.raises(ValueError, match='is a folder: name a file, such as'):
    inspect(toys.experiment(), out=str(tmp_path))


def test_only_the_first_host_writes(tmp_path, monkeypatch):
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  inspect(toys.experiment(), out=f'{tmp_path}/a.html')
  assert not (tmp_path / 'a.html').exists()


def test_text_that_no_encoding_holds_is_written_all_the_same(tmp_path):
  source = toys.source()
  source.about['name'] = EVIL
  experiment = toys.experiment()
  experiment = dataclasses.replace(
    experiment, data=dataclasses.replace(experiment.data, source=source)
  )
  inspect(experiment, out=f'{tmp_path}/a.html')
  shown = Parsed((tmp_path / 'a.html').read_text(encoding='utf-8'))
  assert not shown.all('script')
  assert isinstance(text(EVIL), Html)


@pytest.mark.parametrize('name', ['digits', 'fashion', 'stdlib_lm', 'shakespeare'])
def test_every_experiment_is_shown_from_the_command_line(name, tmp_path, monkeypatch, capsys):
  (tmp_path / 'tinyshakespeare.txt').write_text('ROMEO: it is the east, and Juliet.\n' * 300)
  if name == 'shakespeare':
    monkeypatch.setenv('BIGTRAIN_DATA', str(tmp_path))
  if name == 'fashion' and not FASHION.exists():
    pytest.skip('Fashion-MNIST is not here: apt-get install dataset-fashion-mnist')
  words = ['--vocab=0', '--depth=1'] if name == 'stdlib_lm' else []
  experiment = importlib.import_module(f'experiments.{name}').experiment
  path = launch.run(experiment, ['inspect', f'--out={tmp_path}/a.html', *words])
  shown = Parsed((tmp_path / 'a.html').read_text(encoding='utf-8'))
  ids = [a['id'] for a in shown.all('h2')]
  look = 'class-balance' if name in ('digits', 'fashion') else 'provenance'
  assert {'data', 'as-the-model-sees-it', look, 'run', 'model', 'learning-rate'} <= set(ids)
  spans = [a.get('class', '') for a in shown.all('span')]
  assert bool(shown.all('img')) != any(each.startswith('tint') for each in spans)
  assert f'The page: {path}' in capsys.readouterr().out
