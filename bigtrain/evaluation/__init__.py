"""What a model is asked to do, and how well it does it.

means: sums that add up over batches, devices and hosts. objectives: what is minimised, with the
metrics that add. classification: the metrics that rank, from all predictions. intervals: how sure.
pictures: to look at. sown: losses of layers, added.
"""

from etils import epy as _epy

with _epy.lazy_api_imports(globals()):
  from bigtrain.evaluation.classification import Classification as Classification
  from bigtrain.evaluation.intervals import bootstrap_interval as bootstrap_interval
  from bigtrain.evaluation.means import Mean as Mean
  from bigtrain.evaluation.objectives import mean_squared_error as mean_squared_error
  from bigtrain.evaluation.objectives import next_token as next_token
  from bigtrain.evaluation.objectives import sigmoid_cross_entropy as sigmoid_cross_entropy
  from bigtrain.evaluation.objectives import softmax_cross_entropy as softmax_cross_entropy
  from bigtrain.evaluation.pictures import draw_confusion as draw_confusion
  from bigtrain.evaluation.sown import with_sown as with_sown
