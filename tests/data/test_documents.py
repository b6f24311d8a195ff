"""Rows of documents: each token is a target once, and no document sees another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigtrain import data
from bigtrain.data import documents, subwords

TEXTS = ['def f(x):\n  return x + 1\n' * 5, '', 'naïve café 東京 🙂\n', 'a', 'class A:\n' * 9]
TRAINED = subwords.Subwords(subwords._train(TEXTS, 300).decode())
METHODS = ['concat', 'best_fit']


def rows(texts, length, tokenizer=None, method='concat'):
  packed = documents.pack_documents(data.arrays(text=list(texts)), length, tokenizer, method=method)
  return packed, packed.__getitems__(np.arange(len(packed)))


def pieces(packed, batch):
  """Returns (document, inputs, targets, positions, bytes) of each segment, as the rows tell."""
  found = []
  for row, ids in enumerate(batch['segment_ids']):
    for segment in range(1, ids.max() + 1):
      own = ids == segment
      keys = ['inputs', 'targets', 'positions']
      found.append((packed.document[len(found)], *(batch[key][row][own].tolist() for key in keys)))
  return found


def check(texts, length, tokenizer, method):
  packed, batch = rows(texts, length, tokenizer, method)
  tokenizer = packed.tokenizer
  end = [] if tokenizer.end is None else [tokenizer.end]
  whole = [[*end, *tokenizer.encode(text).tolist(), *end] for text in texts]
  got: dict = {}
  for document, inputs, targets, positions in pieces(packed, batch):
    assert positions == list(range(len(inputs)))
    before = got.setdefault(int(document), whole[document][:1])
    # A piece goes on where the one before stopped, with its last token as the first input.
    assert inputs == [before[-1], *targets[:-1]]
    before += targets
  # Every token but the first is a target once; a document of one token and no end has none.
  assert got == {i: tokens for i, tokens in enumerate(whole) if len(tokens) > 1}
  padding = batch['segment_ids'] == 0
  assert np.array_equal(batch['token_weight'], 1.0 - padding)
  for key, values in batch.items():
    assert values.shape == (len(packed), length)
    assert values.dtype == (np.float32 if key in ('token_weight', 'bytes') else np.int32)
    assert not values[padding].any()
  # Segments and padding come in blocks from the left.
  assert (np.diff(np.where(padding, 10**6, batch['segment_ids'])) >= 0).all()
  assert packed.fill == pytest.approx(batch['token_weight'].mean())
  assert packed.about['fill'] == packed.fill
  return packed, batch


@settings(max_examples=80, deadline=None)
@given(
  st.lists(st.text(max_size=30), min_size=1, max_size=12),
  st.integers(1, 24),
  st.sampled_from(METHODS),
)
def test_every_token_is_a_target_once_and_segments_never_mix(texts, length, method):
  check(texts, length, None, method)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('length', [1, 7, 64])
@pytest.mark.parametrize('tokenizer', [TRAINED, data.Characters(''.join(TEXTS))])
def test_so_it_is_with_other_tokenizers(tokenizer, length, method):
  check(TEXTS, length, tokenizer, method)


@pytest.mark.parametrize('method', METHODS)
def test_a_text_that_holds_the_end_stays_one_document(method):
  packed, _ = check(['ab\0cd', 'e'], 4, None, method)
  assert set(packed.document.tolist()) == {0, 1}


@pytest.mark.parametrize('method', METHODS)
def test_bytes_of_targets_add_up_to_the_corpus(method):
  _, batch = rows(TEXTS, 16, TRAINED, method)
  assert batch['bytes'].sum() == sum(len(text.encode()) + 1 for text in TEXTS)
  assert 'bytes' not in rows(TEXTS, 16, None, method)[1]


@pytest.mark.parametrize(('method', 'least'), [('concat', 0.99), ('best_fit', 0.95)])
def test_the_standard_library_fills_the_rows(method, least):
  corpus = data.stdlib()
  corpus = corpus.select(np.arange(0, len(corpus), 12))
  packed, batch = rows(corpus.column('text'), 512, None, method)
  assert packed.fill > least
  texts: dict = {}
  for document, _, targets, _ in pieces(packed, batch):
    texts.setdefault(int(document), []).extend(targets)
  decoded = [packed.tokenizer.decode(texts[i][:-1]) for i in range(len(corpus))]
  assert decoded == corpus.column('text').tolist()


def test_best_fit_cuts_only_what_is_longer_than_a_row():
  rng = np.random.default_rng(0)
  sizes = [1, 30, 31, 32, 33, 62, 63, 64, 100, *rng.integers(1, 32, 200)]
  texts = ['x' * size for size in sizes]
  best, _ = rows(texts, 32, None, 'best_fit')
  assert np.bincount(best.document).tolist() == [-(-(size + 1) // 32) for size in sizes]
  assert best.fill > 0.95
  concat, _ = rows(texts, 32)
  assert concat.about['documents_whole'] < best.about['documents_whole'] == 3 + 200


def test_best_fit_takes_the_fullest_row_with_room():
  # Pairs: 7, 6, 3, 2, 1, 1 in rows of 10: the 3 goes to the 7, the 2 and a 1 to the 6.
  best, _ = rows(['x' * size for size in (0, 5, 1, 6, 2, 0)], 10, None, 'best_fit')
  in_rows = [
    sorted(best.document[a:b].tolist())
    for a, b in zip(best._first[:-1], best._first[1:], strict=True)
  ]
  assert in_rows == [[3, 4], [0, 1, 2, 5]]


@pytest.mark.parametrize('method', METHODS)
def test_some_rows_are_those_of_all(method):
  packed, batch = rows(TEXTS * 3, 16, None, method)
  some = np.array([5, 0, 5, len(packed) - 1])
  for key, values in packed.__getitems__(some).items():
    assert np.array_equal(values, batch[key][some])
  assert all(np.array_equal(packed[-1][key], values[-1]) for key, values in batch.items())
  again = rows(TEXTS * 3, 16, None, method)[1]
  assert all(np.array_equal(again[key], batch[key]) for key in batch)


def test_rows_survive_the_way_to_a_worker():
  import cloudpickle

  packed, batch = rows(TEXTS, 16, TRAINED, 'best_fit')
  sent = cloudpickle.loads(cloudpickle.dumps(packed))
  assert np.array_equal(sent[2]['targets'], batch['targets'][2])


@pytest.mark.parametrize('method', METHODS)
def test_a_decoder_gives_a_document_the_same_whatever_shares_its_row(method):
  jax = pytest.importorskip('jax')
  from bigtrain import architecture

  model = architecture.DecoderLM(vocab=256, depth=1, width=32, conv=2, init_scale=0.3)
  _, batch = rows(['hello, world', 'abc'], 20, None, method)
  _, alone = rows(['abc'], 20, None, method)

  @jax.jit
  def logits(inputs, segment_ids):
    params = model.init(jax.random.key(0), inputs, train=False)
    return model.apply(params, inputs, train=False, segment_ids=segment_ids)

  both = [logits(b['inputs'], b['segment_ids']) for b in (batch, alone)]
  where = batch['segment_ids'][0] == 2
  assert where.sum() == 4
  assert np.allclose(both[0][0][where], both[1][0][:4], atol=1e-5)


@pytest.mark.parametrize(
  ('act', 'words'),
  [
    (lambda: rows(['a'], 4, None, 'worst_fit'), ["'worst_fit'", 'concat, best_fit']),
    (lambda: rows(['a'], 0), ['length', '0']),
    (lambda: documents.pack_documents(data.arrays(text=np.ones(3)), 4), ['not text', 'name']),
    (lambda: rows(['a', 'b'], 4, data.Characters('ab')), ['no target', 'longer']),
  ],
)
def test_bad_arguments_are_a_sentence(act, words):
  with pytest.raises(ValueError, match=r'^data\.pack_documents: ') as caught:
    act()
  assert all(word in str(caught.value) for word in words), caught.value
