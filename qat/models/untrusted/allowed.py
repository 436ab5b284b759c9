"""What the config of an untrusted model may name; everything else is refused. Names only, no imports.

Left out on purpose: whatever carries or finds code (Lambda, RNN cell wrappers with functions, feature columns), reads
or writes files, prints, calls back into Python, or deserializes (`keras.models.*`).
"""


def _names(text: str, prefix: str = "") -> frozenset[str]:
    return frozenset(prefix + name for name in text.split())


LAYERS = _names("""
    AbstractRNNCell Activation ActivityRegularization Add AdditiveAttention AlphaDropout Attention Average
    AveragePooling1D AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D BatchNormalization
    BatchNormalizationV1 BatchNormalizationV2 Bidirectional CategoryEncoding CenterCrop Concatenate Conv1D
    Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D
    Convolution1DTranspose Convolution2D Convolution2DTranspose Convolution3D Convolution3DTranspose Cropping1D
    Cropping2D Cropping3D CuDNNGRU CuDNNLSTM CustomScaleLayer Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot
    Dropout ELU EinsumDense Embedding Flatten GRU GRUCell GRUCellV1 GRUCellV2 GRUV1 GRUV2 GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool1D GlobalAvgPool2D GlobalAvgPool3D
    GlobalMaxPool1D GlobalMaxPool2D GlobalMaxPool3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GroupNormalization HashedCrossing Hashing Identity InputLayer IntegerLookup LSTM LSTMCell LSTMCellV1 LSTMCellV2
    LSTMV1 LSTMV2 Layer LayerNormalization LayerScale LeakyReLU LocallyConnected1D LocallyConnected2D Masking MaxPool1D
    MaxPool2D MaxPool3D MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum MultiHeadAttention Multiply Normalization
    PReLU Permute RNN RandomBrightness RandomContrast RandomCrop RandomFlip RandomHeight RandomRotation
    RandomTranslation RandomWidth RandomZoom ReLU RepeatVector Rescaling Reshape Resizing SeparableConv1D
    SeparableConv2D SeparableConvolution1D SeparableConvolution2D SimpleRNN SimpleRNNCell Softmax SpatialDropout1D
    SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells StochasticDepth StringLookup Subtract
    SyncBatchNormalization TextVectorization ThresholdedReLU TimeDistributed UnitNormalization UpSampling1D UpSampling2D
    UpSampling3D Wrapper ZeroPadding1D ZeroPadding2D ZeroPadding3D
""")

KERAS3_LAYERS = _names("""
    AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D AdaptiveMaxPooling1D
    AdaptiveMaxPooling2D AdaptiveMaxPooling3D AugMix AutoContrast ContrastLimitedAdaptiveHistogramEqualization
    CutMix Equalization GroupQueryAttention MaxNumBoundingBoxes MelSpectrogram MixUp Pipeline RMSNormalization
    RandAugment RandomColorDegeneration RandomColorJitter RandomElasticTransform RandomErasing RandomGaussianBlur
    RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomSaturation RandomSharpness
    RandomShear ReversibleEmbedding STFTSpectrogram Solarization
""")
"""Layers that Keras 3 alone has. Left out, too: those that wrap other frameworks' modules or a SavedModel."""

