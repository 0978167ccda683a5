import platform
from threading import Thread

import torch

from saelab.process import keep_freed_memory, stay_on_one_core


def test_glibc_takes_the_settings_and_any_other_library_is_left_alone():
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


def test_only_the_thread_that_asks_for_it_stays_on_one_core():
    seen = []

    def background():
        stay_on_one_core()
        torch.ones(100_000).exp()  # a parallel operation is where PyTorch may set its threads up again
        seen.append(torch.get_num_threads())
        later = Thread(target=lambda: seen.append(torch.get_num_threads()))
        later.start()
        later.join()

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        thread = Thread(target=background)
        thread.start()
        thread.join()
        assert seen == [1, 3] and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
