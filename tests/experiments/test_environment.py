"""`gravity.experiments.environment`: what is written is read again."""

import pytest

from gravity.experiments import environment


@pytest.mark.parametrize(
    ("device", "processor"),
    [
        ("cpu:0 (AMD EPYC)", "AMD EPYC"),
        # The name has brackets of its own.
        ("cpu:0 (Intel(R) Xeon(R) CPU @ 2.20GHz)", "Intel(R) Xeon(R) CPU @ 2.20GHz"),
        ("gpu:0, gpu:1 (x86_64)", "x86_64"),
        ("cpu", "cpu"),
    ],
)
def test_processor_is_read_from_the_device(device, processor):
    assert environment.processor_of(device) == processor


def test_device_made_now_names_this_processor():
    device = environment.current()["device"]
    assert environment.processor_of(device) == environment.processor()
