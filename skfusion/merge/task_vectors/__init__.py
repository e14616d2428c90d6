"""Merging by task vectors: what fine-tuning changed of a common base."""
