"""The data sheet of an experiment: each stream of data as a person sees it, and its provenance.

A stream is looked at by a few rows of its first batch, as the model gets them, and by a sample of
its source's records. Every number that comes from a sample says of how many.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigtrain.data import Batches, Ledger, records, views
from bigtrain.page import Html, bars, join, note, picture, side, table, tag, text

_SEQUENCES = 4  # Rows of tokens shown.
_PICTURES, _SOUNDS, _TEXTS = 24, 6, 3
_ROWS = 40  # Of a long table, before the rest is counted.
_CHARACTERS = 300  # Of a text inside a table.
# What `about` says apart from facts, by the heading that it gets.
_REPORTS = {
  'cleaning': 'Cleaning', 'table_cleaning': 'Table cleaning', 'label_errors': 'Label errors',
  'duplicates': 'Duplicates', 'leaks': 'Leaks', 'contamination': 'Contamination',
  'shares': 'Shares', 'sources': 'Sources',
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Stream:
  """A stream of data and what was read of it.

  Attributes:
    batches: the stream.
    rows: of its first batch, as the model gets them, [rows, ...] by key.
    records: a sample of its source.
    spec: name to (global shape, type) of a batch.
  """

  batches: Batches
  rows: Mapping[str, np.ndarray]
  records: Sequence[Mapping[str, Any]]
  spec: Mapping[str, tuple[tuple[int, ...], np.dtype]]

  @classmethod
  def of(cls, batches: Batches) -> 'Stream':
    """Reads some rows and records; ValueError where a batch cannot be made."""
    return cls(batches, views.first_rows(batches), views.sample(batches.source), dict(batches.spec))

  @property
  def about(self) -> Mapping[str, Any]:
    """What the source says of itself."""
    return getattr(self.batches.source, 'about', {})

  def holds(self) -> str:
    """Returns what an example is, such as `image uint8[28, 28, 1], label int32[]`."""
    return records.shown(self.rows, 1)

  def column(self, key: str) -> tuple[np.ndarray, str]:
    """Returns one key of all records where that reads nothing, else of the sample; and of how many.

    No value where records have no such key, or differ in its shape.
    """
    whole = views.column_in_memory(self.batches.source, key)
    if whole is not None:
      return whole, f'all {len(whole):,} records'
    found = [np.asarray(record[key]) for record in self.records if key in record]
    same = len({value.shape for value in found}) == 1
    values = np.stack(found) if same else np.empty(0)
    return values, f'a sample of {len(found):,} of {self.batches.size:,} records'


def data_sections(streams: Mapping[str, Stream]) -> dict[str, Html]:
  """Returns the sections of a page by title; those without content are left out."""
  sections = {
    'Data': _overview(streams),
    'As the model sees it': _each(streams, _seen),
    'Class balance': _each(streams, _balance),
    'Lengths': _each(streams, _lengths),
    'Columns': _each(streams, _columns),
    'Provenance': _provenance(streams),
  }
  return {title: content for title, content in sections.items() if content}


def _each(streams: Mapping[str, Stream], view: Any) -> Html:
  found = {name: shown for name, stream in streams.items() if (shown := view(stream))}
  return side(found) if found else Html()


def _overview(streams: Mapping[str, Stream]) -> Html:
  rows = [
    (name, s.batches.size, s.batches.batch, 'shuffled, endless' if s.batches.endless else 'once')
    for name, s in streams.items()
  ]
  keys = []
  for name, stream in streams.items():
    for key, (shape, kind) in stream.spec.items():
      values = stream.rows[key]
      finite = values[np.isfinite(values)] if values.dtype.kind in 'biuf' else values[:0]
      ends = (finite.min(), finite.mean(), finite.max()) if finite.size else ('', '', '')
      keys.append((name, key, str(list(shape)), str(kind), len(values), *ends))
  return join([
    table(['stream', 'records', 'batch', 'order'], rows),
    tag('h3', 'What a batch holds'),
    table(['stream', 'key', 'shape', 'type', 'rows', 'least', 'mean', 'greatest'], keys),
    note('Least, mean and greatest are of the first rows of a batch, so many of them.'),
  ])  # fmt: skip


def _seen(stream: Stream) -> Html:
  """Returns pictures, sounds, tokens and texts."""
  rows, parts = stream.rows, []
  for key, values in rows.items():
    if values.ndim == 4 and values.shape[-1] in (1, 3, 4) and len(values):
      pixels, (black, white) = views.pictures(values[:_PICTURES])
      shown = [picture(each, _label(stream, i)) for i, each in enumerate(pixels)]
      parts.append(tag('div', *shown, class_='pictures'))
      parts.append(note(f'{key}: black is {black:.4g}, white is {white:.4g}'))
    elif key == 'audio' and values.ndim == 2:
      shown = [
        picture(views.spectrogram(each), _label(stream, i))
        for i, each in enumerate(values[:_SOUNDS])
      ]
      parts.append(tag('div', *shown, class_='pictures wide'))
      rate = f' at {int(rows["rate"][0]):,} a second' if 'rate' in rows else ''
      parts.append(note(f'{values.shape[1]:,} samples{rate}; the highest frequency is on top'))
  for key in ('inputs', 'decoder_inputs', 'targets'):
    values = rows.get(key)
    if values is None or values.ndim != 2 or values.dtype.kind not in 'iu':
      continue
    if key != 'targets' or not _shifted(rows):
      parts += _sequences(stream, key)
  for record in stream.records[:_TEXTS]:
    if isinstance(record.get('text'), str):
      parts.append(tag('pre', record['text'][: 3 * _CHARACTERS]))
  return join(parts)


def _shifted(rows: Mapping[str, np.ndarray]) -> bool:
  """Tells whether the targets are what was shown, one place on, so that they say nothing new."""
  before = rows.get('decoder_inputs', rows.get('inputs'))
  return before is not None and np.array_equal(before[:, 1:], rows['targets'][:, :-1])


def _sequences(stream: Stream, key: str) -> list[Html]:
  """Returns the rows that hold the most documents, each document in a tint of its own."""
  tokenizer = views.behind(stream.batches.source, 'tokenizer')
  values, segments = stream.rows[key], stream.rows.get('segment_ids')
  if tokenizer is None:
    return [note(key), *(tag('pre', ' '.join(map(str, row))) for row in values[:_SEQUENCES])]
  rows = [
    views.runs(row, tokenizer.vocab, tokenizer.end, None if segments is None else segments[i])
    for i, row in enumerate(values)
  ]
  most = sorted(rows, key=len, reverse=True)[:_SEQUENCES]
  said = f'{key}: of {len(rows)} rows the {len(most)} with the most borders of documents'
  return [note(said), *(tag('pre', *(_run(run, tokenizer) for run in row)) for row in most)]


def _run(run: views.Run, tokenizer: Any) -> Html:
  if run.kind == 'text':
    return tag('span', tokenizer.decode(run.tokens), class_=f'tint{run.document % 4}')
  words = {'end': 'end', 'padding': f'padding, {len(run.tokens)}', 'special': str(run.tokens[0])}
  return tag('span', words[run.kind], class_='mark')


def _label(stream: Stream, row: int) -> str:
  """Returns the label of a row: its class's name, shares of classes, or a number."""
  if 'label' not in stream.rows:
    return ''
  label = stream.rows['label'][row]
  if label.ndim == 0:
    return _class(stream, label) if label.dtype.kind in 'iub' else f'{label:.4g}'
  top = np.argsort(-label.reshape(-1), kind='stable')[:3]
  return ', '.join(f'{label.reshape(-1)[i]:.0%} {_class(stream, i)}' for i in top if label.flat[i])