OPERATIONS = _names("""
    Abs Absolute AdaptiveAveragePool AdaptiveMaxPool Add AffineTransform All AllClose Amax Amin Angle Any Append
    Arange Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Argmax Argmin Argpartition Argsort Array ArraySplit
    Average AveragePool BatchNorm BinaryCrossentropy Bincount BitwiseAnd BitwiseInvert BitwiseLeftShift BitwiseNot
    BitwiseOr BitwiseRightShift BitwiseXor BroadcastTo CDist CTCDecode CTCLoss Cast CategoricalCrossentropy Cbrt
    Ceil Celu Cholesky CholeskyInverse Clip Concatenate Conj Conjugate Conv ConvTranspose ConvertToTensor Copy
    Corrcoef Correlate Cos Cosh CountNonzero CropImages Cross Cumprod Cumsum Deg2rad DepthToSpace DepthwiseConv Det
    Diag Diagflat Diagonal Diff Digitize Divide DivideNoNan Dot DotProductAttention Dsplit Dstack Eig Eigh Einsum
    ElasticTransform Elu EmptyLike Equal Erf Erfc Erfinv Exp Exp2 ExpandDims Expm1 ExtractPatches ExtractSequences
    FFT FFT2 Fabs Flip Fliplr Flipud Floor FloorDivide Fmax Fmin Fmod Fold Full FullLike GaussianBlur Gcd Gelu
    Geomspace GetItem Glu Greater GreaterEqual HSVToRGB HardShrink HardSigmoid HardSilu HardTanh Heaviside Histogram
    Hsplit Hstack Hypot I0 IFFT2 IRFFT ISTFT Imag InTopK Inner Inv IsIn Isclose Isfinite Isinf Isnan Isneginf
    Isposinf Isreal Kron LayerNorm Lcm Ldexp LeakyRelu LeftShift Less LessEqual Linspace Log Log10 Log1p Log2
    LogSigmoid LogSoftmax Logaddexp Logaddexp2 Logdet LogicalAnd LogicalNot LogicalOr LogicalXor Logspace Logsumexp
    Lstsq LuFactor MapCoordinates Matmul MatrixRank Max MaxPool Maximum Mean Median Meshgrid Min Minimum Mod Moments
    Moveaxis MultiHot Multiply NanToNum Nanargmax Nanargmin Nancumprod Nancumsum Nanmax Nanmean Nanmedian Nanmin
    Nanpercentile Nanprod Nanquantile Nanstd Nansum Nanvar Ndim Negative Nextafter Nonzero Norm Normalize NotEqual
    OneHot OnesLike Outer PSNR Pad PadImages Percentile PerspectiveTransform Pinv Polar Power Prod Ptp Qr Quantile
    RFFT RGBToGrayscale RGBToHSV RMSNorm Rad2deg Ravel Real Rearrange Reciprocal Relu Relu6 Repeat Reshape Resize
    RightShift Roll Rot90 Round Rsqrt SSIM STFT SVD SaturateCast ScaleAndTranslate Scatter ScatterUpdate
    SearchSorted SegmentMax SegmentMin SegmentProd SegmentReduction SegmentSum Select Selu SeparableConv Sigmoid
    Sign Signbit Silu Sin Sinc Sinh Size Slice SliceUpdate Slogdet SobelEdges SoftShrink Softmax Softplus Softsign
    Solve SolveTriangular Sort SpaceToDepth SparseCategoricalCrossentropy SparsePlus SparseSigmoid Sparsemax Split
    Sqrt Square Squareplus Squeeze Stack Std StopGradient Subtract Sum Swapaxes Take TakeAlongAxis Tan Tanh
    TanhShrink Tensordot Threshold Tile TopK Trace Transpose Trapezoid Tril Triu TrueDivide Trunc Unfold Unique
    UnravelIndex Unstack Vander Var Vdot View ViewAsComplex ViewAsReal Vsplit Vstack Where ZerosLike
""")
"""Operations of `keras.ops` in a Keras 3 model. Left out: those that call a function (Map, Scan, WhileLoop, ...)."""

MODELS = _names("Functional Model Sequential")

PARTS = _names("""
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform Ones Orthogonal
    RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros IdentityInitializer
    GlorotNormalV2 GlorotUniformV2 IdentityV2 OnesV2 OrthogonalV2 RandomNormalV2 RandomUniformV2 TruncatedNormalV2
    VarianceScalingV2 ZerosV2 ConstantV2 HeNormalV2 HeUniformV2 LecunNormalV2 LecunUniformV2
    L1 L1L2 L2 OrthogonalRegularizer MaxNorm MinMaxNorm NonNeg RadialConstraint UnitNorm
    STFT STFTInitializer OrthogonalInitializer DTypePolicy FloatDTypePolicy DTypePolicyMap QuantizedDTypePolicy
    QuantizedFloat8DTypePolicy Int4DTypePolicy SeedGenerator
    Policy PolicyV1 TensorShape __tuple__ __ellipsis__ __bytes__ __slice__
""")
"""Initializers, regularizers, constraints, dtype policies, and what JSON has no form for."""

