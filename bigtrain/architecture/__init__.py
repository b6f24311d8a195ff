"""Architecture: model families as pure Flax Linen modules, and the parts they are built from.

Each module is called as `model.apply(variables, inputs, train=...)`: `train=True` turns dropout and
batch statistics on. Parameters are float32; `dtype` is what they are computed in.
"""

from etils import epy as _epy

with _epy.lazy_api_imports(globals()):
  from bigtrain.architecture.attentions import attention as attention
  from bigtrain.architecture.cached_decoding import cached_decode as cached_decode
  from bigtrain.architecture.cached_decoding import tiled as tiled
  from bigtrain.architecture.convnets import Convnet as Convnet
  from bigtrain.architecture.convnexts import CONVNEXTS as CONVNEXTS
  from bigtrain.architecture.convnexts import ConvNeXt as ConvNeXt
  from bigtrain.architecture.cross_attentions import AttentionPool as AttentionPool
  from bigtrain.architecture.cross_attentions import CrossAttention as CrossAttention
  from bigtrain.architecture.decoders import DecoderLM as DecoderLM
  from bigtrain.architecture.decoders import init_cache as init_cache
  from bigtrain.architecture.encoder_decoders import EncoderDecoder as EncoderDecoder
  from bigtrain.architecture.encoders import Encoder as Encoder
  from bigtrain.architecture.experts import Experts as Experts
  from bigtrain.architecture.low_precision import quantised as quantised
  from bigtrain.architecture.mixers import Mixer as Mixer
  from bigtrain.architecture.parts import MLP as MLP
  from bigtrain.architecture.parts import Mirrored as Mirrored
  from bigtrain.architecture.parts import gelu as gelu
  from bigtrain.architecture.positions import LinearScaling as LinearScaling
  from bigtrain.architecture.positions import Llama3Scaling as Llama3Scaling
  from bigtrain.architecture.positions import rotary as rotary
  from bigtrain.architecture.published import family as family
  from bigtrain.architecture.published import family_of as family_of
  from bigtrain.architecture.recurrent import RecurrentLayers as RecurrentLayers
  from bigtrain.architecture.resnets import RESNETS as RESNETS
  from bigtrain.architecture.resnets import ResNet as ResNet
  from bigtrain.architecture.sequence_models import RecurrentClassifier as RecurrentClassifier
  from bigtrain.architecture.sequence_models import RecurrentLM as RecurrentLM
  from bigtrain.architecture.spectrograms import OnSpectrogram as OnSpectrogram
  from bigtrain.architecture.spectrograms import log_mel as log_mel
  from bigtrain.architecture.stacking import stack_layers as stack_layers
  from bigtrain.architecture.stacking import unstack_layers as unstack_layers
  from bigtrain.architecture.towers import TwoTowers as TwoTowers
  from bigtrain.architecture.tubelets import inflated as inflated
  from bigtrain.architecture.vision_transformers import ViT as ViT
