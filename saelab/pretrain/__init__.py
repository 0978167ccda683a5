"""Train a small GPT-2-style language model from text: corpus -> byte-level BPE -> training -> a Hugging Face folder."""