VALUES = _names("__numpy__ __tensor__ __keras_tensor__")

PART_STRINGS = _names("""
    constant glorot_normal glorot_uniform he_normal he_uniform identity lecun_normal lecun_uniform one ones orthogonal
    random_normal random_uniform truncated_normal stft normal uniform variance_scaling zero zeros
    l1 l1_l2 l2 orthogonal_regularizer max_norm maxnorm min_max_norm non_neg nonneg radial_constraint unit_norm unitnorm
""")
"""Initializers, regularizers and constraints by the names of old files."""

FUNCTIONS = _names("""
    elu exponential gelu hard_sigmoid leaky_relu linear log_softmax mish relu relu6 selu sigmoid silu softmax softplus
    celu glu hard_shrink hard_silu hard_swish hard_tanh log_sigmoid soft_shrink sparse_plus sparse_sigmoid sparsemax
    squareplus tanh_shrink threshold softsign swish tanh sigmoid_v2 softmax_v2 ELU LeakyReLU PReLU ReLU Softmax
    ThresholdedReLU
""")
"""Activations."""

SPECS = _names("TensorSpec RaggedTensorSpec SparseTensorSpec")

RAGGED_FROM = _names("""
    from_value_rowids from_row_splits from_row_lengths from_row_starts from_row_limits from_uniform_row_length
    from_nested_value_rowids from_nested_row_splits from_nested_row_lengths from_tensor from_sparse
""")

ATTRIBUTES = _names("""
    values flat_values row_splits nested_row_splits indices dense_shape value_rowids nested_value_rowids nrows
    row_starts row_limits row_lengths nested_row_lengths bounding_shape with_values with_flat_values
    with_row_splits_dtype merge_dims to_tensor to_sparse shape dtype T
""")

