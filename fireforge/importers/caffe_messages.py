# SPDX-License-Identifier: Apache-2.0
"""Caffe's messages as far as networks need them: tables of field numbers, and protobuf's classes of them."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "fireforge.caffe"
# of each message: number, name (* repeated, + repeated and packed), type, and default where there is one
MESSAGES = """
BlobShape: 1 dim+ int64
BlobProto: 7 shape BlobShape; 5 data+ float; 6 diff+ float; 8 double_data+ double; 9 double_diff+ double;
  1 num int32 0; 2 channels int32 0; 3 height int32 0; 4 width int32 0
FillerParameter: 1 type string constant; 2 value float 0; 3 min float 0; 4 max float 1; 5 mean float 0; 6 std float 1;
  7 sparse int32 -1; 8 variance_norm FillerParameter.VarianceNorm FAN_IN
NetState: 1 phase Phase TEST; 2 level int32 0; 3 stage* string
NetStateRule: 1 phase Phase; 2 min_level int32; 3 max_level int32; 4 stage* string; 5 not_stage* string
ParamSpec: 1 name string; 2 share_mode ParamSpec.DimCheckMode; 3 lr_mult float 1; 4 decay_mult float 1
NetParameter: 1 name string; 3 input* string; 8 input_shape* BlobShape; 4 input_dim* int32; 5 force_backward bool false;
  6 state NetState; 7 debug_info bool false; 100 layer* LayerParameter; 2 layers* V1LayerParameter
LayerParameter: 1 name string; 2 type string; 3 bottom* string; 4 top* string; 10 phase Phase; 5 loss_weight* float;
  6 param* ParamSpec; 7 blobs* BlobProto; 11 propagate_down* bool; 8 include* NetStateRule; 9 exclude* NetStateRule;
  100 transform_param TransformationParameter; 102 accuracy_param AccuracyParameter;
  139 batch_norm_param BatchNormParameter;
  141 bias_param BiasParameter; 148 clip_param ClipParameter; 104 concat_param ConcatParameter;
  106 convolution_param ConvolutionParameter; 107 data_param DataParameter; 108 dropout_param DropoutParameter;
  109 dummy_data_param DummyDataParameter; 110 eltwise_param EltwiseParameter; 135 flatten_param FlattenParameter;
  115 image_data_param ImageDataParameter; 117 inner_product_param InnerProductParameter;
  143 input_param InputParameter;
  118 lrn_param LRNParameter; 119 memory_data_param MemoryDataParameter; 121 pooling_param PoolingParameter;
  122 power_param PowerParameter; 131 prelu_param PReLUParameter; 130 python_param PythonParameter;
  136 reduction_param ReductionParameter; 123 relu_param ReLUParameter; 133 reshape_param ReshapeParameter;
  142 scale_param ScaleParameter; 125 softmax_param SoftmaxParameter; 126 slice_param SliceParameter;
  147 swish_param SwishParameter
V1LayerParameter: 2 bottom* string; 3 top* string; 4 name string; 32 include* NetStateRule; 33 exclude* NetStateRule;
  5 type V1LayerParameter.LayerType; 6 blobs* BlobProto; 1001 param* string;
  1002 blob_share_mode* V1LayerParameter.DimCheckMode; 7 blobs_lr* float; 8 weight_decay* float; 35 loss_weight* float;
  27 accuracy_param AccuracyParameter; 9 concat_param ConcatParameter; 10 convolution_param ConvolutionParameter;
  11 data_param DataParameter; 12 dropout_param DropoutParameter; 26 dummy_data_param DummyDataParameter;
  24 eltwise_param EltwiseParameter; 15 image_data_param ImageDataParameter;
  17 inner_product_param InnerProductParameter; 18 lrn_param LRNParameter; 22 memory_data_param MemoryDataParameter;
  19 pooling_param PoolingParameter; 21 power_param PowerParameter; 30 relu_param ReLUParameter;
  39 softmax_param SoftmaxParameter; 31 slice_param SliceParameter; 36 transform_param TransformationParameter;
  1 layer V0LayerParameter
V0LayerParameter: 1 name string; 2 type string
TransformationParameter: 1 scale float 1; 2 mirror bool false; 3 crop_size uint32 0; 4 mean_file string;
  5 mean_value* float; 6 force_color bool false; 7 force_gray bool false
