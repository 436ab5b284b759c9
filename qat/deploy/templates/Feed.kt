// Feed QAT_FILE on Android. Preprocessing: QAT_CONTRACT.
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Interpreter
import kotlin.math.floor  // [if quantized_in]
import kotlin.math.abs  // [if quantized_in]

object Feed {
    private val multiplier = floatArrayOf(QAT_MULTIPLIERS_F)
    private val offset = floatArrayOf(QAT_OFFSETS_F)
    private const val CHANNELS = QAT_CHANNELS
    private const val ELEMENTS = QAT_ELEMENTS          // QAT_SHAPE
    private const val OUTPUT_ELEMENTS = QAT_OUT_ELEMENTS

    /** Raw samples, channels last and RGB; pixels are 0..255 (a Kotlin Byte is signed: and(0xff) first). */
    fun preprocess(raw: FloatArray): FloatArray {
        require(raw.size == ELEMENTS) { "expected $ELEMENTS values (QAT_SHAPE), got ${raw.size}" }
        return FloatArray(ELEMENTS) { i ->
            val channel = i % CHANNELS
            val from = i - channel + (CHANNELS - 1 - channel)  // [if bgr]
            raw[from] * multiplier[channel % multiplier.size] + offset[channel % offset.size]  // [if bgr]
            raw[i] * multiplier[channel % multiplier.size] + offset[channel % offset.size]  // [if not bgr]
        }
    }

    /** Scale, round, zero point, saturate. Never toInt().toByte() of the real number itself. */  // [if quantized_in]
    fun quantize(real: Float): QAT_IN_KOTLIN {
        val scaled = real / QAT_IN_SCALE_F  // [if quantized_in]
        val rounded = if (scaled < 0) -floor(abs(scaled) + 0.5f) else floor(scaled + 0.5f)  // [if quantized_in]
        return (rounded.toInt() + (QAT_IN_ZERO)).coerceIn(QAT_IN_LOW, QAT_IN_HIGH).toQAT_IN_KOTLIN()  // [if quantized_in]
        return real.toQAT_IN_KOTLIN()  // [if not quantized_in]
    }

    fun dequantize(code: QAT_OUT_KOTLIN): Float {
        return (QAT_OUT_NUMBER_KOTLIN - (QAT_OUT_ZERO)) * QAT_OUT_SCALE_F  // [if quantized_out]
        return QAT_OUT_NUMBER_KOTLIN.toFloat()  // [if not quantized_out]
    }

    fun predict(interpreter: Interpreter, raw: FloatArray): FloatArray {
        val real = preprocess(raw)
        val input = ByteBuffer.allocateDirect(interpreter.getInputTensor(0).numBytes()).order(ByteOrder.nativeOrder())
        for (value in real) input.putQAT_IN_BUFFER(quantize(value))
        input.rewind()
        val output = ByteBuffer.allocateDirect(interpreter.getOutputTensor(0).numBytes()).order(ByteOrder.nativeOrder())
        interpreter.resetVariableTensors()  // QAT_WHY_RESET  // [if remembers]
        interpreter.run(input, output)
        output.rewind()
        return FloatArray(OUTPUT_ELEMENTS) { dequantize(output.getQAT_OUT_BUFFER()) }
    }
}
