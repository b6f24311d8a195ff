"""Where a search is kept: a journal file, or a database that many machines share."""

from __future__ import annotations

import os
from typing import Any


def opened(place: str, beat: int) -> Any:
  """Returns an optuna storage.

  Args:
    place: A database's address, with '://', or a journal's path.
    beat: Seconds between the signs of life of a database's workers.

  Raises:
    ValueError: The database cannot be opened.
  """
  from optuna import storages
  from optuna.storages import journal

  if '://' not in place:
    os.makedirs(os.path.dirname(place) or '.', exist_ok=True)
    return storages.JournalStorage(journal.JournalFileBackend(place))
  from sqlalchemy import exc

  try:
    return storages.RDBStorage(place, heartbeat_interval=beat, grace_period=3 * beat)
  except (ImportError, ValueError, exc.SQLAlchemyError) as error:
    # Its own message, and the traceback, may hold the address, and this a password.
    kind = place.partition('://')[0]
    if isinstance(error, ImportError):
      why = f'no driver of {kind} is installed'
    elif isinstance(error, exc.NoSuchModuleError):
      why = f'there is no kind {kind} of database'
    else:
      why = str(getattr(error, 'orig', None) or 'that is no address').strip().splitlines()[0]
    raise ValueError(
      f'--storage={kind}://... cannot be opened: {why}. Give the address of a database, such as '
      'sqlite:///FILE or mysql+pymysql://USER@HOST/NAME, or none to keep the search in the workdir'
    ) from None
