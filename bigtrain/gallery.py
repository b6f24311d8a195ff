"""A gallery of runs: a table that sorts, and their knobs as parallel coordinates.

The drawing is made in the browser from the table alone, so that what is brushed there and sorted
here is one thing. Names of runs, knobs and metrics reach the script as text, never as markup.
"""

from __future__ import annotations

import json
import math
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from bigtrain import page
from bigtrain.comparison import cost, differing, measured, shown
from bigtrain.workdirs import Kept

_METRICS = 12  # Columns of the table; the runs' own pages have them all.
SCRIPT = """
'use strict';
const chosen = {column: -1, up: true, result: '', brushes: {}};  // Outlives a page's new content.
const STOPS = [[68, 1, 84], [49, 104, 142], [53, 183, 121], [200, 176, 32]];

function make(name, attributes, ...content) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
  node.append(...content);
  return node;
}

function colour(share) {
  if (Number.isNaN(share)) return '#c6ccd3';
  const place = share * (STOPS.length - 1), at = Math.min(Math.floor(place), STOPS.length - 2);
  const mixed = STOPS[at].map((a, i) => Math.round(a + (place - at) * (STOPS[at + 1][i] - a)));
  return `rgb(${mixed})`;
}

// Text to its share of the axis, from 0 at the bottom to 1, and a few texts to write beside it.
function scale(texts) {
  const known = [...new Set(texts.filter(text => text !== ''))];
  const numbers = known.map(Number);
  if (known.length && !numbers.some(Number.isNaN)) {
    const low = Math.min(...numbers), high = Math.max(...numbers);
    const log = low > 0 && high / low >= 20, bend = log ? Math.log : x => x;
    const span = bend(high) - bend(low);
    const share = text => text === '' ? NaN : span ? (bend(Number(text)) - bend(low)) / span : 0.5;
    const said = x => String(Number(x.toPrecision(4)));
    return {share, ticks: low === high ? [[0.5, said(low)]] : [[0, said(low)], [1, said(high)]]};
  }
  known.sort();
  const place = i => known.length > 1 ? i / (known.length - 1) : 0.5;
  const share = text => text === '' ? NaN : place(known.indexOf(text));
  return {share, ticks: known.map((text, i) => [place(i), text])};
}

function start() {
  const table = document.querySelector('table.gallery');
  if (!table) return;
  const heads = [...table.tHead.rows[0].cells], rows = [...table.tBodies[0].rows];
  const text = (row, i) => row.cells[i].dataset.value ?? row.cells[i].textContent;

  function sort() {
    const {column, up} = chosen;
    if (column < 0 || column >= heads.length) return;
    heads.forEach(head => head.removeAttribute('aria-sort'));
    heads[column].setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const order = (a, b) => {
      const [p, q] = [text(a, column), text(b, column)];
      if (p === '' || q === '') return (p === '') - (q === '');  // What is missing stands last.
      const by = Number.isNaN(p - q) ? p.localeCompare(q, 'en', {numeric: true}) : p - q;
      return up ? by : -by;
    };
    table.tBodies[0].append(...rows.sort(order));
  }
  heads.forEach((head, i) => head.querySelector('button').onclick = () => {
    Object.assign(chosen, {column: i, up: chosen.column === i ? !chosen.up : true});
    sort();
  });
  sort();

  const svg = document.querySelector('svg.parallel'), select = document.querySelector('select');
  if (!svg) return;
  const of = kind => heads.map((h, i) => i).filter(i => heads[i].dataset.axis === kind);
  const name = i => heads[i].textContent;
  of('result').forEach(i => select.append(new Option(name(i), name(i))));
  if ([...select.options].some(option => option.value === chosen.result)) {
    select.value = chosen.result;
  }
  select.onchange = () => { chosen.result = select.value; draw(); };

  function draw() {
    const result = of('result').find(i => name(i) === select.value);
    const columns = [...of('knob'), ...(result === undefined ? [] : [result])];
    const width = Math.max(svg.clientWidth, 110 * columns.length), top = 40, height = 260;
    const axes = columns.map((column, i) => ({
      column, x: 70 + i * (width - 140) / Math.max(columns.length - 1, 1),
      ...scale(rows.map(row => text(row, column))),
    }));
    const y = share => top + height * (1 - share);
    const lines = rows.map(row => {
      const shares = axes.map(axis => axis.share(text(row, axis.column)));
      let path = '';
      shares.forEach((share, i) => {
        if (Number.isNaN(share)) return;
        const joined = i > 0 && !Number.isNaN(shares[i - 1]);
        path += `${joined ? 'L' : 'M'}${axes[i].x},${y(share)}`;
      });
      const last = result === undefined ? NaN : shares[shares.length - 1];
      const line = make('path', {d: path, fill: 'none', stroke: colour(last), 'stroke-width': 2},
        make('title', {}, row.cells[0].textContent));
      return {row, shares, line};
    });
    svg.replaceChildren(...lines.map(({line}) => line));
    svg.setAttribute('viewBox', `0 0 ${width} ${top + height + 20}`);
    const filter = () => lines.forEach(({row, shares, line}) => {
      const kept = axes.every((axis, i) => {
        const brush = chosen.brushes[name(axis.column)];
        return !brush || (shares[i] >= brush[0] && shares[i] <= brush[1]);
      });
      line.setAttribute('opacity', kept ? 0.85 : 0.06);
      row.hidden = !kept;
    });
    axes.forEach(axis => {
      const key = name(axis.column), words = {'text-anchor': 'middle', 'font-size': 13};
      const band = make('rect', {x: axis.x - 8, width: 16, fill: '#0b5cad', opacity: 0.25});
      const show = () => {
        const [low, high] = chosen.brushes[key] ?? [0, 0];
        band.setAttribute('y', y(high));
        band.setAttribute('height', y(low) - y(high));
      };
      const catcher = make('rect', {x: axis.x - 16, y: top - 8, width: 32, height: height + 16,
        fill: 'transparent', style: 'cursor:ns-resize;touch-action:none'});
      const at = event => {
        const point = new DOMPoint(event.clientX, event.clientY)
          .matrixTransform(svg.getScreenCTM().inverse());
        return Math.min(1.02, Math.max(-0.02, 1 - (point.y - top) / height));
      };
      let from = null;
      catcher.onpointerdown = event => {
        from = at(event);
        catcher.setPointerCapture(event.pointerId);
      };
      catcher.onpointermove = event => {
        if (from === null) return;
        const to = at(event);
        chosen.brushes[key] = [Math.min(from, to), Math.max(from, to)];
        if (Math.abs(from - to) < 0.01) delete chosen.brushes[key];
        show();
        filter();
      };
      catcher.onpointerup = event => { catcher.onpointermove(event); from = null; };
      svg.append(
        make('path', {d: `M${axis.x},${top}V${top + height}`, stroke: '#59636e'}), band,
        make('text', {...words, x: axis.x, y: 16, 'font-weight': 'bold'}, key),
        ...axis.ticks.map(([share, said]) => make('text', {x: axis.x + 6, y: y(share) + 4,
          'font-size': 12, stroke: '#fff', 'stroke-width': 3, 'paint-order': 'stroke'}, said)),
        catcher);
      show();
    });
    filter();
  }
  draw();
}
start();
"""