def _class(stream: Stream, number: Any) -> str:
  names = stream.about.get('classes')
  if isinstance(names, Sequence) and not isinstance(names, str) and 0 <= number < len(names):
    return str(names[int(number)])
  return str(int(number))


def _balance(stream: Stream) -> Html:
  labels, of = stream.column('label')
  if labels.ndim != 1 or not len(labels):
    return Html()
  if labels.dtype.kind == 'f':
    counts, edges = np.histogram(labels[np.isfinite(labels)], 12)
    names = [f'{low:.4g} to {high:.4g}' for low, high in itertools.pairwise(edges)]
    return join([bars(dict(zip(names, counts.tolist(), strict=True))), note(f'Labels of {of}.')])
  classes, counts = np.unique(labels, return_counts=True)
  largest = np.sort(np.argsort(-counts, kind='stable')[:_ROWS])
  # By number too: two classes may have one name.
  names = [_class(stream, classes[i]) for i in largest]
  if len(set(names)) < len(names):
    names = [f'{classes[i]}: {name}' for i, name in zip(largest, names, strict=True)]
  more = f', {len(classes) - _ROWS} rarer ones not shown' if len(classes) > _ROWS else ''
  return join([
    bars(dict(zip(names, counts[largest].tolist(), strict=True))),
    note(f'{len(classes)} classes{more}; of {of}; commonest to rarest '
         f'{counts.max() / counts.min():.3g} : 1.'),
  ])  # fmt: skip


