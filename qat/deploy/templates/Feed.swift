// Feed QAT_FILE on iOS. Preprocessing: QAT_CONTRACT.
import Foundation
import TensorFlowLite

enum Feed {
    static let multiplier: [Float] = [QAT_MULTIPLIERS]
    static let offset: [Float] = [QAT_OFFSETS]
    static let channels = QAT_CHANNELS
    static let elements = QAT_ELEMENTS  // QAT_SHAPE

    /// Raw samples, channels last and RGB; pixels are 0...255.
    static func preprocess(_ raw: [Float]) -> [Float] {
        precondition(raw.count == elements, "expected \(elements) values (QAT_SHAPE), got \(raw.count)")
        return (0..<elements).map { i in
            let channel = i % channels
            let from = i - channel + (channels - 1 - channel)  // [if bgr]
            return raw[from] * multiplier[channel % multiplier.count] + offset[channel % offset.count]  // [if bgr]
            return raw[i] * multiplier[channel % multiplier.count] + offset[channel % offset.count]  // [if not bgr]
        }
    }

    /// Scale, round, zero point, saturate. Never QAT_IN_SWIFT(real).  // [if quantized_in]
    static func quantize(_ real: Float) -> QAT_IN_SWIFT {
        let code = (real / QAT_IN_SCALE).rounded(.toNearestOrAwayFromZero) + (QAT_IN_ZERO)  // [if quantized_in]
        return QAT_IN_SWIFT(min(max(code, QAT_IN_LOW), QAT_IN_HIGH))  // [if quantized_in]
        return QAT_IN_SWIFT(real)  // [if not quantized_in]
    }

    static func dequantize(_ code: QAT_OUT_SWIFT) -> Float {
        return (Float(code) - (QAT_OUT_ZERO)) * QAT_OUT_SCALE  // [if quantized_out]
        return Float(code)  // [if not quantized_out]
    }

    static func predict(
        _ interpreter: Interpreter,  // [if not remembers]
        raw: [Float]
    ) throws -> [Float] {
        let interpreter = try load()  // a new one: QAT_WHY_RESET  // [if remembers]
        let codes = preprocess(raw).map(quantize)
        try interpreter.copy(codes.withUnsafeBytes { Data($0) }, toInputAt: 0)
        try interpreter.invoke()
        let data = try interpreter.output(at: 0).data
        return data.withUnsafeBytes { $0.bindMemory(to: QAT_OUT_SWIFT.self).map(dequantize) }
    }

    static func load() throws -> Interpreter {
        let path = Bundle.main.path(forResource: "QAT_STEM", ofType: "QAT_EXTENSION")!
        let interpreter = try Interpreter(modelPath: path)
        try interpreter.allocateTensors()
        return interpreter
    }
}
