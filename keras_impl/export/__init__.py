"""Checkpoints for other runtimes: each file is run and compared with Keras before it is kept.

All formats take face crops named `images`, uint8 RGB (N, S, S, 3) with any N, and answer by name: `age` (N,) years,
`gender` (N, 2) probabilities (female, male), `age_distribution` (N, K) and `age_interval` (N, 2) where the checkpoint
has them. Preprocessing and decode are inside. How to run them (`faces`: such an array):

    session = onnxruntime.InferenceSession("model.onnx")                                          # onnx
    names = [output.name for output in session.get_outputs()]
    prediction = dict(zip(names, session.run(names, {"images": faces})))

    model = ai_edge_litert.interpreter.Interpreter("model.tflite").get_signature_runner()         # litert
    prediction = model(images=faces)

    model = tf.saved_model.load("folder")                                                         # saved_model
    prediction = model.serve(faces)

    model = openvino.Core().compile_model("model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})  # openvino
    prediction = {output.any_name: values for output, values in model(faces).items()}
"""
