"""Training steps of several libraries, each in a process of its own, which a Python other than ours may run.

A worker (worker.py) knows this package as `peers`, without any of its files on the path, so that none hides a library
of the same name; hence the relative imports. Workers need torch, safetensors and the library they time; saelab only for
saelab's own step. An environment with all peers, as measured with on a CPU:

    python3 -m venv peers
    peers/bin/pip install torch==2.13.0 sae-lens==6.54.12 eai-sparsify==1.3.3 dictionary-learning==0.1.0
    peers/bin/pip uninstall -y torchvision     # only where torch is a +cpu build: the two do not fit together
"""