AccuracyParameter: 1 top_k uint32 1; 2 axis int32 1; 3 ignore_label int32
BatchNormParameter: 1 use_global_stats bool; 2 moving_average_fraction float 0.999; 3 eps float 1e-05
BiasParameter: 1 axis int32 1; 2 num_axes int32 1; 3 filler FillerParameter
ClipParameter: 1 min float; 2 max float
ConcatParameter: 2 axis int32 1; 1 concat_dim uint32 1
ConvolutionParameter: 1 num_output uint32; 2 bias_term bool true; 3 pad* uint32; 4 kernel_size* uint32;
  6 stride* uint32; 18 dilation* uint32; 9 pad_h uint32 0; 10 pad_w uint32 0; 11 kernel_h uint32; 12 kernel_w uint32;
  13 stride_h uint32; 14 stride_w uint32; 5 group uint32 1; 7 weight_filler FillerParameter;
  8 bias_filler FillerParameter; 15 engine ConvolutionParameter.Engine DEFAULT; 16 axis int32 1;
  17 force_nd_im2col bool false
DataParameter: 1 source string; 4 batch_size uint32; 7 rand_skip uint32 0; 8 backend DataParameter.DB LEVELDB;
  2 scale float 1; 3 mean_file string; 5 crop_size uint32 0; 6 mirror bool false; 9 force_encoded_color bool false;
  10 prefetch uint32 4
DropoutParameter: 1 dropout_ratio float 0.5
DummyDataParameter: 1 data_filler* FillerParameter; 6 shape* BlobShape; 2 num* uint32; 3 channels* uint32;
  4 height* uint32; 5 width* uint32
EltwiseParameter: 1 operation EltwiseParameter.EltwiseOp SUM; 2 coeff* float; 3 stable_prod_grad bool true
FlattenParameter: 1 axis int32 1; 2 end_axis int32 -1
ImageDataParameter: 1 source string; 4 batch_size uint32 1; 7 rand_skip uint32 0; 8 shuffle bool false;
  9 new_height uint32 0; 10 new_width uint32 0; 11 is_color bool true; 2 scale float 1; 3 mean_file string;
  5 crop_size uint32 0; 6 mirror bool false; 12 root_folder string
InnerProductParameter: 1 num_output uint32; 2 bias_term bool true; 3 weight_filler FillerParameter;
  4 bias_filler FillerParameter; 5 axis int32 1; 6 transpose bool false
InputParameter: 1 shape* BlobShape
LRNParameter: 1 local_size uint32 5; 2 alpha float 1; 3 beta float 0.75;
  4 norm_region LRNParameter.NormRegion ACROSS_CHANNELS; 5 k float 1; 6 engine LRNParameter.Engine DEFAULT
MemoryDataParameter: 1 batch_size uint32; 2 channels uint32; 3 height uint32; 4 width uint32
PoolingParameter: 1 pool PoolingParameter.PoolMethod MAX; 4 pad uint32 0; 9 pad_h uint32 0; 10 pad_w uint32 0;
  2 kernel_size uint32; 5 kernel_h uint32; 6 kernel_w uint32; 3 stride uint32 1; 7 stride_h uint32; 8 stride_w uint32;
  11 engine PoolingParameter.Engine DEFAULT; 12 global_pooling bool false;
  13 round_mode PoolingParameter.RoundMode CEIL
PowerParameter: 1 power float 1; 2 scale float 1; 3 shift float 0
PReLUParameter: 1 filler FillerParameter; 2 channel_shared bool false
PythonParameter: 1 module string; 2 layer string; 3 param_str string; 4 share_in_parallel bool false
ReductionParameter: 1 operation ReductionParameter.ReductionOp SUM; 2 axis int32 0; 3 coeff float 1
ReLUParameter: 1 negative_slope float 0; 2 engine ReLUParameter.Engine DEFAULT
ReshapeParameter: 1 shape BlobShape; 2 axis int32 0; 3 num_axes int32 -1
ScaleParameter: 1 axis int32 1; 2 num_axes int32 1; 3 filler FillerParameter; 4 bias_term bool false;
  5 bias_filler FillerParameter
