"""lm-eval judges our decoder as it judges Hugging Face's own model of the same weights."""

import json

import jax
import numpy as np
import pytest

from bigtrain import architecture, data, iteration
from bigtrain.harness import Scorer, language_model
from tests import toys

WHY = "compares with the originals: pip install 'bigtrain[lm_eval]'"
TEXT = 'the cat sat on the mat, and the dog ran after the cat. ' * 8
SIZES = dict(vocab_size=300, n_embd=32, n_layer=2, n_head=4, n_positions=64)


@pytest.fixture(scope='module')
def ours():
  model = architecture.family('gpt2').from_config({
    'model_type': 'gpt2', **SIZES, 'layer_norm_epsilon': 1e-5, 'activation_function': 'gelu_new'
  })  # fmt: skip
  variables = toys.initialised(model, np.zeros((1, 8), np.int32))
  traces = []

  def logits(variables, tokens):
    traces.append(tokens.shape)
    return model.apply(variables, tokens, train=False)

  return model, variables, Scorer(logits, variables, 64, rows=4), traces


def test_a_score_is_the_sum_over_the_continuation_whatever_stands_beside_it(ours):
  model, variables, scorer, traces = ours
  rng = np.random.default_rng(0)
  pairs = [(rng.integers(0, 300, a), rng.integers(0, 300, b))
           for a, b in ((3, 2), (1, 9), (40, 5), (70, 4), (2, 0), (1, 64), (5, 1))]  # fmt: skip
  found = scorer.score(pairs)
  judge = jax.jit(lambda row: jax.nn.log_softmax(model.apply(variables, row, train=False)))
  for (given, judged), (nats, _) in zip(pairs, found, strict=True):
    tokens = np.array([*given, *judged])[-65:]
    row = np.zeros((1, 64), np.int32)
    row[0, : len(tokens) - 1] = tokens[:-1]
    log_probability = judge(row)[0]
    own = np.asarray(log_probability)[np.arange(len(tokens) - 1), tokens[1:]]
    assert nats == pytest.approx(own[len(own) - len(judged) :].sum(), abs=1e-4)
  assert len(traces) == len(set(traces)) == 2  # A program for rows up to 32 and one up to 64.
  with pytest.raises(ValueError, match='1 to 64 tokens'):
    scorer.score([([1], [1] * 65)])


def test_a_continuation_is_the_likeliest_and_scores_as_such(ours):
  _, _, scorer, _ = ours
  prompts = [[1, 2, 3], [7], list(range(60))]
  made = scorer.go_on(prompts, 20, lambda i, tokens: False)
  assert [len(tokens) for tokens in made] == [20] * 3
  for prompt, tokens in zip(prompts[:2], made[:2], strict=True):
    assert scorer.score([(prompt, tokens)])[0][1]
    assert not scorer.score([(prompt, [*tokens[:-1], (tokens[-1] + 1) % 300])])[0][1]
  short = scorer.go_on(prompts, 20, lambda i, tokens: True)
  assert [len(tokens) for tokens in short] == [16] * 3


