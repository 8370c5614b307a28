"""One competitor of benchmarks/training.py: prepares a net and its inputs, then trains some steps whenever it is asked.

Started by `benchmarks.competitors.Competitor`, never by hand.
"""

import json
import sys
import time
from functools import cache, partial

from benchmarks.competitors import installed_versions, serve, usable_cores
from benchmarks.training_nets import Net, our_model, plain_keras_model

PACKAGES = {
    "ours": ("keras", "tensorflow", "jax", "torch", "numpy", "opencv-python"),
    "keras": ("keras", "tensorflow", "numpy"),
    "keras_xla": ("keras", "tensorflow", "numpy"),
    "torch": ("torch", "numpy", "opencv-python"),
    "albumentations": ("albumentations", "tensorflow", "keras", "numpy", "opencv-python-headless"),
}


def main():
    settings = json.loads(sys.argv[1])
    serve(lambda: prepare(**settings))


def prepare(competitor, net, paths, packed=None):
    """(facts about the competitor, fn(input, skip, steps) -> seconds a step).

    Args:
        competitor: key of PACKAGES. net: fields of a Net. paths: image files. packed: file of packed faces, or None.
    """
    net = Net(**net)
    facts, turn = PREPARE[competitor](net, paths, packed)
    return {**facts, "versions": installed_versions(PACKAGES[competitor])}, turn


# === Keras ===


def keras_competitor(model, inputs):
    """(facts, fn(input, skip, steps) -> seconds a step of `fit`, of which the first `skip` steps do not count).

    Args:
        inputs: {name: fn() -> endless data for `fit`}; made when first asked for.
    """
    import keras

    from keras_impl.devices import accelerators

    backend = keras.backend.backend()
    facts = {"backend": backend, "accelerators": accelerators(), "jit_compile": bool(model.jit_compile)}
    made = {}

    def turn(input, skip, steps):
        if input not in made:
            made[input] = inputs[input]()
        clock = step_clock()
        model.fit(made[input], steps_per_epoch=skip + steps, shuffle=False, verbose=0, callbacks=[clock])
        return clock.seconds(skip, steps)

    return facts, turn


def step_clock():
    """A Keras callback that notes when each step was complete."""
    import keras

    class StepClock(keras.callbacks.Callback):
        # Keras then does not wait for a device after every step, as it does not in train.py either. The logs that come
        # here are still those of a finished step.
        async_safe = True

        def on_epoch_begin(self, epoch, logs=None):
            self.ends = {-1: time.perf_counter()}

        def on_train_batch_end(self, batch, logs=None):
            self.ends[batch] = time.perf_counter()

        def seconds(self, skip, steps):
            return (self.ends[skip + steps - 1] - self.ends[skip - 1]) / steps

    return StepClock()


def prepare_ours(net, paths, packed):
    from benchmarks.training_loader import one_batch, our_batches
    from keras_impl.input.images import FaceImages

    def decoded(cache):
        return our_batches(FaceImages(paths, net.size, cache=cache, progress=False), net.batch)

    def mapped(on_device):
        from faces.ingest.packed import PackedFaces

        return our_batches(PackedFaces(packed, progress=False), net.batch, on_device=on_device)

    inputs = {
        "tensors": lambda: one_batch(decoded("none")),
        "memory": lambda: decoded("memory"),
        "packed": lambda: mapped(on_device=False),
        "packed, augmented on the device": lambda: mapped(on_device=True),
        "files": lambda: decoded("none"),
    }
    return keras_competitor(our_model(net), inputs)


def prepare_plain_keras(net, paths, packed, jit_compile="auto"):
    from benchmarks.training_loader import one_batch, plain_dataset

    def files():
        return plain_dataset(paths, net)

    return keras_competitor(
        plain_keras_model(net, jit_compile), {"tensors": lambda: one_batch(files()), "files": files}
    )


def prepare_albumentations(net, paths, packed):
    from benchmarks.training_loader import albumentations_batches

    return keras_competitor(our_model(net), {"files": lambda: albumentations_batches(paths, net, usable_cores())})


# === PyTorch ===


def prepare_torch(net, paths, packed):
    """Inputs "tensors" and "files", each followed by a memory layout: contiguous or channels_last."""
    import torch

    from benchmarks.training_loader import torch_loader
    from benchmarks.training_nets import LR, WEIGHT_DECAY, torch_model

    torch.set_num_threads(usable_cores())
    layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

    @cache
    def trained(layout):
        model = torch_model(net).to(memory_format=layouts[layout])
        return model, torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)

    first = next(iter(torch_loader(paths, net, workers=0)))

    @cache
    def files():
        # One for all turns: its processes take seconds to start, and sleep once their queue is full.
        return iter(torch_loader(paths, net, usable_cores()))

    def turn(input, skip, steps):
        source, layout = input.split()
        step, memory_format = torch_step(*trained(layout)), layouts[layout]
        if source == "tensors":
            batch = to_layout(first, memory_format)
            return time_steps(lambda: step(*batch), skip, steps)
        return time_steps(lambda: step(*to_layout(next(files()), memory_format)), skip, steps)

    return {"threads": torch.get_num_threads()}, turn


def to_layout(batch, layout):
    """(images uint8 (N, S, S, 3), age, gender) -> the same with float32 (N, 3, S, S) in a memory layout."""
    faces, age, gender = batch
    return faces.permute(0, 3, 1, 2).float().contiguous(memory_format=layout), age, gender


def torch_step(model, optimizer):
    """fn(images, age, gender) that trains one step."""
    from benchmarks.training_nets import torch_loss

    def step(images, age, gender):
        optimizer.zero_grad(set_to_none=True)
        loss = torch_loss(model(images), age, gender)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def time_steps(step, skip, steps):
    """Seconds a call of step(), of which the first `skip` calls do not count."""
    for _ in range(skip):
        step()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps


PREPARE = {
    "ours": prepare_ours,
    "keras": prepare_plain_keras,
    "keras_xla": partial(prepare_plain_keras, jit_compile=True),
    "torch": prepare_torch,
    "albumentations": prepare_albumentations,
}

if __name__ == "__main__":
    main()
