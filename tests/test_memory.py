import platform

from saelab.memory import keep_freed_memory


def test_glibc_takes_the_settings_and_any_other_library_is_left_alone():
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