def sections(runs: Sequence[Kept], links: Mapping[str, str]) -> dict[str, page.Html]:
  """Returns the sections of a gallery.

  Args:
    runs: What is shown.
    links: From a run's folder to its page; a run without one is not linked.
  """
  knobs, metrics = differing(runs), measured(runs)
  costs = [cost(run) for run in runs]
  head = [
    _head('run', ''), *(_head(knob, 'knob') for knob in knobs),
    *(_head(name, 'result') for name in metrics[:_METRICS]),
    *(_head(name, '') for name in costs[0]),
  ]  # fmt: skip
  rows = []
  for run, own in zip(runs, costs, strict=True):
    link = links.get(str(run.folder))
    name = page.tag('a', run.name, href=urllib.parse.quote(link)) if link else run.name
    cells = [
      _cell(name, run.name),
      *(_cell(*_knob(run.knobs.get(knob, ''))) for knob in knobs),
      *(_cell(shown(run, name), _value(run, name)) for name in metrics[:_METRICS]),
      *(_cell(page.plain(value), value) for value in own.values()),
    ]
    rows.append(page.tag('tr', *cells))
  lines = page.tag('thead', page.tag('tr', *head)), page.tag('tbody', *rows)
  table = page.tag('div', page.tag('table', *lines, class_='gallery'), class_='scroll')
  said = f'{len(runs)} runs. A click on a column sorts by it.'
  if len(metrics) > _METRICS:
    said += f' Of {len(metrics)} metrics {_METRICS} are here; the page of each run has all.'
  drawing = page.join([
    page.tag('label', 'Coloured by ', page.tag('select'), class_='note'),
    page.note(
      'A line is a run. Drag along an axis to keep the runs that pass there, in the table too; '
      'a click lets go. An axis whose ends are 20-fold apart is logarithmic.'
    ),
    page.tag('svg', class_='parallel', style='max-width:none'),
  ])  # fmt: skip
  return {
    **({'Knobs and results': drawing} if knobs and metrics else {}),
    'Runs': page.join([page.note(said), table]),
  }


def _head(name: str, axis: str) -> page.Html:
  return page.tag('th', page.tag('button', name, type='button'), **{'data-axis': axis})


def _cell(content: Any, value: Any) -> page.Html:
  classes = {'class_': 'number'} if isinstance(value, (int, float)) else {}
  return page.tag('td', content, **classes, **{'data-value': value})


def _knob(value: Any) -> tuple[str, Any]:
  if isinstance(value, (bool, str)) or not isinstance(value, (int, float)):
    word = value if isinstance(value, str) else json.dumps(value)
    return word, word
  return page.plain(value), value


def _value(run: Kept, metric: str) -> Any:
  value = run.last.get(metric, math.nan)
  return value if math.isfinite(value) else ''