def test_log_likelihoods_are_those_of_hugging_faces_own_model(ours, tmp_path):
  torch = pytest.importorskip('torch', reason=WHY)
  transformers = pytest.importorskip('transformers', reason=WHY)
  pytest.importorskip('lm_eval', reason=WHY)
  from lm_eval.api.instance import Instance
  from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

  model, variables, scorer, _ = ours
  tokenizer = data.bpe(data.arrays(text=[TEXT]), 300)
  family = architecture.family('gpt2')
  place = str(tmp_path / 'model')
  config = family.to_config(model)
  iteration.export_hugging_face(place, family.names(model), variables['params'], config)
  theirs = transformers.GPT2LMHeadModel.from_pretrained(place).eval()
  torch.set_num_threads(1)
  found = language_model(scorer, tokenizer)

  def known(given, judged):
    tokens = torch.tensor([*map(int, given), *map(int, judged)])[-65:]
    with torch.no_grad():
      logits = theirs(tokens[None, :-1]).logits[0]
    own = torch.log_softmax(logits, -1)[torch.arange(len(tokens) - 1), tokens[1:]][-len(judged) :]
    return float(own.sum()), bool((logits.argmax(-1) == tokens[1:])[-len(judged) :].all())

  def requests(kind, *arguments):
    return [Instance(kind, {}, one, i) for i, one in enumerate(arguments)]

  encode, end = tokenizer.encode, [tokenizer.end]
  # Spaces at the end of what is given belong to what follows, by lm-eval's rule.
  cases = [
    (('the cat', ' sat'), encode('the cat'), encode(' sat')),
    (('the dog ', 'ran on'), encode('the dog'), encode(' ran on')),
    (('', 'the mat'), end, encode('the mat')),
    ((TEXT.strip(), ' and so on'), encode(TEXT.strip()), encode(' and so on')),
  ]
  answers = found.loglikelihood(requests('loglikelihood', *(texts for texts, *_ in cases)))
  for (nats, greedy), (_, given, judged) in zip(answers, cases, strict=True):
    expected = known(given, judged)
    assert nats == pytest.approx(expected[0], abs=1e-4)
    assert greedy == expected[1]
  for text, nats in zip(
    (TEXT, 'a'), found.loglikelihood_rolling(requests('rolling', (TEXT,), ('a',))), strict=True
  ):
    windows = get_rolling_token_windows(encode(text).tolist(), tokenizer.end, 64, 1)
    assert nats == pytest.approx(
      sum(known(*make_disjoint_window(window))[0] for window in windows), rel=1e-5
    )
  options = {'until': ['zq'], 'max_gen_toks': 12, 'do_sample': False}
  prompt = torch.tensor(encode('the cat sat').astype(int))[None]
  made = theirs.generate(prompt, do_sample=False, max_new_tokens=12, pad_token_id=0)
  said = tokenizer.decode(made[0, prompt.shape[1] :].numpy())
  asked = requests('generate_until', ('the cat sat', options), ('the cat sat', {'until': said[:9]}))
  assert found.generate_until(asked) == [said, '']
  sampled = requests('generate_until', ('a', {**options, 'do_sample': True}))
  with pytest.raises(ValueError, match='leave do_sample out'):
    found.generate_until(sampled)


TASK = """
task: animals
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list:
  - metric: acc
"""


@pytest.mark.slow
def test_the_verb_runs_a_task_from_local_files(tmp_path, monkeypatch, capsys):
  pytest.importorskip('lm_eval', reason=WHY)
  import optax

  from bigtrain.evaluation import next_token
  from bigtrain.experiment import Experiment
  from bigtrain.program import Program
  from bigtrain.train import fit
  from bigtrain.verbs.lm_eval import lm_eval

  monkeypatch.setenv('HF_DATASETS_CACHE', str(tmp_path / 'cache'))
  rows = [{'question': 'the cat sat on', 'choices': [' the mat', ' zq'], 'answer': i % 2}
          for i in range(6)]  # fmt: skip
  (tmp_path / 'animals.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
  (tmp_path / 'animals.yaml').write_text(TASK.format(file=tmp_path / 'animals.jsonl'))
  windows = data.pack(data.arrays(text=[TEXT]), 32)
  experiment = Experiment(
    data=data.forever(windows, 8), model=architecture.DecoderLM(vocab=256, depth=1, width=16),
    objective=next_token, optimizer=optax.adam(0.01), steps=20,
  )  # fmt: skip
  place = str(tmp_path / 'run')
  fit(Program(experiment), place, progress=False)
  options = dict(workdir=place, include_path=str(tmp_path))
  found = lm_eval(experiment, tasks=('animals',), **options)
  assert found['animals/acc'] == 0.5  # The same choice each time, which is right every other time.
  assert found['animals/acc_low'] < 0.5 < found['animals/acc_high']
  assert 'animals/acc' in capsys.readouterr().out
  kept = json.loads((tmp_path / 'run/evaluation/lm_eval/metrics.json').read_text())
  assert (kept['step'], kept['metrics']['animals/acc']['value']) == (20, 0.5)
  with pytest.raises(ValueError, match='there are: animals'):
    lm_eval(experiment, tasks=('animal',), **options)
