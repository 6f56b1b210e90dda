"""Models in llama.cpp's own format, GGUF, run by its library; nothing here imports torch."""
