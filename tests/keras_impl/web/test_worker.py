"""While a lasting picture is decoded, others are answered."""

import asyncio
import time

import pytest

from keras_impl.web.refusals import Refused
from keras_impl.web.worker import PhotoWorker
from tests.faces.images.hostile_pictures import AVIF, JPEG_2000, many_scans
from tests.keras_impl.web.web_pictures import NOISE, encoded

LASTING = {"JPEG 2000": JPEG_2000, "AVIF": AVIF, "JPEG of 99 scans": many_scans(7000, 99)}


def describe(image, estimates):
    return image.shape, estimates


@pytest.mark.parametrize("kind", LASTING)
def test_lasting_picture_holds_up_no_other(kind):
    worker = PhotoWorker(lambda image: [])

    async def ask():
        lasting = asyncio.create_task(worker.run(describe, LASTING[kind]))
        waits = []
        for _ in range(10):
            start = time.monotonic()
            assert await worker.run(describe, encoded(NOISE, "JPEG")) == ((120, 200, 3), [])
            waits.append(time.monotonic() - start)
            await asyncio.sleep(0.02)
        assert max(waits) < 1
        assert not lasting.done()
        lasting.cancel()

    asyncio.run(ask())
    worker.close()


def test_damaged_picture_is_refused_with_its_reason():
    data = encoded(NOISE, "JPEG")
    middle = len(data) // 2
    with pytest.raises(Refused, match="damaged JPEG") as caught:
        asyncio.run(PhotoWorker(lambda image: []).run(describe, data[:middle] + bytes(600) + data[middle + 600 :]))
    assert caught.value.status_code == 400
