"""An example leaves the settings of the build as they were."""

import warnings

import example_settings
import torch


def test_filters_of_warnings_and_threads_are_those_of_the_build(monkeypatch):
    with warnings.catch_warnings():
        monkeypatch.setattr(example_settings, "_FILTERS", list(warnings.filters))
        threads = torch.get_num_threads()
        try:
            warnings.simplefilter("always")
            torch.set_num_threads(2)
            example_settings.reset({}, "example")
            assert warnings.filters == example_settings._FILTERS
            assert torch.get_num_threads() == 1
        finally:
            torch.set_num_threads(threads)
