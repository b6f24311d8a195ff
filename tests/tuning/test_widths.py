"""Under muP a wide model begins and moves as its base does, in every family and optimiser."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bigtrain import architecture, tuning

IMAGE = ((2, 8, 8, 3), np.float32)
ROWS = ((2, 8, 12), np.float32)
TOKENS = ((2, 8), np.int32)

decoder = functools.partial(architecture.DecoderLM, 40, 2, heads=2)
FAMILIES = {
  'mlp': (lambda w: architecture.MLP((w, w), 10), IMAGE),
  'convnet': (lambda w: architecture.Convnet(classes=10, widths=(w, 2 * w)), IMAGE),
  'vit': (lambda w: architecture.ViT(10, 2, depth=2, width=w, heads=2), IMAGE),
  'decoder': (decoder, TOKENS),
  'scanned': (functools.partial(decoder, scan=True), TOKENS),
  'gru': (lambda w: architecture.RecurrentClassifier(10, 'gru', 1, w), ROWS),
}


def shapes(model, inputs):
  begin = lambda x: model.init(jax.random.key(0), x, train=False)['params']  # noqa: E731
  return jax.eval_shape(begin, jax.ShapeDtypeStruct(*inputs))


@functools.cache
def family(name):
  make, inputs = FAMILIES[name]
  return tuning.mup(make(8), inputs), shapes(make(32), inputs)


def by_path(tree):
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(p, simple=True, separator='/'): x for p, x in leaves}


@pytest.mark.parametrize('name', FAMILIES)
def test_hidden_and_output_matrices_move_a_quarter_at_four_times_the_width(name):
  rules, wide = family(name)
  adam, sgd = by_path(rules.rates(wide)), by_path(rules.rates(wide, 'sgd'))
  muon = by_path(rules.rates(wide, 'muon'))
  matrices = 0
  for path, leaf in by_path(wide).items():
    base = rules.shapes[path]
    vector = leaf.ndim - ('blocks' in path) < 2
    m_in = 1 if vector else leaf.shape[-2] / base[-2]
    m_out = leaf.shape[-1] / base[-1]
    assert {m_in, m_out} <= {1, 4}, path
    assert adam[path] == 1 / m_in
    assert sgd[path] == m_out / m_in
    if m_in == m_out == 4:
      assert muon[path] == 1
      matrices += 1
    if 'head/kernel' in path:
      assert (m_in, m_out) == (4, 1)
      assert muon[path] == 1 / 4
  assert matrices >= 1
  same = jax.tree.leaves(rules.rates(jax.eval_shape(rules.base)))
  assert set(same) == {1}


@pytest.mark.parametrize('name', ['mlp', 'decoder', 'scanned'])
def test_matrices_begin_with_the_deviation_that_the_spectral_condition_asks_for(name):
  make, inputs = FAMILIES[name]
  model, rules = make(64), tuning.mup(make(16), inputs)

  @jax.jit
  def begin():
    params = model.init(jax.random.key(1), jnp.zeros(*inputs), train=False)['params']
    return params, rules.initial(params), rules.base()

  plain, begun, base = (by_path(tree) for tree in jax.device_get(begin()))
  for path, leaf in begun.items():
    before, small = plain[path], base[path]
    if leaf.ndim - ('blocks' in path) < 2 or not np.any(small):
      np.testing.assert_array_equal(leaf, before)
      continue
    m_in, m_out = (leaf.shape[axis] / small.shape[axis] for axis in (-2, -1))
    wanted = np.std(small) / np.sqrt(m_in) * min(1, np.sqrt(m_out / m_in))
    assert np.sqrt(np.mean(np.square(leaf))) == pytest.approx(wanted, rel=0.05), path
    # Scaled alone: what the initialiser drew stays.
    np.testing.assert_allclose(leaf / np.std(leaf), before / np.std(before), rtol=1e-3, atol=1e-4)


def test_the_inner_optimizer_moves_each_by_its_rate_and_decays_as_the_base():
  rules, wide = family('mlp')
  params = jax.tree.map(lambda x: jnp.ones(x.shape), wide)
  grads = jax.tree.map(lambda x: jnp.full(x.shape, 0.1), wide)
  optimizer = rules.optimizer(tuning.adamw(0.01, decay=0.5, clip=None))
  state = optimizer.init(params)
  updates = by_path(optimizer.update(grads, state, params)[0])
  # A step of Adam's rate, then decay by rate times decay at any width.
  assert np.allclose(updates['Dense_0/kernel'], -0.01 - 0.005)
  assert np.allclose(updates['Dense_1/kernel'], -0.01 / 4 - 0.005)
  assert np.allclose(updates['head/kernel'], -0.01 / 4 - 0.005)
  assert np.allclose(updates['Dense_1/bias'], -0.01)


def test_sam_takes_its_second_gradient_at_the_parameters_themselves():
  rules, wide = family('mlp')
  params = jax.tree.map(lambda x: jnp.ones(x.shape), wide)
  seen = []

  def grad_fn(params, *_):
    seen.append(params)
    return params

  optimizer = rules.optimizer(tuning.sam(optax.sgd(0.1), radius=1e-3), 'sgd')
  optimizer.update(params, optimizer.init(params), params, grad_fn=grad_fn)
  jax.tree.map(lambda x: np.testing.assert_allclose(x, 1, atol=0.01), seen[0])


@pytest.mark.parametrize('mup', [True, False])
def test_what_a_layer_learns_is_of_one_size_at_any_width(mup):
  """The coordinate check: the change of the outputs after 3 steps of Adam."""
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(16, 6)).astype(np.float32), rng.integers(0, 4, 16)

  def change(width):
    model = architecture.MLP((width, width), 4)
    rules = tuning.mup(architecture.MLP((32, 32), 4), (x.shape, np.float32))
    adam = optax.adam(3e-3)
    optimizer = rules.optimizer(adam) if mup else adam

    @jax.jit
    def run(key):
      params = model.init(key, x, train=False)['params']
      params = rules.initial(params) if mup else params
      first, state = params, optimizer.init(params)
      loss = lambda p: optax.softmax_cross_entropy_with_integer_labels(  # noqa: E731
        model.apply({'params': p}, x, train=True), y
      ).mean()
      for _ in range(3):
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
      moved = [model.apply({'params': p}, x, train=False) for p in (first, params)]
      return jnp.abs(moved[1] - moved[0]).mean()

    return float(jnp.mean(jax.vmap(run)(jax.random.split(jax.random.key(0), 4))))

  ratio = change(512) / change(32)
  assert (0.6 < ratio < 1.6) if mup else ratio > 4


def test_a_tied_output_is_divided_by_the_width_through_the_gain_before_it():
  make = functools.partial(decoder, tied=True)
  rules = tuning.mup(make(16), TOKENS, output_gain='out_norm')
  wide = shapes(make(64), TOKENS)
  begun = jax.jit(rules.initial)(jax.tree.map(lambda x: jnp.ones(x.shape), wide))
  assert np.all(begun['out_norm']['scale'] == 1 / 4)
  assert rules.rates(wide)['out_norm']['scale'] == 1 / 4
  assert rules.rates(wide)['embed']['embedding'] == 1


def test_what_differs_in_more_than_width_is_refused():
  rules, _ = family('scanned')
  deeper = shapes(architecture.DecoderLM(40, 4, 32, heads=2, scan=True), TOKENS)
  for params in (deeper, family('mlp')[1]):
    with pytest.raises(ValueError, match=r'differs in more than width: .* Give it the same depth'):
      rules.rates(params)
  with pytest.raises(ValueError, match="like must be 'adam', 'sgd' or 'muon', got 'lion'"):
    rules.rates(family('scanned')[1], 'lion')
  params = jax.tree.map(lambda x: jnp.ones(x.shape), family('mlp')[1])
  with pytest.raises(ValueError, match='schedule_free'):
    family('mlp')[0].optimizer(tuning.schedule_free(0.1)).init(params)