SliceParameter: 3 axis int32 1; 2 slice_point* uint32; 1 slice_dim uint32 1
SoftmaxParameter: 1 engine SoftmaxParameter.Engine DEFAULT; 2 axis int32 1
SwishParameter: 1 beta float 1
"""
ENUMS = """
Phase: TRAIN TEST
FillerParameter.VarianceNorm: FAN_IN FAN_OUT AVERAGE
ParamSpec.DimCheckMode: STRICT PERMISSIVE
ConvolutionParameter.Engine: DEFAULT CAFFE CUDNN
DataParameter.DB: LEVELDB LMDB
EltwiseParameter.EltwiseOp: PROD SUM MAX
LRNParameter.NormRegion: ACROSS_CHANNELS WITHIN_CHANNEL
LRNParameter.Engine: DEFAULT CAFFE CUDNN
PoolingParameter.PoolMethod: MAX AVE STOCHASTIC
PoolingParameter.Engine: DEFAULT CAFFE CUDNN
PoolingParameter.RoundMode: CEIL FLOOR
ReductionParameter.ReductionOp: - SUM ASUM SUMSQ MEAN
ReLUParameter.Engine: DEFAULT CAFFE CUDNN
SoftmaxParameter.Engine: DEFAULT CAFFE CUDNN
V1LayerParameter.DimCheckMode: STRICT PERMISSIVE
V1LayerParameter.LayerType: NONE ACCURACY BNLL CONCAT CONVOLUTION DATA DROPOUT EUCLIDEAN_LOSS FLATTEN HDF5_DATA
  HDF5_OUTPUT IM2COL IMAGE_DATA INFOGAIN_LOSS INNER_PRODUCT LRN MULTINOMIAL_LOGISTIC_LOSS POOLING RELU SIGMOID SOFTMAX
  SOFTMAX_LOSS SPLIT TANH WINDOW_DATA ELTWISE POWER SIGMOID_CROSS_ENTROPY_LOSS HINGE_LOSS MEMORY_DATA ARGMAX THRESHOLD
  DUMMY_DATA SLICE MVN ABSVAL SILENCE CONTRASTIVE_LOSS EXP DECONVOLUTION
"""  # values count from 0 in this order; "-" leaves one out
# what V1's names of types are called in V2
V1_TYPES = {
    "ABSVAL": "AbsVal",
    "ACCURACY": "Accuracy",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss",
    "CONVOLUTION": "Convolution",
    "DATA": "Data",
    "DECONVOLUTION": "Deconvolution",
    "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData",
    "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss",
    "EXP": "Exp",
    "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss",
    "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN",
    "POOLING": "Pooling",
    "POWER": "Power",
    "RELU": "ReLU",
    "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence",
    "SLICE": "Slice",
    "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split",
    "TANH": "TanH",
    "THRESHOLD": "Threshold",
    "WINDOW_DATA": "WindowData",
}
_Field = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
    "uint32": _Field.TYPE_UINT32,
}


def _lines(table: str) -> dict[str, str]:
    """The table's lines by the name before their colon; lines that begin with a space go on from the one before."""
    text = " ".join(("\n" if line[:1] != " " else "") + line.strip() for line in table.splitlines())
    pairs = (line.split(":", 1) for line in text.splitlines() if line.strip())
    return {name.strip(): rest.strip() for name, rest in pairs}


def _add_field(message: Any, text: str, enums: set[str]) -> None:
    number, name, kind, *default = text.split()
    label = _Field.LABEL_REPEATED if name[-1] in "*+" else _Field.LABEL_OPTIONAL
    field = message.field.add(name=name.rstrip("*+"), number=int(number), label=label)
    if name.endswith("+"):
        field.options.packed = True
    if default:
        field.default_value = default[0]
    if kind in SCALARS:
        field.type = SCALARS[kind]
        return
    field.type = _Field.TYPE_ENUM if kind in enums else _Field.TYPE_MESSAGE
    field.type_name = f".{PACKAGE}.{kind}"


def _classes() -> dict[str, Any]:
    """Each message's class, of a pool of our own: another Caffe or ONNX in the process is not disturbed."""
    file = descriptor_pb2.FileDescriptorProto(name="fireforge/caffe.proto", package=PACKAGE, syntax="proto2")
    messages, enums = _lines(MESSAGES), _lines(ENUMS)
    holders = {name: file.message_type.add(name=name) for name in messages}
    for name, values in enums.items():
        holder, _, short = name.rpartition(".")
        enum = (holders[holder] if holder else file).enum_type.add(name=short)
        for number, value in enumerate(values.split()):
            if value != "-":
                enum.value.add(name=value, number=number)
    for name, fields in messages.items():
        for text in fields.split(";"):
            _add_field(holders[name], text, set(enums))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in messages}


CLASSES = _classes()
NetParameter = CLASSES["NetParameter"]
LayerParameter = CLASSES["LayerParameter"]
BlobProto = CLASSES["BlobProto"]
