"""Distillation: what teachers of other sizes and grids say, of the very faces that the student sees."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, rel_entr, softmax

from faces.errors import UserError
from keras_impl import losses
from keras_impl.checkpoint import load_model
from keras_impl.input.augment import Augmentation
from keras_impl.input.device_augment import augment_batch, make_device_augmenter
from keras_impl.model import build_model
from keras_impl.training.teacher import Teacher, teacher_files
from tests.configurations import changed_values
from tests.keras_impl.small_models import compiled_model, labelled_batch

IMAGES, LABELS, WEIGHTS = labelled_batch([30, 60, 8, np.nan], [0, 1, 0, -1])


def narrow_teacher(size=12, **settings):
    """A teacher that sees other sizes than `compiled_model`, by default of another grid."""
    inputs = keras.Input((size, size, 3))
    maps = keras.layers.Conv2D(3, 3)(keras.layers.Rescaling(1 / 255)(inputs))
    backbone = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(maps))
    model = build_model(backbone, "dldl_v2", **{"min_age": 10, "max_age": 110, **settings})
    model.set_weights([np.random.default_rng(3).normal(0, 1, weight.shape) for weight in model.weights])
    return model


def gradient_of(loss, output):
    variable = tf.constant(output)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        values = loss(variable)
    return values.numpy(), tape.gradient(values, variable).numpy()


def taught(model, teachers, **settings):
    teacher = Teacher(teachers, ["t.keras"] * len(teachers), model, **{"temperature": 1.0, "weight": 1.0, **settings})
    model.compile("sgd", gender_weight=2.0, total_steps=10, teacher=teacher)
    return teacher


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_value_and_gradient(temperature):
    """T^2 KL(t || s), whose slope is T (s - t)."""
    rng = np.random.default_rng(2)
    teacher, logits = softmax(4 * rng.normal(size=(5, 9)), axis=1), 3 * rng.normal(size=(5, 9))
    teacher[0] = np.eye(9)[3]
    values, gradient = gradient_of(lambda output: losses.distillation(teacher, output, temperature=temperature), logits)
    target = softmax(np.log(np.maximum(teacher, 1e-12)) / temperature, axis=1)
    student = softmax(logits / temperature, axis=1)
    np.testing.assert_allclose(values, temperature**2 * rel_entr(target, student).sum(axis=1), rtol=1e-10)
    np.testing.assert_allclose(gradient, temperature * (student - target), rtol=1e-9, atol=1e-13)
    same, slope = gradient_of(lambda output: losses.distillation(target, output), np.log(target))
    np.testing.assert_allclose(same, 0, atol=1e-10)
    np.testing.assert_allclose(slope, 0, atol=1e-10)


def test_teachers_of_other_sizes_and_grids_are_averaged():
    """The ages below 10 and above 100 of one teacher's grid are those of the student's ends."""
    model, teachers = compiled_model(), [narrow_teacher(), narrow_teacher(size=5, min_age=0, max_age=60)]
    outputs = model(IMAGES)
    values = taught(model, teachers, weight=0.5).losses(IMAGES, outputs)
    ages, genders = [], []
    for teacher in teachers:
        size = (teacher.image_size,) * 2
        resized = keras.ops.image.resize(IMAGES, size, interpolation="bilinear", antialias=True)
        prediction = teacher.predict_faces(resized)
        distribution, head = np.asarray(prediction["age_distribution"]), teacher.age_head
        on_grid = np.zeros((len(IMAGES), 101))
        for index, age in enumerate(range(head.min_age, head.max_age + 1)):
            on_grid[:, min(age, 100)] += distribution[:, index]
        ages.append(on_grid)
        genders.append(np.asarray(prediction["gender"]))
    for name, answers in (("age", ages), ("gender", genders)):
        target = np.maximum(np.mean(answers, axis=0), 1e-12)
        expected = 0.5 * (target * (np.log(target) - log_softmax(np.asarray(outputs[name]), axis=1))).sum(axis=1)
        np.testing.assert_allclose(values[name], expected, rtol=1e-4)


def test_the_teacher_sees_the_augmented_view_and_teaches_unlabelled_faces():
    """A step on a plan of augmentation is a step on the augmented faces; validation asks no teacher."""
    settings = {key: 0.0 for key in changed_values()[0]["augment"]} | {"brightness": 0.4, "shift": 0.3, "mixup": 0.5}
    augment = make_device_augmenter(Augmentation(**settings), 0)
    images, labels, weights = augment(0, 0, IMAGES.astype(np.uint8), LABELS, WEIGHTS)
    seen, rest = augment_batch(images, labels)
    results = []
    for x, y in ((images, labels), (np.asarray(seen), rest)):
        model = compiled_model()
        taught(model, [narrow_teacher()])
        results.append(model.train_on_batch(x, y, sample_weight=weights, return_dict=True)["loss"])
    assert results[0] == pytest.approx(results[1], rel=1e-5)
    plain, student = compiled_model(), compiled_model()
    teacher = taught(student, [narrow_teacher()])
    arguments = {"sample_weight": weights, "return_dict": True}
    own = {name: keras.ops.mean(each) for name, each in teacher.losses(seen, student(seen)).items()}
    expected = plain.train_on_batch(np.asarray(seen), rest, **arguments)["loss"] + own["age"] + 2.0 * own["gender"]
    assert results[0] == pytest.approx(float(expected), rel=1e-5)
    fresh, still = compiled_model(), compiled_model()
    taught(still, [narrow_teacher()])
    same = [model.test_on_batch(IMAGES, LABELS, sample_weight=WEIGHTS) for model in (fresh, still)]
    np.testing.assert_array_equal(*same)


def test_teachers_stay_as_they_are_and_out_of_the_student():
    model, teacher = compiled_model(), narrow_teacher()
    before, count = teacher.get_weights(), len(model.variables)
    taught(model, [teacher])
    model.train_on_batch(IMAGES, LABELS, sample_weight=WEIGHTS)
    assert len(model.variables) == count
    for one, other in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_teacher_teaches_what_both_have():
    model, gender_alone = compiled_model(), narrow_teacher(outputs=["gender"])
    outputs = model(IMAGES)
    assert set(taught(model, [gender_alone]).losses(IMAGES, outputs)) == {"gender"}
    both, alone = (
        taught(model, teachers).losses(IMAGES, outputs)["age"]
        for teachers in ([gender_alone, narrow_teacher()], [narrow_teacher()])
    )
    np.testing.assert_allclose(both, alone, rtol=1e-6)
    student = compiled_model("l1", outputs=["gender"])
    assert set(taught(student, [narrow_teacher()]).losses(IMAGES, student(IMAGES))) == {"gender"}


def test_what_is_refused_in_one_line(tmp_path):
    with pytest.raises(
        UserError, match=r"^train\.teacher needs a method with a distribution .* dldl_v2.* Received: l1$"
    ):
        taught(compiled_model("l1"), [narrow_teacher()])
    with pytest.raises(UserError, match=r"^The teacher t\.keras knows no age distribution to teach\.$"):
        taught(compiled_model(outputs=["age"]), [narrow_teacher(outputs=["gender"])])
    for value, message in (("no.txt", "must be a .keras file"), ("no.keras", "no.keras of train.teacher does not")):
        with pytest.raises(UserError, match=re.escape(message)):
            teacher_files(value)
    for name in ("a.keras", "b.keras", "a,b.keras"):
        (tmp_path / name).touch()
    both = f"{tmp_path / 'a.keras'},{tmp_path / 'b.keras'}"
    assert teacher_files(both) == both.split(",") and teacher_files(str(tmp_path / "a,b.keras")) == [
        f"{tmp_path}/a,b.keras"
    ]


@pytest.mark.slow
def test_command_line(train_in_process, capsys, caplog):
    """A student of other size and method learns from a file; its checkpoint tells whose terms it inherits."""
    first = train_in_process("run.dir=first", "train.epochs=1")
    file = first / "model.keras"
    student = train_in_process(
        f"train.teacher={file}",
        "model.img_size=24",
        "train.epochs=1",
        "method.name=interval_dldl_v2",
        "augment.mixup=0.3",
    )
    model = load_model(student / "model.keras")
    assert model.provenance["teacher"] == [{"file": "model.keras", "db": ["sample"]}]
    with pytest.raises(UserError, match=r"train\.teacher needs a method"):
        train_in_process(f"train.teacher={file}", "method.name=mse", "run.dir=refused")
    assert not (student.parents[1] / "refused").exists()
