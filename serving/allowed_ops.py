"""The operations that a served graph may hold. A SavedModel is a program: what is not named here is refused.

Lists by what an operation does, so that a reader can judge each: nothing here reads or writes files, opens sockets, runs Python, prints,
or changes a variable. To serve a model with a further operation, read what the operation does, and add it.
"""

from __future__ import annotations

_ARITHMETIC = """
    Abs Add AddN AddV2 BiasAdd Ceil ClipByValue Cos Cumprod Cumsum CumulativeLogsumexp Div DivNoNan Erf Erfc Erfinv Exp Expm1 Floor FloorDiv
    FloorMod Lgamma Log Log1p Maximum Minimum Mod Mul MulNoNan Neg Pow RealDiv Reciprocal Rint Round Rsqrt Sigmoid Sign Sin Softplus Softsign Sqrt
    Square SquaredDifference Sub Tan Tanh TruncateDiv TruncateMod Xdivy Xlog1py Xlogy
"""
_NETWORKS = """
    AvgPool BatchMatMul BatchMatMulV2 BatchMatMulV3 Conv2D DepthwiseConv2dNative Einsum Elu FusedBatchNormV3 LeakyRelu LogSoftmax MatMul MaxPool
    MaxPoolV2 Relu Relu6 Selu Softmax L2Loss InvertPermutation MatrixBandPart MatrixDiag MatrixDiagV3 MatrixDiagPartV3 TopKV2 InTopKV2
"""
_COMPARISONS = """
    All Any ApproximateEqual BitwiseAnd BitwiseOr BitwiseXor Equal Greater GreaterEqual Invert IsFinite IsInf IsNan LeftShift Less LessEqual
    LogicalAnd LogicalNot LogicalOr NotEqual RightShift
"""
_REDUCTIONS = """
    ArgMax ArgMin Bincount DenseBincount EuclideanNorm LowerBound Max Mean Min Prod SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum
    SparseSegmentMean SparseSegmentSqrtN SparseSegmentSum Sum Unique UniqueV2 UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
    UnsortedSegmentSum UpperBound
"""
_SHAPES = """
    Bitcast BroadcastArgs BroadcastTo Cast Concat ConcatV2 Const DynamicPartition DynamicStitch EnsureShape ExpandDims Fill Gather GatherNd
    GatherV2 Identity IdentityN LinSpace MirrorPad NoOp OnesLike OneHot Pack Pad PadV2 ParallelConcat ParallelDynamicStitch Placeholder
    PlaceholderWithDefault PreventGradient RaggedGather RaggedRange RaggedTensorToTensor Range Rank Reshape ReverseSequence ReverseV2 Roll
    ScatterNd Select SelectV2 Shape ShapeN Size Slice Snapshot Split SplitV Squeeze StopGradient StridedSlice Tile Transpose TensorScatterAdd
    TensorScatterUpdate Unpack Where ZerosLike
"""
_TEXTS = """
    AsString ReduceJoin RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace StringJoin StringLength StringLower StringSplitV2
    StringStrip StringToHashBucketFast StringToHashBucketStrong StringToNumber StringUpper Substr UnsortedSegmentJoin
"""
_LISTS = """
    EmptyTensorList TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem TensorListLength
    TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListSetItem TensorListSplit TensorListStack
"""
# Functions are followed into their bodies. `Assert` ends a request with 400.
_CONTROL = "Assert Case If PartitionedCall StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile While"
# What lies in the variables and tables of the model itself is read and not changed.
_STORES = "HashTableV2 LookupTableFindV2 LookupTableSizeV2 ReadVariableOp ResourceGather ResourceGatherNd VarHandleOp VariableShape"

PURE = frozenset(" ".join((_ARITHMETIC, _NETWORKS, _COMPARISONS, _REDUCTIONS, _SHAPES, _TEXTS, _LISTS)).split())
IN_SIGNATURES = PURE | frozenset(_CONTROL.split()) | frozenset(_STORES.split())
# Run once, by the loader, with nothing of a request: tables are filled from variables, and variables from the version's own files.
IN_INITIALIZERS = IN_SIGNATURES | {"InitializeTableV2"}
IN_RESTORING = IN_SIGNATURES | {"AssignVariableOp", "RestoreV2"}