def _lengths(stream: Stream) -> Html:
  lengths = views.document_lengths(stream.batches.source)
  unit, of = 'tokens a document', f'{0 if lengths is None else len(lengths):,} documents'
  if lengths is None:
    texts, of = stream.column('text')
    lengths = np.array([len(each) for each in texts.tolist() if isinstance(each, str)], np.int64)
    unit = 'characters a text'
  if not len(lengths):
    return Html()
  middle = f'median {np.median(lengths):,.0f}, mean {lengths.mean():,.0f}'
  said = f'{unit.capitalize()}: {middle}, longest {lengths.max():,}; of {of}.'
  return join([bars(views.histogram(lengths)), note(said)])


def _columns(stream: Stream) -> Html:
  parts = []
  values, of = stream.column('features')
  if values.ndim == 2 and len(values):
    names = stream.about.get('features') or [str(i) for i in range(values.shape[1])]
    rows = views.statistics(values[:, :_ROWS], names[:_ROWS])
    parts.append(table(['feature', 'least', 'mean', 'greatest', 'missing'], rows))
    more = values.shape[1] - _ROWS
    parts.append(note(f'Of {of}.', f' {more} further columns.' if more > 0 else ''))
  codes, of = stream.column('categories')
  if codes.ndim == 2 and len(codes):
    known = stream.about.get('categories') or {str(i): () for i in range(codes.shape[1])}
    rows = []
    for (name, kinds), column in list(zip(known.items(), codes.T, strict=True))[:_ROWS]:
      found, counts = np.unique(column, return_counts=True)
      first = int(found[counts.argmax()])
      common = kinds[first] if first < len(kinds) else first
      rows.append((name, len(found), str(common), f'{counts.max() / len(column):.1%}'))
    parts.append(table(['category', 'values', 'commonest', 'its share'], rows))
    parts.append(note(f'Of {of}.'))
  return join(parts)


def _provenance(streams: Mapping[str, Stream]) -> Html:
  """Returns what the sources say of themselves; what several say alike is shown once."""
  same: dict[Html, list[str]] = {}
  for name, stream in streams.items():
    if shown := _about(stream.about):
      same.setdefault(shown, []).append(name)
  return side({', '.join(names): shown for shown, names in same.items()}) if same else Html()


def _about(about: Mapping[str, Any]) -> Html:
  facts = {key: value for key, value in about.items() if key not in _REPORTS}
  parts = [_value(facts)] if facts else []
  for key, title in _REPORTS.items():
    if key in about:
      parts += [tag('h3', title), _report(key, about[key])]
  return join(parts)


def _report(key: str, report: Any) -> Html:
  if key == 'shares':
    return join([bars({k: round(v, 4) for k, v in report.items()}), note('At step 0.')])
  if key == 'sources':
    return join(join([tag('h3', name), _about(about)]) for name, about in report.items())
  if isinstance(report, Mapping) and {'steps', 'totals', 'rows'} <= report.keys():
    head = ['step', 'outcome', 'reason', 'records', 'share', 'example']
    ledger = Ledger.from_dict(report)
    rows = []
    for step, outcome, reason, count, examples in report['rows']:
      number, before, after = examples[0] if examples else ('', '', '')
      arrow = f' -> {after!r}' if outcome == 'changed' else ''
      share = ledger.share(count)
      rows.append((step, outcome, reason, count, share, f'{number}: {before!r}{arrow}'))
    return join([_value(report['totals']), table(head, rows)])
  return _value(report)


def _value(value: Any) -> Html:
  """Returns a fact of any kind: a mapping or a list of mappings as a table, the rest as text."""
  if isinstance(value, Mapping):
    rows = [(str(key), _value(own)) for key, own in list(value.items())[:_ROWS]]
    more = [('...', f'{len(value) - _ROWS} more')] if len(value) > _ROWS else []
    return table([], [*rows, *more])
  if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
    head = list(dict.fromkeys(key for each in value for key in each))
    return table(head, [[_value(each.get(key, '')) for key in head] for each in value[:_ROWS]])
  if isinstance(value, list | tuple):
    more = f', and {len(value) - _ROWS} more' if len(value) > _ROWS else ''
    return text(', '.join(map(str, value[:_ROWS])) + more)
  shown = str(value) if isinstance(value, str | np.ndarray) else value
  cut = isinstance(shown, str) and len(shown) > _CHARACTERS
  return text(f'{shown[:_CHARACTERS]}...' if cut else shown)
