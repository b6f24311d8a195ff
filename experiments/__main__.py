"""`python -m experiments`: the README's table of experiments, from their headers.

python -m experiments            # prints it
python -m experiments README.md  # puts it in the place of the one there
"""

import argparse
import ast
import pathlib
import sys

HEAD = '| experiment | what it does | measured |\n| --- | --- | --- |\n'


def table() -> str:
  """Returns the table: an experiment's name, the first line of its header, and its results."""
  rows = []
  for path in sorted(pathlib.Path(__file__).parent.glob('[!_]*.py')):
    header = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    title, _, *said = [' '.join(part.split()) for part in header.split('\n\n')]
    name = f'[`{path.stem}`](experiments/{path.name})'
    rows.append(f'| {name} | {title} | {" ".join(said)} |\n'.replace('\\', '\\\\'))
  return HEAD + ''.join(rows)


def placed(text: str) -> str:
  """Returns a page with its table of experiments made anew.

  Raises:
    ValueError: The page has no such table.
  """
  before, found, rest = text.partition(HEAD)
  if not found:
    raise ValueError(f'the page has no table that begins with {HEAD.splitlines()[0]!r}: add that')
  lines = rest.splitlines(keepends=True)
  after = next((i for i, line in enumerate(lines) if not line.startswith('|')), len(lines))
  return before + table() + ''.join(lines[after:])


def main() -> None:
  """Prints the table, or puts it into a page."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('page', nargs='?', type=pathlib.Path, help='a file that has the table')
  page = parser.parse_args().page
  if page is None:
    print(table(), end='')
    return
  try:
    page.write_text(placed(page.read_text(encoding='utf-8')), encoding='utf-8')
  except (OSError, ValueError) as error:
    sys.exit(f'error: {page}: {getattr(error, "strerror", None) or error}')


if __name__ == '__main__':
  main()
