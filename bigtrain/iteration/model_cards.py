"""A model card (Mitchell et al. 2019): what a model is, from what data, at what cost, how good.

Markdown with the header that Hugging Face's hub reads. Only what a run recorded stands in it; what
is not known is left out, never guessed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

# Licences by the hub's names for them.
_LICENCES = {
  'Apache-2.0': 'apache-2.0', 'BSD-3-Clause': 'bsd-3-clause', 'CC-BY-4.0': 'cc-by-4.0',
  'CC0-1.0': 'cc0-1.0', 'MIT': 'mit',
}  # fmt: skip
_LONG = 300  # Characters of one fact about the data.


@dataclasses.dataclass(frozen=True)
class Card:
  """What a card says.

  Attributes:
    name: Of the experiment.
    about: What it is, in words.
    model: Facts about the model, by name.
    use: Markdown that shows how to run it.
    results: Metrics by evaluation. One that ends in '_low' or '_high' is an end of the interval of
      95 % of the metric without that ending.
    data: What each stream of data says of itself, and its number of 'records', by its name.
    training: Facts about the training run, by name: cost, versions, what it began with.
    flags: Every knob, one a line, as a file of flags has them.
    library: That loads it, by the hub's name; '' is none.
    notes: Sentences that a reader should know.
  """

  name: str
  about: str
  model: Mapping[str, Any]
  use: str
  results: Mapping[str, Mapping[str, float]]
  data: Mapping[str, Mapping[str, Any]]
  training: Mapping[str, Any]
  flags: str = ''
  library: str = ''
  notes: Sequence[str] = ()

  def text(self) -> str:
    """Returns the card."""
    parts = [self._header(), f'# {self.name}', self.about, _facts(self.model)]
    parts += ['## Use', self.use]
    if self.results:
      words = 'The metrics of this very checkpoint; intervals are of 95 %.'
      parts += ['## Results', words, self._results()]
    parts += ['## Data', *self._data(), '## Training', _facts(self.training)]
    if self.flags:
      parts += [_block(self.flags.strip(), '')]
    if self.notes:
      parts += ['## Notes', '\n'.join(f'- {note}' for note in self.notes)]
    return '\n\n'.join(part for part in parts if part) + '\n'

  def _header(self) -> str:
    licences = {about['licence'] for about in self.data.values() if about.get('licence')}
    # Of the data; a hub's reader takes a licence that is not on its list for none.
    licence = _LICENCES.get(licences.pop(), 'other') if len(licences) == 1 else None
    lines = [f'library_name: {self.library}'] if self.library else []
    lines += [f'license: {licence}'] if licence else []
    lines += ['tags:', '- bigtrain', f'- {json.dumps(self.name)}']
    return '\n'.join(['---', *lines, '---'])

  def _results(self) -> str:
    rows = []
    for name, metrics in self.results.items():
      for metric, value in metrics.items():
        whole, _, end = metric.rpartition('_')
        if end in ('low', 'high') and whole in metrics:
          continue
        ends = [metrics.get(f'{metric}_{end}') for end in ('low', 'high')]
        between = f'{ends[0]:.4g} to {ends[1]:.4g}' if None not in ends else ''
        rows.append([name, metric, f'{value:.4g}', between])
    return _table(['evaluation', 'metric', 'value', 'interval'], rows)

  def _data(self) -> list[str]:
    """Streams that say the same are described once."""
    same: dict[str, list[str]] = {}
    for name, about in self.data.items():
      facts = {key: value for key, value in about.items() if key != 'records'}
      same.setdefault(_facts(facts), []).append(f'{name} ({about["records"]:,} records)')
    return [part for shown, names in same.items() for part in (f'### {", ".join(names)}', shown)]


def _facts(facts: Mapping[str, Any]) -> str:
  return '\n'.join(f'- {name}: {_plain(value)}' for name, value in facts.items())


def _plain(value: Any) -> str:
  if isinstance(value, int) and not isinstance(value, bool):
    return f'{value:,}'
  if isinstance(value, float):
    return f'{value:.4g}'
  if isinstance(value, list | tuple) and all(isinstance(each, str | int) for each in value):
    value = ', '.join(map(str, value))
  words = ' '.join((value if isinstance(value, str) else json.dumps(value, default=str)).split())
  return words if len(words) <= _LONG else f'{words[:_LONG]}...'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  rule = ['---'] * len(head)
  return '\n'.join(f'| {" | ".join(row)} |' for row in (head, rule, *rows))


def _block(text: str, kind: str) -> str:
  fence = '```'
  while fence in text:  # A text that holds a fence would end the block.
    fence += '`'
  return f'{fence}{kind}\n{text}\n{fence}'