SYMBOLS = (
    _names("""
    abs acos acosh add add_n argmax argmin argsort asin asinh atan atan2 atanh batch_to_space bitcast boolean_mask
    broadcast_to cast ceil clip_by_global_norm clip_by_norm clip_by_value complex concat constant convert_to_tensor cos
    cosh count_nonzero cumprod cumsum div div_no_nan divide dynamic_partition dynamic_stitch einsum ensure_shape equal
    exp expand_dims extract_volume_patches eye fill floor floor_div floordiv floormod gather gather_nd greater
    greater_equal histogram_fixed_width histogram_fixed_width_bins identity identity_n is_finite is_inf is_nan less
    less_equal linspace log log1p log_sigmoid logical_and logical_not logical_or logical_xor matmul maximum meshgrid
    minimum mod multiply negative norm not_equal one_hot ones ones_like pad parallel_stack pow range rank realdiv
    reciprocal reduce_all reduce_any reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_sum repeat
    reshape reverse reverse_sequence reverse_v2 rint roll round rsqrt saturate_cast scalar_mul scatter_nd searchsorted
    sequence_mask shape shape_n sigmoid sign sin sinh size slice sort space_to_batch space_to_batch_nd split sqrt square
    squared_difference squeeze stack stop_gradient strided_slice subtract tan tanh tensor_scatter_nd_add
    tensor_scatter_nd_max tensor_scatter_nd_min tensor_scatter_nd_sub tensor_scatter_nd_update tensordot tile transpose
    truediv truncatediv truncatemod unique unique_with_counts unravel_index unstack where where_v2 zeros zeros_like
    depth_to_space space_to_depth batch_matmul lgamma digamma erf erfc cross trace
    __operators__.add __operators__.eq __operators__.getitem __operators__.ne __operators__.ragged_getitem
    dtypes.cast dtypes.complex dtypes.saturate_cast
""")
    | _names(
        """
    abs accumulate_n acos acosh add add_n angle argmax argmin asin asinh atan atan2 atanh bessel_i0 bessel_i0e bessel_i1
    bessel_i1e betainc bincount ceil confusion_matrix conj cos cosh count_nonzero cumprod cumsum cumulative_logsumexp
    digamma divide divide_no_nan equal erf erfc erfcinv erfinv exp expm1 floor floordiv floormod greater greater_equal
    igamma igammac imag in_top_k invert_permutation is_finite is_inf is_nan is_non_decreasing is_strictly_increasing
    l2_normalize lbeta less less_equal lgamma log log1p log_sigmoid log_softmax logical_and logical_not logical_or
    logical_xor maximum minimum mod multiply multiply_no_nan ndtri negative nextafter not_equal polygamma polyval pow
    real reciprocal reciprocal_no_nan reduce_all reduce_any reduce_euclidean_norm reduce_logsumexp reduce_max
    reduce_mean reduce_min reduce_prod reduce_std reduce_sum reduce_variance rint round rsqrt scalar_mul segment_max
    segment_mean segment_min segment_prod segment_sum sigmoid sign sin sinh softmax softplus softsign sqrt square
    squared_difference
    subtract tan tanh top_k truediv unsorted_segment_max unsorted_segment_mean unsorted_segment_min
    unsorted_segment_prod unsorted_segment_sqrt_n unsorted_segment_sum xdivy xlog1py xlogy zero_fraction zeta
    special.bessel_i0 special.bessel_i0e special.bessel_i1 special.bessel_i1e special.bessel_j0 special.bessel_j1
    special.bessel_k0 special.bessel_k0e special.bessel_k1 special.bessel_k1e special.bessel_y0 special.bessel_y1
    special.dawsn special.expint special.fresnel_cos special.fresnel_sin special.spence
    """,
        "math.",
    )
    | _names(
        """
    atrous_conv2d atrous_conv2d_transpose avg_pool avg_pool1d avg_pool2d avg_pool3d avg_pool_v2
    batch_norm_with_global_normalization batch_normalization bias_add conv1d conv1d_transpose conv2d conv2d_transpose
    conv3d conv3d_transpose conv_transpose convolution crelu depth_to_space depthwise_conv2d dilation2d dropout elu
    embedding_lookup erosion2d experimental.general_dropout experimental.stateless_dropout fractional_avg_pool
    fractional_max_pool fused_batch_norm gelu in_top_k isotonic_regression l2_loss l2_normalize leaky_relu
    local_response_normalization log_poisson_loss log_softmax lrn max_pool max_pool1d max_pool2d max_pool3d max_pool_v2
    max_pool_with_argmax moments normalize_moments pool quantized_relu_x relu relu6 relu_layer selu separable_conv2d
    sigmoid sigmoid_cross_entropy_with_logits silu softmax softmax_cross_entropy_with_logits softplus softsign
    space_to_batch space_to_depth sparse_softmax_cross_entropy_with_logits sufficient_statistics swish tanh top_k
    weighted_cross_entropy_with_logits weighted_moments with_space_to_batch xw_plus_b zero_fraction
    """,
        "nn.",
    )
    | _names(
        """
    adjoint band_part banded_triangular_solve cholesky cholesky_solve cross det diag diag_part eig eigh eigvals eigvalsh
    einsum expm eye global_norm inv l2_normalize logdet logm lstsq lu lu_matrix_inverse lu_reconstruct lu_solve matmul
    matrix_rank matrix_transpose matvec norm normalize pinv qr set_diag slogdet solve sqrtm svd tensor_diag
    tensor_diag_part tensordot trace transpose triangular_solve tridiagonal_matmul tridiagonal_solve
    """,
        "linalg.",
    )
    | _names(
        """
    adjust_brightness adjust_contrast adjust_gamma adjust_hue adjust_saturation central_crop
    combined_non_max_suppression convert_image_dtype crop_and_resize crop_to_bounding_box draw_bounding_boxes
    extract_glimpse extract_patches flip_left_right flip_up_down grayscale_to_rgb hsv_to_rgb image_gradients
    non_max_suppression non_max_suppression_overlaps non_max_suppression_padded non_max_suppression_with_scores
    pad_to_bounding_box per_image_standardization psnr random_brightness random_contrast random_crop
    random_flip_left_right random_flip_up_down random_hue random_saturation resize resize_area resize_bicubic
    resize_bilinear resize_images resize_image_with_pad resize_image_with_crop_or_pad resize_nearest_neighbor
    resize_with_crop_or_pad resize_with_pad rgb_to_grayscale rgb_to_hsv rgb_to_yiq rgb_to_yuv rot90 sobel_edges ssim
    ssim_multiscale total_variation transpose yiq_to_rgb yuv_to_rgb
    """,
        "image.",
    )
    | _names(
        """
    dct fft fft2d fft3d fftnd fftshift frame hamming_window hann_window idct ifft ifft2d ifft3d ifftnd ifftshift
    inverse_mdct inverse_stft irfft irfft2d irfft3d irfftnd kaiser_bessel_derived_window kaiser_window
    linear_to_mel_weight_matrix mdct mfccs_from_log_mel_spectrograms overlap_and_add rfft rfft2d rfft3d rfftnd stft
    vorbis_window
    """,
        "signal.",
    )
    | _names("bitwise_and bitwise_or bitwise_xor invert left_shift right_shift", "bitwise.")
    | _names("as_string join length lower reduce_join split strip substr to_number upper", "strings.")
    | _names("categorical normal shuffle stateless_normal stateless_uniform truncated_normal uniform", "random.")
    | _names("boolean_mask constant range stack", "ragged.")
    | _names("add concat expand_dims from_dense reduce_max reduce_sum reorder reshape slice softmax "
             "sparse_dense_matmul split to_dense transpose", "sparse.")
    | _names("assert_all_finite assert_equal assert_greater assert_greater_equal assert_less assert_less_equal "
             "assert_near assert_negative assert_non_negative assert_non_positive assert_none_equal assert_positive "
             "assert_rank assert_rank_at_least assert_rank_in check_numerics", "debugging.")
    | _names("dequantize fake_quant_with_min_max_args fake_quant_with_min_max_vars "
             "fake_quant_with_min_max_vars_per_channel quantize quantize_and_dequantize quantize_and_dequantize_v2",
             "quantization.")
)  # fmt: skip
"""TensorFlow's symbols that a TFOpLambda may call: they compute. `compat.v1.` before one is taken as well."""

GRAPH_OPS = _names("""
    Abs Add AddN AddV2 All Any ArgMax ArgMin Atan2 AvgPool BatchMatMul BatchMatMulV2 BatchToSpaceND BiasAdd BroadcastTo
    Cast Ceil ClipByValue Concat ConcatV2 Conv2D Conv2DBackpropInput Cos Cumsum DepthToSpace DepthwiseConv2dNative Elu
    Equal Erf Exp ExpandDims Fill Floor FloorDiv FloorMod FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual
    Identity L2Loss LRN LeakyRelu Less LessEqual Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool
    Maximum Mean Min Minimum MirrorPad Mul Neg NotEqual OneHot OnesLike Pack Pad PadV2 Pow Prod Range Rank RealDiv
    Reciprocal Relu Relu6 Reshape ResizeBicubic ResizeBilinear ResizeNearestNeighbor ReverseV2 Round Rsqrt ScatterNd
    Select SelectV2 Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToBatchND SpaceToDepth Split
    SplitV Sqrt Square SquaredDifference Squeeze StopGradient StridedSlice Sub Sum Tan Tanh Tile TopKV2 Transpose
    TruncateDiv Unpack Where ZerosLike
""")
"""Operators that a TensorFlowOpLayer of old files may hold."""
